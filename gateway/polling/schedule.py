"""When a group is due: pure arithmetic on the event clock's monotonic axis.

Due times are multiples of the period on the wall clock, where the wall clock is known, else on the monotonic one. Each
is computed from the one before, never from when something ran: nothing drifts. Every slot is used once: polled, or
missed with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

_MS_NS = 1_000_000
"""Dates are whole milliseconds."""


def first_due_ns(period_ns: int, not_before_ns: int, offset_ns: int) -> int:
    """The first due time from `not_before_ns` on; `offset_ns` is wall less monotonic, or 0. [ns, monotonic]."""
    return -(-(not_before_ns + offset_ns) // period_ns) * period_ns - offset_ns


def declared_from_ns(period_ns: int, now_ns: int, offset_ns: int) -> int:
    """The instant to declare a group from, so that the first slot expected of it is that of its first poll.

    Half a period before it is due: a poll counts in the slot nearest to its date (docs/rows.md §1), and before the wall
    clock is known its due times are no multiples of the period on it. [ns, monotonic].
    """
    return first_due_ns(period_ns, now_ns, offset_ns) - period_ns // 2 + _MS_NS


@dataclass(frozen=True, slots=True)
class Taken:
    """Slots that a group has used up: those missed, and the one to poll now."""

    missed_ns: range
    due_ns: int


class Timetable:
    """The slots of one group."""

    def __init__(self, period_ns: int, from_ns: int, offset_ns: int) -> None:
        """Begin with the first multiple of `period_ns` from `from_ns` on."""
        self._period_ns = period_ns
        self.due_ns = first_due_ns(period_ns, from_ns, offset_ns)
        """The next slot not yet used. [ns, monotonic]"""

    def take(self, now_ns: int, offset_ns: int) -> Taken:
        """Use every slot due by `now_ns` (there is one): the latest is to be polled, those before it are missed.

        A wall clock that was stepped moves the slots to come: the next is then half a period to one and a half after
        the last, so that no slot of the new count is used twice.
        """
        late = (now_ns - self.due_ns) // self._period_ns
        last_ns = self.due_ns + late * self._period_ns
        missed_ns = range(self.due_ns, last_ns, self._period_ns)
        self.due_ns = first_due_ns(self._period_ns, last_ns + self._period_ns // 2 + 1, offset_ns)
        return Taken(missed_ns, last_ns)
