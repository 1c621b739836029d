"""Records that are no polls, as the centre takes them: epochs, schedules, tombstones, undatable polls."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from edge.model.point import Group, Point
from edge.model.record import EpochRecord, ScheduleRecord, TombstoneRecord
from edge.sparkplug import payload as pl
from edge.sparkplug.body import Extra, Undatable
from pipelines.engine.nodes import Book, JournalNotes, name_of
from pipelines.engine.taking import Taking
from pipelines.ingest.births import KnownTable
from pipelines.kernels.layout import AHEAD_NS
from pipelines.kernels.wire import LATEST_MS

_MS_NS: Final = 1_000_000
_S_NS: Final = 1_000_000_000
_DAY_S: Final = 86_400
_POINTS_MAX: Final = 4096


class Extras:
    """Tells the engine what extras say."""

    def __init__(self, taking: Taking, book: Book) -> None:
        """Tell `taking`; remember in `book`."""
        self._taking, self._book = taking, book

    def take(self, node: str, journal: UUID, extra: Extra) -> None:
        """Take one extra of a batch that was accepted."""
        t_ms, record = extra
        notes = self._book.journal(journal)
        t_ns = None if t_ms is None else min(max(t_ms, 0), LATEST_MS) * _MS_NS
        match record:
            case EpochRecord():
                if record.epoch != notes.epoch:
                    notes.epoch = record.epoch
                    self._taking.settled().epoch_began(name_of(journal))
            case ScheduleRecord():
                self._schedule(node, journal, t_ns, record)
            case TombstoneRecord():
                self._tombstone(node, journal, t_ns, record)
            case Undatable():
                self._undatable(node, journal, record)
            case _:
                self._taking.malformed(node, f"{type(record).__name__} among the extras")

    def date(self, journal: UUID, table: KnownTable, payload: bytes) -> None:
        """Declare what waits for a date, if `payload` has polls of it.

        Raises:
            PayloadError: the bytes are no payload.
        """
        notes = self._book.journal(journal)
        names = {table.first + at: group for at, group, point, _ in table.shape if not point}
        for metric in pl.parse(payload).metrics:
            for group in notes.undated:
                if group.key == (table.site, table.device, names.get(metric.alias)):
                    notes.undated = [each for each in notes.undated if each is not group]
                    self._declare(journal, group, min(metric.timestamp, LATEST_MS) * _MS_NS)
                    break

    def _schedule(self, node: str, journal: UUID, t_ns: int | None, record: ScheduleRecord) -> None:
        notes, group = self._book.journal(journal), record.group
        if not is_admissible(group):
            self._taking.malformed(node, f"schedule of {'/'.join(group.key)}")
            return
        notes.declared(record.schedule, group.key)
        notes.undated = [each for each in notes.undated if each.key != group.key]
        if t_ns is None:
            notes.undated.append(group)
        else:
            self._declare(journal, group, t_ns)

    def _declare(self, journal: UUID, group: Group, from_ns: int) -> None:
        receipt_ns = self._book.last_receipt_ns
        engine = self._taking.settled()
        if engine.group(group.key) is None and not group.period_ns:
            return
        # A date that far ahead is a wrong clock's; windows that begin there would refuse everything until then.
        engine.schedule(group, from_ns if from_ns <= receipt_ns + AHEAD_NS else receipt_ns, name_of(journal))
        self._taking.changed(group.site, group.device)

    def _tombstone(self, node: str, journal: UUID, t_ns: int | None, record: TombstoneRecord) -> None:
        notes = self._book.journal(journal)
        fields = {"node": node, "journal": name_of(journal), "first": record.first, "end": record.end}
        fields["reason"] = record.reason
        if t_ns is not None:
            fields |= {"from_ns": t_ns - max(record.to_ns - record.from_ns, 0), "to_ns": t_ns}
        for gone in record.groups:
            own = {**_names(notes, gone.schedule), "polls": gone.polls, "ok": gone.ok}
            self._taking.note("tombstone", fields | own, t_ns)
        if not record.groups:
            self._taking.note("tombstone", fields | {"polls": 0, "ok": 0}, t_ns)

    def _undatable(self, node: str, journal: UUID, record: Undatable) -> None:
        notes = self._book.journal(journal)
        key = notes.schedules.get(record.schedule)
        if key is not None:
            engine = self._taking.settled()
            engine.undatable(key, record.polls, record.ok, self._book.last_receipt_ns)
            return
        fields = {"node": node, "journal": name_of(journal), "polls": record.polls, "ok": record.ok}
        self._taking.note("undatable", fields | _names(notes, record.schedule))


def is_admissible(group: Group) -> bool:
    """Tell whether the engine's arithmetic holds for a declaration; what arrives is not always what was meant."""
    names = {point.name for point in group.points}
    return (
        0 <= group.period_ns <= _DAY_S * _S_NS
        and (group.period_ns == 0 or group.period_ns >= _MS_NS)
        and len(names) == len(group.points) <= _POINTS_MAX
        and all(map(_is_admissible, group.points))
    )


def _is_admissible(point: Point) -> bool:
    return (
        0 <= point.interval_s <= _DAY_S
        and 0 <= point.modulus < 1 << 62
        and 0 < point.resolution < 1 << 62
        and point.max_rate >= 0
    )


def _names(notes: JournalNotes, schedule: int) -> dict[str, str | int]:
    site, device, group = notes.schedules.get(schedule, ("", "", ""))
    return {"schedule": schedule, "site": site, "device": device, "group": group}
