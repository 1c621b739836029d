"""Dates under every clock a Raspberry Pi has had: none, late, wrong, stepped, scaled, started again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StorageFull
from edge.runtime.clock import ManualClock, RealClock
from gateway.recording import sources
from gateway.recording.timebase import CHECK_S, State, Timebase
from tests.gateway.recording.material import NOW_NS, H, Run, S, Source


@asynccontextmanager
async def checking(run: Run) -> AsyncIterator[None]:
    task = asyncio.ensure_future(run.timebase.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        run.close()


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


async def test_the_operator_vouches_and_dates_are_there_at_once(tmp_path: Path) -> None:
    clock = ManualClock(NOW_NS, 5 * S)
    run = Run(tmp_path, clock)
    run.timebase.check()
    run.poll()
    assert run.is_ready()
    assert run.timebase.offset_ns() == NOW_NS - 5 * S
    assert run.timebase.state is State.ANCHORED
    assert run.dates() == [NOW_NS]
    run.close()


async def test_ntp_that_arrives_late_dates_what_was_recorded_before(tmp_path: Path) -> None:
    """The machine boots in 1970 and polls; an hour later its clock is set."""
    clock = ManualClock(0, 0)
    run = Run(tmp_path, clock, Source("ntp", vouches=False))
    async with checking(run):
        run.poll()
        await clock.advance(3600)
        run.poll()
        assert not run.is_ready()
        assert run.timebase.offset_ns() is None
        assert run.timebase.state is State.WAITING
        assert run.dates() == [None, None]
        clock.step_wall(NOW_NS - 3600 * S)
        run.source.vouches = True
        await clock.advance(CHECK_S)
        run.poll()
        assert run.is_ready()
    assert run.dates() == [NOW_NS - 3600 * S, NOW_NS, NOW_NS + round(CHECK_S * S)]


async def test_ready_is_not_said_before_the_dating_is_durable(tmp_path: Path) -> None:
    run = Run(tmp_path, ManualClock(NOW_NS))
    run.committed()
    before = run.journal.committed
    run.timebase.check()
    assert run.timebase.ready_at is not None
    assert run.timebase.ready_at > before
    dating = run.journal.dating_at("boot-1", 0)
    assert dating is not None
    run.committed()
    assert run.journal.committed >= run.timebase.ready_at
    assert list(run.journal.read(run.timebase.ready_at - 1, 1)) == [(run.timebase.ready_at - 1, dating)]
    run.close()


@pytest.mark.parametrize("by_ns", [H, -H, 2 * S, -2 * S])
async def test_step_changes_dates_from_there_on_and_none_before(
    tmp_path: Path, by_ns: int, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = ManualClock(NOW_NS)
    run = Run(tmp_path, clock)
    async with checking(run):
        await clock.advance(10)
        run.poll()
        run.committed()
        sent = run.dates()
        clock.step_wall(by_ns)
        await clock.advance(CHECK_S)
        run.poll()
        run.committed()
    assert sent == [NOW_NS + 10 * S]
    assert run.dates() == [*sent, NOW_NS + 11 * S + by_ns]
    assert [event["by_s"] for event in told(capsys) if event["event"] == "clock_stepped"] == [by_ns / S]
    assert run.timebase.steps == 1


async def test_drift_is_followed_without_a_step_or_a_changed_date(tmp_path: Path) -> None:
    """NTP slews: 100 ppm for an hour."""
    clock = ManualClock(NOW_NS)
    run = Run(tmp_path, clock)
    async with checking(run):
        await clock.advance(0)
        for _ in range(36):
            run.poll()
            run.committed()
            sent = run.dates()
            await clock.advance(100)
            clock.step_wall(10_000_000)
            await clock.advance(CHECK_S)
            assert run.dates() == sent
    assert run.timebase.steps == 0
    assert 3 <= run.timebase.anchors <= 12
    offset_ns = run.timebase.offset_ns()
    assert offset_ns is not None
    assert abs(offset_ns - (clock.wall_ns() - clock.mono_ns())) <= 60_000_000


async def test_steady_clock_writes_one_anchor(tmp_path: Path) -> None:
    clock = ManualClock(NOW_NS)
    run = Run(tmp_path, clock)
    async with checking(run):
        await clock.advance(600)
    assert run.timebase.anchors == 1


async def test_clock_that_lost_its_battery_is_not_believed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, ManualClock(NOW_NS, boot="boot-1"))
    run.timebase.check()
    run.poll()
    run.close()
    clock = ManualClock(NOW_NS - 24 * H, boot="boot-2")
    run = Run(tmp_path, clock)
    async with checking(run):
        run.poll()
        await clock.advance(10)
        assert run.timebase.state is State.BEFORE_FLOOR
        assert run.timebase.ready_at is None
        clock.step_wall(25 * H)
        await clock.advance(CHECK_S)
        run.poll()
        run.committed()
    assert run.timebase.status()["state"] == State.ANCHORED
    assert run.dates() == [NOW_NS, NOW_NS + H, NOW_NS + H + 11 * S]
    states = [event["state"] for event in told(capsys) if event["event"] == "clock"]
    assert states == [State.ANCHORED, State.BEFORE_FLOOR, State.ANCHORED]


async def test_1970_is_before_this_program(tmp_path: Path) -> None:
    run = Run(tmp_path, ManualClock(0))
    run.timebase.check()
    assert run.timebase.state is State.BEFORE_FLOOR
    run.close()


async def test_restart_within_the_boot_keeps_its_dates(tmp_path: Path) -> None:
    clock = ManualClock(NOW_NS)
    run = Run(tmp_path, clock)
    run.timebase.check()
    run.poll()
    run.close()
    await clock.advance(60)
    run = Run(tmp_path, clock, Source(vouches=False))
    assert run.is_ready()
    run.timebase.check()
    run.poll()
    run.committed()
    assert run.timebase.state is State.HOLDING
    assert run.timebase.anchors == 0
    assert run.dates() == [NOW_NS, NOW_NS + 60 * S]
    run.close()


async def test_restart_before_the_clock_was_known_dates_both_epochs(tmp_path: Path) -> None:
    clock = ManualClock(NOW_NS)
    run = Run(tmp_path, clock, Source(vouches=False))
    run.poll()
    run.close()
    await clock.advance(60)
    run = Run(tmp_path, clock)
    run.poll()
    run.timebase.check()
    assert run.is_ready()
    assert run.dates() == [NOW_NS, NOW_NS + 60 * S]
    run.close()


async def test_boot_that_ended_without_an_anchor_stays_undatable(tmp_path: Path) -> None:
    run = Run(tmp_path, ManualClock(NOW_NS, boot="boot-1"), Source(vouches=False))
    run.poll()
    run.close()
    run = Run(tmp_path, ManualClock(NOW_NS + H, boot="boot-2"))
    run.timebase.check()
    run.poll()
    run.committed()
    assert run.dates() == [None, NOW_NS + H]
    run.close()


async def test_better_source_takes_over(tmp_path: Path) -> None:
    clock = ManualClock(NOW_NS)
    run = Run(tmp_path, clock)
    ntp, rtc = Source("ntp", vouches=False), Source("rtc")
    timebase = Timebase(run.journal, clock, [ntp, rtc])
    timebase.check()
    assert timebase.status()["source"] == "rtc"
    clock.step_wall(10_000_000)
    ntp.vouches = True
    timebase.check()
    assert timebase.status()["source"] == "ntp"
    assert timebase.offset_ns() == NOW_NS + 10_000_000
    assert timebase.steps == 0
    run.close()


async def test_no_room_for_an_anchor_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, ManualClock(NOW_NS))

    def full(_: object) -> int:
        raise StorageFull("no room")

    with monkeypatch.context() as patch:
        patch.setattr(run.journal, "append", full)
        run.timebase.check()
        assert run.timebase.ready_at is None
    run.timebase.check()
    assert run.is_ready()
    run.close()


async def test_scaled_clock_is_anchored_once_and_well(tmp_path: Path) -> None:
    """A busy machine comes between the two readings, and what it takes is scaled too: no step, no drift."""
    run = Run(tmp_path, ManualClock(NOW_NS))
    clock = RealClock(1000, 1_780_000_000)
    timebase = Timebase(run.journal, clock, [Source()])
    for _ in range(300):
        timebase.check()
    assert (timebase.anchors, timebase.steps) == (1, 0)
    offset_ns = timebase.offset_ns()
    assert offset_ns is not None
    assert abs(clock.wall_ns() - clock.mono_ns() - offset_ns) < 1000 * S
    run.close()


def test_sources_by_their_names() -> None:
    assert [source.name for source in sources.sources(["host", "ntp", "rtc"])] == ["host", "ntp", "rtc"]


def test_ntp_says_what_the_kernel_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filled in by a stand-in for adjtimex: what the machine that runs the tests thinks of its clock is unknown."""
    ntp = sources.Ntp()

    class Libc:
        status, state = 0x0001, 0

        def adjtimex(self, pointer: Any) -> int:
            pointer._obj.status, pointer._obj.maxerror = self.status, 1500
            return self.state

    libc = Libc()
    monkeypatch.setattr(ntp, "_libc", libc)
    assert ntp.error_ns() == 1_500_000
    libc.status = 0x0041
    assert ntp.error_ns() is None
    libc.status, libc.state = 0x0001, 5
    assert ntp.error_ns() is None


def test_ntp_asks_the_real_kernel() -> None:
    error_ns = sources.Ntp().error_ns()
    assert error_ns is None or 0 <= error_ns < 3600 * S


def test_rtc_vouches_where_the_kernel_took_its_clock_from_it(tmp_path: Path) -> None:
    file = tmp_path / "hctosys"
    assert sources.Rtc(file).error_ns() is None
    file.write_text("0\n")
    assert sources.Rtc(file).error_ns() is None
    file.write_text("1\n")
    assert sources.Rtc(file).error_ns() == 5 * S
