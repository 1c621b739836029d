"""The naive twin of the engine, written from docs/rows.md: everything is kept, and rows are made at the end.

First every record is judged in log order (late? quarantined? which windows close?), which gives a plain history of
samples and closings; then each point's history becomes fields, window by window (`fields`). Slow on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from edge.model.point import Group, Kind, Point, Value
from edge.model.quality import is_usable, reason_names
from edge.model.record import Outcome
from wayside.prove import fields
from wayside.prove.fields import S_NS, Closing, Fields, History, Partial, Retired, Sample, Windows

Tags = tuple[tuple[str, str], ...]
LENGTHS_NS = tuple(s * S_NS for s in (60, 300, 900, 3600, 86_400))
LONG_NS = 300 * S_NS
AHEAD_NS = 300 * S_NS


class Row(NamedTuple):
    """One final row."""

    measurement: str
    tags: Tags
    window_s: int
    t_ns: int
    fields: Fields


class Reading(NamedTuple):
    """One value of a poll."""

    name: str
    t_ns: int
    value: Value
    quality: int


class Refused(NamedTuple):
    """A poll that is no part of any window."""

    kind: str
    at_ns: int
    ok: bool


@dataclass(slots=True)
class _Slots:
    """The ledger of one window."""

    expected: int = 0
    records: int = 0
    arrived: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def fields(self) -> Fields:
        return {"expected": self.expected, "arrived": self.arrived, **self.counts}


class GroupTwin:
    """All records of one group, in log order."""

    def __init__(self, group: Group, from_ns: int) -> None:
        """Declare the group."""
        self.group = group
        self.points: dict[str, Point] = {}
        """Every point it ever had, as last declared."""
        self.refused: list[Refused] = []
        self.ahead = 0
        """Records with a sample dated too long after them."""
        self._period = group.period_ns
        self._next: int | None = -(-from_ns // self._period)
        """The first slot not yet judged; None while none is expected."""
        self._before: list[int] = []
        """Instants of slots of former schedules not yet judged."""
        length = _base_length(self._period)
        self.closed = self._next * self._period // length * length
        self._pieces = [(self.closed, length)]
        self.watermark: int | None = None
        self._top: int | None = None
        self._retired = False
        self._furthest: dict[str, int] = {}
        self._history: list[Sample | Closing | Retired] = []
        self._slots: dict[int, _Slots] = {}
        self._closed: list[tuple[int, int]] = []
        self._longs: list[list[tuple[int, int]]] = []
        self._long: list[tuple[int, int]] = []
        self._declare(group)

    @property
    def hold_ns(self) -> int:
        """How long a value holds."""
        return 5 * self._period // 2

    def declare(self, group: Group, from_ns: int) -> None:
        """Change the group, or end it (period 0)."""
        if self._retired:
            if from_ns >= self.closed and group.period_ns:
                self._retired = False
                self._next = -(-from_ns // group.period_ns)
        elif group.period_ns != self.group.period_ns:
            self._turn(group.period_ns, from_ns)
        if group.period_ns:
            self._period = group.period_ns
            self._lengthen(from_ns)
        self._declare(group)

    def poll(self, due_ns: int, outcome: int, readings: Sequence[Reading], receipt_ns: int, why: str) -> bool:
        """Take one record; False if it is no part of any window.

        Args:
            due_ns: when it was due.
            outcome: what became of it.
            readings: its samples, in order.
            receipt_ns: when the centre got it.
            why: reason of the slots between the record before and this one that have none.
        """
        at = (due_ns + self._period // 2) // self._period * self._period
        if due_ns > receipt_ns + AHEAD_NS:
            self.refused.append(Refused("quarantined", at, outcome == 0))
            return False
        if at < self.closed:
            self.refused.append(Refused("late_after_close", at, outcome == 0))
            return False
        for reading in readings:
            self._sample(reading, due_ns)
        self.ahead += any(reading.t_ns > due_ns + AHEAD_NS for reading in readings)
        self._count(at, outcome, readings, why)
        self.watermark = at if self.watermark is None else max(at, self.watermark)
        while self._may_close():
            self._close()
        return True

    def retire(self) -> None:
        """Close everything that a record or a sample reaches."""
        reached = max((t for t in (self.watermark, self._top) if t is not None), default=self.closed - 1)
        while self.closed <= reached:
            self._close()
        if self._long:
            self.closed = self._long[0][0] // LONG_NS * LONG_NS + LONG_NS
            self._finish_long()
        self._retired, self._next, self._before = True, None, []
        self._history.append(Retired(self.closed, dict(self.points)))

    @property
    def base_windows(self) -> list[tuple[int, int]]:
        """The base windows [start, end) that have closed, in order."""
        return self._closed

    def samples(self, name: str) -> list[Sample]:
        """Give a counter's samples, in order of time."""
        return fields.forward(event for event in self._history if isinstance(event, Sample) and event.name == name)

    def breaks(self, name: str) -> set[int]:
        """Give the instants of the samples before which a counter's register broke."""
        found = fields.counters(self.samples(name), Windows(self._pieces))
        return {t_ns for part in found.values() for t_ns in part.broken_at}

    def rows(self) -> list[Row]:
        """Make the rows of every window that has closed."""
        windows = Windows(self._pieces)
        parts = {name: _parts(name, point, self._history, windows) for name, point in self.points.items()}
        spans = [(start, end, [(start, end)]) for start, end in self._closed]
        spans += [
            (bases[0][0] // LONG_NS * LONG_NS, bases[0][0] // LONG_NS * LONG_NS + LONG_NS, bases)
            for bases in self._longs
        ]
        rows: list[Row] = []
        for start, end, bases in spans:
            rows += self._rows(start, end, bases, parts)
            rows += self._ledger(start, end, bases)
        return rows

    def _declare(self, group: Group) -> None:
        self.group = group
        self.points |= {point.name: point for point in group.points}

    def _turn(self, period_ns: int, from_ns: int) -> None:
        """Slots before `from` are judged by the old period, later ones by the new."""
        from_ns = max(from_ns, self.closed, from_ns if self.watermark is None else self.watermark + 1)
        while self._next is not None and self._next * self._period < from_ns:
            self._before.append(self._next * self._period)
            self._next += 1
        self._next = -(-from_ns // period_ns) if period_ns else None

    def _lengthen(self, from_ns: int) -> None:
        start, length = self._pieces[-1]
        wanted = _base_length(self._period)
        if wanted == length:
            return
        unused = max(from_ns, self.closed, *(t + 1 for t in (self.watermark, self._top) if t is not None))
        step = max(LONG_NS, length, wanted)
        begin = -(-max(unused, start) // step) * step
        if begin == start:
            self._pieces[-1] = (start, wanted)
        else:
            self._pieces.append((begin, wanted))

    def _sample(self, reading: Reading, due_ns: int) -> None:
        point = next((p for p in self.group.points if p.name == reading.name), None)
        value = reading.value
        if point is None or not fields.yields_fields(point) or not is_usable(reading.quality):
            return
        if value is None or isinstance(value, str) or not math.isfinite(value):
            return
        if not self.closed <= reading.t_ns <= due_ns + AHEAD_NS:
            return
        number = int(value) if fields.is_whole(point) else float(value)
        sample = Sample(reading.name, point, reading.t_ns, number, self.hold_ns, self.closed)
        self._history.append(sample)
        self._furthest[reading.name] = max(reading.t_ns, self._furthest.get(reading.name, reading.t_ns))
        self._top = reading.t_ns if self._top is None else max(self._top, reading.t_ns)

    def _count(self, at: int, outcome: int, readings: Sequence[Reading], why: str) -> None:
        empty, self._before = [t for t in self._before if t < at], [t for t in self._before if t >= at]
        here = self._slots_at(at)
        if self._retired:
            self._retired, self._next = False, at // self._period
        if self._next is not None and at >= self._next * self._period:
            empty += range(self._next * self._period, at, self._period)
            here.expected += 1
            self._next = at // self._period + 1
        for instant in empty:
            self._slots_at(instant).expected += 1
            self._slots_at(instant).count(f"missing_{why}")
        here.records += 1
        if outcome == 0:
            here.arrived += 1
        else:
            here.count(f"missing_{_outcome_name(outcome)}")
        for reading in readings:
            for reason in reason_names(reading.quality):
                here.count(f"marked_{reading.name}_{reason}")

    def _slots_at(self, t_ns: int) -> _Slots:
        return self._slots.setdefault(Windows(self._pieces).at(t_ns)[0], _Slots())

    def _may_close(self) -> bool:
        _, end = Windows(self._pieces).at(self.closed)
        if self.watermark is None or self.watermark < end:
            return False
        for point in self.group.points:
            if not fields.yields_fields(point) or point.kind is Kind.GAUGE:
                continue
            waits = self.hold_ns + (point.interval_s * S_NS if point.kind is Kind.DELTA else 0)
            if self._furthest.get(point.name, end - 1) < end and self.watermark < end + waits:
                return False
        return True

    def _close(self) -> None:
        start, end = Windows(self._pieces).at(self.closed)
        declared = {point.name: point for point in self.group.points}
        self._history.append(Closing(start, end, declared, dict(self.points)))
        self._closed.append((start, end))
        self.closed = end
        if end - start < LONG_NS:
            self._long.append((start, end))
            if end % LONG_NS == 0:
                self._finish_long()

    def _finish_long(self) -> None:
        self._longs.append(self._long)
        self._long = []

    def _rows(
        self, start: int, end: int, bases: Sequence[tuple[int, int]], parts: Mapping[str, Mapping[int, Partial]]
    ) -> Iterator[Row]:
        by_part: dict[Tags, Fields] = {}
        for name, point in self.points.items():
            held = [parts[name][base] for base, _ in bases if base in parts[name]]
            if held:
                found = by_part.setdefault(point.part, {})
                found |= fields.merged(held).fields(point.field)
        for part, found in by_part.items():
            finite = {name: value for name, value in found.items() if not math.isnan(value)}
            if found:
                tags = {"site": self.group.site, "device": self.group.device, **dict(part)}
                yield Row(str(self.group.domain), tuple(sorted(tags.items())), (end - start) // S_NS, start, finite)

    def _ledger(self, start: int, end: int, bases: Sequence[tuple[int, int]]) -> Iterator[Row]:
        whole = _Slots()
        for base, _ in bases:
            slots = self._slots.get(base, _Slots())
            whole.expected += slots.expected
            whole.records += slots.records
            whole.arrived += slots.arrived
            for name, number in slots.counts.items():
                whole.count(name, number)
        if whole.expected or whole.records:
            tags = (("device", self.group.device), ("group", self.group.group), ("site", self.group.site))
            yield Row("ledger", tags, (end - start) // S_NS, start, whole.fields())


def _base_length(period_ns: int) -> int:
    return next((length for length in LENGTHS_NS if length >= period_ns), LENGTHS_NS[-1])


def _outcome_name(outcome: int) -> str:
    return Outcome(outcome).name.lower() if outcome in set(Outcome) else "other"


def _parts(name: str, point: Point, history: History, windows: Windows) -> Mapping[int, Partial]:
    if not fields.yields_fields(point):
        return {}
    if point.kind is Kind.DELTA:
        return fields.deltas(name, history, windows)
    samples = [event for event in history if isinstance(event, Sample) and event.name == name]
    return fields.gauges(samples, windows) if point.kind is Kind.GAUGE else fields.counters(samples, windows)
