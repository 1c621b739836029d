"""What gateways and other hosts hear of the centre's host, through a real broker."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from typing import TYPE_CHECKING
from uuid import UUID

import aiomqtt
import pytest

from edge.runtime import mqtt
from edge.runtime.mqtt import Link
from edge.runtime.wire import Address
from edge.sparkplug.payload import asks_rebirth, parse
from pipelines.ingest import broker as brokers
from pipelines.ingest import host as hosts
from pipelines.ingest import statements
from tests.brokers import Mosquitto, mosquitto
from tests.pipelines.ingest.listener import JOURNAL, NODE, Centre, Listener, listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (brokers, mqtt):
        monkeypatch.setattr(module, "LEAST_PAUSE_S", 0.05)
        monkeypatch.setattr(module, "MOST_PAUSE_S", 0.2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def centre(server: Mosquitto) -> Centre:
    return Centre(Address("127.0.0.1", server.port))


async def test_state_is_born_follows_what_the_centre_can_and_ends_in_order(server: Mosquitto, centre: Centre) -> None:
    async with listening(server.port) as ears:
        async with centre.up() as host:
            await ears.until(lambda: ears.online() == [True])
            await ears.until(lambda: host.status()["online"])
            centre.able = False
            host.changed()
            await ears.until(lambda: ears.online() == [True, False])
            centre.able = True
            host.changed()
            await ears.until(lambda: ears.online() == [True, False, True])
        await ears.until(lambda: ears.online() == [True, False, True, False])
        assert len({state.t_ms for state in ears.states()}) == 1, "one time for all STATEs of a connection"
        assert centre.broker.link is Link.PAUSING
    async with listening(server.port) as late:
        await late.until(lambda: late.online() == [False])  # it is retained


async def test_the_will_says_offline_and_does_not_stand(server: Mosquitto, centre: Centre) -> None:
    async with listening(server.port) as ears, centre.up() as host:
        await ears.until(lambda: ears.online() == [True])
        async with aiomqtt.Client("127.0.0.1", server.port, identifier="wayside-centre-host"):
            await ears.until(lambda: False in ears.online())
        await ears.until(lambda: ears.online()[-1] and host.status()["online"])
        first, last = ears.states()[0], ears.states()[-1]
        assert last.t_ms > first.t_ms
        will = next(state for state in ears.states() if not state.online)
        assert will.t_ms == first.t_ms, "it is as old as the connection it ends"


async def test_a_state_that_another_says_is_set_right(server: Mosquitto, centre: Centre) -> None:
    async with listening(server.port) as ears, centre.up():
        await ears.until(lambda: ears.online() == [True])
        ears.say_state(online=False, t_ms=1)
        await ears.until(lambda: ears.online() == [True, False, True])


async def test_acknowledgements_come_a_second_apart_and_say_the_newest(server: Mosquitto, centre: Centre) -> None:
    async with listening(server.port) as ears, centre.up() as host:
        await ears.until(lambda: ears.online() == [True])
        for position in range(1, 51):
            centre.put(position)
            await asyncio.sleep(0.025)
        await ears.until(lambda: ears.positions()[-1:] == [50])
        times = ears.times("wayside/v1/ack/city/gw-1/centre")
        assert 2 <= len(times) <= 4
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.9 * statements.EACH_S
        assert ears.positions() == sorted(ears.positions())
        words = ears.acknowledgements()
        assert {(said.session, said.journal) for said in words} == {(host.session, JOURNAL)}
        assert [said.n for said in words] == [*range(1, len(words) + 1)]
        assert host.status()["acknowledgements"] == len(words)


@pytest.mark.parametrize("case", ["birth", "gap", "half a grant"])
async def test_what_a_gateway_waits_for_is_said_at_once(server: Mosquitto, centre: Centre, case: str) -> None:
    async with listening(server.port) as ears, centre.up():
        centre.put(1)
        await ears.until(lambda: ears.positions() == [1])
        grant = ears.acknowledgements()[0].grant
        centre.put(2, urgent=case == "birth", gap=case == "gap", size=grant // 2 if case == "half a grant" else 10)
        began_s = time.monotonic()
        await ears.until(lambda: ears.positions() == [1, 2])
        assert time.monotonic() - began_s < 0.6 * statements.EACH_S
        assert ears.acknowledgements()[1].gap == (case == "gap")


async def test_pressure_takes_all_grants_back_and_its_end_gives_them(server: Mosquitto, centre: Centre) -> None:
    async with listening(server.port) as ears, centre.up():
        journals = [UUID(int=n) for n in range(1, 41)]
        for journal in journals:
            centre.put(1, journal)
        await ears.until(lambda: len(ears.acknowledgements()) == 40)
        for pressed in (True, False):
            centre.pressed = pressed
            ears.heard.clear()
            await ears.until(lambda: len(ears.acknowledgements()) == 40)
            assert {said.journal for said in ears.acknowledgements()} == set(journals)
            assert all((said.grant == 0) == pressed for said in ears.acknowledgements())


async def test_births_are_asked_for_once_in_a_while(
    server: Mosquitto, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "REBIRTH_S", 0.4)
    monkeypatch.setattr(statements, "SPREAD_S", 0.05)
    async with listening(server.port) as ears, centre.up() as host:
        await ears.until(lambda: ears.online() == [True])
        for _ in range(100):
            host.unknown_table(NODE)
            await asyncio.sleep(0.01)
        times = ears.times("spBv1.0/city/NCMD/gw-1")
        assert 2 <= len(times) <= 4
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.35
        assert all(asks_rebirth(parse(each.payload)) for each in ears.heard if "/NCMD/" in each.topic)


async def test_what_could_not_be_said_is_one_word_a_journal_the_newest(server: Mosquitto, centre: Centre) -> None:
    journals, draw = [UUID(int=n) for n in range(1, 201)], random.Random(4)
    async with listening(server.port) as ears, centre.up() as host:
        await ears.until(lambda: host.status()["online"])
        server.kill()
        await ears.until(lambda: host.status()["state"] != Link.CONNECTED)
        for position in range(1, 11):
            for journal in draw.sample(journals, len(journals)):
                centre.put(position, journal)
        assert host.status()["error"]
        ears.heard.clear()
        server.start()
        async with listening(server.port) as late:
            await late.until(lambda: host.status()["online"])
            centre.put(11, urgent=True)
            await late.until(lambda: 11 in late.positions())
            said = [*ears.acknowledgements(), *late.acknowledgements()]
        assert {position for word in said for position in word.positions.values()} <= {10, 11}
        assert host.acknowledgements <= len(journals) + 1
        assert host.status()["error"] is None
        assert centre.broker.connections == 2


async def test_a_broker_that_hangs_is_left_and_found_again(
    server: Mosquitto, centre: Centre, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brokers, "ANSWER_S", 0.3)
    async with listening(server.port) as ears, centre.up() as host:
        await ears.until(lambda: host.status()["online"])
        server.pause()
        centre.able = False
        host.changed()
        await ears.until(lambda: host.status()["state"] != Link.CONNECTED)
        assert "no answer" in str(host.status()["error"])
        centre.able = True
        server.resume()
        await ears.until(lambda: host.status()["online"] and ears.online()[-1])
        centre.put(7, urgent=True)
        await ears.until(lambda: 7 in ears.positions())


async def test_a_state_that_an_access_list_refuses_is_not_shown_as_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "_UNHEARD_S", 0.1)
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite wayside/#\ntopic read spBv1.0/#\n")
    with mosquitto(tmp_path / "broker", f"acl_file {rules}") as server:
        centre = Centre(Address("127.0.0.1", server.port))
        async with listening(server.port) as ears, centre.up() as host:
            centre.put(1)
            await ears.until(lambda: ears.positions() == [1])
            assert host.status()["state"] == Link.CONNECTED
            assert not host.status()["online"]
            rules.write_text("topic readwrite #\n")
            reload(server)
            await ears.until(lambda: host.status()["online"])
        assert Listener.online(ears)[0]


def reload(server: Mosquitto) -> None:
    """Let mosquitto read its access list again."""
    assert server.process is not None
    server.process.send_signal(1)
