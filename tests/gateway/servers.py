"""A real Modbus TCP server: units that answer from the registers of their profiles, or not."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from edge.modbus.decode import Plan
from edge.model.point import Datatype, Point, Value
from edge.profile.load import Profile

_HEADER_BYTES = 6
_NO_SUCH_ADDRESS = 2
_NO_ANSWER_BEHIND = 11


@dataclass
class Unit:
    """One device: what its registers hold each time it is read."""

    profile: Profile
    n_reads: int = 0
    is_silent: bool = False

    def registers(self, request: bytes) -> list[int] | None:
        """Answer a read: the registers, or None where there is none."""
        function, address, count = request[0], int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        self.n_reads += 1
        held: dict[tuple[int, int], int] = {}
        for name in self.profile.groups:
            plan: Plan = self.profile.plan(name)
            held |= plan.encode(self.values(name))
        found = [held.get((function, at), 0) for at in range(address, address + count)]
        return found if any((function, at) in held for at in range(address, address + count)) else None

    def values(self, group: str) -> list[Value]:
        points = self.profile.group(group, site="s", device="d").points
        return [_value(point, self.n_reads) for point in points]


def _value(point: Point, n: int) -> Value:
    match point.datatype:
        case Datatype.STRING:
            return "A1"
        case Datatype.BOOLEAN:
            return n % 2 == 0
        case Datatype.INT64:
            return point.resolution * (n % 100)
        case _:
            value = float(n % 30)
            return min(max(value, point.low or 0.0), value if point.high is None else point.high)


@dataclass
class ModbusServer:
    """Units behind one port; `stop` and `start` keep the port."""

    units: dict[int, Unit]
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while True:
                header = await reader.readexactly(_HEADER_BYTES)
                body = await reader.readexactly(int.from_bytes(header[4:6], "big"))
                if (answer := self._answer(body[0], body[1:])) is not None:
                    pdu = body[:1] + answer
                    writer.write(header[:4] + len(pdu).to_bytes(2, "big") + pdu)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    def _answer(self, unit_id: int, request: bytes) -> bytes | None:
        unit = self.units.get(unit_id)
        if unit is None:
            return bytes((request[0] | 0x80, _NO_ANSWER_BEHIND))
        if unit.is_silent:
            return None
        registers = unit.registers(request)
        if registers is None:
            return bytes((request[0] | 0x80, _NO_SUCH_ADDRESS))
        data = b"".join(register.to_bytes(2, "big") for register in registers)
        return bytes((request[0], len(data))) + data


@asynccontextmanager
async def modbus_server(units: dict[int, Unit]) -> AsyncIterator[ModbusServer]:
    server = ModbusServer(units)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(done: Callable[[], bool], within_s: float = 15.0) -> None:
    """Wait for what a real process does; there is nothing of ours to wait on."""
    async with asyncio.timeout(within_s):
        while not done():  # noqa: ASYNC110 # see above
            await asyncio.sleep(0.02)
