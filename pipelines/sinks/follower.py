"""A follower: a cursor over the checkpoint's blocks and incidents, and a target that takes them in order.

Invariants: a target commits its cursor together with, or after, the rows that the cursor covers; rows that
are sent again are the same rows. So a follower may stop at any instant and repeat work, and skips nothing but a
damaged block: that one is passed over for this target alone, its number kept with the cursor and shown for ever.
"Full" can't happen here: the blocks are durable in the checkpoint, and a follower holds one batch in memory.
Whatever target, checkpoint or disk refuse is waited out here; it ends neither the process nor another follower.
"""

from __future__ import annotations

import enum
import logging
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.errors import StorageError, WaysideError
from edge.runtime.ready import event
from edge.runtime.supervisor import Backoff
from pipelines.engine.blocks import RowBlock
from pipelines.engine.checkpoint import DamagedBlock

_log = logging.getLogger("wayside.sinks")

BATCH_BYTES = 4 << 20
IDLE_S = 5.0
"""Longest pause when nothing announces new rows; a checkpoint calls `notify`."""
LEAST_PAUSE_S, MOST_PAUSE_S = 0.5, 30.0
LISTED = 100
"""Numbers of damaged blocks that a status lists; all are counted."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block and the last incident that a target has; 0 = none."""

    block: int = 0
    incident: int = 0
    check: int = 0
    """CRC-32 of the last block: tells a checkpoint that was restored or replaced from the one followed so far."""
    damaged: tuple[int, ...] = ()
    """Blocks up to here that could not be read, so that their rows are not in the target."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a target takes in one go, and where that brings it."""

    blocks: Sequence[tuple[int, RowBlock]]
    incidents: Sequence[tuple[int, dict[str, Any]]]
    cursor: Cursor


class Source(Protocol):
    """The checkpoint, as a follower sees it; each call reads on a connection of its own."""

    def blocks_after(self, seq: int, limit_bytes: int) -> Sequence[tuple[int, RowBlock]]:
        """Give the blocks that follow `seq`, in order: at least one if there is any, else about `limit_bytes`.

        Raises:
            DamagedBlock: the next one is not what was written.
            StorageError: they can't be read now.
        """

    def incidents_after(self, seq: int) -> Sequence[tuple[int, dict[str, Any]]]:
        """Give some incidents that follow `seq`, in order; raises StorageError as `blocks_after` does."""

    def last_block(self) -> int:
        """Give the number of the newest block; 0 = none; raises StorageError as `blocks_after` does."""


class Unavailable(WaysideError):
    """The target can't take rows now; the same rows will do later."""

    def __init__(self, reason: str, retry_after_s: float = 0.0, status: int = 0) -> None:
        """Keep what was seen, how long the target asks to be left alone [s], and its HTTP status, if it has one."""
        self.reason = reason
        self.status = status
        self.retry_after_s = retry_after_s
        super().__init__(reason)


class Target(Protocol):
    """Where rows go."""

    name: str

    def cursor(self) -> Cursor:
        """State where to go on; called before the first batch, and again after each `Unavailable`.

        Raises:
            Unavailable: it does not answer.
        """

    def write(self, batch: Batch) -> None:
        """Take the batch and its cursor, durably.

        Raises:
            Unavailable: not now; some of the rows may be there already.
        """

    def details(self) -> dict[str, Any]:
        """Say what else belongs in the status."""

    def close(self) -> None:
        """Free files and connections."""


class FollowerState(enum.StrEnum):
    """What a follower is doing."""

    STARTING = "starting"
    FOLLOWING = "following"
    REFILLING = "refilling"
    WAITING = "waiting"
    STOPPED = "stopped"


