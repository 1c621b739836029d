"""The front takes all that a real broker gives, over every kind of connection, and outlives each of its ends."""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge.durable.segments import Segments
from edge.errors import Refused, StorageError
from edge.runtime.clock import RealClock
from edge.runtime.wire import Address, Tls, Version
from pipelines.ingest import front as fronts
from pipelines.ingest import session as sessions
from pipelines.ingest.front import Front
from pipelines.ingest.log import Kind, Log
from tests.brokers import Mosquitto, free_port, mosquitto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAIT_S = 20.0
TOPIC = "spBv1.0/city/DDATA/node/device"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "LEAST_PAUSE_S", 0.05)
    monkeypatch.setattr(fronts, "MOST_PAUSE_S", 0.2)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@dataclass
class Running:
    """A front in its thread, and what its log holds."""

    front: Front
    log: Log
    news: threading.Event
    errors: list[BaseException] = field(default_factory=list)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, (self.front.status(), self.log.status())
            self.news.wait(0.05)
            self.news.clear()

    def rows(self) -> list[tuple[int, bytes]]:
        with self.log.reader() as reader:
            return [(row.kind, row.data) for row in reader.read(0, 1 << 30)]

    def frames(self) -> bytes:
        return b"".join(data[1:] for kind, data in self.rows() if kind == Kind.FRAMES)

    def versions(self) -> set[int]:
        return {data[0] for kind, data in self.rows() if kind == Kind.FRAMES}


@contextlib.contextmanager
def running(directory: Path, address: Address, **settings: Any) -> Iterator[Running]:
    news = threading.Event()
    log = Log(
        directory / "log", RealClock(), limit_bytes=settings.pop("limit_bytes", 1 << 30), keep_ns=0, grown=news.set
    )
    front = Front(address, "front", log, RealClock(), changed=news.set)
    run = Running(front, log, news)

    def work() -> None:
        try:
            front.run()
        except StorageError as error:
            run.errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield run
    finally:
        front.stop()
        thread.join(WAIT_S)
        assert not thread.is_alive()
        front.close()
        log.close()


def here(server: Mosquitto, **settings: Any) -> Address:
    return Address("127.0.0.1", server.port, **settings)


@contextlib.contextmanager
def publisher(port: int) -> Iterator[paho.Client]:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    connected = threading.Event()
    client.on_connect = lambda *_: connected.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    try:
        assert connected.wait(WAIT_S)
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def say(client: paho.Client, payload: bytes, topic: str = TOPIC, qos: int = 0) -> None:
    client.publish(topic, payload, qos).wait_for_publish(WAIT_S)


def packet(payload: bytes, version: int, topic: str = TOPIC) -> bytes:
    """A QoS 0 PUBLISH, said from the standard."""
    body = len(topic).to_bytes(2, "big") + topic.encode() + (b"\x00" if version == 5 else b"") + payload
    length, head = len(body), bytearray([0x30])
    while True:
        head.append(length % 128 | (0x80 if length > 127 else 0))
        length //= 128
        if not length:
            return bytes(head) + body


def test_paho_takes_its_socket_from_the_private_method_that_we_override() -> None:
    assert callable(getattr(paho.Client, "_create_socket", None))
    ours, theirs = socket.socketpair()
    client = sessions.Client(CallbackAPIVersion.VERSION2, "pin")
    client.wire = sessions.Wire(ours, 1000)
    client.connect_async("nowhere.invalid", 1)
    client.reconnect()
    assert client.socket() is client.wire
    assert theirs.recv(1) == b"\x10", "CONNECT goes through our object, and to no other place"
    theirs.sendall(packet(b"ours", 4) + b"\x20\x02\x00\x00")
    client.wire.fill()
    assert bytes(client.wire.split.publishes) == packet(b"ours", 4)
    while client.wire.split.others:
        client.loop_read()
    assert client.is_connected(), "CONNACK came to paho"
    client.wire.close()
    theirs.close()


@pytest.mark.parametrize(("version", "number"), [(Version.AUTO, 5), (Version.V5, 5), (Version.V311, 4)])
def test_packets_come_into_the_log_as_they_are(
    version: Version, number: int, server: Mosquitto, tmp_path: Path
) -> None:
    payloads = [b"%d" % n * (n % 300) for n in range(400)] + [b"x" * 300_000]
    with running(tmp_path, here(server, version=version)) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)
        for payload in payloads:
            say(client, payload)
        run.until(lambda: run.front.packets == len(payloads))
        run.until(lambda: run.frames() == b"".join(packet(payload, number) for payload in payloads))
        assert run.versions() == {number}
        assert len(run.rows()) < len(payloads) / 4, "one row a commit, not one a packet"


