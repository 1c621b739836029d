"""The reference: what the naive twin makes of the journals' records, less those that are named as not stored."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge.model.point import Datatype, Group, Kind, Point, Value
from edge.model.quality import STATUS_MASK, Quality
from edge.model.record import EpochRecord, PollRecord, ScheduleRecord
from wayside.prove.group import AHEAD_NS, Reading
from wayside.prove.journals import Entry, Journals
from wayside.prove.twin import JUMPS, Key, Twin

_MS_NS = 1_000_000
_S_MS = 1000
_MAX_MS = 1 << 62
_NO_START = int(Quality.BAD | Quality.CLOCK)


@dataclass(frozen=True, slots=True)
class Jump:
    """Records [start, end) of an epoch (of every epoch that the centre did not know, where it is None) never came."""

    journal: str
    epoch: int | None
    start: int
    end: int
    reason: str

    def names(self, journal: str, epoch: int, offset: int) -> bool:
        """Tell whether a record is among them."""
        return self.journal == journal and self.epoch in {None, epoch} and self.start <= offset < self.end


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Polls of a group that the centre did not believe."""

    key: Key
    polls: int
    from_ns: int
    to_ns: int


@dataclass(slots=True)
class Reference:
    """The twin after the last record, everything retired, and what became of each good poll."""

    twin: Twin
    ok: int = 0
    """Good polls told to the twin."""
    named: int = 0
    """Good polls in the ranges of jumps."""
    undatable: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    """Good polls late after close, or in quarantine."""
    undeclared: int = 0


def jumps_of(incidents: Iterable[Mapping[str, Any]]) -> list[Jump]:
    """Read the ranges that the centre names as missing for good."""
    found = []
    for incident in incidents:
        if {"journal", "start", "end", "reason"} <= incident.keys() and incident["reason"] in JUMPS:
            epoch = incident.get("epoch")
            number = int(epoch, 16) if isinstance(epoch, str) and epoch else epoch
            found.append(
                Jump(
                    str(incident["journal"]),
                    None if number in {None, ""} else int(number),
                    int(incident["start"]),
                    int(incident["end"]),
                    str(incident["reason"]),
                )
            )
    return found


def quarantines_of(incidents: Iterable[Mapping[str, Any]]) -> list[Quarantine]:
    """Read which polls the centre did not believe."""
    return [
        Quarantine((i["site"], i["device"], i["group"]), i["polls"], i["from_ns"], i["to_ns"])
        for i in incidents
        if i["kind"] == "quarantined"
    ]


def refer(journals: Journals, jumps: Sequence[Jump], quarantines: Sequence[Quarantine]) -> Reference:
    """Tell the twin every record, in order, but those that `jumps` name; then retire everything."""
    reference = Reference(Twin())
    teller = _Teller(journals, list(jumps), quarantines, reference)
    for epoch in journals.epochs:
        for entry in epoch.entries:
            if any(jump.names(entry.journal, entry.epoch, entry.offset) for jump in jumps):
                reference.named += isinstance(entry.record, PollRecord) and entry.record.outcome == 0
            else:
                teller.tell(entry)
        teller.passed.add((epoch.journal, epoch.record.epoch))
    reference.twin.retire_all()
    for group in reference.twin.groups.values():
        for each in group.refused:
            reference.refused[each.kind] = reference.refused.get(each.kind, 0) + each.ok
    return reference


