"""Counter totals: what final rows add up to, against the registers read, and against the simulator's truth."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.model.point import Kind
from wayside.prove.fields import Sample, yields_fields
from wayside.prove.group import GroupTwin, Tags

RowKey = tuple[str, Tags, int, int]
"""Measurement, tags, window [s], start [ns]."""
Rows = Mapping[RowKey, Mapping[str, float | int]]
_NEAR_NS = 600 * 1_000_000_000


class Truth:
    """What each counter's register would say if it had no end, at every read that was answered."""

    def __init__(self, path: Path) -> None:
        """Read a `truth.ndjson`; a last line that a kill cut short is left out."""
        self._said: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                said = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(said["value"], int):
                of = self._said.setdefault((said["device"], said["point"]), [])
                of.append((said["t_ns"], said["value"]))
        for said_of in self._said.values():
            said_of.sort()

    def total(self, device: str, sample: Sample) -> int | None:
        """Give the unrolled total behind a register: the nearest in time that shows as its value; None if none does."""
        said = self._said.get((device, sample.name), [])
        modulus = sample.point.modulus
        first = bisect.bisect_left(said, (sample.t_ns - _NEAR_NS, 0))
        end = bisect.bisect_right(said, (sample.t_ns + _NEAR_NS, 1 << 63))
        near = [
            (abs(t_ns - sample.t_ns), value)
            for t_ns, value in said[first:end]
            if (value % modulus if modulus else value) == sample.value
        ]
        return min(near)[1] if near else None


@dataclass(frozen=True, slots=True)
class Total:
    """One counter point: what its final rows add up to, and what is wrong with that."""

    name: str
    wrong: str = ""


def totals(group: GroupTwin, rows: Rows, truth: Truth | None) -> Iterator[Total]:
    """Check every counter of a group; one that was never read makes no total."""
    device = f"{group.group.site}:{group.group.device}"
    for name, point in group.points.items():
        samples = group.samples(name)
        if point.kind is Kind.COUNTER and yields_fields(point) and samples:
            yield Total(f"{device} {name}", _wrong(group, name, samples, rows, truth, device))


def _wrong(group: GroupTwin, name: str, samples: Sequence[Sample], rows: Rows, truth: Truth | None, device: str) -> str:
    point = group.points[name]
    sums = _sums(group, name, rows)
    stored = sums["increase"] + sums["increase_bridged"]
    first, last = int(samples[0].value), int(samples[-1].value)
    registers = last - first + point.modulus * sums["rollovers"] - sums["discontinuity"]
    if stored != registers:
        return f"rows add up to {stored}, the registers went from {first} to {last}: {registers}"
    if truth is None:
        return ""
    true = 0
    for run in _unbroken(group, name, samples):
        totals_at = [truth.total(device, sample) for sample in (run[0], run[-1])]
        if totals_at[0] is None or totals_at[1] is None:
            return f"no truth near {run[0].t_ns} or {run[-1].t_ns} that shows as {run[0].value} or {run[-1].value}"
        true += totals_at[1] - totals_at[0]
    return "" if true == stored else f"rows add up to {stored}, the truth is {true}"


def _sums(group: GroupTwin, name: str, rows: Rows) -> dict[str, int]:
    """Add up a counter's fields over its base windows."""
    point = group.points[name]
    tags = tuple(sorted({"site": group.group.site, "device": group.group.device, **dict(point.part)}.items()))
    found = dict.fromkeys(("increase", "increase_bridged", "rollovers", "discontinuity"), 0)
    for start, end in group.base_windows:
        row = rows.get((str(group.group.domain), tags, (end - start) // 1_000_000_000, start), {})
        for field in found:
            found[field] += int(row.get(f"{point.field}_{field}", 0))
    return found


def _unbroken(group: GroupTwin, name: str, samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """Cut a counter's samples where it was published that its register broke."""
    breaks = group.breaks(name)
    begin = 0
    for i in range(1, len(samples)):
        if samples[i].t_ns in breaks:
            yield samples[begin:i]
            begin = i
    yield samples[begin:]
