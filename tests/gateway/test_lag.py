"""The age of the oldest record that is not acknowledged, and that asking for it holds up nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StorageError
from edge.runtime.clock import ManualClock
from gateway import lag as module
from gateway.lag import Lag
from tests.gateway.recording.material import NOW_NS, H, Run, S


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, ManualClock(NOW_NS, H))
    run.timebase.check()
    yield run
    run.close()


def lag_of(run: Run) -> Lag:
    return Lag(run.journal, run.timebase, run.clock)


async def test_age_is_that_of_the_oldest_record_not_acknowledged(run: Run) -> None:
    lag = lag_of(run)
    run.poll()
    run.committed()
    run.journal.acknowledge(run.journal.committed - 1)
    await run.clock.advance(7)
    run.poll()
    run.committed()
    await lag.look()
    assert lag.lag_s() == 7
    run.journal.acknowledge(run.journal.committed - 1)
    await lag.look()
    assert lag.lag_s() == 0
    await run.clock.advance(2)
    assert lag.lag_s() == 2
    run.journal.acknowledge(run.journal.committed)
    assert lag.lag_s() == 0


async def test_a_backlog_of_an_earlier_boot_is_dated(tmp_path: Path, run: Run) -> None:
    run.poll()
    run.committed()
    run.journal.acknowledge(run.journal.committed - 1)
    run.close()
    later = Run(tmp_path, ManualClock(NOW_NS + 50 * S, 3 * S, "boot-2"))
    try:
        lag = lag_of(later)
        await lag.look()
        assert lag.lag_s() is None, "this boot has no date yet"
        later.timebase.check()
        assert lag.lag_s() == 50
    finally:
        later.close()


async def test_a_busy_card_holds_up_no_poll(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop that asks is the loop that polls."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    read, free, reads = run.journal.read, threading.Event(), []

    def slow(*arguments: Any, **more: Any) -> Any:
        reads.append(threading.current_thread())
        assert free.wait(20)
        return read(*arguments, **more)

    run.poll()
    run.committed()
    monkeypatch.setattr(run.journal, "read", slow)
    lag = lag_of(run)
    for _ in range(3):
        await lag.look()
    assert lag.lag_s() is None
    assert len(reads) == 1, "one look at a time, however often it is asked for"
    assert threading.main_thread() not in reads
    await run.clock.advance(3)
    ending = asyncio.ensure_future(lag.end())
    await asyncio.sleep(0)
    assert not ending.done(), "the journal must not close under a look"
    free.set()
    await ending
    assert lag.lag_s() == 3


async def test_a_journal_that_cannot_be_read_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise StorageError("disk I/O error")

    lag = lag_of(run)
    run.committed()
    with monkeypatch.context() as patch:
        patch.setattr(run.journal, "read", broken)
        await lag.look()
    assert (lag.lag_s(), lag.error) == (None, "disk I/O error")
    await lag.look()
    assert (lag.lag_s(), lag.error) == (0, "")
