"""What one point's samples make of one window (docs/rows.md §3-§6): plain sums over plain lists, nothing clever."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from edge.model.point import Datatype, Kind, Point

Fields = dict[str, float | int]
S_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A usable sample that was taken, at its place in log order."""

    name: str
    point: Point
    """As declared when the sample came."""
    t_ns: int
    value: float | int
    hold_ns: int
    """The hold in force when the sample came."""
    closed_ns: int
    """End of the last window closed before it."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A base window [start, end) closed, at its place in log order."""

    start: int
    end: int
    declared: dict[str, Point]
    """The points that the group had then."""
    known: dict[str, Point]
    """Every point that it ever had till then, as last declared."""


@dataclass(frozen=True, slots=True)
class Retired:
    """The group was retired; everything before `closed_ns` is closed."""

    closed_ns: int
    known: dict[str, Point]
    """As of `Closing`."""


History = Sequence[Sample | Closing | Retired]


@dataclass(slots=True)
class Gauge:
    """A gauge's part of a window."""

    values: list[float] = field(default_factory=list)
    total: float = 0.0
    squares: float = 0.0
    covered_ns: int = 0
    weighted: float = 0.0

    def fields(self, stem: str) -> Fields:
        """Docs/rows.md §3."""
        n = len(self.values)
        found: Fields = {}
        if self.covered_ns > 0:
            found[f"{stem}_mean"] = self.weighted / float(self.covered_ns)
        if n > 0:
            found[f"{stem}_min"] = min(self.values)
            found[f"{stem}_max"] = max(self.values)
            found[f"{stem}_last"] = self.values[-1]
            mean = self.total / n
            found[f"{stem}_stdev"] = math.sqrt(max(0.0, self.squares / n - mean * mean))
        if n > 0 or self.covered_ns > 0:
            found[f"{stem}_covered_s"] = float(self.covered_ns) / 1e9
            found[f"{stem}_n"] = n
        return found


@dataclass(slots=True)
class Counter:
    """A counter's part of a window."""

    registers: list[int] = field(default_factory=list)
    increases: list[int] = field(default_factory=list)
    bridged: list[int] = field(default_factory=list)
    rollovers: int = 0
    breaks: list[int] = field(default_factory=list)
    broken_at: list[int] = field(default_factory=list)
    """When the samples behind each break were taken."""

    def fields(self, stem: str) -> Fields:
        """Docs/rows.md §4."""
        if not (self.registers or self.increases or self.bridged):
            return {}
        found: Fields = {
            f"{stem}_increase": sum(self.increases),
            f"{stem}_increase_bridged": sum(self.bridged),
            f"{stem}_n": len(self.registers),
            f"{stem}_rollovers": self.rollovers,
            f"{stem}_discontinuities": len(self.breaks),
            f"{stem}_discontinuity": sum(self.breaks),
        }
        if self.registers:
            found[f"{stem}_last"] = self.registers[-1]
        return found


@dataclass(slots=True)
class Delta:
    """A delta's part of a window; a volume's values are integers."""

    point: Point
    values: list[float | int] = field(default_factory=list)
    total: float | int = 0
    weights: float = 0.0
    missed: int = 0

    def fields(self, stem: str) -> Fields:
        """Docs/rows.md §5."""
        n = len(self.values)
        found: Fields = {}
        if self.point.weight:
            if n > 0:
                found = {f"{stem}_mean": self.total / self.weights} | self._range(stem) | {f"{stem}_n": n}
            return found
        if n == 0 and self.missed == 0:
            return {}
        found = {f"{stem}_n": n, f"{stem}_missed": self.missed}
        if n > 0 and is_whole(self.point):
            found |= {f"{stem}_sum": self.total, f"{stem}_max": max(self.values)}
        elif n > 0:
            found |= {f"{stem}_mean": self.total / n} | self._range(stem)
        return found

    def _range(self, stem: str) -> Fields:
        return {f"{stem}_min": min(self.values), f"{stem}_max": max(self.values)}


Partial = Gauge | Counter | Delta


def is_whole(point: Point) -> bool:
    """Tell whether a point's values are integers."""
    return point.datatype in {Datatype.INT64, Datatype.BOOLEAN}


def yields_fields(point: Point) -> bool:
    """Tell whether a point makes fields at all; any other has marks only."""
    if point.datatype is Datatype.STRING:
        return False
    if point.kind is Kind.COUNTER:
        return is_whole(point)
    return point.kind in {Kind.GAUGE, Kind.DELTA}


class Windows:
    """The base windows of one group; the one that holds an instant."""

    def __init__(self, pieces: Sequence[tuple[int, int]]) -> None:
        """Take (from, length) of each stretch of one length, in order."""
        self._pieces = pieces

    def at(self, t_ns: int) -> tuple[int, int]:
        """Give the window [start, end) that holds `t_ns`."""
        begin, length = next((p for p in reversed(self._pieces) if p[0] <= t_ns), self._pieces[0])
        start = begin + (t_ns - begin) // length * length
        return start, start + length

    def between(self, from_ns: int, to_ns: int) -> list[tuple[int, int]]:
        """Give the windows that [from, to) touches, in order."""
        found = []
        while from_ns < to_ns:
            found.append(self.at(from_ns))
            from_ns = found[-1][1]
        return found


