"""The broker is reached again and again, says what it refuses, and never makes us keep more than the limit."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import pytest

from edge.runtime import mqtt, wire
from edge.runtime.clock import RealClock
from edge.runtime.mqtt import Address, Broker, BrokerGone, Connection, Link, Message, Tls, Version
from tests.brokers import Mosquitto, free_port, mosquitto

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

WAIT_S = 15.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LEAST_PAUSE_S", 0.05)
    monkeypatch.setattr(mqtt, "MOST_PAUSE_S", 0.2)


async def no_will() -> None:
    return None


def reach(port: int, name: str = "gw", **settings: object) -> Broker:
    return Broker(Address("127.0.0.1", port, **settings), name, RealClock(), random.Random(1))  # type: ignore[arg-type]


class Ears:
    """Collects what arrives."""

    def __init__(self, connection: Connection) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._news = asyncio.Event()
        connection.on_message = self._take

    def _take(self, topic: str, payload: bytes) -> None:
        self.heard.append((topic, payload))
        self._news.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()


@contextlib.asynccontextmanager
async def listening(port: int, *filters: str) -> AsyncIterator[Ears]:
    async with asyncio.timeout(WAIT_S), reach(port, "ears").session(no_will) as connection:
        ears = Ears(connection)
        assert await connection.subscribe(filters) == []
        yield ears


@pytest.mark.parametrize("version", [Version.AUTO, Version.V5, Version.V311])
async def test_messages_go_and_come_in_order(server: Mosquitto, version: Version) -> None:
    async with listening(server.port, "a/#") as ears, reach(server.port, version=version).session(no_will) as mouth:
        for n in range(500):
            assert mouth.publish(Message("a/b", b"%d" % n))
        assert mouth.publish(Message("a/last", b"", qos=1))
        await ears.until(lambda: len(ears.heard) == 501)
        assert [payload for topic, payload in ears.heard if topic == "a/b"] == [b"%d" % n for n in range(500)]


async def test_a_lost_broker_is_reached_again_and_publishes_the_will(server: Mosquitto) -> None:
    broker = reach(server.port)
    wills = iter(range(100))

    async def will() -> Message:
        return Message("will", b"%d" % next(wills), qos=1)

    async with broker.session(will) as connection:
        assert (broker.link, broker.version) == (Link.CONNECTED, Version.V5)
        server.kill()
        assert await asyncio.wait_for(connection.lost, WAIT_S)
        assert not connection.publish(Message("a", b""))
        assert not await connection.room(1)
    assert broker.link is Link.PAUSING
    server.start()
    async with listening(server.port, "will") as ears:
        async with broker.session(will) as connection:
            connection._wire._sock.shutdown(2)
            await asyncio.wait_for(connection.lost, WAIT_S)
        await ears.until(lambda: bool(ears.heard))
        assert int(ears.heard[0][1]) == next(wills) - 1
        async with broker.session(will) as connection:
            pass  # an orderly end
        async with broker.session(will) as connection:
            assert connection.publish(Message("will", b"marker", qos=1))
        await ears.until(lambda: len(ears.heard) > 1)
        assert ears.heard[1][1] == b"marker"
    assert broker.connections == 4


async def test_refused_credentials_are_told(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    with mosquitto(tmp_path, f"password_file {tmp_path / 'passwords'}", anonymous=False) as server:
        broker = reach(server.port, username="gw", password="wrong")  # noqa: S106 # of a test
        with pytest.raises(BrokerGone, match="Not authorized"):
            await broker._attempt(None)
        assert broker.version is Version.V5
        await never_connects(broker)
        assert "Not authorized" in broker.reason


async def never_connects(broker: Broker) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5), broker.session(no_will):
            pass


@contextlib.asynccontextmanager
async def fake(answer: bytes, *, hang: bool = False) -> AsyncIterator[tuple[int, list[int]]]:
    """A broker that answers CONNECT of MQTT 5 so, of 3.1.1 with a welcome; tells the versions it saw."""
    versions: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1000)
        versions.append(first[8])
        writer.write(answer if first[8] == 5 else b"\x20\x02\x00\x00")
        if hang or first[8] != 5:
            await reader.read(1000)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], versions


async def test_what_the_broker_refuses_is_told() -> None:
    """Mosquitto grants what its access list denies, and then sends nothing; other brokers say so."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"\x20\x02\x00\x00")
        asked = await reader.read(1000)
        writer.write(b"\x90\x04" + asked[2:4] + b"\x00\x80")
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, asyncio.timeout(WAIT_S):
        port = server.sockets[0].getsockname()[1]
        async with reach(port, version=Version.V311).session(no_will) as connection:
            assert await connection.subscribe(["open/a", "shut/a"]) == ["shut/a"]
        await ended.wait()


