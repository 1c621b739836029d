"""The wires of the city: Modbus TCP servers, and Modbus RTU behind pseudo-terminals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from pymodbus.framer import FramerRTU

from edge.runtime.clock import Clock
from wayside.city.devices import NO_ANSWER_BEHIND_GATEWAY, Unit, refusal

LOOPBACK = "127.0.0.1"
_MBAP_BYTES = 7
_MOST_LENGTH = 254
_READ_BYTES = 4096
_MOST_BYTES = 256
"""Of a frame (Modbus over serial line 1.02, 2.5.1); what stands further back begins none."""
MOST_FRAMES_BYTES = 2 * _MOST_BYTES
"""Of a request and its answer."""
_REST_S = 0.05
"""Bytes that stand alone this long are the head of nothing."""
_BITS_PER_BYTE = 10
_SILENT_BYTES = 3.5
_ECHOED = frozenset({5, 6})
_BLOCK_WRITES = frozenset({15, 16})
_SHORTEST_BYTES, _SHORT_BYTES, _WRITE_BYTES = 4, 8, 9


class TcpServer:
    """One port, with several units behind it."""

    protocol = "tcp"

    def __init__(self, port: int, units: Mapping[int, Unit]) -> None:
        """Open nothing yet; port 0 is a free one."""
        self._port, self._units = port, units
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    async def open(self) -> str:
        """Listen; give `host:port`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._units, self._connections), LOOPBACK, self._port
        )
        return f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop listening, and drop who is connected."""
        if self._server is not None:
            self._server.close()
        for transport in list(self._connections):
            transport.abort()


class _Connection(asyncio.Protocol):
    """One client of a port."""

    def __init__(self, units: Mapping[int, Unit], connections: set[asyncio.Transport]) -> None:
        self._units, self._connections = units, connections
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # why it went makes no difference
        self._connections.discard(self._transport)

    def pause_writing(self) -> None:
        """A client that does not read its answers is asked for no more requests."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= _MBAP_BYTES:
            length = int.from_bytes(self._received[4:6], "big")
            if self._received[2:4] != b"\0\0" or not 2 <= length <= _MOST_LENGTH:
                self._transport.abort()
                return
            if len(self._received) < 6 + length:
                return
            frame = bytes(self._received[: 6 + length])
            del self._received[: 6 + length]
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        unit = self._units.get(frame[6])
        if unit is not None and unit.latency_s:
            asyncio.get_running_loop().call_later(unit.latency_s, self._answer, unit, frame)
        else:
            self._answer(unit, frame)

    def _answer(self, unit: Unit | None, frame: bytes) -> None:
        pdu = frame[7:]
        answer = unit.answer(pdu) if unit is not None else refusal(pdu[0], NO_ANSWER_BEHIND_GATEWAY)
        if answer is not None and not self._transport.is_closing():
            self._transport.write(frame[:4] + (1 + len(answer)).to_bytes(2, "big") + frame[6:7] + answer)


class RtuLine:
    """One pseudo-terminal, with several units on it; one request at a time, as on a real wire."""

    protocol = "rtu"

    def __init__(self, link: Path, byte_s: float, units: Mapping[int, Unit], clock: Clock) -> None:
        """Open nothing yet. `byte_s` is the time that a byte takes on the wire; 0 = none."""
        self._link, self._byte_s, self._units, self._clock = link, byte_s, units, clock
        self._master = self._slave = -1
        self._received = bytearray()
        self._received_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    async def open(self) -> str:
        """Make the terminal; give the name that stays the same."""
        # The other end is held open too: else reading fails whenever no gateway has it open.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._on_readable)
        return str(self._link)

    def close(self) -> None:
        """Unplug."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        if self._timer is not None:
            self._timer.cancel()
        self._link.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def _on_readable(self) -> None:
        now_s = self._clock.real_s()
        if self._timer is None and now_s - self._received_s > _REST_S:
            self._received.clear()
        self._received += os.read(self._master, _READ_BYTES)
        del self._received[:-_MOST_BYTES]
        self._received_s = now_s
        self._next()

    def _next(self) -> None:
        """Begin with the next request, unless one is on its way."""
        while self._timer is None and (frame := take_request(self._received)) is not None:
            unit = self._units.get(frame[0])
            if unit is not None:
                pause_s = (len(frame) + _SILENT_BYTES) * self._byte_s + unit.latency_s
                self._after(pause_s, partial(self._answer, unit, frame))

    def _after(self, pause_s: float, act: Callable[[], None]) -> None:
        if pause_s:
            self._timer = asyncio.get_running_loop().call_later(pause_s, act)
        else:
            act()

    def _answer(self, unit: Unit, frame: bytes) -> None:
        self._timer = None
        if (answer := unit.answer(frame[1:-2])) is None:
            self._next()
            return
        whole = with_crc(frame[:1] + answer)
        self._after(len(whole) * self._byte_s, partial(self._send, whole))

    def _send(self, whole: bytes) -> None:
        self._timer = None
        with contextlib.suppress(BlockingIOError):  # nobody has read for long: on a wire it would be gone as well
            os.write(self._master, whole)
        self._next()


def with_crc(frame: bytes) -> bytes:
    """Append the checksum of Modbus RTU."""
    return frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big")


def take_request(received: bytearray) -> bytes | None:
    """Remove the next whole request from `received`, with what stands before it; None if none is whole yet."""
    for at in range(len(received) - _SHORTEST_BYTES + 1):
        for size in _sizes(received, at):
            frame = bytes(received[at : at + size])
            if len(frame) == size and with_crc(frame[:-2]) == frame:
                del received[: at + size]
                return frame
    return None


def byte_s(baud: int) -> float:
    """Give the time that a byte takes, with start and stop bit. [s]."""
    return _BITS_PER_BYTE / baud


def _sizes(received: bytearray, at: int) -> tuple[int, ...]:
    """How long the request that may begin here can be; one of a function that nobody knows is taken as it came."""
    function = received[at + 1]
    if 1 <= function <= 4 or function in _ECHOED:
        return (_SHORT_BYTES,)
    if function in _BLOCK_WRITES:
        return (_WRITE_BYTES + received[at + 6],) if len(received) > at + 6 else ()
    return (len(received) - at,)