def test_what_edge_nodes_say_is_taken_and_nothing_else(server: Mosquitto, tmp_path: Path) -> None:
    wanted = [f"spBv1.0/g/{kind}/n" for kind in ("NBIRTH", "NDATA", "NDEATH")]
    wanted += [f"spBv1.0/g/{kind}/n/d" for kind in ("DBIRTH", "DDATA", "DDEATH")]
    with running(tmp_path, here(server)) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)
        for topic in ["spBv1.0/STATE/h", "spBv1.0/g/NCMD/n", "spBv1.0/g/DCMD/n/d", "wayside/v1/ack/g/n/h", *wanted]:
            say(client, b"x", topic, qos=1)
        run.until(lambda: run.front.packets == len(wanted))
        run.until(lambda: run.frames() == b"".join(packet(b"x", 5, topic) for topic in wanted))


def test_it_comes_back_when_the_broker_does(server: Mosquitto, tmp_path: Path) -> None:
    with running(tmp_path, here(server)) as run:
        for n in range(1, 4):
            run.until(lambda: run.front.is_subscribed)
            with publisher(server.port) as client:
                say(client, b"%d" % n)
                run.until(lambda: run.frames().endswith(b"%d" % n))  # noqa: B023 # called within the round
            server.kill()
            run.until(lambda: not run.front.is_subscribed)
            assert run.front.reason
            server.start()
        run.until(lambda: run.front.is_subscribed)
        assert run.front.connections == 4


def test_no_broker_is_a_state(tmp_path: Path) -> None:
    with running(tmp_path, Address("127.0.0.1", free_port())) as run:
        run.until(lambda: run.front.stage is fronts.Stage.PAUSING)
        assert "refused" in run.front.reason
        run.until(lambda: len(run.rows()) == 2)
        assert [kind for kind, _ in run.rows()] == [Kind.OPENED, Kind.TICK], "idle time is in the log"


def test_a_broker_that_is_silent_is_left(monkeypatch: pytest.MonkeyPatch, server: Mosquitto, tmp_path: Path) -> None:
    """Pings keep an idle connection; without an answer to one it is given up."""
    monkeypatch.setattr(sessions, "KEEPALIVE_S", 1)
    monkeypatch.setattr(sessions, "REACH_S", 0.5)
    with running(tmp_path, here(server)) as run:
        run.until(lambda: run.front.is_subscribed)
        threading.Event().wait(2.5)  # longer than the broker would keep a client that does not ping
        assert (run.front.is_subscribed, run.front.connections) == (True, 1)
        server.pause()
        run.until(lambda: not run.front.is_subscribed)
        server.resume()
        run.until(lambda: run.front.is_subscribed)


