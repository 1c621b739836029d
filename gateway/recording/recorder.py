"""Polls become records of the journal; never waits for the card, never raises into a poller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.durable.journal import State
from edge.errors import StorageError, StorageFull
from edge.model.point import Value
from edge.model.record import Outcome, PollRecord

if TYPE_CHECKING:
    from edge.durable.journal import Journal


@dataclass(slots=True)
class Tally:
    """What became of a device's polls since the process began."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    last_outcome: Outcome | None = None
    last_ok_ns: int | None = None
    """When the last good answer was complete. [ns, monotonic]"""
    not_recorded: Counter[str] = field(default_factory=Counter)
    """Polls that the journal did not take, by reason: `full` (no space), `slow` (the card), `failed`."""


class Recorder:
    """Writes polls into the journal; a poll that it does not take was never recorded, and is counted."""

    def __init__(self, journal: Journal, failed: Callable[[StorageError], None]) -> None:
        """Record into `journal`; `failed` is told when it can't record any more, and ends the process."""
        self._journal, self._failed = journal, failed
        self._tallies: dict[int, Tally] = {}

    def watch(self, schedule: int, tally: Tally) -> None:
        """Count the polls of a schedule, before its first one; the groups of one device share one tally."""
        self._tallies[schedule] = tally

    def poll(
        self,
        schedule: int,
        due_ns: int,
        taken_ns: int,
        outcome: Outcome,
        values: list[Value] | None,
        quality: list[int] | None,
    ) -> None:
        """See `gateway.polling.poller.Recorder`."""
        tally = self._tallies[schedule]
        tally.outcomes[outcome] += 1
        tally.last_outcome = outcome
        if outcome is Outcome.OK:
            tally.last_ok_ns = taken_ns
        try:
            self._journal.append(PollRecord(schedule, due_ns, taken_ns, int(outcome), values, quality))
        except StorageFull:
            tally.not_recorded["full" if self._journal.state is State.FULL else "slow"] += 1
        except StorageError as error:
            tally.not_recorded["failed"] += 1
            self._failed(error)
