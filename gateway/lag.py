"""How old the oldest record is that the centre has not acknowledged."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.durable.context import instant_of
from edge.errors import StorageError

if TYPE_CHECKING:
    from edge.durable.journal import Journal
    from edge.runtime.clock import Clock
    from gateway.recording.timebase import Timebase

PATIENCE_S = 1.0
"""How long a status waits for a card that is busy; then it tells what the look before found."""
_RECORDS = 16
"""More than stand in a row without saying when they were made."""


@dataclass(frozen=True, slots=True)
class _Oldest:
    """The record that waits longest."""

    offset: int
    boot: str
    mono_ns: int


class Lag:
    """Looks into the journal in a thread, one look at a time: on a busy card a page may take seconds."""

    def __init__(self, journal: Journal, timebase: Timebase, clock: Clock) -> None:
        """Touch nothing yet."""
        self._journal, self._timebase, self._clock = journal, timebase, clock
        self._looking: asyncio.Future[None] | None = None
        self._looked = False
        self._oldest: _Oldest | None = None
        self.error = ""
        """Why the last look failed; empty if it did not."""

    async def look(self) -> None:
        """Look, for `PATIENCE_S` at most; a look that takes longer goes on for those who ask later."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().run_in_executor(None, self._look)
        await asyncio.wait([self._looking], timeout=PATIENCE_S)

    async def end(self) -> None:
        """Wait for a look that is under way, before the journal closes."""
        if self._looking is not None:
            await asyncio.wait([self._looking])

    def lag_s(self) -> float | None:
        """Age of what the last look found; 0 if nothing waits, None if it has no date or no look has ended yet. [s]."""
        oldest = self._oldest
        if self._journal.acknowledged >= self._journal.committed:
            return 0.0
        if oldest is None:
            return 0.0 if self._looked else None
        now_ns = self._clock.mono_ns()
        if oldest.boot == self._clock.boot:
            return max(0.0, (now_ns - oldest.mono_ns) / 1e9)
        date_ns = self._journal.date_ns(oldest.boot, oldest.offset, oldest.mono_ns)
        offset_ns = self._timebase.offset_ns()
        return None if date_ns is None or offset_ns is None else max(0.0, (now_ns + offset_ns - date_ns) / 1e9)

    def _look(self) -> None:
        try:
            self._oldest, self._looked, self.error = self._find(), True, ""
        except StorageError as error:
            self.error = str(error)

    def _find(self) -> _Oldest | None:
        for offset, record in self._journal.read(self._journal.acknowledged, max_records=_RECORDS):
            epoch, instant_ns = self._journal.epoch_at(offset), instant_of(record)
            if epoch is not None and instant_ns is not None:
                return _Oldest(offset, epoch.boot, instant_ns)
        return None
