"""The serial bus against a real pseudo-terminal: every way in which an answer can go wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.errors import RemoteError
from edge.runtime.clock import RealClock
from gateway.bus.framing import BadFrame
from gateway.bus.line import Bus, BusDown, Fenced, NoAnswer
from gateway.bus.request import Request
from gateway.bus.serial import SerialSettings, serial_bus
from tests.gateway.bus.terminal import Asked, Send, Terminal, echo_address, good, with_crc

TEN = Request(1, 4, 100, 10)
FOUR = Request(1, 4, 200, 4)
OTHER_TEN = Request(1, 4, 300, 10)


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    terminal = Terminal(tmp_path / "bus1", good).plug()
    yield terminal
    terminal.unplug()


@pytest.fixture
async def bus(terminal: Terminal) -> AsyncIterator[Bus]:
    bus = make_bus(terminal)
    yield bus
    bus.close()


def make_bus(terminal: Terminal, late_s: float = 0.05) -> Bus:
    return serial_bus(SerialSettings(str(terminal.link), 1_000_000), RealClock(), late_s)


def descriptors_open() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def registers(data: bytes) -> list[int]:
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


async def ask(bus: Bus, request: Request, timeout_s: float = 0.05) -> list[int]:
    return registers((await bus.transact(request, timeout_s)).data)


def expected(request: Request) -> list[int]:
    return list(range(request.address, request.address + request.count))


async def test_good_answer(bus: Bus) -> None:
    assert await ask(bus, TEN, 1.0) == expected(TEN)
    assert bus.counters.opened == bus.counters.answers == 1


async def test_answer_in_single_bytes(bus: Bus, terminal: Terminal) -> None:
    def split(asked: Asked) -> list[Send]:
        return [(0.001 * i, bytes((byte,))) for i, byte in enumerate(asked.answer(echo_address))]

    terminal.behaviour = split
    assert await ask(bus, TEN, 1.0) == expected(TEN)


async def test_late_answer_never_reaches_a_request_that_it_fits(bus: Bus, terminal: Terminal) -> None:
    """The line keeps quiet, yet the answer comes later still, while another request waits."""
    terminal.behaviour = lambda asked: [(0.12, asked.answer(lambda _: 0xDEAD))] if asked.count == 10 else []
    with pytest.raises(NoAnswer):
        await ask(bus, TEN)
    assert not bus.may_ask(OTHER_TEN)
    with pytest.raises(Fenced):
        await ask(bus, OTHER_TEN)
    with pytest.raises(NoAnswer):
        await ask(bus, FOUR, 0.2)
    assert bus.counters.late == 1
    assert not bus.may_ask(OTHER_TEN), "a unit that sends late may send twice"
    terminal.behaviour = good
    other = bus.other(OTHER_TEN)
    assert await ask(bus, other, 1.0) == expected(other)
    assert await ask(bus, OTHER_TEN, 1.0) == expected(OTHER_TEN)


async def test_quiet_time_ends_when_the_late_answer_has_come(terminal: Terminal) -> None:
    bus = make_bus(terminal, late_s=30.0)
    terminal.behaviour = lambda asked: [(0.1, asked.answer(echo_address))] if asked.count == 10 else good(asked)
    with pytest.raises(NoAnswer):
        await ask(bus, TEN)
    async with asyncio.timeout(10):
        assert await ask(bus, FOUR, 1.0) == expected(FOUR)
    assert bus.counters.late == 1
    assert bus.may_ask(TEN)
    bus.close()


async def test_line_keeps_quiet_for_other_units_too(terminal: Terminal) -> None:
    bus = make_bus(terminal, late_s=0.2)
    loop = asyncio.get_running_loop()
    arrivals: list[float] = []

    def mute_first(asked: Asked) -> list[Send]:
        arrivals.append(loop.time())
        return good(asked) if asked.unit_id == 2 else []

    terminal.behaviour = mute_first
    with pytest.raises(NoAnswer):
        await ask(bus, TEN, 0.05)
    await ask(bus, Request(2, 4, 100, 10), 1.0)
    assert arrivals[1] - arrivals[0] >= 0.24
    bus.close()


async def test_exception_says_so_and_lifts_the_fence(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0, asked.refuse(2))]
    with pytest.raises(RemoteError) as caught:
        await ask(bus, TEN, 1.0)
    assert caught.value.code == 2
    assert bus.may_ask(TEN)


async def test_exception_that_may_be_an_owed_request_s_is_waited_out(bus: Bus, terminal: Terminal) -> None:
    """A refused detour is no dead end: the exception used up the debt, whichever request it answered."""
    terminal.behaviour = lambda _: []
    with pytest.raises(NoAnswer):
        await ask(bus, TEN)
    terminal.behaviour = lambda asked: [(0, asked.refuse(2))] if asked.count != 10 else good(asked)
    with pytest.raises(RemoteError):
        await ask(bus, bus.other(TEN))
    assert await ask(bus, TEN, 1.0) == expected(TEN)


async def test_late_exception_is_not_the_current_request_s(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0.15, asked.refuse(2)), (0.16, Asked(1, 4, 200, 4, b"").answer(echo_address))]
    with pytest.raises(NoAnswer):
        await ask(bus, TEN, 0.05)
    terminal.behaviour = lambda _: []
    assert await ask(bus, FOUR, 2.0) == expected(FOUR)
    assert bus.counters.exceptions == 0


async def test_gateway_without_a_target_is_silence(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0, asked.refuse(11))]
    with pytest.raises(NoAnswer):
        await ask(bus, TEN, 5.0)
    assert not bus.may_ask(TEN)


async def test_truncated_answer(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0, asked.answer(echo_address)[:-3])]
    with pytest.raises(BadFrame):
        await ask(bus, TEN)
    terminal.behaviour = good
    assert await ask(bus, FOUR, 1.0) == expected(FOUR)


async def test_damaged_answer_is_given_up_before_a_long_deadline(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0, asked.answer(echo_address)[:-1] + b"\x00")]
    async with asyncio.timeout(10):
        with pytest.raises(BadFrame):
            await ask(bus, TEN, 60.0)
    assert bus.counters.damaged == 1


@pytest.mark.parametrize("before", [b"\x00\xff", b"\x01\x04\x14\x00"], ids=["noise", "false head"])
async def test_noise_before_the_answer(bus: Bus, terminal: Terminal, before: bytes) -> None:
    terminal.behaviour = lambda asked: [(0, before + asked.answer(echo_address))]
    assert await ask(bus, TEN, 1.0) == expected(TEN)


async def test_echo_before_the_answer(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0, asked.raw), (0.01, asked.answer(echo_address))]
    assert await ask(bus, TEN, 1.0) == expected(TEN)
    assert bus.counters.echoed == 1


async def test_another_unit_s_answer(bus: Bus, terminal: Terminal) -> None:
    def foreign(asked: Asked) -> list[Send]:
        data = asked.answer(lambda _: 0xDEAD)[1:-2]
        return [(0, with_crc(b"\x07" + data)), (0.01, asked.answer(echo_address))]

    terminal.behaviour = foreign
    assert await ask(bus, TEN, 1.0) == expected(TEN)
    assert bus.counters.foreign == 1


async def test_answer_sent_twice(bus: Bus, terminal: Terminal) -> None:
    """The second copy is drained, and its like is expected again."""
    terminal.behaviour = lambda asked: [(0, asked.answer(echo_address) * 2)]
    assert await ask(bus, TEN, 1.0) == expected(TEN)
    with pytest.raises(Fenced):
        await ask(bus, OTHER_TEN)
    assert await ask(bus, FOUR, 1.0) == expected(FOUR)


async def test_line_that_never_falls_silent_is_asked_all_the_same(bus: Bus, terminal: Terminal) -> None:
    await ask(bus, TEN, 1.0)
    babble = [(0.001 * i, b"\x55") for i in range(3000)]
    terminal.behaviour = lambda asked: [(0, asked.answer(echo_address)), *babble]
    await ask(bus, TEN, 1.0)
    terminal.behaviour = good
    async with asyncio.timeout(2.5):
        assert await ask(bus, FOUR, 1.0) == expected(FOUR)


async def test_unplugged_and_replugged(bus: Bus, terminal: Terminal) -> None:
    descriptors = descriptors_open()
    for _ in range(3):
        await ask(bus, TEN, 1.0)
        terminal.unplug()
        with pytest.raises(BusDown):
            await ask(bus, TEN)
        with pytest.raises(BusDown):
            await ask(bus, TEN)
        assert not bus.is_open
        terminal.plug()
        async with asyncio.timeout(5):
            assert await eventually(bus, TEN) == expected(TEN)
    bus.close()
    assert descriptors_open() <= descriptors
    assert len(asyncio.all_tasks()) == 1


async def test_unplugged_while_waiting(bus: Bus, terminal: Terminal) -> None:
    await ask(bus, TEN, 1.0)
    terminal.behaviour = lambda _: []
    asyncio.get_running_loop().call_later(0.05, terminal.unplug)
    async with asyncio.timeout(5):
        with pytest.raises(BusDown):
            await ask(bus, TEN, 60.0)


async def eventually(bus: Bus, request: Request) -> list[int]:
    while True:
        try:
            return await ask(bus, request, 0.5)
        except BusDown:
            await asyncio.sleep(0.02)


async def test_port_is_ours_alone(bus: Bus, terminal: Terminal, tmp_path: Path) -> None:
    await ask(bus, TEN, 1.0)
    alias = tmp_path / "same"
    alias.symlink_to(terminal.link.readlink())
    second = serial_bus(SerialSettings(str(alias), 1_000_000), RealClock())
    with pytest.raises(BusDown):
        await ask(second, TEN)
    program = f"import serial; serial.Serial({str(alias)!r}, exclusive=True)"
    other = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)  # noqa: ASYNC221 # nothing else runs here
    assert b"SerialException" in other.stderr


async def test_one_owner(bus: Bus) -> None:
    waiting = asyncio.ensure_future(ask(bus, TEN, 1.0))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one owner"):
        await ask(bus, TEN)
    assert await waiting == expected(TEN)


async def test_stopped_transaction_leaves_a_debt(bus: Bus, terminal: Terminal) -> None:
    terminal.behaviour = lambda asked: [(0.1, asked.answer(lambda _: 0xDEAD))]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ask(bus, TEN, 1.0)
    assert not bus.may_ask(OTHER_TEN)


def test_timing_of_a_line() -> None:
    assert SerialSettings("x", 9600).byte_s == pytest.approx(10 / 9600)
    assert SerialSettings("x", 9600, "E").byte_s == pytest.approx(11 / 9600)
    assert SerialSettings("x", 9600).silence_s == pytest.approx(0.00365, abs=1e-5)
    assert SerialSettings("x", 115_200).silence_s == 0.00175
