"""Records on their way to the card: bounded, with their offsets and the files' beginnings already given.

An offset can be given before the commit because nothing else writes, commits go in this order, and what a full
disk delays stays in the queue. If the process dies first, its offsets were never committed, and the next epoch
begins below them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.durable.sqlitefile import Row

ROW_BYTES = 14
"""What a row costs beside its data (measured at 1-KiB pages)."""


@dataclass(slots=True)
class Part:
    """Rows of one file and one transaction."""

    first: int
    roll: bool
    """They begin a new file."""
    rows: list[Row] = field(default_factory=list)
    sealed: bool = False
    """It is being written: nothing joins it."""


class Queue:
    """Gives offsets; not thread-safe by itself."""

    def __init__(self, next_offset: int, file_bytes: int, segment_bytes: int, limit_bytes: int) -> None:
        """Begin behind `next_offset`, in a file of `file_bytes`."""
        self.next_offset = next_offset
        self.file_bytes = file_bytes
        self.queued_bytes = 0
        self.limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        self._parts: list[Part] = []

    @property
    def queued_rows(self) -> int:
        """Rows put and not yet taken off."""
        return sum(len(part.rows) for part in self._parts)

    @property
    def wants_roll(self) -> bool:
        """The file has its size: call `roll` before the next `put`."""
        return self.file_bytes >= self._segment_bytes

    def has_room(self, data_bytes: int) -> bool:
        """Tell whether a record of this size may be put."""
        return self.queued_bytes + data_bytes + ROW_BYTES <= self.limit_bytes

    def roll(self) -> int:
        """Begin a new file; return its first offset, to put its head at."""
        self._parts.append(Part(self.next_offset, roll=True))
        self.file_bytes = 0
        return self.next_offset

    def put(self, row: Row) -> int:
        """Give `row` its offset."""
        if not self._parts or self._parts[-1].sealed:
            self._parts.append(Part(self.next_offset, roll=False))
        self._parts[-1].rows.append(row)
        size_bytes = len(row.data) + ROW_BYTES
        self.file_bytes += size_bytes
        self.queued_bytes += size_bytes
        self.next_offset += 1
        return self.next_offset - 1

    def seal(self) -> Part | None:
        """The part to write next, now closed; it stays until `done`."""
        if not self._parts:
            return None
        self._parts[0].sealed = True
        return self._parts[0]

    def done(self) -> None:
        """Take off the part that was written."""
        part = self._parts.pop(0)
        self.queued_bytes -= sum(len(row.data) + ROW_BYTES for row in part.rows)
