"""The TCP bus against a real pymodbus server, and against a server that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from edge.errors import RemoteError
from edge.runtime.clock import RealClock
from gateway.bus.framing import BadFrame
from gateway.bus.line import Bus, BusDown, NoAnswer
from gateway.bus.request import Request
from gateway.bus.tcp import tcp_bus
from tests.gateway.bus.test_framing import mbap
from tests.gateway.bus.test_serial import ask, eventually, expected

TEN = Request(1, 3, 100, 10)
FOUR = Request(1, 3, 200, 4)


@asynccontextmanager
async def modbus_server(port: int = 0) -> AsyncIterator[int]:
    registers = SimData(0, values=list(range(1000)), datatype=DataType.REGISTERS)
    bits = SimData(0, values=[i > 0 for i in range(16)], datatype=DataType.BITS)
    server = ModbusTcpServer(SimDevice(1, ([bits], [bits], [registers], [registers])), address=("127.0.0.1", port))
    await server.serve_forever(background=True)
    try:
        listening: Any = server.transport
        yield listening.sockets[0].getsockname()[1]
    finally:
        shutdown: Any = server.shutdown  # without a type in pymodbus
        await shutdown()


Behaviour = Callable[[bytes, asyncio.StreamWriter], None]


@asynccontextmanager
async def server_that(behave: Behaviour) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            while True:
                behave(await reader.readexactly(12), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.wait([task for task in tasks if task is not None])


@asynccontextmanager
async def bus_to(port: int) -> AsyncIterator[Bus]:
    bus = tcp_bus("127.0.0.1", port, RealClock())
    try:
        yield bus
    finally:
        bus.close()


def transaction(raw: bytes) -> int:
    return int.from_bytes(raw[:2], "big")


def answer(raw: bytes, value: int | None = None) -> bytes:
    address, count = int.from_bytes(raw[8:10], "big"), int.from_bytes(raw[10:12], "big")
    data = b"".join((a if value is None else value).to_bytes(2, "big") for a in range(address, address + count))
    return mbap(transaction(raw), bytes((raw[7], len(data))) + data, raw[6])


async def test_real_server() -> None:
    async with modbus_server() as port, bus_to(port) as bus:
        for _ in range(3):
            assert await ask(bus, TEN, 2.0) == expected(TEN)
        assert (await bus.transact(Request(1, 1, 0, 9), 2.0)).data == b"\xfe\x01"
        with pytest.raises(RemoteError) as caught:
            await ask(bus, Request(1, 3, 5000, 1), 2.0)
        assert caught.value.code == 2
        assert bus.counters.opened == 1


async def test_server_that_starts_again() -> None:
    async with AsyncExitStack() as stack:
        async with modbus_server() as port:
            bus = await stack.enter_async_context(bus_to(port))
            assert await ask(bus, TEN, 2.0) == expected(TEN)
        with pytest.raises(BusDown):
            await ask(bus, TEN, 2.0)
        async with modbus_server(port), asyncio.timeout(5):
            assert await eventually(bus, FOUR) == expected(FOUR)


async def test_idle_connection_closed_by_the_server_costs_no_poll() -> None:
    writers: list[asyncio.StreamWriter] = []

    def remember(raw: bytes, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(answer(raw))

    async with server_that(remember) as port, bus_to(port) as bus:
        assert await ask(bus, TEN, 2.0) == expected(TEN)
        writers[0].close()
        async with asyncio.timeout(5):
            while bus.is_open:  # noqa: ASYNC110 # the loop's own notice of the end is what is waited for
                await asyncio.sleep(0.005)
        assert await ask(bus, TEN, 2.0) == expected(TEN)
        assert (bus.counters.opened, bus.counters.lost) == (2, 1)


async def test_late_answer_has_an_old_id() -> None:
    held: list[bytes] = []

    def hold_tens(raw: bytes, writer: asyncio.StreamWriter) -> None:
        if raw[11] == 10 and not held:
            held.append(answer(raw, 0xDEAD))
            return
        for late in held:
            writer.write(late)
        writer.write(answer(raw))

    async with server_that(hold_tens) as port, bus_to(port) as bus:
        with pytest.raises(NoAnswer):
            await ask(bus, TEN, 0.05)
        assert await ask(bus, FOUR, 2.0) == expected(FOUR)
        assert bus.counters.late == 1
        assert await ask(bus, TEN, 2.0) == expected(TEN)


async def test_gateway_that_puts_the_newest_id_on_a_late_answer() -> None:
    """The fence holds where ids lie."""
    held: list[bytes] = []

    def lie(raw: bytes, writer: asyncio.StreamWriter) -> None:
        if raw[11] == 10 and not held:
            held.append(answer(raw, 0xDEAD))
            return
        for late in held:
            writer.write(raw[:2] + late[2:])
        writer.write(answer(raw))

    async with server_that(lie) as port, bus_to(port) as bus:
        with pytest.raises(NoAnswer):
            await ask(bus, TEN, 0.05)
        assert not bus.may_ask(TEN)
        other = bus.other(TEN)
        assert await ask(bus, other, 2.0) == expected(other)
        assert bus.counters.late == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda raw: mbap(transaction(raw), b"\x03\x14" + bytes(20), 9),
        lambda raw: mbap(transaction(raw), b"\x04\x14" + bytes(20)),
        lambda raw: mbap(transaction(raw), b"\x03\x12" + bytes(18)),
        lambda raw: mbap(transaction(raw), b"\x03\x14" + bytes(18)),
        lambda raw: mbap(transaction(raw), b"\x03\x14" + bytes(20), protocol=1),
    ],
    ids=["unit", "function", "byte count", "short", "protocol"],
)
async def test_wrong_answer_with_the_right_id(wrong: Callable[[bytes], bytes]) -> None:
    async with server_that(lambda raw, writer: writer.write(wrong(raw))) as port, bus_to(port) as bus:
        async with asyncio.timeout(10):
            with pytest.raises(BadFrame):
                await ask(bus, TEN, 60.0)


async def test_transaction_0_is_nobody_s_answer() -> None:
    async with server_that(lambda raw, writer: writer.write(b"\0\0" + answer(raw)[2:])) as port, bus_to(port) as bus:
        with pytest.raises(NoAnswer):
            await ask(bus, TEN, 0.05)


async def test_closed_while_waiting() -> None:
    async with server_that(lambda _, writer: writer.close()) as port, bus_to(port) as bus:
        async with asyncio.timeout(10):
            with pytest.raises(BusDown):
                await ask(bus, TEN, 60.0)


async def test_peer_that_lost_its_end_is_connected_anew() -> None:
    first: list[asyncio.StreamWriter] = []

    def deaf_on_the_first_connection(raw: bytes, writer: asyncio.StreamWriter) -> None:
        if not first:
            first.append(writer)
        if writer is not first[0]:
            writer.write(answer(raw))

    async with server_that(deaf_on_the_first_connection) as port, bus_to(port) as bus:
        for _ in range(3):
            with pytest.raises(NoAnswer):
                await ask(bus, bus.other(TEN), 0.02)
        assert await ask(bus, TEN, 2.0) == expected(TEN)
        assert bus.counters.opened == 2


async def test_nobody_there_is_said_at_once_and_attempts_have_pauses() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with bus_to(taken.getsockname()[1]) as bus:
            for _ in range(50):
                with pytest.raises(BusDown):
                    await ask(bus, TEN, 1.0)
            assert bus.counters.opened == 0
            assert bus.counters.requests == 0
