"""One poll of one group over a real pseudo-terminal: all or nothing, and never a value that is not this poll's."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.model.record import Outcome
from edge.runtime.clock import RealClock
from gateway.bus.serial import SerialSettings, serial_bus
from gateway.drivers.modbus import ModbusGroup
from gateway.drivers.patience import Patience
from tests.gateway.bus.terminal import Asked, Send, Terminal, good, with_crc
from tests.gateway.drivers.plans import RawPlan, plan

TWO = plan((4, 0, 10), (4, 100, 6))
ONE = plan((4, 0, 10))
TWINS = plan((4, 0, 10), (4, 100, 10))


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    terminal = Terminal(tmp_path / "bus1", good).plug()
    yield terminal
    terminal.unplug()


class Rig:
    """A group on a bus of its own."""

    def __init__(self, terminal: Terminal, raw: RawPlan, timeout_s: float = 0.05, late_s: float = 0.02) -> None:
        self.clock = RealClock()
        self.bus = serial_bus(SerialSettings(str(terminal.link), 1_000_000), self.clock, late_s)
        self.patience = Patience(timeout_s)
        self.poll = ModbusGroup(self.bus, 1, raw, self.patience, self.clock)


async def outcome_of(terminal: Terminal, raw: RawPlan, timeout_s: float = 1.0) -> Outcome:
    rig = Rig(terminal, raw, timeout_s)
    reading = await rig.poll()
    rig.bus.close()
    assert (reading.values is None) == (reading.outcome != Outcome.OK)
    return reading.outcome


async def test_values_in_the_order_of_the_plan(terminal: Terminal) -> None:
    rig = Rig(terminal, TWO, 1.0)
    before_ns = rig.clock.mono_ns()
    reading = await rig.poll()
    rig.bus.close()
    assert reading.outcome == Outcome.OK
    assert reading.values == TWO.addresses
    assert reading.quality is None
    assert before_ns <= reading.taken_ns <= rig.clock.mono_ns()


async def test_all_or_nothing(terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0, asked.refuse(2))] if asked.address == 100 else good(asked)
    assert await outcome_of(terminal, TWO) == Outcome.EXCEPTION
    terminal.behaviour = lambda asked: [] if asked.address == 100 else good(asked)
    assert await outcome_of(terminal, TWO, 0.05) == Outcome.TIMEOUT
    terminal.behaviour = lambda asked: [(0, good(asked)[0][1][:-1] + b"\0")] if asked.address == 100 else good(asked)
    assert await outcome_of(terminal, TWO, 0.05) == Outcome.BAD_FRAME
    terminal.unplug()
    assert await outcome_of(terminal, TWO) == Outcome.BUS_DOWN


async def test_busy_is_asked_once_more(terminal: Terminal) -> None:
    def busy_once(asked: Asked) -> list[Send]:
        return good(asked) if len(terminal.asked) > 1 else [(0, asked.refuse(6))]

    terminal.behaviour = busy_once
    assert await outcome_of(terminal, ONE) == Outcome.OK
    terminal.asked.clear()
    terminal.behaviour = lambda asked: [(0, asked.refuse(6))]
    assert await outcome_of(terminal, ONE) == Outcome.EXCEPTION
    assert len(terminal.asked) == 2


async def test_after_a_time_out_a_request_of_another_shape_goes_first(terminal: Terminal) -> None:
    rig = Rig(terminal, TWO)
    terminal.behaviour = lambda _: []
    assert (await rig.poll()).outcome == Outcome.TIMEOUT
    terminal.behaviour = good
    assert (await rig.poll()).values == TWO.addresses
    assert [(asked.address, asked.count) for asked in terminal.asked] == [(0, 10), (100, 6), (0, 10)]
    rig.bus.close()


@pytest.mark.parametrize("raw", [ONE, TWINS], ids=["one", "twins"])
async def test_where_all_shapes_are_owed_a_detour_comes_first(terminal: Terminal, raw: RawPlan) -> None:
    rig = Rig(terminal, raw)
    terminal.behaviour = lambda _: []
    assert (await rig.poll()).outcome == Outcome.TIMEOUT
    terminal.behaviour = good
    assert (await rig.poll()).values == raw.addresses
    assert [(asked.address, asked.count) for asked in terminal.asked][:3] == [(0, 10), (0, 4), (0, 10)]
    rig.bus.close()


async def test_detour_that_the_device_refuses(terminal: Terminal) -> None:
    """A device that answers its own blocks only: the same poll still comes through."""
    rig = Rig(terminal, ONE)
    terminal.behaviour = lambda _: []
    await rig.poll()
    terminal.behaviour = lambda asked: good(asked) if asked.count == 10 else [(0, asked.refuse(3))]
    assert (await rig.poll()).values == ONE.addresses
    rig.bus.close()


async def test_silent_for_long_then_back(terminal: Terminal) -> None:
    """However many detours were lost, the first poll of the returned device has its values."""
    rig = Rig(terminal, TWINS, 0.01, 0.0)
    terminal.behaviour = lambda _: []
    for _ in range(50):
        assert (await rig.poll()).outcome == Outcome.TIMEOUT
    terminal.behaviour = good
    rig.poll = ModbusGroup(rig.bus, 1, TWINS, Patience(1.0), rig.clock)
    assert (await rig.poll()).values == TWINS.addresses
    rig.bus.close()


class Faults:
    """Units whose registers say their address and the poll that asked; a stale or foreign value is known by either.

    A unit does one thing after another, as microcontrollers do: while an answer is late, later ones wait behind it.
    """

    def __init__(self, seed: int, timeout_s: float) -> None:
        self.draw, self.timeout_s = random.Random(seed), timeout_s
        self.epoch = 0
        self.seen: Counter[str] = Counter()
        self.busy_until_s: dict[int, float] = {}

    def register(self, address: int) -> int:
        return (self.epoch % 251) << 8 | address

    def behave(self, asked: Asked) -> list[Send]:
        whole = asked.answer(self.register)
        kinds = ["good", "late", "split", "truncated", "damaged", "foreign", "echo", "twice", "mute", "refuse", "noise"]
        kind = self.draw.choices(kinds, [70, 6, 5, 2, 2, 3, 3, 3, 2, 2, 2])[0]
        self.seen[kind] += 1
        sends: list[Send] = getattr(self, f"_{kind}")(asked, whole)
        now_s = asyncio.get_running_loop().time()
        wait_s = max(0.0, self.busy_until_s.get(asked.unit_id, 0.0) - now_s)
        if sends:
            self.busy_until_s[asked.unit_id] = now_s + wait_s + sends[-1][0] + 0.0001
        return [(wait_s + delay_s, data) for delay_s, data in sends]

    def _good(self, _: Asked, whole: bytes) -> list[Send]:
        return [(0, whole)]

    def _late(self, _: Asked, whole: bytes) -> list[Send]:
        return [(self.timeout_s * self.draw.uniform(1.1, 6.0), whole)]

    def _split(self, _: Asked, whole: bytes) -> list[Send]:
        at = self.draw.randrange(1, len(whole))
        return [(0, whole[:at]), (self.draw.uniform(0.0005, 0.004), whole[at:])]

    def _truncated(self, _: Asked, whole: bytes) -> list[Send]:
        return [(0, whole[: self.draw.randrange(1, len(whole))])]

    def _damaged(self, _: Asked, whole: bytes) -> list[Send]:
        at, bit = self.draw.randrange(len(whole)), 1 << self.draw.randrange(8)
        return [(0, whole[:at] + bytes((whole[at] ^ bit,)) + whole[at + 1 :])]

    def _foreign(self, asked: Asked, whole: bytes) -> list[Send]:
        return [(0, with_crc(bytes((asked.unit_id % 3 + 1,)) + whole[1:-2])), (0.001, whole)]

    def _echo(self, asked: Asked, whole: bytes) -> list[Send]:
        return [(0, asked.raw), (0.0005, whole)]

    def _twice(self, _: Asked, whole: bytes) -> list[Send]:
        return [(0, whole + whole)]

    def _mute(self, *_: object) -> list[Send]:
        return []

    def _refuse(self, asked: Asked, _: bytes) -> list[Send]:
        return [(0, asked.refuse(self.draw.choice([2, 6])))]

    def _noise(self, _: Asked, whole: bytes) -> list[Send]:
        return [(0, self.draw.randbytes(self.draw.randrange(1, 12)) + whole)]


async def run_faults(terminal: Terminal, polls: int, seed: int) -> tuple[int, Faults]:
    """Poll three units in turn; return how many polls were OK."""
    timeout_s = 0.003
    clock = RealClock()
    bus = serial_bus(SerialSettings(str(terminal.link), 1_000_000), clock, late_s=timeout_s)
    faults = Faults(seed, timeout_s)
    terminal.behaviour = faults.behave
    plans = {1: plan((4, 0, 10)), 2: plan((4, 20, 10), (4, 40, 10)), 3: plan((3, 60, 10), (3, 80, 6), (4, 100, 10))}
    groups = {unit: ModbusGroup(bus, unit, raw, Patience(timeout_s), clock) for unit, raw in plans.items()}
    n_ok = 0
    for n in range(polls):
        unit = n % 3 + 1
        faults.epoch = n
        reading = await groups[unit]()
        if reading.outcome == Outcome.OK:
            n_ok += 1
            assert reading.values == [faults.register(a) for a in plans[unit].addresses], f"poll {n}: a wrong value"
    bus.close()
    return n_ok, faults


async def run_lines(folder: Path, lines: int, polls: int) -> tuple[int, Counter[str]]:
    """Run several lines side by side, each with its own faults."""
    terminals = [Terminal(folder / f"line{n}", good).plug() for n in range(lines)]
    try:
        runs = await asyncio.gather(*(run_faults(terminal, polls, seed) for seed, terminal in enumerate(terminals)))
    finally:
        for terminal in terminals:
            terminal.unplug()
    seen: Counter[str] = Counter()
    for _, faults in runs:
        seen.update(faults.seen)
    return sum(n_ok for n_ok, _ in runs), seen


async def test_no_wrong_value_in_2000_polls(tmp_path: Path) -> None:
    n_ok, seen = await run_lines(tmp_path, lines=8, polls=250)
    assert n_ok > 500
    assert len(seen) == 11
    assert seen["late"] > 100


@pytest.mark.proof
@pytest.mark.timeout(600)
async def test_no_wrong_value_in_10000_polls(tmp_path: Path) -> None:
    n_ok, _ = await run_lines(tmp_path, lines=8, polls=1_250)
    assert n_ok > 2_500


async def test_patience_is_learned_from_turnaround(terminal: Terminal) -> None:
    rig = Rig(terminal, ONE, 2.0)
    for _ in range(200):
        assert (await rig.poll()).values == ONE.addresses
    assert rig.patience.timeout_s < 1.0
    rig.bus.close()


def test_patience_doubles_up_to_the_ceiling_and_comes_back() -> None:
    patience = Patience(1.0)
    for _ in range(600):
        patience.answered(0.02)
    assert patience.timeout_s == pytest.approx(0.1, rel=0.01)
    patience.timed_out()
    assert patience.timeout_s == pytest.approx(0.2, rel=0.01)
    for _ in range(9):
        patience.timed_out()
    assert patience.timeout_s == 1.0
    patience.answered(0.4)
    assert patience.timeout_s >= 0.8
    for _ in range(600):
        patience.answered(0.02)
    assert patience.timeout_s == pytest.approx(0.1, rel=0.01)


def test_patience_ceiling_holds_below_the_floor() -> None:
    patience = Patience(0.02)
    patience.answered(0.5)
    assert patience.timeout_s == 0.02
