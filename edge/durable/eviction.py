"""What an eviction takes: the tombstones that say it, counted from the records themselves (docs/wire.md §5.1)."""

from __future__ import annotations

import bisect
import zlib
from typing import TYPE_CHECKING

from edge.durable.context import instant_of, records
from edge.model.record import DatingRecord, Evicted, PollRecord, Record, TombstoneRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.durable.context import Context
    from edge.durable.reader import Reader
    from edge.model.record import EpochRecord

DAMAGED = "damaged"
"""Reason of a tombstone for what was destroyed, not dropped."""
_PAGE_BYTES = 256 << 10
_BITS_BYTES = 64 << 10
"""Most bits of one tombstone, as bytes: the records of one file of 16 MiB."""
_GOOD_BYTES = 2 << 10
"""The same, compressed."""


class _Span:
    """The part of one epoch that goes."""

    def __init__(self, first: int, epoch: EpochRecord | None) -> None:
        self.first, self.epoch = first, epoch
        self.dues: list[int] = []
        self.takens: list[int] = []
        self.others: list[int] = []
        self.polls: dict[int, list[int]] = {}
        self.good = bytearray()

    def count(self, offset: int, record: Record) -> None:
        if isinstance(record, PollRecord):
            counts = self.polls.setdefault(record.schedule, [0, 0])
            counts[0] += 1
            counts[1] += record.outcome == 0
            self.dues.append(record.due_ns)
            self.takens.append(record.taken_ns)
            if record.outcome == 0:
                self._mark(offset - self.first)
        elif (instant := instant_of(record)) is not None:
            self.others.append(instant)

    def tombstone(self, end: int, reason: str) -> TombstoneRecord:
        groups = [Evicted(schedule, polls, ok) for schedule, (polls, ok) in sorted(self.polls.items())]
        # Repeats are older than what they stand before: they say the span only if there is no poll.
        from_ns, to_ns = min(self.dues or self.others, default=0), max(self.takens or self.others, default=0)
        boot, epoch = (self.epoch.boot, self.epoch.epoch) if self.epoch else ("", None)
        good = _packed(bytes(self.good.ljust(_bytes_for(end - self.first), b"\0")))
        return TombstoneRecord(self.first, end, reason, groups, boot, from_ns, to_ns, epoch, good)

    def _mark(self, bit: int) -> None:
        self.good.extend(bytes(max(bit // 8 + 1 - len(self.good), 0)))
        self.good[bit // 8] |= 1 << bit % 8


def tombstones(reader: Reader, context: Context, first: int, end: int, reason: str) -> list[TombstoneRecord]:
    """Count the records [first, end) into one tombstone per epoch; what can't be read is in no count."""
    began = [epoch.first for epoch in context.epochs if first < epoch.first < end]
    spans = [_Span(at, context.epoch_at(at)) for at in (first, *began)]
    for offset, record in _records(reader, first, end):
        spans[bisect.bisect_right(began, offset)].count(offset, record)
    return [span.tombstone(until, reason) for span, until in zip(spans, (*began, end), strict=True)]


def damage(first: int, end: int, boot: str) -> TombstoneRecord:
    """Say that [first, end) was destroyed; what it held is not known."""
    return TombstoneRecord(first, end, DAMAGED, [], boot, 0, 0)


def datings_for(stones: list[TombstoneRecord], context: Context) -> list[DatingRecord]:
    """The datings that the stones' spans need: those of a former boot would go with its records."""
    found = {stone.boot: context.dating_at(stone.boot, stone.end - 1) for stone in stones}
    return [dating for dating in found.values() if dating is not None]


def join(one: TombstoneRecord, later: TombstoneRecord) -> TombstoneRecord:
    """Make one tombstone of two that count different records."""
    polls = {gone.schedule: gone for gone in one.groups}
    for gone in later.groups:
        known = polls.get(gone.schedule, Evicted(gone.schedule, 0, 0))
        polls[gone.schedule] = Evicted(gone.schedule, known.polls + gone.polls, known.ok + gone.ok)
    spans = [stone for stone in (one, later) if stone.boot == later.boot and stone.to_ns]
    return TombstoneRecord(
        one.first,
        max(one.end, later.end),
        later.reason,
        [polls[schedule] for schedule in sorted(polls)],
        later.boot,
        min((stone.from_ns for stone in spans), default=0),
        max((stone.to_ns for stone in spans), default=0),
        one.epoch if one.epoch == later.epoch else None,
        _joined(one, later),
    )


def good_bits(stone: TombstoneRecord) -> bytes:
    """Give a bit for each offset from `first` on, as far as the tombstone says it: was it a good poll?"""
    return zlib.decompress(stone.good) if stone.good else b""


def _joined(one: TombstoneRecord, later: TombstoneRecord) -> bytes:
    bits, more = good_bits(one), good_bits(later)
    if len(bits) < _bytes_for(one.end - one.first):
        return one.good
    both = int.from_bytes(bits, "little") | int.from_bytes(more, "little") << (later.first - one.first)
    told = later.first - one.first + min(len(more) * 8, later.end - later.first)
    return _packed(both.to_bytes(max(_bytes_for(told), len(bits)), "little"))


def _packed(bits: bytes) -> bytes:
    """Compress as many bits as a record may take."""
    bits = bits[:_BITS_BYTES]
    while len(packed := zlib.compress(bits)) > _GOOD_BYTES:
        bits = bits[: len(bits) // 2]
    return packed


def _bytes_for(bits: int) -> int:
    return (bits + 7) // 8


def _records(reader: Reader, first: int, end: int) -> Iterator[tuple[int, Record]]:
    at = first
    while at < end:
        rows = reader.read(at, limit_bytes=_PAGE_BYTES)
        if not rows:
            return
        yield from records(row for row in rows if row.offset < end)
        at = rows[-1].offset + 1
