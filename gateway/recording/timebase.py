"""Dates for instants: anchors and datings of this boot, kept in the journal (docs/wire.md §2).

Records carry monotonic instants, so a wall clock that is wrong or steps changes no record. A date comes from the
dating in force at the record's offset:
    * The first dating of a boot covers everything since the boot's first record, in earlier epochs of it too.
    * Each later one, after a step or a drift, covers what is recorded from then on: dates that were sent stay.
    * A wall clock that lies before the floor (this program, the newest record of earlier boots) is not believed: it is
      a clock that lost its battery. Within one boot a step backwards is believed, or one wrong step would last.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.errors import StorageFull
from edge.model.record import AnchorRecord, DatingRecord
from edge.runtime.ready import event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.durable.journal import Journal
    from edge.runtime.clock import Clock
    from gateway.recording.sources import Source

CHECK_S = 1.0
STEP_NS = 1_000_000_000
"""Real time: on a scaled clock a step of the machine's is scaled too."""
DRIFT_NS = 50_000_000
"""What dates may drift from the wall clock before they follow. Real time."""
PROGRAM_NS = 1_767_225_600_000_000_000
"""2026-01-01: this program is younger than that."""
_TRIES = 5


class State(enum.StrEnum):
    """How it stands with dates."""

    WAITING = "waiting"
    """No source vouches for the wall clock, and this boot has no anchor."""
    BEFORE_FLOOR = "before_floor"
    """The wall clock is before records of earlier boots: not believed."""
    ANCHORED = "anchored"
    HOLDING = "holding"
    """No source vouches for the wall clock now; the last anchor holds."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """The wall clock and the monotonic clock, read together within `width_ns`."""

    wall_ns: int
    mono_ns: int
    width_ns: int


class Timebase:
    """The anchor in force; one task checks it."""

    def __init__(self, journal: Journal, clock: Clock, sources: Sequence[Source]) -> None:
        """Take up the dating that this boot has already, if the process was only started again."""
        self._journal, self._clock, self._sources = journal, clock, sources
        self._floor_ns = max(PROGRAM_NS, _newest_ns(journal, clock.boot))
        dating = journal.dating_at(clock.boot, journal.epoch.first)
        self._dating: DatingRecord | None = dating
        self.ready_at: int | None = None if dating is None else journal.epoch.first
        """Batches may be cut when the journal's `committed` has reached this; None = this boot has no dating yet."""
        self.state = State.WAITING if dating is None else State.HOLDING
        self.anchors = self.steps = 0

    def offset_ns(self) -> int | None:
        """Wall less monotonic event time, by the anchor in force; None while there is none. [ns]."""
        return None if self._dating is None else self._dating.wall_ns - self._dating.mono_ns

    async def run(self) -> None:
        """Check for ever."""
        while True:
            self.check()
            await self._clock.sleep(CHECK_S)

    def check(self) -> None:
        """Ask the sources, and follow the wall clock where one vouches for it."""
        found = next(((s.name, error_ns) for s in self._sources if (error_ns := s.error_ns()) is not None), None)
        if found is None:
            self._become(State.WAITING if self._dating is None else State.HOLDING)
            return
        moment = self._read()
        if moment.wall_ns < self._floor_ns:
            self._become(State.BEFORE_FLOOR, wall_ns=moment.wall_ns, floor_ns=self._floor_ns, source=found[0])
            return
        if self._is_news(moment, found[0]):
            try:
                self._anchor(moment, *found)
            except StorageFull:
                return  # shown by the journal's state; tried again
        self._become(State.ANCHORED, source=found[0])

    def status(self) -> dict[str, Any]:
        """What an operator is shown."""
        dating, offset_ns = self._dating, self.offset_ns()
        return {
            "state": self.state,
            "source": dating.source if dating else None,
            "error_s": dating.error_ns / 1e9 if dating else None,
            "t_ns": None if offset_ns is None else self._clock.mono_ns() + offset_ns,
            "wall_ns": self._clock.wall_ns(),
            "floor_ns": self._floor_ns,
            "anchors": self.anchors,
            "steps": self.steps,
            "scale": self._clock.scale,
        }

    def _read(self) -> _Moment:
        """Read both clocks; the best of a few tries, since the scheduler may come between, and is scaled as well."""
        return min((self._read_once() for _ in range(_TRIES)), key=lambda moment: moment.width_ns)

    def _read_once(self) -> _Moment:
        before_ns = self._clock.mono_ns()
        wall_ns = self._clock.wall_ns()
        width_ns = self._clock.mono_ns() - before_ns
        return _Moment(wall_ns, before_ns + width_ns // 2, width_ns)

    def _is_news(self, moment: _Moment, source: str) -> bool:
        """A step, a drift, or a source that was not heard before."""
        if self._dating is None or self._dating.source != source:
            return True
        return abs(self._off_ns(moment)) > DRIFT_NS * self._clock.scale + moment.width_ns

    def _off_ns(self, moment: _Moment) -> int:
        """The wall clock less the date by the anchor in force."""
        assert self._dating is not None
        return moment.wall_ns - self._dating.wall_ns - (moment.mono_ns - self._dating.mono_ns)

    def _anchor(self, moment: _Moment, source: str, error_ns: int) -> None:
        boot, error_ns = self._clock.boot, error_ns + moment.width_ns
        off_ns = 0 if self._dating is None else self._off_ns(moment)
        instant = boot, moment.wall_ns, moment.mono_ns, source, error_ns
        after = self._journal.append(AnchorRecord(*instant)) + 1
        dating = DatingRecord(boot, self._first_offset() if self._dating is None else after, *instant[1:])
        at = self._journal.append(dating)
        if self._dating is None:
            self.ready_at = at + 1
            self._journal.flush()
        self._dating = dating
        self.anchors += 1
        self._tell(off_ns, source, error_ns)

    def _tell(self, off_ns: int, source: str, error_ns: int) -> None:
        if abs(off_ns) > STEP_NS * self._clock.scale:
            self.steps += 1
            event("clock_stepped", by_s=off_ns / 1e9, source=source, error_s=error_ns / 1e9)
        elif self.anchors == 1:
            event("clock_anchored", source=source, error_s=error_ns / 1e9)

    def _first_offset(self) -> int:
        """First record of this boot: an earlier epoch of it may have ended before there was a dating."""
        epochs = [self._journal.epoch_at(first) for _, first in self._journal.lineage()]
        firsts = [epoch.first for epoch in epochs if epoch is not None and epoch.boot == self._clock.boot]
        return min([self._journal.epoch.first, *firsts])

    def _become(self, state: State, **facts: object) -> None:
        if state is self.state:
            return
        self.state = state
        event("clock", state=state, **facts)


def _newest_ns(journal: Journal, boot: str) -> int:
    """Date of the newest record of boots before `boot`: each epoch remembers the last instant before it. [ns]."""
    newest_ns = 0
    for _, first in journal.lineage():
        epoch = journal.epoch_at(first)
        if epoch is None or epoch.previous_boot in {None, boot} or epoch.previous_last_ns is None:
            continue
        assert epoch.previous_boot is not None
        date_ns = journal.date_ns(epoch.previous_boot, epoch.first - 1, epoch.previous_last_ns)
        newest_ns = max(newest_ns, date_ns or 0)
    return newest_ns
