"""The host reaches every kind of broker, is told why not, and can be ended at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import paho.mqtt.client as paho
import pytest

from edge.runtime.clock import RealClock
from edge.runtime.wire import Address, Tls, Version
from pipelines.ingest import broker as brokers
from pipelines.ingest.broker import HostBroker
from tests.brokers import free_port, mosquitto
from tests.pipelines.ingest.listener import WAIT_S, Centre, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_AMQTT = """
listeners: {{default: {{type: tcp, bind: "127.0.0.1:{port}"}}}}
plugins: {{amqtt.plugins.authentication.AnonymousAuthPlugin: {{allow_anonymous: true}}}}
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "LEAST_PAUSE_S", 0.02)
    monkeypatch.setattr(brokers, "MOST_PAUSE_S", 0.05)


def no_will() -> aiomqtt.Will:
    return aiomqtt.Will("will", b"gone")


def reach(port: int, **settings: object) -> HostBroker:
    address = Address("127.0.0.1", port, **settings)  # type: ignore[arg-type] # whatever the test says
    return HostBroker(address, "host", RealClock(), random.Random(1))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 # set in no task of ours
            await asyncio.sleep(0.01)


async def fails(broker: HostBroker, reason: str, seen: Callable[[], object] = lambda: True) -> None:
    """It goes on trying, and says why it does not succeed."""
    task = asyncio.ensure_future(_enter(broker))
    await until(lambda: reason.lower() in broker.reason.lower() and seen())
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert broker.connections == 0


async def _enter(broker: HostBroker) -> None:
    async with broker.session(no_will):
        pass


