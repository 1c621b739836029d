"""A journal as plain dictionaries: what `wayside gateway journal export` writes, one a line.

Reads a journal that a process has open, a closed one, or a copied directory; changes nothing in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edge.durable.context import Context, instant_of, records
from edge.durable.identity import find
from edge.durable.reader import Reader
from edge.errors import Refused
from edge.model.record import (
    AnchorRecord,
    DatingRecord,
    EpochRecord,
    PollRecord,
    Record,
    ScheduleRecord,
    TombstoneRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from edge.model.point import Group

_PAGE_BYTES = 256 << 10


def export(directory: Path) -> Iterator[dict[str, Any]]:
    """Yield every record held, in offset order, as a dictionary that JSON can carry.

    Each has `kind`, `journal`, `epoch` (16 hex digits) and `offset`. `t_ns` is a date (docs/wire.md §2) by every
    dating that the journal has now, so that a poll made before its boot had an anchor is dated too; null if
    undatable. A record whose schedule was destroyed has null for device and group.

    Raises:
        Refused: there is no journal.
        StorageError: the medium failed.
    """
    identity = find(directory)
    if identity is None:
        raise Refused(f"{directory} holds no journal")
    with Reader(directory) as reader:
        context = Context()
        for offset, record in records(reader.marked()):
            context.take(offset, record)
        for offset, record in _all(reader):
            epoch = context.epoch_at(offset)
            head = {
                "kind": _KINDS[type(record)],
                "journal": str(identity.journal),
                "epoch": _hex(epoch.epoch) if epoch else None,
                "offset": offset,
            }
            yield head | _fields(record, offset, context)


_KINDS = {
    PollRecord: "poll",
    EpochRecord: "epoch",
    AnchorRecord: "anchor",
    DatingRecord: "dating",
    ScheduleRecord: "schedule",
    TombstoneRecord: "tombstone",
}


def _all(reader: Reader) -> Iterator[tuple[int, Record]]:
    at = 0
    while rows := reader.read(at, _PAGE_BYTES):
        yield from records(rows)
        at = rows[-1].offset + 1


def _fields(record: Record, offset: int, context: Context) -> dict[str, Any]:
    match record:
        case PollRecord():
            return _poll(record, offset, context)
        case EpochRecord():
            return {
                "first": record.first,
                "boot": record.boot,
                "mono_ns": record.mono_ns,
                "t_ns": _date(record, offset, context),
                "previous": None if record.previous is None else _hex(record.previous),
                "previous_boot": record.previous_boot,
                "previous_last_ns": record.previous_last_ns,
            }
        case ScheduleRecord():
            group: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record.group))
            t_ns = _date(record, offset, context)
            return {"schedule": record.schedule, "mono_ns": record.mono_ns, "t_ns": t_ns} | group
        case TombstoneRecord():
            return _tombstone(record, context)
        case _:
            return {name: getattr(record, name) for name in record.__struct_fields__}


def _poll(record: PollRecord, offset: int, context: Context) -> dict[str, Any]:
    group = context.schedules.get(record.schedule)
    return {
        "schedule": record.schedule,
        "site": group.site if group else None,
        "device": group.device if group else None,
        "group": group.group if group else None,
        "t_ns": _date(record, offset, context),
        "due_t_ns": _date(record, offset, context, record.due_ns),
        "outcome": record.outcome,
        "samples": _samples(record, group) if group else {},
    }


def _samples(record: PollRecord, group: Group) -> dict[str, list[Any]]:
    """Point → [value, quality]; empty where the poll failed."""
    if record.values is None:
        return {}
    quality = record.quality or [0] * len(record.values)
    return {point.name: [value, mark] for point, value, mark in zip(group.points, record.values, quality, strict=False)}


def _tombstone(record: TombstoneRecord, context: Context) -> dict[str, Any]:
    groups = []
    for gone in record.groups:
        group = context.schedules.get(gone.schedule)
        names = {"site": group.site, "device": group.device, "group": group.group} if group else {}
        groups.append({"schedule": gone.schedule, **names, "polls": gone.polls, "ok": gone.ok})
    return {
        "first": record.first,
        "end": record.end,
        "of_epoch": None if record.epoch is None else _hex(record.epoch),
        "reason": record.reason,
        "boot": record.boot,
        "from_t_ns": context.date_ns(record.boot, record.end - 1, record.from_ns) if record.to_ns else None,
        "to_t_ns": context.date_ns(record.boot, record.end - 1, record.to_ns) if record.to_ns else None,
        "groups": groups,
    }


def _date(record: Record, offset: int, context: Context, instant_ns: int | None = None) -> int | None:
    epoch = context.epoch_at(offset)
    instant = instant_of(record) if instant_ns is None else instant_ns
    return None if epoch is None or instant is None else context.date_ns(epoch.boot, offset, instant)


def _hex(epoch: int) -> str:
    return f"{epoch:016x}"
