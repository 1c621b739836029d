"""Snapshots: what belongs to one read stays together, and what is read is what the sources and the truth say."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.modbus.decode import Block, Plan, answers
from edge.model.point import Value
from edge.profile.load import Profile
from edge.runtime.clock import ManualClock
from tests.wayside.city.rig import HEAD, MONDAY_8_NS, S_NS, Rig, device
from wayside.city.app import lines_of
from wayside.city.devices import LATCH_S, MOST_RETRIES, Unit
from wayside.city.settings import parse_city
from wayside.city.truth import Truth


class HandClock(ManualClock):
    """Moved by hand, without a loop."""

    def move(self, by_s: float) -> None:
        self._move(self._mono_ns + round(by_s * S_NS))


@dataclass(frozen=True)
class One:
    """One device of a city, without its wire."""

    unit: Unit
    profile: Profile
    clock: HandClock
    truth: Truth
    file: Path

    def ask(self, block: Block) -> bytes | None:
        pdu = bytes((block.function,)) + block.address.to_bytes(2, "big") + block.count.to_bytes(2, "big")
        answer = self.unit.answer(pdu)
        assert answer is None or answer[0] == block.function, answer
        return None if answer is None else answer[2:]

    def shown(self, group: str) -> list[Value]:
        """What a snapshot of this instant means."""
        image = self.unit._images[self.profile.groups.index(group)]
        plan = self.profile.plan(group)
        return plan.decode(answers(plan.requests, image.snapshot(self.clock.wall_ns(), self.truth).registers))[0]

    def read(self, group: str) -> dict[str, Value]:
        plan = self.profile.plan(group)
        got = [self.ask(block) or b"" for block in plan.requests]
        return dict(zip((p.name for p in self.profile.points(group)), plan.decode(got)[0], strict=True))

    def said(self, point: str) -> list[tuple[int, Value]]:
        self.truth.flush()
        lines = map(json.loads, self.file.read_text().splitlines())
        return [(line["t_ns"], line["value"]) for line in lines if line["point"] == point]


@contextlib.contextmanager
def one(profile: str, more: str = "", bus: str = "net", head: str = HEAD) -> Iterator[One]:
    with tempfile.TemporaryDirectory() as name:
        clock, file = HandClock(MONDAY_8_NS), Path(name) / "truth.ndjson"
        city, (found,) = parse_city(head + device("d", bus, 7, profile, more), "city.toml", Path(name))
        with contextlib.closing(Truth(file, clock)) as truth:
            lines = lines_of(city, [found], Path(name), clock, truth)
            yield One(lines[bus]._units[7], found, clock, truth, file)


@st.composite
def polls(draw: st.DrawFn, plan: Plan) -> list[list[tuple[float, Block]]]:
    """Draw reads of a group as clients make them: in an order of theirs, with retries, detours and pauses."""
    order = draw(st.permutations(plan.requests))
    pauses = st.floats(0, 0.9 * LATCH_S)
    made = []
    for _ in range(draw(st.integers(1, 3))):
        read = []
        for block in order:
            for _ in range(1 + draw(st.integers(0, MOST_RETRIES))):
                read.append((draw(pauses), block))
                if draw(st.booleans()) and block.count > 1:
                    read.append((0.0, Block(block.function, block.address, block.count - 1)))
        made.append(read)
    return made


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_no_read_is_torn_by_pauses_retries_and_detours(data: st.DataObject) -> None:
    with one("em340") as it:
        plan = it.profile.plan("fast")
        for read in data.draw(polls(plan)):
            got: dict[Block, bytes | None] = {}
            expected: list[Value] = []
            for pause_s, block in read:
                it.clock.move(pause_s if got else 40.0 * pause_s)
                if not got:
                    expected = it.shown("fast")
                answer = it.ask(block)
                if block in plan.requests:
                    got[block] = answer
            assert plan.decode([got[block] or b"" for block in plan.requests])[0] == expected


def test_a_read_that_failed_half_way_leaves_nothing_to_the_next() -> None:
    with one("em340") as it:
        first, second, *_ = it.profile.plan("fast").requests
        for asked_again in ([first, second], [second]):
            it.ask(first)
            it.clock.move(0.1 if asked_again[0] == first else LATCH_S)
            latest = it.shown("fast")
            plan = it.profile.plan("fast")
            got = [it.ask(block) if block in asked_again else b"\0" * 2 * block.count for block in plan.requests]
            values = plan.decode([each or b"" for each in got])[0]
            n = next(n for n, source in enumerate(plan.sources) if second.address <= source.address < second.end)
            assert values[n] == latest[n]
            it.clock.move(60)


@pytest.mark.parametrize(
    ("bus", "more", "pause_s"),
    [("net", "latency_s = 3.0", 3.0 + 0.9 * LATCH_S), ("line", "", 0.9 * LATCH_S + 250 * 10 / 300)],
)
def test_slow_devices_and_slow_lines_tear_nothing_either(bus: str, more: str, pause_s: float) -> None:
    with one("em340", more, bus, HEAD + "baud = 300\npace = true\n") as it:
        plan, expected = it.profile.plan("fast"), it.shown("fast")
        got = []
        for block in plan.requests:
            got.append(it.ask(block) or b"")
            it.clock.move(pause_s)
        assert plan.decode(got)[0] == expected
        assert it.shown("fast") != expected


def test_a_client_that_asks_for_one_part_only_is_not_held_up_for_ever() -> None:
    with one("em340") as it:
        block = it.profile.plan("fast").requests[0]
        got = []
        for _ in range(12):
            got.append(it.ask(block))
            it.clock.move(0.9 * LATCH_S)
        assert len(set(got)) == 3


def test_one_request_that_is_the_whole_read_is_always_new() -> None:
    with one("modbus_counter") as it:
        (block,) = it.profile.plan("count").requests
        for _ in range(3):
            it.ask(block)
            it.clock.move(0.01)
        assert [t_ns - MONDAY_8_NS for t_ns, _ in it.said("vehicles/1")] == [0, 10_000_000, 20_000_000]


def test_truth_says_what_a_coarse_register_means() -> None:
    with one("sdm630", 'power_w = 40000.0\nstart = { "import_energy_wh" = 131000010 }') as it:
        read = []
        for _ in range(50):
            read.append(it.read("energy")["import_energy_wh"])
            it.clock.move(3600)
        assert int(read[-1] or 0) > 131_072_000
        assert read == [value for _, value in it.said("import_energy_wh")]


def test_an_outage_begins_and_ends() -> None:
    with one("em340", "silent_from_s = 30.0\nsilent_for_s = 10.0") as it:
        block = it.profile.plan("energy").requests[0]
        answered = []
        for _ in range(50):
            answered.append(it.ask(block) is not None)
            it.clock.move(1)
        assert answered == [True] * 30 + [False] * 10 + [True] * 10


def test_before_its_origin_a_counter_stands_still() -> None:
    with one("em340", 'start = { "import_energy_wh" = 700 }') as it:
        it.clock.step_wall(-3600 * S_NS)
        assert it.read("energy")["import_energy_wh"] == 700
        assert it.said("import_energy_wh") == [(MONDAY_8_NS - 3600 * S_NS, 700)]


def test_what_a_register_has_no_number_for_takes_nothing_else_with_it(tmp_path: Path) -> None:
    small = tmp_path / "small.toml"
    small.write_text(
        'name = "small"\ntitle = "t"\nmanufacturer = "m"\nmodel = "m"\ndomain = "energy"\nsource = "s"\n'
        '[modbus]\ntype = "int16"\nnot_available = "overflow"\n[[group]]\nname = "g"\nperiod_s = 10\npoint = [\n'
        '{ name = "voltage_v", unit = "V", address = 0 },\n{ name = "active_power_w", unit = "W", address = 1 },\n'
        '{ name = "apparent_power_va", unit = "VA", address = 2, not_available = "none" }]\n'
    )
    with one(str(small), "power_w = 1e6") as it:
        read = it.read("g")
        assert 180 < int(read["voltage_v"] or 0) < 260
        assert (read["active_power_w"], read["apparent_power_va"]) == (None, 0)


@pytest.mark.parametrize("bus", ["net", "line"])
@pytest.mark.parametrize("profile", ["sdm630", "em340", "modbus_counter"])
async def test_every_value_on_the_wire_is_that_of_its_instant(bus: str, profile: str, tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", bus, 7, profile, "latency_s = 0.001")) as rig:
        images = rig.lines[bus]._units[7]._images
        for n, group in enumerate(rig.profile("d").groups):
            for _ in range(5):
                rig.clock.now_ns += 47 * S_NS
                reading = await rig.group("d", group)()
                assert _near(reading.values or [], [source(rig.clock.now_ns) for source in images[n]._sources])


def _near(read: Sequence[Value], true: Sequence[Value]) -> bool:
    """Whether values are what sources say, but for the rounding of registers: half a tenth, or half a step."""
    return len(read) == len(true) and all(
        float(a or 0) == pytest.approx(float(b or 0), rel=1e-6, abs=0.0501) for a, b in zip(read, true, strict=True)
    )


@pytest.mark.parametrize("cut", [b"", b'{"device":"port:d","poi', b"\n"])
def test_a_truth_cut_short_by_a_kill_goes_on_on_a_line_of_its_own(cut: bytes, tmp_path: Path) -> None:
    whole = b'{"device":"port:d","point":"p","t_ns":1,"value":2}\n' * 200
    (tmp_path / "truth.ndjson").write_bytes(whole + cut)
    with contextlib.closing(Truth(tmp_path / "truth.ndjson", ManualClock())) as truth:
        truth.say("port:d", "p", 3, None)
    lines = (tmp_path / "truth.ndjson").read_text().split()
    assert len(lines) == 201
    assert json.loads(lines[-1]) == {"device": "port:d", "point": "p", "t_ns": 3, "value": None}
