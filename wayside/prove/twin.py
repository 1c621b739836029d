"""The twin of the whole engine: records and events in log order, for every group at once (docs/rows.md)."""

from __future__ import annotations

from collections.abc import Sequence

from edge.model.point import Group
from wayside.prove.group import GroupTwin, Reading, Row

Key = tuple[str, str, str]

GAP_REASONS = ("evicted", "centre_restored", "undatable", "gateway_off")
"""Why slots have no record: the first that applies, else `unrecorded`."""
JUMPS = ("evicted", "centre_restored")


class Twin:
    """Takes what the engine takes, in the same order, and gives the rows of all windows that are closed."""

    def __init__(self) -> None:
        """Begin empty."""
        self.groups: dict[Key, GroupTwin] = {}
        self._journal: dict[Key, str] = {}
        self._events: list[tuple[str | Key, str]] = []
        """What happened to a journal or a group, in log order."""
        self._seen: dict[Key, int] = {}
        """How many events had happened at each group's last record."""

    def declare(self, group: Group, from_ns: int, journal: str) -> None:
        """Declare a group, change it, or end it."""
        self._journal[group.key] = journal
        if group.key in self.groups:
            self.groups[group.key].declare(group, from_ns)
        else:
            self.groups[group.key] = GroupTwin(group, from_ns)
            self._seen[group.key] = len(self._events)

    def epoch_began(self, journal: str) -> None:
        """Note that a journal was opened."""
        self._events.append((journal, "gateway_off"))

    def jumped(self, journal: str, reason: str) -> None:
        """Note that records of a journal will never come."""
        self._events.append((journal, reason))

    def undatable(self, key: Key) -> None:
        """Note polls of a group that have no date."""
        self._events.append((key, "undatable"))

    def poll(self, key: Key, due_ns: int, outcome: int, readings: Sequence[Reading], receipt_ns: int) -> bool:
        """Take a record; False if it is no part of any window."""
        taken = self.groups[key].poll(due_ns, outcome, readings, receipt_ns, self._why(key))
        if taken:
            self._seen[key] = len(self._events)
        return taken

    def retire(self, scope: str, name: str) -> None:
        """Close everything of a journal or a device (`SITE:DEVICE`)."""
        for key, group in self.groups.items():
            if name == (self._journal[key] if scope == "journal" else f"{key[0]}:{key[1]}"):
                group.retire()

    def retire_all(self) -> None:
        """Close everything."""
        for group in self.groups.values():
            group.retire()

    def rows(self) -> list[Row]:
        """Give the rows of all closed windows."""
        return [row for group in self.groups.values() for row in group.rows()]

    def _why(self, key: Key) -> str:
        mine = (key, self._journal[key])
        since = {reason for of, reason in self._events[self._seen[key] :] if of in mine}
        if self.groups[key].watermark is None:
            # A new centre hears of a jump first, and only then of the schedule.
            since |= {reason for of, reason in self._events if of in mine and reason in JUMPS}
        return next((reason for reason in GAP_REASONS if reason in since), "unrecorded")