def gauges(samples: Sequence[Sample], windows: Windows) -> dict[int, Gauge]:
    """Sort a gauge's samples into windows, by their start."""
    found: dict[int, Gauge] = {}
    for i, sample in enumerate(samples):
        value = float(sample.value)
        part = found.setdefault(windows.at(sample.t_ns)[0], Gauge())
        part.values.append(value)
        part.total += value
        part.squares += value * value
        until = sample.t_ns + sample.hold_ns
        if i + 1 < len(samples):
            until = min(until, samples[i + 1].t_ns)
        for start, end in windows.between(sample.t_ns, until):
            held = found.setdefault(start, Gauge())
            span = min(end, until) - max(start, sample.t_ns)
            held.covered_ns += span
            held.weighted += value * float(span)
    return found


def forward(samples: Iterable[Sample]) -> list[Sample]:
    """Leave out samples that are not after the one before."""
    found: list[Sample] = []
    for sample in samples:
        if not found or sample.t_ns > found[-1].t_ns:
            found.append(sample)
    return found


def counters(samples: Sequence[Sample], windows: Windows) -> dict[int, Counter]:
    """Sort a counter's steps into windows, by their start."""
    found: dict[int, Counter] = {}
    last: Sample | None = None
    for sample in forward(samples):
        here = found.setdefault(windows.at(sample.t_ns)[0], Counter())
        here.registers.append(int(sample.value))
        if last is not None:
            _step(last, sample, here, found, windows)
        last = sample
    return found


def _step(last: Sample, sample: Sample, here: Counter, found: dict[int, Counter], windows: Windows) -> None:
    point = sample.point
    dt = sample.t_ns - last.t_ns
    step = int(sample.value) - int(last.value)
    bound = point.max_rate * (float(dt) / 1e9) + float(point.resolution)
    turned = step + point.modulus
    if step < 0 and point.modulus > 0 and turned >= 0 and (point.max_rate == 0.0 or float(turned) <= bound):
        here.rollovers += 1
        step = turned
    elif step < 0 or (point.max_rate > 0.0 and float(step) > bound):
        here.breaks.append(step)
        here.broken_at.append(sample.t_ns)
        return
    edges = [end for _, end in windows.between(last.t_ns, sample.t_ns + 1) if end <= sample.t_ns]
    if not edges:
        here.increases.append(step)
    elif dt > sample.hold_ns or last.t_ns < sample.closed_ns:
        here.bridged.append(step)
    else:
        values = [0, *(step * (edge - last.t_ns) // dt for edge in edges), step]
        starts = [windows.at(last.t_ns)[0], *edges]
        for start, before, after in zip(starts, values, values[1:], strict=False):
            found.setdefault(start, Counter()).increases.append(after - before)


def deltas(name: str, history: History, windows: Windows) -> dict[int, Delta]:
    """Sort a delta's intervals into windows, by their start; what was skipped is missed."""
    found: dict[int, Delta] = {}
    last: dict[str, Sample] = {}
    following = 0
    for event in history:
        if isinstance(event, Sample):
            before = last.get(event.name)
            is_again = event.point.kind is Kind.DELTA and before is not None and event.t_ns <= before.t_ns
            if not is_again:
                last[event.name] = event
            if event.name != name or is_again:
                continue
            length = event.point.interval_s * S_NS
            while before is not None and length and following + length // 2 <= event.t_ns:
                _part(found, windows.at(following)[0], event.point).missed += 1
                following += length
            following = event.t_ns + length
            _interval(_part(found, windows.at(event.t_ns)[0], event.point), event, last.get(event.point.weight))
        elif name in last:
            end = event.end if isinstance(event, Closing) else event.closed_ns
            declared = event.declared.get(name) if isinstance(event, Closing) else None
            length = event.known[name].interval_s * S_NS
            while length and following < end:
                if declared is not None:
                    _part(found, windows.at(following)[0], declared).missed += 1
                following += length
    return found


def _part(found: dict[int, Delta], start: int, point: Point) -> Delta:
    return found.setdefault(start, Delta(point, total=0 if is_whole(point) and not point.weight else 0.0))


def _interval(part: Delta, sample: Sample, weight: Sample | None) -> None:
    if not sample.point.weight:
        part.values.append(sample.value)
        part.total += sample.value
    elif weight is not None and weight.t_ns == sample.t_ns and float(weight.value) != 0.0:
        value, by = float(sample.value), float(weight.value)
        part.values.append(value)
        part.total += by * value
        part.weights += by


def merged(parts: Iterable[Partial]) -> Partial:
    """Merge base windows' parts, in time order (docs/rows.md §6)."""
    parts = list(parts)
    first = parts[0]
    if isinstance(first, Gauge):
        whole = Gauge()
        for part in parts:
            assert isinstance(part, Gauge)
            whole.values += part.values
            whole.total += part.total
            whole.squares += part.squares
            whole.covered_ns += part.covered_ns
            whole.weighted += part.weighted
        return whole
    if isinstance(first, Counter):
        count = Counter()
        for part in parts:
            assert isinstance(part, Counter)
            count.registers += part.registers
            count.increases += part.increases
            count.bridged += part.bridged
            count.rollovers += part.rollovers
            count.breaks += part.breaks
        return count
    sums = Delta(first.point, total=0 if isinstance(first.total, int) else 0.0)
    for part in parts:
        assert isinstance(part, Delta)
        sums.values += part.values
        sums.total += part.total
        sums.weights += part.weights
        sums.missed += part.missed
    return sums
