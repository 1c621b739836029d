"""The reader's thread outlives whoever asked it something, and never leaves a checkpoint out."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from edge.errors import Refused, StorageFull
from edge.runtime.clock import RealClock
from pipelines import reading as readings
from pipelines.engine.checkpoint import Checkpoint
from pipelines.ingest.log import Log
from pipelines.reading import Reading
from tests.pipelines.engine.centre import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pipelines.engine.reader import Reader

WAIT_S = 10.0
NEVER_S = 1000.0


@dataclass
class Running:
    """A reading in its thread."""

    log: Log
    reading: Reading
    saves: threading.Semaphore
    errors: list[BaseException] = field(default_factory=list)
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        try:
            self.reading.run()
        except BaseException as error:  # noqa: BLE001 # shown by `end`
            self.errors.append(error)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the thread within a call."""
        begun, end = threading.Event(), threading.Event()

        def hold(_reader: Reader) -> None:
            begun.set()
            end.wait(WAIT_S)

        self.reading.call(hold)
        assert begun.wait(WAIT_S)
        try:
            yield
        finally:
            end.set()

    def end(self) -> None:
        self.reading.stop()
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        assert not self.errors, self.errors


@contextlib.contextmanager
def running(directory: Path, checkpoint_s: float = NEVER_S) -> Iterator[Running]:
    saves = threading.Semaphore(0)
    log = Log(directory / "log", RealClock(), limit_bytes=64 << 20, keep_ns=10**18, grown=lambda: made[0].grown())  # noqa: PLW0108 # made below
    reading = Reading(
        log, directory / "checkpoint.db", Told(), RealClock(), checkpoint_s=checkpoint_s, saved=saves.release
    )
    made = [reading]
    run = Running(log, reading, saves)
    run.thread.start()
    try:
        yield run
    finally:
        run.reading.stop()
        run.thread.join(WAIT_S)
        log.close()


async def cancelled(waiting: asyncio.Future[Any]) -> None:
    waiting.cancel()
    await asyncio.wait([waiting])


async def test_a_cancelled_waiter_costs_no_checkpoint(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.log.tick()
        with run.held():
            await cancelled(asyncio.wrap_future(run.reading.call(lambda reader: reader.status())))
            await cancelled(asyncio.wrap_future(run.reading.passed(2)))
            await cancelled(asyncio.wrap_future(run.reading.passed(10**9)))
        await asyncio.to_thread(run.end)
        assert run.reading.saved_position == run.reading.position == run.log.next_offset == 2


def test_passed_is_done_when_it_is_applied_and_with_save_when_it_is_saved(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        run.log.tick()
        run.reading.passed(run.log.next_offset).result(WAIT_S)
        assert (run.reading.position, run.reading.saved_position) == (2, 0)
        run.reading.passed(run.log.next_offset, save=True).result(WAIT_S)
        assert run.reading.saved_position == 2
        later = run.reading.passed(3)
        assert not later.done()
        run.log.tick()
        later.result(WAIT_S)


def test_what_a_stopped_thread_will_not_do_is_refused(tmp_path: Path) -> None:
    with running(tmp_path) as run:
        with run.held():
            run.reading.stop()
            call, wait = run.reading.call(lambda reader: reader.position), run.reading.passed(10**9, save=True)
        run.end()
        assert call.result(0) == 0, "it was in the middle of answering"
        assert isinstance(wait.exception(0), Refused)


def test_a_checkpoint_is_saved_in_its_time(tmp_path: Path) -> None:
    with running(tmp_path, checkpoint_s=0.1) as run:
        run.log.tick()
        run.reading.passed(2).result(WAIT_S)
        assert run.saves.acquire(timeout=WAIT_S)
        run.end()
    with running(tmp_path) as run:
        assert run.reading.position == 2


def test_without_space_it_reads_again_from_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "FULL_PAUSE_S", 0.05)
    full: Callable[..., None] | None = Checkpoint.save

    def save(self: Checkpoint, *what: Any) -> None:
        if full is None:
            raise StorageFull("no space")
        full(self, *what)

    with running(tmp_path) as run:
        run.log.tick()
        run.reading.passed(2, save=True).result(WAIT_S)
        keep, full = full, None
        monkeypatch.setattr(Checkpoint, "save", save)
        run.log.tick()
        waiting = run.reading.passed(3, save=True)
        while not run.reading.error:
            run.saves.acquire(timeout=0.01)
        assert not run.reading.is_caught_up
        assert not waiting.done()
        full = keep
        waiting.result(WAIT_S)
        assert (run.reading.error, run.reading.saved_position) == ("", 3)


def saved_at(directory: Path, count: int) -> None:
    """Write and save `count` rows, the opening's included."""
    with running(directory) as run:
        for _ in range(count - 1):
            run.log.tick()
        run.reading.passed(count, save=True).result(WAIT_S)
        run.end()


def holes_after(directory: Path, rows: int) -> tuple[int, int]:
    """Go on without a checkpoint until the log has `rows`; then tell where a reading begins, and how often it leaps."""
    with contextlib.closing(Log(directory / "log", RealClock(), limit_bytes=64 << 20, keep_ns=10**18)) as log:
        while log.next_offset < rows:
            log.tick()
    with running(directory) as run:
        begun = run.reading.saved_position
        run.reading.passed(rows).result(WAIT_S)
        return begun, run.reading.call(lambda reader: reader.status()["counters"]["holes"]).result(WAIT_S)


@pytest.mark.parametrize("rows", [3, 10, 11, 30])
def test_nothing_of_another_log_is_passed_over(rows: int, tmp_path: Path) -> None:
    """Whether it is behind the checkpoint's position when it is looked at, or has outgrown it."""
    saved_at(tmp_path, 10)
    shutil.rmtree(tmp_path / "log")
    assert holes_after(tmp_path, rows) == (0, 0)


def test_nothing_of_a_copy_that_was_written_on_is_passed_over(tmp_path: Path) -> None:
    saved_at(tmp_path, 5)
    shutil.copytree(tmp_path / "log", tmp_path / "copy")
    saved_at(tmp_path, 10)
    shutil.rmtree(tmp_path / "log")
    (tmp_path / "copy").rename(tmp_path / "log")
    assert holes_after(tmp_path, 30) == (0, 0)


def test_the_same_log_is_read_on(tmp_path: Path) -> None:
    saved_at(tmp_path, 10)
    assert holes_after(tmp_path, 30) == (10, 0)
