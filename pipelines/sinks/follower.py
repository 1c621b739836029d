"""A follower: a cursor over the checkpoint's blocks and incidents, and a target that takes them in order.

Invariants: a target commits its cursor together with, or after, the rows that the cursor covers; rows that
are sent again are the same rows. So a follower may stop at any instant and repeat work, and skips nothing.
"Full" can't happen here: the blocks are durable in the checkpoint, and a follower holds one batch in memory.
"""

from __future__ import annotations

import enum
import logging
import random
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edge.errors import WaysideError
from pipelines.engine.blocks import RowBlock

_log = logging.getLogger("wayside.sinks")

BATCH_BYTES = 4 << 20
IDLE_S = 5.0
"""Longest pause when nothing announces new rows; a checkpoint calls `notify`."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last block and the last incident that a target has; 0 = none."""

    block: int = 0
    incident: int = 0
    check: int = 0
    """CRC-32 of the last block: tells a checkpoint that was restored or replaced from the one followed so far."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a target takes in one go, and where that brings it."""

    blocks: Sequence[tuple[int, RowBlock]]
    incidents: Sequence[tuple[int, dict[str, Any]]]
    cursor: Cursor


class Source(Protocol):
    """The checkpoint, as a follower sees it; each call reads on a connection of its own."""

    def blocks_after(self, seq: int, limit_bytes: int) -> Sequence[tuple[int, RowBlock]]:
        """Give the blocks that follow `seq`, in order: at least one if there is any, else about `limit_bytes`."""

    def incidents_after(self, seq: int) -> Sequence[tuple[int, dict[str, Any]]]:
        """Give the incidents that follow `seq`, in order."""

    def last_block(self) -> int:
        """Give the number of the newest block; 0 = none."""


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


@dataclass(slots=True)
class BackOff:
    """Growing pauses with jitter, so that many followers don't return in one instant."""

    first_s: float = 0.5
    most_s: float = 30.0
    failures: int = 0

    def pause_s(self) -> float:
        """Count a failure and say how long to wait. [s]."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return random.uniform(longest / 2, longest)


class Follower:
    """Brings one target up to date and keeps it there; `run` is its thread."""

    def __init__(
        self, source: Source, target: Target, *, back_off: BackOff | None = None, batch_bytes: int = BATCH_BYTES
    ) -> None:
        """Build without touching anything outside."""
        self._source = source
        self._target = target
        self._back_off = back_off or BackOff()
        self._batch_bytes = batch_bytes
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._cursor: Cursor | None = None
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
                except Unavailable as error:
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
        """
        if self._cursor is None:
            self._cursor = self._checked(self._target.cursor())
        batch = self._next_batch(self._cursor)
        if batch.cursor == self._cursor:
            self._succeeded(FollowerState.FOLLOWING)
            return False
        state = FollowerState.REFILLING if self._is_far_behind(batch) else FollowerState.FOLLOWING
        if self._error is None:
            self._state = state  # else it stays `waiting` until the target has taken something
        self._target.write(batch)
        self._cursor = batch.cursor
        self._succeeded(state)
        return True

    def status(self) -> dict[str, Any]:
        """Say where the target stands, for the control socket and the live view."""
        cursor, last = self._cursor or Cursor(), self._source.last_block()
        return {
            "target": self._target.name,
            "state": self._state.value,
            "block": cursor.block,
            "incident": cursor.incident,
            "behind_blocks": max(0, last - cursor.block),
            "progress_pct": round(100.0 * cursor.block / last, 1) if last else 100.0,
            "error": self._error,
            **self._target.details(),
        }

    def _next_batch(self, after: Cursor) -> Batch:
        blocks = self._source.blocks_after(after.block, self._batch_bytes)
        incidents = self._source.incidents_after(after.incident)
        block, check = (blocks[-1][0], _check(blocks[-1][1])) if blocks else (after.block, after.check)
        return Batch(blocks, incidents, Cursor(block, incidents[-1][0] if incidents else after.incident, check))

    def _checked(self, cursor: Cursor) -> Cursor:
        """Begin again where the checkpoint is not the one that the cursor was made for: all its rows are sent."""
        if cursor == Cursor():
            return cursor
        same = self._source.blocks_after(cursor.block - 1, 1) if cursor.block else ()
        if cursor.block and (not same or (same[0][0], _check(same[0][1])) != (cursor.block, cursor.check)):
            _log.warning("%s followed another checkpoint up to block %d: refilling", self._target.name, cursor.block)
            return Cursor()
        return cursor

    def _is_far_behind(self, batch: Batch) -> bool:
        return self._source.last_block() > batch.cursor.block

    def _failed(self, error: Unavailable) -> float:
        """Note the failure; the target is asked for its cursor again, because it may have been replaced."""
        pause_s = max(self._back_off.pause_s(), error.retry_after_s)
        if self._state is not FollowerState.WAITING or error.reason != self._error:
            _log.warning("%s takes no rows: %s; rows wait in the checkpoint", self._target.name, error.reason)
        self._state, self._error, self._cursor = FollowerState.WAITING, error.reason, None
        return pause_s

    def _succeeded(self, state: FollowerState) -> None:
        if self._error is not None:
            _log.info("%s takes rows again", self._target.name)
        self._back_off.failures = 0
        self._state, self._error = state, None

    def _rest(self, pause_s: float) -> None:
        """Wait for `stop`; news of rows ends only a wait for rows, not a back-off."""
        if self._state is FollowerState.WAITING:
            self._stopping.wait(pause_s)
        else:
            self._wake.wait(pause_s)


def _check(block: RowBlock) -> int:
    return zlib.crc32(block.encode())