async def test_a_broker_that_knows_only_3_1_1_is_spoken_to_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer, kept in ((b"\x20\x02\x00\x01", Version.V311), (b"\x20\x03\x00\x84\x00", Version.V311), (b"", "5")):
        async with fake(answer) as (port, versions):
            broker = reach(port)
            async with asyncio.timeout(WAIT_S), broker.session(no_will):
                assert versions == [5, 4]
            assert broker.version == kept
    async with fake(b"\x20\x02\x00\x01") as (port, versions):
        broker = reach(port, version=Version.V5)
        await never_connects(broker)
        assert set(versions) == {5}
        assert "nsupported protocol version" in broker.reason
    monkeypatch.setattr(mqtt, "ANSWER_S", 0.05)
    async with fake(b"", hang=True) as (port, _):
        with pytest.raises(BrokerGone, match="no answer to CONNECT"):
            await reach(port)._attempt(None)


async def test_a_peer_that_is_none_is_named() -> None:
    with pytest.raises(BrokerGone, match="refused"):
        await reach(free_port())._attempt(None)
    with pytest.raises(BrokerGone, match="no possible name"):
        await Broker(Address("a" * 80, 1), "gw", RealClock())._attempt(None)


async def test_a_silent_broker_is_given_up(server: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "KEEPALIVE_S", 1)
    monkeypatch.setattr(mqtt, "_MISC_S", 0.1)
    async with reach(server.port).session(no_will) as connection:
        server.pause()
        assert await asyncio.wait_for(connection.lost, WAIT_S)
    server.resume()


async def test_a_broker_that_takes_nothing_holds_us_up_and_costs_no_memory(server: Mosquitto) -> None:
    async with listening(server.port, "big") as ears, reach(server.port).session(no_will) as connection:
        server.pause()
        sent = 0
        while connection.publish(Message("big", b"x" * 60_000)):
            sent += 1
            await asyncio.sleep(0)
            assert sent < 10_000
        assert mqtt.UNWRITTEN_BYTES // 2 < len(connection._wire._out) <= mqtt.UNWRITTEN_BYTES
        waiting = asyncio.ensure_future(connection.room(60_000))
        await asyncio.sleep(0)
        assert not waiting.done()
        server.resume()
        assert await asyncio.wait_for(waiting, WAIT_S)
        assert connection.publish(Message("big", b"last"))
        await ears.until(lambda: ears.heard[-1:] == [("big", b"last")])


async def test_tls_trusts_whom_it_is_told_to(tmp_path: Path) -> None:
    ca, certificate, key = await certificates(tmp_path)
    lines = (f"cafile {ca}", f"certfile {certificate}", f"keyfile {key}", "require_certificate true")
    with mosquitto(tmp_path / "broker", *lines) as server:
        tls = Tls(ca, certificate, key)
        async with reach(server.port, tls=tls).session(no_will) as connection:
            ears = Ears(connection)
            await connection.subscribe(["a"])
            for n in range(50):
                assert connection.publish(Message("a", b"%d" % n * 2000))
                await connection.room(100_000)
            await ears.until(lambda: len(ears.heard) == 50)
        with pytest.raises(BrokerGone, match=r"(?i)certificate"):
            await reach(server.port, tls=Tls())._attempt(None)
        with pytest.raises(BrokerGone, match="No such file"):
            await reach(server.port, tls=Tls(tmp_path / "none"))._attempt(None)


async def certificates(directory: Path) -> tuple[Path, Path, Path]:
    """A self-signed authority that is the broker's and our own certificate at once."""
    certificate, key = directory / "own.pem", directory / "own.key"
    making = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=wayside test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
        str(certificate), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await making.wait() == 0
    return certificate, certificate, key


async def test_a_wait_for_the_broker_can_be_broken_off(server: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REACH_S", 0.2)
    server.pause()
    async with asyncio.TaskGroup() as tasks:
        attempt = tasks.create_task(reach(server.port)._attempt(None))
        await asyncio.sleep(0.05)
        attempt.cancel()
    server.resume()


async def test_a_task_that_awaits_the_loss_can_be_cancelled(server: Mosquitto) -> None:
    async with reach(server.port).session(no_will) as connection:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.lost, 0.01)
        assert connection.is_open
    assert connection.end
    assert connection._wire.fileno() < 0


def test_an_address_is_named_without_its_secrets() -> None:
    address = Address("b", 8883, Tls(), "user", "secret")
    assert str(address) == "mqtts://b:8883"
