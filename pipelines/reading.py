"""The reader's thread: applies the log as it grows, and saves a checkpoint from time to time.

A checkpoint that finds no space is given up and begun again from the last one, since its rows are still in the log;
meanwhile nothing is granted. Any other failure ends the thread, and with it the process, which is started anew.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from edge.errors import Refused, StorageFull
from edge.runtime.ready import event
from pipelines.crew import promise
from pipelines.engine.checkpoint import Checkpoint
from pipelines.engine.engine import Engine
from pipelines.engine.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from edge.runtime.clock import Clock
    from pipelines.engine.owed import Outbox
    from pipelines.ingest.log import Log

Answer = TypeVar("Answer")

FULL_PAUSE_S = 2.0
_LEAST_WAIT_S = 0.05


class _Wait(NamedTuple):
    offset: int
    save: bool
    done: Future[None]


class Reading:
    """One thread's loop around `Reader`; everything but `run` serves any thread."""

    def __init__(
        self,
        log: Log,
        checkpoint: Path,
        outbox: Outbox,
        clock: Clock,
        *,
        checkpoint_s: float,
        saved: Callable[[], None] = lambda: None,
        caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the checkpoint and go on from it.

        Args:
            log: what is read.
            checkpoint: the checkpoint's file.
            outbox: is told what gateways are owed.
            clock: gives the checkpoint's interval, in real time.
            checkpoint_s: longest time from a row to the checkpoint that has it. [s]
            saved: is called after each checkpoint.
            caught_up: is called when the end of the log has been reached after an opening.

        Raises:
            StorageError: the checkpoint can't be opened.
        """
        self._log, self._path, self._outbox, self._clock = log, checkpoint, outbox, clock
        self._checkpoint_s, self._saved, self._caught_up = checkpoint_s, saved, caught_up
        self._news, self._stopping = threading.Event(), threading.Event()
        self._calls: queue.SimpleQueue[tuple[Callable[[Reader], Any], Future[Any]]] = queue.SimpleQueue()
        self._asked: queue.SimpleQueue[_Wait] = queue.SimpleQueue()
        self._waits: list[_Wait] = []
        self._next_save_s = clock.real_s() + checkpoint_s
        self.error = ""
        """Why no checkpoint can be saved; empty if it can."""
        self._open()

    @property
    def position(self) -> int:
        """Offset of the log up to which rows are applied."""
        return self._reader.position

    @property
    def saved_position(self) -> int:
        """Offset of the log up to which rows are in the checkpoint."""
        return self._reader.saved_position

    @property
    def is_caught_up(self) -> bool:
        """Whether the end of the log has been reached since the opening, and checkpoints can be saved."""
        return self._reader.is_caught_up and not self.error

    def grown(self) -> None:
        """The log has grown."""
        self._news.set()

    def call(self, work: Callable[[Reader], Answer]) -> Future[Answer]:
        """Have `work` done in the thread, between two steps."""
        answer: Future[Answer] = promise()
        self._calls.put((work, answer))
        self._news.set()
        return answer

    def passed(self, offset: int, *, save: bool = False) -> Future[None]:
        """Wait until everything below `offset` is applied; with `save`, until it is in a checkpoint, made at once."""
        done: Future[None] = promise()
        self._asked.put(_Wait(offset, save, done))
        self._news.set()
        return done

    def stop(self) -> None:
        """Ask `run` to save and return."""
        self._stopping.set()
        self._news.set()

    def run(self) -> None:
        """Read until `stop`.

        Raises:
            StorageError: log or checkpoint can't be read or written.
        """
        try:
            while not self._stopping.is_set():
                self._news.clear()
                try:
                    self._turn()
                except StorageFull as error:
                    self._begin_anew(error)
            self._save_last()
        finally:
            self._stopping.set()
            self._checkpoint.close()
            self._rows.close()
            self._refuse_all()

    def _turn(self) -> None:
        was_caught_up = self._reader.is_caught_up
        found = self._reader.step()
        if self._reader.is_caught_up and not was_caught_up:
            event("caught_up", position=self.position)
            self._caught_up()
        self._answer_calls()
        self._hear_waits()
        wanted = any(wait.save and wait.offset <= self.position for wait in self._waits)
        if wanted or (self._clock.real_s() >= self._next_save_s and self.position != self.saved_position):
            self._save()
        self._settle_waits()
        if not found:
            self._news.wait(max(self._next_save_s - self._clock.real_s(), _LEAST_WAIT_S))

    def _save(self) -> None:
        self._reader.save()
        self._next_save_s = self._clock.real_s() + self._checkpoint_s
        if self.error:
            event("checkpoint_state", state="writing")
            self.error = ""
            self._caught_up()
        self._saved()

    def _save_last(self) -> None:
        if self.position == self.saved_position:
            return
        try:
            self._save()
        except StorageFull as error:
            event("checkpoint_state", state="full", error=str(error))  # the log has it

    def _begin_anew(self, error: StorageFull) -> None:
        """Give up what the last checkpoint has not; it is read again from the log when there may be space."""
        if not self.error:
            event("checkpoint_state", state="full", error=str(error))
        self.error = str(error)
        until_s = self._clock.real_s() + FULL_PAUSE_S
        while not self._stopping.is_set() and (left_s := until_s - self._clock.real_s()) > 0:
            self._news.wait(left_s)
            self._news.clear()
            self._answer_calls()
        self._checkpoint.close()
        self._rows.close()
        self._open()

    def _open(self) -> None:
        self._checkpoint = Checkpoint(self._path)
        if self._checkpoint.set_aside is not None:
            event("checkpoint_set_aside", file=self._checkpoint.set_aside.name)
        self._rows = self._log.reader()
        reader = Reader(self._rows, Engine(self._checkpoint.stage), self._checkpoint, self._outbox)
        if reader.mark is not None and self._log.differs(reader.mark):
            event("log_replaced", position=reader.position, next=self._log.next_offset)
            reader.read_anew(self._log.oldest)
        self._reader = reader  # from here on the log lets go of what it covers

    def _answer_calls(self) -> None:
        while not self._calls.empty():
            work, answer = self._calls.get()
            answer.set_result(work(self._reader))

    def _hear_waits(self) -> None:
        while not self._asked.empty():
            self._waits.append(self._asked.get())

    def _settle_waits(self) -> None:
        waits, self._waits = self._waits, []
        for wait in waits:
            if wait.offset <= (self.saved_position if wait.save else self.position):
                wait.done.set_result(None)
            else:
                self._waits.append(wait)

    def _refuse_all(self) -> None:
        while not self._calls.empty():
            self._calls.get()[1].set_exception(Refused("the centre is stopping"))
        self._hear_waits()
        for wait in self._waits:
            wait.done.set_exception(Refused("the centre is stopping"))
