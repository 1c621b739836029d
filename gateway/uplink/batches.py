"""Batches: records of the journal as the messages that carry them (docs/wire.md §3).

A cut reads pages of the journal, so it belongs in a thread: on a card that is busy with a commit or with its own
garbage, a page may take seconds. It takes what fits, and is a function of the journal, the tables and the time alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.errors import StorageError
from edge.model.record import (
    AnchorRecord,
    DatingRecord,
    EpochRecord,
    PollRecord,
    Record,
    ScheduleRecord,
    TombstoneRecord,
)
from edge.model.record import encode as record_bytes
from edge.sparkplug.birth import device_id
from edge.sparkplug.body import NO_TABLE, Body, Extra, Undatable
from edge.sparkplug.sparkplug_b_pb2 import Payload
from gateway.uplink.metrics import encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.durable.journal import Journal
    from edge.model.point import Group
    from gateway.uplink.births import Births
    from gateway.uplink.metrics import Plan

_MS_NS = 1_000_000
_PAGE_BYTES = 64 * 1024
_PAGE_RECORDS = 4096
_PART_BYTES = 200
"""What a part takes beside its records: topic, header, body."""
_EXTRA_BYTES = 24


@dataclass(slots=True)
class Part:
    """What of a batch goes into one message."""

    device_id: str | None
    """None = the NDATA."""
    table: bytes
    offsets: list[int] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    extras: list[Extra] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Batch:
    """The records [a, b) of one epoch."""

    journal: Journal
    epoch: EpochRecord
    a: int
    b: int
    oldest: int
    lost: int
    parts: tuple[Part, ...]

    def payload(self, number: int, attempt: int, seq: int, t_ms: int, *, numbered: bool = True) -> bytes:
        """Make the payload of one part, with the body that numbers it or without."""
        # Fields in the order of their numbers, as if it were serialised in one piece.
        head = Payload(timestamp=t_ms)
        tail = Payload(seq=seq)
        if numbered:
            tail.body = self._body(number, attempt)
        return b"".join((head.SerializeToString(), *self.parts[number].chunks, tail.SerializeToString()))

    def _body(self, number: int, attempt: int) -> bytes:
        """Make the body of one part."""
        part = self.parts[number]
        return Body(
            self.journal.journal,
            self.epoch.epoch,
            self.epoch.first,
            self.a,
            self.b,
            self.oldest,
            self.lost,
            self.epoch.previous,
            attempt,
            number,
            len(self.parts),
            part.table,
            tuple(part.offsets),
            tuple(part.extras),
        ).encode()


class Cutter:
    """Cuts batches from one journal."""

    def __init__(self, journal: Journal, births: Births) -> None:
        """Hold one page of the journal at most."""
        self._journal, self._births = journal, births
        self._page: list[tuple[int, Record]] = []

    def cut(self, a: int, end: int, max_bytes: int, historical_ns: int) -> Batch | None:
        """Cut a batch that begins at `a` and ends at `end` or before; None if what is at `a` was evicted meanwhile.

        Tables that it needs anew are learned; they are due before it is sent.

        Args:
            a: first offset, not below the journal's oldest, below `end`.
            end: offset up to which records may be taken.
            max_bytes: about what it may take; one record may be larger.
            historical_ns: what is dated before this is historical. [ns UTC]
        """
        epoch = self._journal.epoch_at(a)
        if epoch is None:
            raise StorageError(f"no record says which epoch {a} belongs to")
        end = min([end, *(first for _, first in self._journal.lineage() if first > a)])
        making = _Making(self._journal, self._births, epoch, max_bytes, historical_ns)
        b = next((offset for offset, record in self._records(a, end) if not making.take(offset, record)), end)
        # What was dated after its file had gone may have been dated wrongly: looked at last.
        if self._journal.oldest > a:
            self._page = []
            return None
        return Batch(self._journal, epoch, a, b, self._journal.oldest, self._journal.lost, making.parts())

    def _records(self, a: int, end: int) -> Iterator[tuple[int, Record]]:
        at = a
        while at < end:
            if not self._page or not self._page[0][0] <= at <= self._page[-1][0]:
                self._page = self._journal.read(at, _PAGE_RECORDS, _PAGE_BYTES)
            for offset, record in self._page:
                if offset >= end:
                    return
                if offset >= at:
                    yield offset, record
                    at = offset + 1
            if not self._page:
                return


class _Making:
    """A batch that grows record by record."""

    def __init__(
        self, journal: Journal, births: Births, epoch: EpochRecord, max_bytes: int, historical_ns: int
    ) -> None:
        self._journal, self._births, self._epoch = journal, births, epoch
        self._left_bytes, self._historical_ns = max_bytes, historical_ns
        self._schedules = journal.schedules
        self._node = Part(None, NO_TABLE)
        self._devices: dict[str, Part] = {}
        self._empty = True

    def take(self, offset: int, record: Record) -> bool:
        """Take a record; False if the batch must end before it."""
        match record:
            case AnchorRecord() | DatingRecord():
                return True
            case TombstoneRecord() if not self._journal.stands(offset):
                return True
            case PollRecord():
                return self._poll(offset, record)
            case _:
                return self._extra(offset, record, self._date_ms(offset, record))

    def parts(self) -> tuple[Part, ...]:
        """The NDATA if there is anything for it, or nothing else; then the DDATAs."""
        node = (self._node,) if self._node.offsets or not self._devices else ()
        return (*node, *self._devices.values())

    def _date_ms(self, offset: int, record: EpochRecord | ScheduleRecord | TombstoneRecord) -> int | None:
        boot = self._epoch.boot if isinstance(record, ScheduleRecord) else record.boot
        instant_ns = record.to_ns if isinstance(record, TombstoneRecord) else record.mono_ns
        t_ns = self._journal.date_ns(boot, offset, instant_ns)
        return None if t_ns is None else t_ns // _MS_NS

    def _extra(self, offset: int, record: Record | Undatable, t_ms: int | None) -> bool:
        size_bytes = _EXTRA_BYTES + (0 if isinstance(record, Undatable) else len(record_bytes(record)))
        if self._devices or not self._fits(size_bytes):
            return False
        self._node.offsets.append(offset)
        self._node.extras.append((t_ms, record))
        return True

    def _poll(self, offset: int, record: PollRecord) -> bool:
        due_ns = self._journal.date_ns(self._epoch.boot, offset, record.due_ns)
        taken_ns = self._journal.date_ns(self._epoch.boot, offset, record.taken_ns)
        group = self._schedules.get(record.schedule)
        if due_ns is None or taken_ns is None or due_ns < 0 or group is None:
            # Counted one by one, each at its own offset: exact wherever a centre's position lies.
            return self._extra(offset, Undatable(record.schedule, 1, int(record.outcome == 0)), None)
        plan = self._births.tables.plan(record.schedule) or self._meet(offset, record.schedule, group)
        if plan is None:
            return False
        historical = taken_ns < self._historical_ns
        chunk = encode(plan, record, due_ns // _MS_NS, taken_ns // _MS_NS, historical=historical)
        part = self._devices.get(plan.table.device_id)
        if not self._fits(len(chunk) + 3 + (0 if part else _PART_BYTES)):
            return False
        if part is None:
            part = self._devices[plan.table.device_id] = Part(plan.table.device_id, plan.table.hash)
        part.offsets.append(offset)
        part.chunks.append(chunk)
        return True

    def _meet(self, offset: int, schedule: int, group: Group) -> Plan | None:
        """Learn a schedule; None if the batch says its device already, by the table that this would change."""
        if device_id(group.site, group.device) in self._devices:
            return None
        self._births.met(schedule, group, offset)
        return self._births.tables.plan(schedule)

    def _fits(self, size_bytes: int) -> bool:
        if not self._empty and size_bytes > self._left_bytes:
            return False
        self._empty = False
        self._left_bytes -= size_bytes
        return True
