"""What an eviction takes: the tombstones that say it, counted from the records themselves."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING

from edge.durable.context import instant_of, records
from edge.model.record import DatingRecord, Evicted, PollRecord, Record, TombstoneRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.durable.context import Context
    from edge.durable.reader import Reader

DAMAGED = "damaged"
"""Reason of a tombstone for what was destroyed, not dropped."""
_PAGE_BYTES = 256 << 10


class _Span:
    """The part of one epoch that goes."""

    def __init__(self, first: int, boot: str) -> None:
        self.first, self.boot = first, boot
        self.dues: list[int] = []
        self.takens: list[int] = []
        self.others: list[int] = []
        self.polls: dict[int, list[int]] = {}

    def count(self, record: Record) -> None:
        if isinstance(record, PollRecord):
            counts = self.polls.setdefault(record.schedule, [0, 0])
            counts[0] += 1
            counts[1] += record.outcome == 0
            self.dues.append(record.due_ns)
            self.takens.append(record.taken_ns)
        elif (instant := instant_of(record)) is not None:
            self.others.append(instant)

    def tombstone(self, end: int, reason: str) -> TombstoneRecord:
        groups = [Evicted(schedule, polls, ok) for schedule, (polls, ok) in sorted(self.polls.items())]
        # Repeats are older than what they stand before: they say the span only if there is no poll.
        from_ns, to_ns = min(self.dues or self.others, default=0), max(self.takens or self.others, default=0)
        return TombstoneRecord(self.first, end, reason, groups, self.boot, from_ns, to_ns)


def tombstones(reader: Reader, context: Context, first: int, end: int, reason: str) -> list[TombstoneRecord]:
    """Count the records [first, end) into one tombstone per epoch; what can't be read is in no count."""
    began = [epoch.first for epoch in context.epochs if first < epoch.first < end]
    spans = []
    for at in (first, *began):
        epoch = context.epoch_at(at)
        spans.append(_Span(at, epoch.boot if epoch else ""))
    for offset, record in _records(reader, first, end):
        spans[bisect.bisect_right(began, offset)].count(record)
    return [span.tombstone(until, reason) for span, until in zip(spans, (*began, end), strict=True)]


def damage(first: int, end: int, boot: str) -> TombstoneRecord:
    """Say that [first, end) was destroyed; what it held is not known."""
    return TombstoneRecord(first, end, DAMAGED, [], boot, 0, 0)


def datings_for(stones: list[TombstoneRecord], context: Context) -> list[DatingRecord]:
    """The datings that the stones' spans need: those of a former boot would go with its records."""
    found = (context.dating_at(stone.boot, stone.end - 1) for stone in stones)
    return [dating for dating in found if dating is not None]


def _records(reader: Reader, first: int, end: int) -> Iterator[tuple[int, Record]]:
    at = first
    while at < end:
        rows = reader.read(at, limit_bytes=_PAGE_BYTES)
        if not rows:
            return
        yield from records(row for row in rows if row.offset < end)
        at = rows[-1].offset + 1
