"""What a journal's records mean by what stood before them: epochs, schedules, anchors and datings."""

from __future__ import annotations

import bisect
import contextlib
from typing import TYPE_CHECKING

import msgspec

from edge.model.record import AnchorRecord, DatingRecord, EpochRecord, PollRecord, Record, ScheduleRecord, decode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.durable.sqlitefile import Stored
    from edge.model.point import Group

_MS_NS = 1_000_000


class Context:
    """A fold over a journal's records in offset order; repeats change nothing. No input or output."""

    def __init__(self) -> None:
        """Know nothing."""
        self.schedules: dict[int, Group] = {}
        """Every schedule met and not forgotten, by id."""
        self.in_force: dict[tuple[str, str, str], ScheduleRecord] = {}
        self.anchor: AnchorRecord | None = None
        self.epochs: list[EpochRecord] = []
        """In the order of their beginnings."""
        self._datings: dict[str, list[DatingRecord]] = {}
        self._dated_at: dict[str, int] = {}
        self._superseded: dict[int, int] = {}
        self._next_schedule = 1

    def take(self, offset: int, record: Record) -> None:
        """Learn from the record at `offset`."""
        match record:
            case EpochRecord():
                self._begin(record)
            case AnchorRecord():
                self.anchor = record
            case DatingRecord():
                self._date(offset, record)
            case ScheduleRecord():
                self._schedule(offset, record)
            case _:
                pass

    def epoch_at(self, offset: int) -> EpochRecord | None:
        """The epoch that the record at `offset` belongs to; None before the first that is known."""
        n = bisect.bisect_right(self.epochs, offset, key=lambda epoch: epoch.first)
        return self.epochs[n - 1] if n else None

    def dating_at(self, boot: str, offset: int) -> DatingRecord | None:
        """The dating for instants of `boot` in the record at `offset` (docs/wire.md §2)."""
        datings = self._datings.get(boot, [])
        n = bisect.bisect_right(datings, offset, key=lambda dating: dating.from_offset)
        return datings[n - 1] if n else None

    def date_ns(self, boot: str, offset: int, mono_ns: int) -> int | None:
        """Date an instant in the record at `offset`, in whole milliseconds; None = undatable. [ns UTC]."""
        dating = self.dating_at(boot, offset)
        if dating is None:
            return None
        return (dating.wall_ns + (mono_ns - dating.mono_ns)) // _MS_NS * _MS_NS

    def find(self, group: Group) -> int | None:
        """The schedule in force that says exactly this."""
        found = self.in_force.get(group.key)
        return found.schedule if found and found.group == group else None

    def new_schedule(self) -> int:
        """An id that no schedule of this journal has."""
        return self._next_schedule

    def reserve_schedules(self, next_schedule: int) -> None:
        """Never give ids below `next_schedule` again."""
        self._next_schedule = max(self._next_schedule, next_schedule)

    def repeats(self, offset: int) -> list[Record]:
        """The records that a file beginning at `offset` must open with."""
        if not self.epochs:
            return []
        epoch = self.epochs[-1]
        records: list[Record] = [epoch, *(record for _, record in sorted(self.in_force.items()))]
        if self.anchor is not None and self.anchor.boot == epoch.boot:
            records.append(self.anchor)
        if (dating := self.dating_at(epoch.boot, offset)) is not None:
            records.append(dating)
        return records

    def before(self, oldest: int) -> tuple[int, int] | None:
        """The epoch before the one that holds `oldest`, and its first offset, if it is remembered."""
        if len(self.epochs) > 1 and self.epochs[1].first <= oldest:
            return self.epochs[0].epoch, self.epochs[0].first
        return None

    def forget(self, oldest: int) -> None:
        """Let go of what only records below `oldest` needed; the epoch before the oldest held one stays."""
        held = max(bisect.bisect_right(self.epochs, oldest, key=lambda epoch: epoch.first) - 1, 0)
        self.epochs = self.epochs[max(held - 1, 0) :]
        boots = {epoch.boot for epoch in self.epochs} | {b for b, at in self._dated_at.items() if at >= oldest}
        self._datings = {boot: datings for boot, datings in self._datings.items() if boot in boots}
        for schedule in [schedule for schedule, at in self._superseded.items() if at < oldest]:
            del self.schedules[schedule], self._superseded[schedule]

    def _begin(self, record: EpochRecord) -> None:
        if any(known.epoch == record.epoch for known in self.epochs):
            return
        same_boot = bool(self.epochs) and self.epochs[-1].boot == record.boot
        self.epochs.append(record)
        if same_boot:
            return
        # A monotonic instant of an earlier boot means nothing in this one: repeats from here on say "from its start".
        self.anchor = None
        for key, schedule in self.in_force.items():
            self.in_force[key] = msgspec.structs.replace(schedule, mono_ns=record.mono_ns)

    def _date(self, offset: int, record: DatingRecord) -> None:
        self._dated_at[record.boot] = offset
        datings = [known for known in self._datings.get(record.boot, []) if known.from_offset != record.from_offset]
        bisect.insort(datings, record, key=lambda dating: dating.from_offset)
        self._datings[record.boot] = datings

    def _schedule(self, offset: int, record: ScheduleRecord) -> None:
        self._next_schedule = max(self._next_schedule, record.schedule + 1)
        known = self.in_force.get(record.group.key)
        if known is not None and known.schedule == record.schedule:
            return
        if known is not None:
            self._superseded[known.schedule] = offset
        self.schedules[record.schedule] = record.group
        if record.group.period_ns:
            self.in_force[record.group.key] = record
        else:
            self.in_force.pop(record.group.key, None)
            self._superseded[record.schedule] = offset


def records(rows: Iterable[Stored]) -> Iterator[tuple[int, Record]]:
    """Decode rows; a kind that only a newer version knows is passed over."""
    for row in rows:
        with contextlib.suppress(msgspec.DecodeError):
            yield row.offset, decode(row.data)


def instant_of(record: Record) -> int | None:
    """Tell when a record was made, if it says so. [ns, monotonic of its epoch's boot]."""
    match record:
        case PollRecord():
            return record.taken_ns
        case EpochRecord() | AnchorRecord() | ScheduleRecord():
            return record.mono_ns
        case _:
            return None