class _Teller:
    def __init__(
        self, journals: Journals, pending: list[Jump], quarantines: Sequence[Quarantine], reference: Reference
    ) -> None:
        self._journals, self._pending, self._reference = journals, pending, reference
        self._quarantined = _identify(journals, quarantines)
        self._undated: dict[Key, tuple[Group, str]] = {}
        self._epoch: dict[str, int] = {}
        self.passed: set[tuple[str, int]] = set()

    def tell(self, entry: Entry) -> None:
        for jump in [jump for jump in self._pending if self._is_due(jump, entry)]:
            self._reference.twin.jumped(jump.journal, jump.reason)
            self._pending.remove(jump)
        match entry.record:
            case EpochRecord(epoch):
                if self._epoch.get(entry.journal) != epoch:  # it is repeated at the head of each file
                    self._reference.twin.epoch_began(entry.journal)
                self._epoch[entry.journal] = epoch
            case ScheduleRecord(_, mono_ns, group):
                self._declare(group, entry.journal, self._journals.date_ns(entry, mono_ns))
            case PollRecord():
                self._poll(entry, entry.record)

    def _is_due(self, jump: Jump, entry: Entry) -> bool:
        if jump.journal != entry.journal:
            return False
        if (jump.journal, jump.epoch) in self.passed:
            return True
        return jump.epoch in {None, entry.epoch} and jump.end <= entry.offset

    def _declare(self, group: Group, journal: str, from_ns: int | None) -> None:
        self._undated.pop(group.key, None)
        if from_ns is None:
            self._undated[group.key] = group, journal  # counts from its first record that has a date
        elif group.period_ns or group.key in self._reference.twin.groups:
            self._reference.twin.declare(group, from_ns, journal)

    def _poll(self, entry: Entry, record: PollRecord) -> None:
        reference, twin = self._reference, self._reference.twin
        due_ns, taken_ns = (self._journals.date_ns(entry, t) for t in (record.due_ns, record.taken_ns))
        ok = record.outcome == 0
        group = entry.schedule
        if due_ns is None or taken_ns is None or due_ns < 0 or group is None:
            reference.undatable += ok
            if group is not None:
                twin.undatable(group.key)
            return
        if group.key in self._undated:
            self._declare(*self._undated[group.key], due_ns)
        if group.key not in twin.groups:
            reference.undeclared += ok
            return
        reference.ok += ok
        receipt_ns = (
            due_ns - 2 * AHEAD_NS if (entry.journal, entry.epoch, entry.offset) in self._quarantined else due_ns
        )
        twin.poll(group.key, due_ns, record.outcome, readings(group, record, taken_ns), receipt_ns)


def _identify(journals: Journals, quarantines: Sequence[Quarantine]) -> set[tuple[str, int, int]]:
    """Find the polls in quarantine: incidents give a group, a span and a number, which must fit."""
    found: set[tuple[str, int, int]] = set()
    for quarantine in quarantines:
        inside = [e for e in journals.entries() if _is_in(journals, e, quarantine)]
        if len(inside) == quarantine.polls:
            found |= {(e.journal, e.epoch, e.offset) for e in inside}
    return found


def _is_in(journals: Journals, entry: Entry, quarantine: Quarantine) -> bool:
    group, record = entry.schedule, entry.record
    if group is None or group.key != quarantine.key or not isinstance(record, PollRecord) or not group.period_ns:
        return False
    due_ns = journals.date_ns(entry, record.due_ns)
    if due_ns is None:
        return False
    at = (due_ns + group.period_ns // 2) // group.period_ns * group.period_ns
    return quarantine.from_ns <= at <= quarantine.to_ns


def readings(group: Group, record: PollRecord, taken_ns: int) -> list[Reading]:
    """Give a poll's samples as the wire carries them (docs/wire.md §3.1)."""
    if record.outcome != 0 or record.values is None:
        return []
    values = dict(zip((point.name for point in group.points), record.values, strict=False))
    marks = record.quality or [0] * len(record.values)
    found = []
    for point, value, mark in zip(group.points, record.values, marks, strict=False):
        if value is None and not mark:
            continue
        has_start = point.kind is Kind.DELTA and point.interval_start in values
        t_ns = _start_ns(values[point.interval_start]) if has_start else taken_ns
        if t_ns is None:
            found.append(Reading(point.name, taken_ns, None, mark & ~STATUS_MASK | _NO_START))
        else:
            found.append(Reading(point.name, t_ns, _carried(point, value), mark))
    return found


def _start_ns(start_s: Value) -> int | None:
    if isinstance(start_s, bool) or not isinstance(start_s, int | float) or not math.isfinite(start_s):
        return None
    start_ms = int(start_s * _S_MS)
    return start_ms * _MS_NS if 0 <= start_ms < _MAX_MS else None


def _carried(point: Point, value: Value) -> Value:
    """Give what is left of a value after its datatype's field."""
    if value is None or isinstance(value, str):
        return value
    convert: dict[Datatype, Callable[[Any], Value]] = {
        Datatype.FLOAT: _single,
        Datatype.DOUBLE: float,
        Datatype.INT64: int,
        Datatype.BOOLEAN: bool,
    }
    return convert[point.datatype](value) if point.datatype in convert else value


def _single(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)
