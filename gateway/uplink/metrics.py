"""A poll as Sparkplug metrics (docs/wire.md §3.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.model.point import Datatype, Kind, Value
from edge.model.quality import STATUS_MASK, Quality
from edge.sparkplug.payload import set_quality
from edge.sparkplug.sparkplug_b_pb2 import Payload

if TYPE_CHECKING:
    from edge.model.point import Group
    from edge.model.record import PollRecord
    from edge.sparkplug.birth import Table

_FIELDS = {
    Datatype.FLOAT: "float_value",
    Datatype.DOUBLE: "double_value",
    Datatype.INT64: "long_value",
    Datatype.BOOLEAN: "boolean_value",
    Datatype.STRING: "string_value",
}
_U64 = (1 << 64) - 1
_TAKEN = -1
_MAX_MS = 1 << 62
_NO_START = int(Quality.BAD | Quality.CLOCK)


@dataclass(frozen=True, slots=True)
class Plan:
    """How the polls of one schedule are said in one table."""

    table: Table
    outcome: int
    """Alias of the group's outcome."""
    points: tuple[tuple[int, str, int], ...]
    """For each point of the schedule: alias, field of its value, place of its interval's start (-1: none)."""


def plan(table: Table, group: Group) -> Plan:
    """Look up the aliases of `group`, whose points are all in `table`."""
    aliases = {entry.point.name if entry.point else None: entry.alias for entry in table.entries if
               entry.group == group.group}  # fmt: skip
    places = {point.name: place for place, point in enumerate(group.points)}
    points = tuple(
        (
            aliases[point.name],
            _FIELDS[point.datatype],
            places.get(point.interval_start, _TAKEN) if point.kind is Kind.DELTA else _TAKEN,
        )
        for point in group.points
    )
    return Plan(table, aliases[None], points)


def encode(plan: Plan, record: PollRecord, due_ms: int, taken_ms: int, *, historical: bool) -> bytes:
    """Make the metrics of one poll: bytes that can be put one after the other in a payload."""
    payload = Payload()
    outcome = payload.metrics.add()
    outcome.alias = plan.outcome
    outcome.timestamp = due_ms
    outcome.int_value = record.outcome
    if record.outcome == 0 and record.values is not None:
        _samples(payload, plan, record.values, record.quality, taken_ms)
    if historical:
        for metric in payload.metrics:
            metric.is_historical = True
    return payload.SerializeToString()


def _samples(payload: Payload, plan: Plan, values: list[Value], quality: list[int] | None, taken_ms: int) -> None:
    add = payload.metrics.add
    for place, ((alias, field, start), value) in enumerate(zip(plan.points, values, strict=False)):
        mark = quality[place] if quality is not None else 0
        if value is None and not mark:
            continue
        metric = add()
        metric.alias = alias
        start_ms = taken_ms if start == _TAKEN else _start_ms(values[start])
        if start_ms is None:  # an interval of no known time: no sample, or it may be counted again
            value, mark = None, mark & ~STATUS_MASK | _NO_START  # noqa: PLW2901 # what is said of it
        metric.timestamp = taken_ms if start_ms is None else start_ms
        if value is None:
            metric.is_null = True
        elif field == "long_value":
            metric.long_value = int(value) & _U64
        else:
            setattr(metric, field, value)
        if mark:
            set_quality(metric, mark)


def _start_ms(start_s: Value) -> int | None:
    """An interval's start; None where the device says none that can be a time."""
    if isinstance(start_s, bool) or not isinstance(start_s, int | float) or not math.isfinite(start_s):
        return None
    start_ms = int(start_s * 1000)
    return start_ms if 0 <= start_ms < _MAX_MS else None
