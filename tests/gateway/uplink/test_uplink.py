"""Sessions over a real broker: everything arrives once, whatever is killed, forgotten or complained about."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from edge.delivery import sender
from edge.delivery.acceptor import Decision, JumpReason
from edge.delivery.acknowledge import epoch_key
from edge.runtime import mqtt
from edge.runtime.clock import RealClock
from edge.runtime.mqtt import Address, Broker
from edge.sparkplug.payload import BDSEQ, REBIRTH, texts_of
from gateway.uplink import presence
from gateway.uplink import uplink as module
from gateway.uplink.uplink import State, Uplink, UplinkSettings
from tests.brokers import Mosquitto, mosquitto
from tests.edge.durable.material import settle
from tests.gateway.uplink.centre import WAIT_S, Centre, running
from tests.gateway.uplink.material import commit, date, group, open_journal, poll, polls_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from edge.durable.journal import Journal


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as started:
        yield started


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LEAST_PAUSE_S", 0.05)
    monkeypatch.setattr(mqtt, "MOST_PAUSE_S", 0.2)
    monkeypatch.setattr(sender, "MIN_SILENCE_S", 0.2)
    monkeypatch.setattr(module, "REBIRTH_S", 0.05)
    monkeypatch.setattr(presence, "SPREAD_S", 0.05)


@dataclass
class Ready:
    """A timebase."""

    ready_at: int | None


class Gateway:
    """An uplink on a journal in a folder, started and ended like a process."""

    def __init__(self, directory: Path, port: int, **settings: Any) -> None:
        self.directory, self.port = directory, port
        self.settings = msgspec.structs.asdict(Settings(**settings))
        self.commits: Callable[[], None] = lambda: None

    def open(self, **changes: Any) -> Journal:
        self.journal = open_journal(self.directory, progress=lambda _: self.commits(), **changes)
        self.schedule = self.journal.declare(group(), self.journal.epoch.mono_ns)
        self.ready = Ready(date(self.journal))
        return self.journal

    def poll(self, numbers: range) -> None:
        for n in numbers:
            self.journal.append(poll(self.schedule, n))

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Uplink]:
        broker = Broker(Address("127.0.0.1", self.port), "gw-1", RealClock(), random.Random(3))
        settings = UplinkSettings("city", "gw-1", **self.settings)
        uplink = Uplink(settings, self.journal, broker, self.ready, RealClock(), self.directory.parent / "bdseq")
        self.commits = uplink.committed
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(uplink.run(), name="tests.uplink")
            yield uplink
            task.cancel()


class Settings(msgspec.Struct):
    acknowledging_host: str = "centre"
    primary_host: str = ""
    publish_s: float = 0.02


@pytest.fixture
def gateway(tmp_path: Path, server: Mosquitto) -> Gateway:
    return Gateway(tmp_path / "journal", server.port)


async def acknowledged(journal: Journal) -> None:
    """Wait until the centre has all that is committed."""
    commit(journal)
    async with asyncio.timeout(WAIT_S):
        while journal.acknowledged < journal.committed:  # noqa: ASYNC110 # set in no task of ours
            await asyncio.sleep(0.01)


def check(centre: Centre, *gateways: Gateway) -> None:
    """Everything that the journals hold is at the centre, as it was measured."""
    for gateway in gateways:
        held = polls_in(gateway.directory)
        assert held
        for identity, each in held.items():
            said = centre.taken[identity]
            assert (said.device, said.group) == (f"{each['site']}:{each['device']}", each["group"])
            assert (said.due_ms * 1_000_000, said.outcome) == (each["due_t_ns"], each["outcome"])
            told = {name: [value, quality] for name, (value, quality, _) in said.samples.items()}
            assert told == each["samples"]


async def test_what_is_committed_arrives_once_and_is_acknowledged(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            gateway.poll(range(100))
            async with gateway.up() as uplink:
                await acknowledged(journal)
                for n in range(100, 130):
                    gateway.poll(range(n, n + 1))
                    commit(journal)
                await acknowledged(journal)
                status = uplink.status()
            assert (status["state"], status["backlog"], status["in_flight_bytes"]) == ("delivering", 0, 0)
            assert status["positions"][0]["position"] == journal.committed
            assert uplink.state is State.OFFLINE
        check(centre, gateway)
        assert set(centre.decisions) <= {Decision.TAKEN, Decision.HELD}
        assert not centre.jumps
        assert centre.asked == 0


async def test_sparkplug_rules_of_a_session(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            gateway.poll(range(300))
            async with gateway.up():
                await acknowledged(journal)
                centre.ask_rebirth()
                await centre.until(lambda: len(centre.payloads("NBIRTH")) == 2)
                gateway.poll(range(300, 310))
                await acknowledged(journal)
            await centre.until(lambda: centre.payloads("NDEATH"))
            async with gateway.up():
                await centre.until(lambda: len(centre.payloads("NBIRTH")) == 3)
            await centre.until(lambda: len(centre.payloads("NDEATH")) == 2)
    kinds = centre.heard_kinds()
    assert kinds[0] == "NBIRTH"
    assert kinds.index("DBIRTH") < kinds.index("DDATA")
    births, deaths = centre.payloads("NBIRTH"), centre.payloads("NDEATH")
    assert [birth.seq for birth in births] == [0, 0, 0]
    assert [birth.metrics[0].long_value for birth in births] == [0, 0, 1]
    assert [death.metrics[0].long_value for death in deaths] == [0, 1]
    assert all([metric.name for metric in death.metrics] == [BDSEQ] and not death.HasField("seq") for death in deaths)
    assert [metric.name for metric in births[0].metrics[:2]] == [BDSEQ, REBIRTH]
    texts = texts_of(births[0])
    assert texts["wayside/journal"] == str(journal.journal)
    assert texts["wayside/acknowledging_host"] == "centre"
    assert msgspec.json.decode(texts["wayside/lineage"]) == [[epoch_key(journal.epoch.epoch), 0]]
    expected_seq = 0
    for name, payload in centre.heard:
        if name.kind in {"NDEATH", "NCMD"}:
            continue
        expected_seq = 0 if name.kind == "NBIRTH" else (expected_seq + 1) % 256
        assert payload.seq == expected_seq
        assert payload.timestamp


async def test_a_killed_broker_and_killed_gateways_cost_nothing(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    centre.grant = 20_000
    draw, n = random.Random(5), 0
    async with running(centre):
        for opening in range(3):
            with gateway.open(mono_ns=n * 1_000_000_000) as journal:
                async with gateway.up():
                    for _ in range(4):
                        gateway.poll(range(n, n + 200))
                        n += 200
                        commit(journal)
                        await asyncio.sleep(draw.uniform(0, 0.2))
                        server.kill()
                        server.start()
                    if opening == 2:
                        await acknowledged(journal)
        check(centre, gateway)
        assert len(centre.taken) == n
        assert not centre.jumps


async def test_a_new_centre_is_filled_again_from_what_is_held(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            gateway.poll(range(500))
            async with gateway.up():
                await acknowledged(journal)
                before, centre.taken, centre.extras = centre.taken, {}, {}
                centre.forget()
                gateway.poll(range(500, 510))
                await centre.until(lambda: len(centre.taken) == 510)
                await acknowledged(journal)
        check(centre, gateway)
        assert {each.samples["volume"] for each in before.values()} < {
            each.samples["volume"] for each in centre.taken.values()
        }
        assert any(payload.metrics[0].is_historical for payload in centre.payloads("DDATA"))


@pytest.mark.parametrize("primary_host", ["", "centre"])
async def test_an_idle_gateway_fills_a_centre_that_was_emptied(
    tmp_path: Path, server: Mosquitto, primary_host: str
) -> None:
    gateway = Gateway(tmp_path / "journal", server.port, primary_host=primary_host)
    centre = Centre(server.port)
    async with running(centre):
        centre.state(online=True, t_ms=100)
        with gateway.open() as journal:
            gateway.poll(range(500))
            async with gateway.up() as uplink:
                await acknowledged(journal)
                births = len(centre.payloads("NBIRTH"))
                assert births == 1, "the copy of STATE that the broker has kept asks for nothing"
                centre.state(online=False, t_ms=100)
                centre.taken, centre.extras, centre.tables = {}, {}, {}
                centre.forget()
                centre.state(online=True, t_ms=200)
                await centre.until(lambda: len(centre.taken) == 500)
                await acknowledged(journal)
                assert uplink.status()["rebirths"] == (0 if primary_host else 1)
        check(centre, gateway)
        assert len(centre.payloads("NBIRTH")) == births + 1


async def test_a_centre_put_in_anothers_place_is_filled_though_nobody_said_offline(
    gateway: Gateway, server: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "AGAIN_S", 0.5)
    centre = Centre(server.port)
    async with running(centre):
        centre.state(online=True, t_ms=200)
        with gateway.open() as journal:
            gateway.poll(range(50))
            async with gateway.up():
                await acknowledged(journal)
                began_s = RealClock().real_s()
                centre.taken, centre.extras = {}, {}
                centre.forget()
                centre.state(online=True, t_ms=100)  # its clock is behind
                centre.state(online=True, t_ms=100)
                await centre.until(lambda: len(centre.taken) == 50)
                assert RealClock().real_s() - began_s > 0.3
                await acknowledged(journal)
        check(centre, gateway)
        assert len(centre.payloads("NBIRTH")) == 2


async def test_what_had_to_be_evicted_is_named(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open(quota_bytes=200 << 10, segment_bytes=32 << 10) as journal:
            gateway.poll(range(10))
            async with gateway.up():
                await acknowledged(journal)
            for n in range(10, 6000, 100):
                gateway.poll(range(n, n + 100))
                commit(journal)
            settle(journal)
            assert journal.lost
            async with gateway.up():
                await acknowledged(journal)
            held = polls_in(gateway.directory)
        check(centre, gateway)
        assert {jump.reason for jump in centre.jumps} == {JumpReason.EVICTED}
        assert sum(jump.end - jump.start for jump in centre.jumps) == journal.lost
        gone = set().union(*(range(jump.start, jump.end) for jump in centre.jumps))
        first_polls = {offset for _, offset in centre.taken} - {offset for _, offset in held}
        assert first_polls.isdisjoint(gone)
        assert len(first_polls) == 10


async def test_a_restored_card_is_a_fork_and_its_new_records_are_no_duplicates(
    gateway: Gateway, server: Mosquitto, tmp_path: Path
) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            gateway.poll(range(20))
            commit(journal)
        shutil.copytree(gateway.directory, tmp_path / "copy")
        with gateway.open(mono_ns=20) as journal:
            gateway.poll(range(20, 60))
            async with gateway.up():
                await acknowledged(journal)
        before = set(centre.taken)
        shutil.rmtree(gateway.directory)
        shutil.copytree(tmp_path / "copy", gateway.directory)
        with gateway.open(boot="boot-2") as journal:
            gateway.poll(range(30))
            async with gateway.up():
                await acknowledged(journal)
        check(centre, gateway)
        assert len(centre.taken) == 20 + 40 + 30
        assert before < set(centre.taken)
        assert not centre.jumps


async def test_a_backlog_is_sent_in_batches_within_the_grant(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    centre.grant = 8000
    async with running(centre):
        with gateway.open() as journal:
            gateway.poll(range(2000))
            commit(journal)
            async with gateway.up():
                await acknowledged(journal)
        check(centre, gateway)
        assert 7000 < centre.largest <= 8000


async def test_a_broker_that_hangs_is_left_and_found_again(
    gateway: Gateway, server: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "KEEPALIVE_S", 1)
    monkeypatch.setattr(mqtt, "_MISC_S", 0.1)
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            async with gateway.up() as uplink:
                await acknowledged(journal)
                server.pause()
                gateway.poll(range(100))
                async with asyncio.timeout(WAIT_S):
                    while uplink.state is not State.OFFLINE:  # noqa: ASYNC110 # nothing of ours sets it
                        await asyncio.sleep(0.01)
                assert uplink.status()["waiting"][0]["for"] == "broker"
                server.resume()
                await acknowledged(journal)
        check(centre, gateway)


async def test_a_gap_makes_it_go_back_once(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            async with gateway.up():
                await centre.until(lambda: centre.payloads("DBIRTH"))
                await acknowledged(journal)
                centre.deaf = True
                gateway.poll(range(50))
                heard = len(centre.heard)
                commit(journal)
                await centre.until(lambda: len(centre.heard) > heard)
                centre.deaf = False
                gateway.poll(range(50, 60))
                await acknowledged(journal)
        check(centre, gateway)
        assert Decision.GAP in centre.decisions


async def test_a_table_that_the_centre_does_not_know_is_declared_again(gateway: Gateway, server: Mosquitto) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            async with gateway.up() as uplink:
                await acknowledged(journal)
                centre.tables.clear()
                gateway.poll(range(10))
                await acknowledged(journal)
                assert uplink.status()["rebirths"] == centre.asked > 0
        check(centre, gateway)


async def test_nothing_numbered_goes_before_there_is_a_date_that_is_durable(
    gateway: Gateway, server: Mosquitto
) -> None:
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            ready_at, gateway.ready.ready_at = gateway.ready.ready_at, None
            gateway.poll(range(10))
            commit(journal)
            async with gateway.up() as uplink:
                await centre.until(lambda: "DBIRTH" in centre.heard_kinds())
                await asyncio.sleep(0.1)
                gateway.ready.ready_at = journal.committed + 1
                gateway.commits()
                await asyncio.sleep(0.1)
                assert not {"NDATA", "DDATA"} & set(centre.heard_kinds())
                assert uplink.status()["backlog"] == journal.committed
                gateway.ready.ready_at = ready_at
                gateway.commits()
                await acknowledged(journal)
        check(centre, gateway)


async def test_silence_is_an_alarm_that_an_answer_ends(
    gateway: Gateway, server: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALARM_S", 0.3)
    centre = Centre(server.port)
    centre.silent = True
    async with running(centre):
        with gateway.open() as journal:
            async with gateway.up() as uplink:
                await centre.until(lambda: len(centre.payloads("NBIRTH")) >= 2)
                async with asyncio.timeout(WAIT_S):
                    while uplink.state is not State.UNACKNOWLEDGED:  # noqa: ASYNC110 # time passes, nothing sets it
                        await asyncio.sleep(0.01)
                status = uplink.status()
                assert status["alarm"]
                assert "centre has said nothing" in status["waiting"][0]["why"]
                assert not {"NDATA", "DDATA"} & set(centre.heard_kinds())
                centre.silent = False
                await acknowledged(journal)
                assert uplink.status()["state"] == "delivering"


async def test_births_wait_for_the_primary_host(tmp_path: Path, server: Mosquitto) -> None:
    gateway = Gateway(tmp_path / "journal", server.port, primary_host="centre")
    centre = Centre(server.port)
    async with running(centre):
        with gateway.open() as journal:
            gateway.poll(range(10))
            async with gateway.up() as uplink:
                async with asyncio.timeout(WAIT_S):
                    while uplink.state is not State.WAITING_FOR_HOST:  # noqa: ASYNC110 # as above
                        await asyncio.sleep(0.01)
                assert centre.heard == []
                centre.state(online=True, t_ms=100)
                await acknowledged(journal)
                centre.state(online=False, t_ms=50)  # a late will of a former connection
                gateway.poll(range(10, 20))
                await acknowledged(journal)
                assert "NDEATH" not in centre.heard_kinds()
                centre.state(online=False, t_ms=101)
                await centre.until(lambda: "NDEATH" in centre.heard_kinds())
                heard = len(centre.heard)
                gateway.poll(range(20, 30))
                commit(journal)
                await asyncio.sleep(0.3)
                assert len(centre.heard) == heard
                centre.state(online=True, t_ms=102)
                await acknowledged(journal)
        check(centre, gateway)
        assert [birth.metrics[0].long_value for birth in centre.payloads("NBIRTH")] == [0, 1]


async def test_another_vendors_host_gets_live_data_and_what_it_missed(tmp_path: Path, server: Mosquitto) -> None:
    gateway = Gateway(tmp_path / "journal", server.port, acknowledging_host="", primary_host="centre")
    centre = Centre(server.port)
    centre.deaf = True
    async with running(centre):
        with gateway.open() as journal:
            centre.state(online=True, t_ms=1)
            async with gateway.up() as uplink:
                gateway.poll(range(10))
                await acknowledged(journal)
                centre.state(online=False, t_ms=2)
                await centre.until(lambda: "NDEATH" in centre.heard_kinds())
                gateway.poll(range(10, 20))
                commit(journal)
                centre.state(online=True, t_ms=3)
                await acknowledged(journal)
                assert uplink.status()["grant_bytes"] is None
            await centre.until(lambda: len(volumes(centre)) >= 20)
            assert volumes(centre) == list(range(20))
            assert not any(payload.body for _, payload in centre.heard)
            assert "NDATA" not in centre.heard_kinds()


def volumes(centre: Centre) -> list[int]:
    """Every volume heard, from metrics alone."""
    metrics = [metric for payload in centre.payloads("DDATA") for metric in payload.metrics]
    return [metric.long_value for metric in metrics if metric.alias == len(group().points)]