class Follower:
    """Brings one target up to date and keeps it there; `run` is its thread."""

    def __init__(
        self, source: Source, target: Target, *, backoff: Backoff | None = None, batch_bytes: int = BATCH_BYTES
    ) -> None:
        """Build without touching anything outside."""
        self._source = source
        self._target = target
        self._backoff = backoff or Backoff(LEAST_PAUSE_S, MOST_PAUSE_S)
        self._batch_bytes = batch_bytes
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._cursor: Cursor | None = None
        self._shown = Cursor()
        self._last = 0
        self._state = FollowerState.STARTING
        self._error: str | None = None

    def notify(self) -> None:
        """Tell the follower, from any thread, that the checkpoint has grown."""
        self._wake.set()

    def stop(self) -> None:
        """Ask `run` to return, from any thread; it finishes the request under way."""
        self._stopping.set()
        self._wake.set()

    def run(self) -> None:
        """Follow until `stop`; closes the target on the way out."""
        try:
            while True:
                self._wake.clear()
                if self._stopping.is_set():  # asked after the clear: a `stop` from here on leaves `_wake` set
                    break
                try:
                    pause_s = 0.0 if self.step() else IDLE_S
                except (WaysideError, OSError) as error:
                    pause_s = self._failed(error)
                if pause_s:
                    self._rest(pause_s)
        finally:
            self._state = FollowerState.STOPPED
            self._target.close()

    def step(self) -> bool:
        """Move the target on by one batch; False = it has everything.

        Raises:
            Unavailable: the target can't take it now; the step may be made again.
            WaysideError: likewise, whatever else stands in the way.
            OSError: likewise.
        """
        if self._cursor is None:
            self._cursor = self._shown = self._checked(self._target.cursor())
        try:
            batch = self._next_batch(self._cursor)
        except DamagedBlock as error:
            self._pass_over(self._cursor, error)
            return True
        if batch.cursor == self._cursor:
            is_replaced = self._source.last_block() < self._cursor.block
            self._succeeded(FollowerState.FOLLOWING)
            self._cursor = None if is_replaced else self._cursor  # a checkpoint was set aside under our feet
            return is_replaced
        self._write(batch)
        return True

    def status(self) -> dict[str, Any]:
        """Say where the target stands, for the control socket and the live view."""
        cursor, unread = self._shown, self._look()
        return {
            "target": self._target.name,
            "state": self._state.value,
            "block": cursor.block,
            "incident": cursor.incident,
            "behind_blocks": max(0, self._last - cursor.block),
            "progress_pct": round(100.0 * cursor.block / self._last, 1) if self._last else 100.0,
            "damaged": len(cursor.damaged),
            "damaged_blocks": list(cursor.damaged[:LISTED]),
            "error": self._error or unread or _said_of(cursor.damaged),
            **self._target.details(),
        }

    def _look(self) -> str | None:
        """See how far the checkpoint has come, or why that can't be read; then the last answer holds."""
        try:
            self._last = self._source.last_block()
        except (StorageError, OSError) as error:
            return str(error)
        return None

    def _write(self, batch: Batch) -> None:
        state = FollowerState.REFILLING if self._is_far_behind(batch) else FollowerState.FOLLOWING
        if self._error is None:
            self._state = state  # else it stays `waiting` until the target has taken something
        self._target.write(batch)
        self._cursor = self._shown = batch.cursor
        self._succeeded(state)

    def _pass_over(self, cursor: Cursor, found: DamagedBlock) -> None:
        """Go on behind a damaged block: what waited for it would wait for ever, and with it all that comes after."""
        self._write(Batch((), (), Cursor(found.number, cursor.incident, 0, (*cursor.damaged, found.number))))
        event("block_damaged", block=found.number, target=self._target.name, error=str(found))

    def _next_batch(self, after: Cursor) -> Batch:
        blocks = self._source.blocks_after(after.block, self._batch_bytes)
        incidents = self._source.incidents_after(after.incident)
        block, check = (blocks[-1][0], _check(blocks[-1][1])) if blocks else (after.block, after.check)
        incident = incidents[-1][0] if incidents else after.incident
        return Batch(blocks, incidents, Cursor(block, incident, check, after.damaged))

    def _checked(self, cursor: Cursor) -> Cursor:
        """Begin again where the checkpoint is not the one that the cursor was made for: all its rows are sent."""
        if self._is_followed(cursor):
            return cursor
        _log.warning("%s followed another checkpoint up to block %d: refilling", self._target.name, cursor.block)
        return Cursor()

    def _is_followed(self, cursor: Cursor) -> bool:
        if not cursor.block:
            return True
        try:
            same = self._source.blocks_after(cursor.block - 1, 1)
        except DamagedBlock:
            return True  # nothing can be said by this one; the blocks behind it are followed as they come
        return bool(same) and (same[0][0], _check(same[0][1])) == (cursor.block, cursor.check)

    def _is_far_behind(self, batch: Batch) -> bool:
        return self._source.last_block() > batch.cursor.block

    def _failed(self, error: WaysideError | OSError) -> float:
        """Note the failure; the target is asked for its cursor again, because it may have been replaced."""
        pause_s, reason = self._backoff.pause_s(), str(error) or type(error).__name__
        if self._state is not FollowerState.WAITING or reason != self._error:
            _log.warning("%s takes no rows: %s; rows wait in the checkpoint", self._target.name, reason)
        self._state, self._error, self._cursor = FollowerState.WAITING, reason, None
        return max(pause_s, error.retry_after_s) if isinstance(error, Unavailable) else pause_s

    def _succeeded(self, state: FollowerState) -> None:
        if self._error is not None:
            _log.info("%s takes rows again", self._target.name)
        self._backoff.reset()
        self._state, self._error = state, None

    def _rest(self, pause_s: float) -> None:
        """Wait for `stop`; news of rows ends only a wait for rows, not a back-off."""
        if self._state is FollowerState.WAITING:
            self._stopping.wait(pause_s)
        else:
            self._wake.wait(pause_s)


def _check(block: RowBlock) -> int:
    return zlib.crc32(block.encode())


def _said_of(damaged: tuple[int, ...]) -> str | None:
    if not damaged:
        return None
    named = ", ".join(map(str, damaged[:LISTED]))
    return f"{len(damaged)} damaged block(s) of the checkpoint passed over, their rows are missing here: {named}"