@contextlib.asynccontextmanager
async def amqtt(directory: Path) -> AsyncIterator[int]:
    port = free_port()
    config = directory / "amqtt.yaml"
    config.write_text(_AMQTT.format(port=port))
    program = Path(sys.executable).with_name("amqtt")
    process = await asyncio.create_subprocess_exec(program, "-c", config, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        await process.wait()


async def test_a_broker_without_mqtt_5_is_spoken_to_as_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """amqtt misreads a CONNECT of MQTT 5 with a will, and says nothing."""
    monkeypatch.setattr(brokers, "ANSWER_S", 1.0)
    async with amqtt(tmp_path) as port:
        centre = Centre(Address("127.0.0.1", port))
        async with centre.up() as host:
            await until(lambda: host.status()["online"])
            assert centre.broker.version is Version.V311
            async with listening(port) as ears:
                await ears.until(lambda: ears.online()[:1] == [True])  # amqtt says what it retains twice
                centre.put(1)
                await ears.until(lambda: ears.positions() == [1])
        assert not host.status()["online"]


async def test_a_chosen_version_stays(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        for version in (Version.V5, Version.V311):
            broker = reach(server.port, version=version)
            async with broker.session(no_will) as client:
                await client.publish("a", b"b", 1)
            assert broker.version is version


@pytest.mark.parametrize("no", [b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"])
async def test_a_broker_that_refuses_a_version_is_asked_for_the_other(no: bytes) -> None:
    versions: list[int] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        versions.append((await reader.readexactly(10))[8])
        writer.write(no if versions[-1] == 5 else b"\x20\x02\x00\x00")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        broker = reach(port)
        async with broker.session(no_will):
            assert versions == [5, 4]
        assert broker.version is Version.V311, "it has said so"
        await fails(reach(port, version=Version.V5), "refuses us", lambda: versions[-1] == 5)


async def test_a_name_and_a_password_are_shown_and_a_refusal_is_told(tmp_path: Path) -> None:
    (tmp_path / "passwords").write_text("")
    with mosquitto(tmp_path, f"password_file {tmp_path / 'passwords'}", anonymous=False) as server:
        broker = reach(server.port, username="centre", password="wrong")  # noqa: S106 # of a test
        await fails(broker, "the broker refuses us: Not authorized")
        assert broker.version is Version.V5, "that is not about the version"


async def test_tls_trusts_whom_it_is_told_to(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    making = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out",
        str(certificate), stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await making.wait() == 0
    with mosquitto(tmp_path / "broker", f"certfile {certificate}", f"keyfile {key}") as server:
        async with reach(server.port, tls=Tls(certificate)).session(no_will) as client:
            await client.subscribe("a/#", qos=1)
            for n in range(40):
                await client.publish(f"a/{n}", b"x" * 5000, 1)
                message = await anext(client.messages)
                assert (str(message.topic), len(message.payload)) == (f"a/{n}", 5000)
        await fails(reach(server.port, tls=Tls()), "certificate")
        await fails(reach(server.port, tls=Tls(tmp_path / "none")), "No such file")


async def test_a_broker_that_says_nothing_is_left_with_its_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "ANSWER_S", 0.1)
    versions, open_now = [], 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        versions.append((await reader.readexactly(10))[8])
        await reader.read()
        open_now -= 1
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        broker = reach(server.sockets[0].getsockname()[1])
        await fails(broker, "no answer to CONNECT", lambda: len(versions) >= 2)
        await until(lambda: open_now == 0)
    assert versions[:2] == [5, 4], "perhaps it knows another version"


async def test_what_is_heard_and_not_looked_at_is_bounded_and_the_newest_stays(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        async with reach(server.port).session(no_will) as client:
            await client.subscribe("a", qos=1)
            count = 3 * brokers.MOST_HEARD
            for n in range(count):
                await client.publish("a", b"%d" % n, 1)
            await client.publish("b", b"", 1)
            await until(lambda: len(client.messages) == brokers.MOST_HEARD)
            heard = [int((await anext(client.messages)).payload) for _ in range(brokers.MOST_HEARD)]
            assert heard == [*range(count - brokers.MOST_HEARD, count)]


async def test_a_host_can_be_ended_whenever(tmp_path: Path) -> None:
    """Also while an answer comes in, which with aiomqtt's own waiting it survived, for ever."""
    draw = random.Random(7)
    with mosquitto(tmp_path) as server:
        async with listening(server.port) as ears:
            for _ in range(40):
                centre = Centre(Address("127.0.0.1", server.port))
                task = asyncio.ensure_future(centre.host.run())
                await ears.until(lambda: ears.online()[-1:] == [True])
                await asyncio.sleep(draw.choice([0.0, 0.0, 0.0005, 0.002]))
                task.cancel()
                async with asyncio.timeout(2 * brokers.FAREWELL_S + 1):
                    await asyncio.wait([task])
                assert task.cancelled()
                await ears.until(lambda: ears.online()[-1] is False)


async def test_an_answer_that_comes_with_a_cancellation_does_not_undo_it(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as server:
        async with reach(server.port).session(no_will) as client:
            answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            waiting: Awaitable[int] = client._wait_for(answer, None)
            task = asyncio.ensure_future(waiting)
            await asyncio.sleep(0)
            answer.set_result(1)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()


def test_a_name_server_that_does_not_answer_holds_up_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, never = threading.Event(), threading.Event()

    def resolve(*_: object) -> None:
        asked.set()
        never.wait(WAIT_S)
        raise OSError("at last")

    async def main() -> None:
        task = asyncio.ensure_future(_enter(reach(1883)))
        assert await asyncio.to_thread(asked.wait, WAIT_S)
        task.cancel()
        await asyncio.wait([task])

    monkeypatch.setattr(socket, "create_connection", resolve)
    began_s = time.monotonic()
    asyncio.run(main())
    never.set()
    assert time.monotonic() - began_s < WAIT_S / 2


async def test_the_private_names_that_this_rests_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(_self: object) -> None:
        raise AssertionError("aiomqtt connects by itself")

    monkeypatch.setattr(paho.Client, "_create_socket_connection", connect)
    assert list(inspect.signature(aiomqtt.Client._wait_for).parameters) == ["self", "fut", "timeout"]
    with mosquitto(tmp_path) as server:
        async with reach(server.port).session(no_will) as client:
            assert isinstance(client._client, paho.Client)
            assert isinstance(client._disconnected, asyncio.Future)
            await client.publish("a", b"b", 1)