@contextlib.contextmanager
def scripted(answer: Callable[[bytes], bytes | None]) -> Iterator[int]:
    """A broker that answers each packet of ours as it is told; None = it closes. Gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    with sock:
                        while (data := sock.recv(4096)) and (said := answer(data)) is not None:
                            sock.sendall(said)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(WAIT_S)
    assert not thread.is_alive()


def suback(subscribe: bytes, code: int, version: int) -> bytes:
    body = subscribe[2:4] + (b"\x00" if version == 5 else b"") + bytes([code]) * len(fronts.FILTERS)
    return bytes([0x90, len(body)]) + body


def test_a_broker_that_does_not_let_us_subscribe_is_told(tmp_path: Path) -> None:
    def answer(data: bytes) -> bytes:
        return b"\x20\x03\x00\x00\x00" if data[0] == 0x10 else suback(data, 0x87, 5)

    with scripted(answer) as port, running(tmp_path, Address("127.0.0.1", port)) as run:
        run.until(lambda: "refuses our subscription to spBv1.0/+/NBIRTH/+" in run.front.reason)
        assert run.front.connections == 0


@pytest.mark.parametrize("no", [None, b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00"])
def test_a_broker_of_the_older_version_is_spoken_to_in_it(no: bytes | None, tmp_path: Path) -> None:
    def answer(data: bytes) -> bytes | None:
        if data[0] == 0x10:
            return no if data[8] == 5 else b"\x20\x02\x00\x00"
        return suback(data, 0, 4) + packet(b"old", 4) if data[0] == 0x82 else b""

    with scripted(answer) as port, running(tmp_path, Address("127.0.0.1", port)) as run:
        run.until(lambda: run.frames() == packet(b"old", 4))
        assert run.versions() == {4}
        assert run.front.status()["mqtt"] == "3.1.1"


def test_a_broker_that_refuses_us_is_told(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker", anonymous=False) as server, running(tmp_path, here(server)) as run:
        run.until(lambda: "refuses us: Not authorized" in run.front.reason)
        assert run.front.status()["mqtt"] == "5", "that is not about the version"


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    port = free_port()
    lines = (f"listener {port} 127.0.0.1", f"certfile {certificate}", f"keyfile {key}")
    payloads = [bytes([n]) * 50_000 for n in range(40)]
    with mosquitto(tmp_path / "broker", *lines) as server:
        address = Address("127.0.0.1", port, Tls(ca_file=certificate))
        with running(tmp_path, address) as run, publisher(server.port) as client:
            run.until(lambda: run.front.is_subscribed)
            for payload in payloads:
                say(client, payload)
            run.until(lambda: run.frames() == b"".join(packet(payload, 5) for payload in payloads))
    with mosquitto(tmp_path / "other", *lines), running(tmp_path / "2", Address("127.0.0.1", port, Tls())) as run:
        run.until(lambda: "certificate" in run.front.reason.lower())
        assert run.front.connections == 0


def test_a_packet_beyond_the_limit_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, server: Mosquitto, tmp_path: Path
) -> None:
    monkeypatch.setattr(fronts, "PACKET_BYTES", 10_000)
    with running(tmp_path, here(server)) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)
        for payload in (b"a", b"x" * 1_000_000, b"b"):
            say(client, payload)
        run.until(lambda: run.frames() == packet(b"a", 5) + packet(b"b", 5))
        assert run.front.oversized == 1


def test_rows_hold_at_most_four_mebibytes(server: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fronts, "COMMIT_S", 30.0)
    monkeypatch.setattr(fronts, "TICK_S", 1000.0)
    with running(tmp_path, here(server)) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)
        for n in range(150):
            say(client, bytes([n]) * 60_000)
        run.until(lambda: len(run.frames()) > 2 * (3 << 20))
        assert {3 << 20 < len(data) <= (4 << 20) + 1 for kind, data in run.rows() if kind == Kind.FRAMES} == {True}


def test_a_retirement_stands_behind_what_came_before_it(server: Mosquitto, tmp_path: Path) -> None:
    with running(tmp_path, here(server)) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)
        say(client, b"before")
        run.until(lambda: run.front.packets == 1)
        end = run.front.retire("device", "port:m").result(WAIT_S)
        rows = run.rows()
        assert rows[end - 1][0] == Kind.RETIRE
        assert json.loads(rows[end - 1][1]) == {"scope": "device", "name": "port:m"}
        assert Kind.FRAMES in [kind for kind, _ in rows[: end - 1]]


def test_a_full_log_drops_refuses_and_goes_on(server: Mosquitto, tmp_path: Path) -> None:
    with running(tmp_path, here(server), limit_bytes=512 << 10) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)
        while not run.log.dropped_bytes:
            say(client, bytes(40_000))
            run.news.wait(0.01)
        assert run.front.is_subscribed
        with pytest.raises(Refused):
            run.front.retire("device", "x" * 600_000).result(WAIT_S)
        run.log._limit_bytes = 64 << 20
        say(client, b"on")
        run.until(lambda: run.frames().endswith(b"on"))


def test_a_failing_medium_ends_the_thread(server: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, here(server)) as run, publisher(server.port) as client:
        run.until(lambda: run.front.is_subscribed)

        def fails(_rows: object) -> int:
            raise StorageError("the medium fails")

        monkeypatch.setattr(run.log._segments, "append_many", fails)
        say(client, b"x")
        run.until(lambda: bool(run.errors))
        assert run.front.stage is fronts.Stage.STOPPED


def test_a_file_of_the_log_that_fails_is_no_lost_connection(
    server: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_segments: Segments) -> int:
        raise OSError(errno.EIO, "Input/output error", "00000.seg")

    with running(tmp_path, here(server)) as run:
        run.until(lambda: run.front.is_subscribed)
        monkeypatch.setattr(Segments, "size_bytes", property(fails))
        run.log._limit_bytes = 0  # it looks at its files again
        run.front.retire("device", "x")
        run.until(lambda: bool(run.errors))
        assert str(run.errors[0]) == "the log: 00000.seg: Input/output error"
        assert run.front.stage is fronts.Stage.STOPPED
        assert not run.front.reason
        monkeypatch.undo()
