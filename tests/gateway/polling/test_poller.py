"""The poller on a clock that stands still until told, and on real lines."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model.point import Value
from edge.model.record import Outcome
from edge.runtime.clock import Clock, ManualClock, RealClock
from gateway.bus.line import Bus, BusDown
from gateway.bus.request import Request
from gateway.bus.serial import SerialSettings, serial_bus
from gateway.bus.tcp import tcp_bus
from gateway.drivers.modbus import ModbusGroup
from gateway.drivers.patience import Patience
from gateway.drivers.reading import Poll, Reading
from gateway.polling.poller import Job, Poller
from tests.examples import examples
from tests.gateway.bus.terminal import Asked, Send, Terminal, good
from tests.gateway.bus.test_tcp import modbus_server
from tests.gateway.drivers.plans import plan

S = 1_000_000_000


@dataclass(frozen=True)
class Polled:
    schedule: int
    due_ns: int
    taken_ns: int
    outcome: Outcome
    values: list[Value] | None


@dataclass
class Kept:
    """A recorder that keeps what it is given."""

    polls: list[Polled] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def poll(
        self,
        schedule: int,
        due_ns: int,
        taken_ns: int,
        outcome: Outcome,
        values: list[Value] | None,
        quality: list[int] | None,
    ) -> None:
        assert quality is None
        assert taken_ns >= due_ns
        assert (values is None) == (outcome != Outcome.OK)
        self.polls.append(Polled(schedule, due_ns, taken_ns, outcome, values))

    def of(self, schedule: int) -> list[Polled]:
        return [polled for polled in self.polls if polled.schedule == schedule]

    async def until(self, done: Callable[[], bool], within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while not done():  # noqa: ASYNC110 # the recorder's contract has nothing to wait on
                await asyncio.sleep(0.005)


def taking(clock: Clock, seconds: float, outcome: Outcome = Outcome.OK) -> Poll:
    async def poll() -> Reading:
        if seconds:
            await clock.sleep(seconds)
        return Reading(outcome, clock.mono_ns(), [1] if outcome == Outcome.OK else None)

    return poll


def unused_bus(clock: Clock) -> Bus:
    return tcp_bus("127.0.0.1", 1, clock)


@asynccontextmanager
async def running(poller: Poller) -> AsyncIterator[None]:
    task = asyncio.ensure_future(poller.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_due_on_the_multiples_of_the_wall_clock() -> None:
    clock, kept = ManualClock(wall_ns=1_790_000_000 * S + 300_000_000, mono_ns=77 * S), Kept()
    offset_ns = clock.wall_ns() - clock.mono_ns()
    job = Job(1, clock.mono_ns(), 10 * S, "a", taking(clock, 0.123))
    async with running(Poller(unused_bus(clock), [job], kept, clock, lambda: offset_ns)):
        await clock.advance(100)
    assert [(polled.due_ns + offset_ns) % (10 * S) for polled in kept.polls] == [0] * 10
    assert {polled.taken_ns - polled.due_ns for polled in kept.polls} == {123_000_000}


async def test_anchor_that_comes_later_moves_the_phase_once() -> None:
    clock, kept = ManualClock(wall_ns=1_790_000_000 * S + 300_000_000), Kept()
    offset_ns = clock.wall_ns() - clock.mono_ns()
    offset: list[int | None] = [None]
    job = Job(1, 0, S, "a", taking(clock, 0))
    async with running(Poller(unused_bus(clock), [job], kept, clock, lambda: offset[0])):
        await clock.advance(5.5)
        offset[0] = offset_ns
        await clock.advance(5)
    assert [polled.due_ns for polled in kept.polls[:7]] == [0, S, 2 * S, 3 * S, 4 * S, 5 * S, 6 * S]
    assert [polled.due_ns for polled in kept.polls[7:]] == [int(s * S) for s in (6.7, 7.7, 8.7, 9.7)]


jobs = st.lists(st.tuples(st.sampled_from([1, 2, 5, 10]), st.floats(0, 7)), min_size=1, max_size=6)


@examples(15, 300)
@given(jobs, st.integers(0, 10**10))
async def test_expected_slots_are_recorded_slots(wanted: list[tuple[int, float]], from_ns: int) -> None:
    clock, kept = ManualClock(mono_ns=from_ns), Kept()
    offset_ns = clock.wall_ns() - from_ns
    made = [
        Job(n, from_ns, period_s * S, f"d{n}", taking(clock, took_s)) for n, (period_s, took_s) in enumerate(wanted)
    ]
    async with running(Poller(unused_bus(clock), made, kept, clock, lambda: offset_ns)):
        await clock.advance(120)
    for job in made:
        due = [polled.due_ns for polled in kept.of(job.schedule)]
        k0 = -(-(from_ns + offset_ns) // job.period_ns)
        assert due == [k * job.period_ns - offset_ns for k in range(k0, k0 + len(due))]
        assert len(due) * job.period_ns >= 60 * S
        assert {polled.outcome for polled in kept.of(job.schedule)} <= {Outcome.OK, Outcome.STRETCHED}


async def test_overrun_is_recorded_and_shared_fairly() -> None:
    """Ten groups want a bus that has time for five."""
    clock, kept = ManualClock(), Kept()
    made = [Job(n, 0, S, f"d{n}", taking(clock, 0.2)) for n in range(10)]
    async with running(Poller(unused_bus(clock), made, kept, clock, lambda: None)):
        await clock.advance(101)
    ok = Counter(polled.schedule for polled in kept.polls if polled.outcome == Outcome.OK)
    assert sum(ok.values()) == pytest.approx(505, abs=3)
    assert max(ok.values()) - min(ok.values()) <= 1
    for polled in kept.polls:
        assert polled.outcome != Outcome.OK or polled.taken_ns - polled.due_ns < 1.2 * S, "a backlog"


async def test_slow_group_and_fast_group_both_live() -> None:
    clock, kept = ManualClock(), Kept()
    made = [Job(1, 0, S, "fast", taking(clock, 0.9)), Job(2, 0, 60 * S, "slow", taking(clock, 3))]
    async with running(Poller(unused_bus(clock), made, kept, clock, lambda: None)):
        await clock.advance(600)
    assert [polled.outcome for polled in kept.of(2)] == [Outcome.OK] * len(kept.of(2))
    assert len(kept.of(2)) >= 10
    assert Counter(polled.outcome for polled in kept.of(1))[Outcome.STRETCHED] <= 40


async def test_silent_device_is_recorded_in_every_slot_and_polled_in_few() -> None:
    clock, kept = ManualClock(), Kept()
    asked = 0

    async def mute() -> Reading:
        nonlocal asked
        asked += 1
        return await taking(clock, 0.5, Outcome.TIMEOUT)()

    made = [Job(1, 0, S, "dead", mute), Job(2, 0, S, "alive", taking(clock, 0.1))]
    poller = Poller(unused_bus(clock), made, kept, clock, lambda: None)
    async with running(poller):
        await clock.advance(600.9)
    assert poller.silent == ("dead",)
    assert len(kept.of(1)) == 601
    assert {polled.outcome for polled in kept.of(1)} == {Outcome.TIMEOUT}
    assert asked < 30
    assert {polled.outcome for polled in kept.of(2)} == {Outcome.OK}


async def test_what_is_missed_on_a_line_that_is_down_is_not_stretched() -> None:
    clock, kept = ManualClock(), Kept()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        bus = tcp_bus("127.0.0.1", taken.getsockname()[1], clock)
        with pytest.raises(BusDown):
            await bus.transact(Request(1, 3, 0, 1), 1.0)
    job = Job(1, 0, S, "a", taking(clock, 2.5, Outcome.BUS_DOWN))
    async with running(Poller(bus, [job], kept, clock, lambda: None)):
        await clock.advance(20)
    assert {polled.outcome for polled in kept.polls} == {Outcome.BUS_DOWN}
    assert len(kept.polls) >= 18


async def test_started_again_it_goes_on_where_it_was() -> None:
    clock, kept = ManualClock(), Kept()
    poller = Poller(unused_bus(clock), [Job(1, 0, S, "a", taking(clock, 0))], kept, clock, lambda: None)
    async with running(poller):
        await clock.advance(5.5)
    await clock.advance(3)
    async with running(poller):
        await clock.advance(2)
    assert [polled.due_ns for polled in kept.polls] == [s * S for s in range(11)]
    assert [polled.outcome for polled in kept.polls[6:9]] == [Outcome.STRETCHED, Outcome.STRETCHED, Outcome.OK]


PERIOD_NS = S // 5
RAW = plan((4, 0, 10))


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    terminal = Terminal(tmp_path / "bus1", good).plug()
    yield terminal
    terminal.unplug()


def serial_poller(terminal: Terminal, kept: Kept, units: int = 1, timeout_s: float = 0.1) -> Poller:
    clock = RealClock()
    bus = serial_bus(SerialSettings(str(terminal.link), 1_000_000), clock, late_s=0.05)
    now_ns = clock.mono_ns()
    made = [
        Job(unit, now_ns, PERIOD_NS, f"d{unit}", ModbusGroup(bus, unit, RAW, Patience(timeout_s), clock))
        for unit in range(1, units + 1)
    ]
    offset_ns = clock.wall_ns() - clock.mono_ns()
    return Poller(bus, made, kept, clock, lambda: offset_ns)


async def test_dead_device_among_five_costs_its_neighbours_little(terminal: Terminal) -> None:
    kept = Kept()

    def unit_5_is_dead(asked: Asked) -> list[Send]:
        return [] if asked.unit_id == 5 else [(0.005, good(asked)[0][1])]

    terminal.behaviour = unit_5_is_dead
    async with running(serial_poller(terminal, kept, units=5)):
        await kept.until(lambda: len(kept.of(1)) >= 25, 20)
    healthy = Counter(polled.outcome for polled in kept.polls if polled.schedule != 5)
    assert healthy[Outcome.OK] >= 0.8 * sum(healthy.values())
    dead = [polled.outcome for polled in kept.of(5)]
    assert set(dead) <= {Outcome.TIMEOUT, Outcome.STRETCHED}
    assert len(dead) >= 20


async def test_silent_device_that_returns_is_polled_in_full(terminal: Terminal) -> None:
    kept = Kept()
    terminal.behaviour = lambda _: []
    async with running(serial_poller(terminal, kept, timeout_s=0.05)):
        await kept.until(lambda: len(kept.polls) >= 5, 20)
        terminal.behaviour = good
        await kept.until(lambda: sum(polled.outcome == Outcome.OK for polled in kept.polls) >= 3, 20)
    first_ok = next(i for i, polled in enumerate(kept.polls) if polled.outcome == Outcome.OK)
    assert kept.polls[first_ok].values == RAW.addresses
    assert all(polled.outcome == Outcome.OK for polled in kept.polls[first_ok:])


async def test_replugged_line_polls_again_within_5_s(terminal: Terminal) -> None:
    kept = Kept()
    tasks = len(asyncio.all_tasks())
    async with running(serial_poller(terminal, kept)):
        await kept.until(lambda: len(kept.polls) >= 2, 10)
        terminal.unplug()
        await kept.until(lambda: sum(polled.outcome == Outcome.BUS_DOWN for polled in kept.polls) >= 5, 10)
        terminal.plug()
        n_then = len(kept.polls)
        await kept.until(lambda: any(polled.outcome == Outcome.OK for polled in kept.polls[n_then:]), 5)
    assert len(asyncio.all_tasks()) == tasks


async def test_sockets_of_one_period_start_on_one_tick() -> None:
    clock, kept = RealClock(), Kept()
    async with modbus_server() as port:
        now_ns = clock.mono_ns()
        offset_ns = clock.wall_ns() - now_ns
        pollers = []
        for n in range(20):
            bus = tcp_bus("127.0.0.1", port, clock)
            job = Job(n, now_ns, PERIOD_NS, "d", ModbusGroup(bus, 1, plan((3, 0, 10)), Patience(2.0), clock))
            pollers.append(Poller(bus, [job], kept, clock, lambda: offset_ns))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(poller.run()) for poller in pollers]
            await kept.until(lambda: len(kept.polls) >= 60, 20)
            for task in tasks:
                task.cancel()
    assert len({polled.due_ns for polled in kept.polls[:60]}) <= 5
    assert Outcome.OK in {polled.outcome for polled in kept.polls}


async def test_scaled_clock_keeps_real_time_outs(terminal: Terminal) -> None:
    """Sixty times as fast: each second of event time is a slot, and a time-out costs many of them."""
    kept, clock = Kept(), RealClock(60, 0)
    bus = serial_bus(SerialSettings(str(terminal.link), 1_000_000), clock, late_s=0.01)
    poll = ModbusGroup(bus, 1, RAW, Patience(0.2), clock)
    job = Job(1, clock.mono_ns(), 10 * S, "d", poll)
    offset_ns = clock.wall_ns() - clock.mono_ns()
    async with running(Poller(bus, [job], kept, clock, lambda: offset_ns)):
        await kept.until(lambda: len(kept.polls) >= 6, 10)
        assert Outcome.OK in {polled.outcome for polled in kept.polls}
    due = [polled.due_ns for polled in kept.polls]
    assert due == list(range(due[0], due[0] + len(due) * 10 * S, 10 * S))
