"""Accepted payloads to columns: one call of the wire's kernel for a run of parts, whatever devices they are of.

What the kernel does not cover goes through the protobuf library, payload by payload, to the same columns. A payload
that is wrong (an alias that its table has not, another number of records than its body says) gives no record at all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.sparkplug import payload as pl
from edge.sparkplug.sparkplug_b_pb2 import Metric
from pipelines.ingest.births import KnownTable
from pipelines.ingest.series import Place, Series
from pipelines.kernels import wire
from pipelines.kernels.layout import Ints

_INT64 = struct.Struct("<q")


class Part(NamedTuple):
    """One accepted DDATA."""

    payload: bytes
    metrics: int
    """How many it has, at most."""
    records: int
    """How many its body says."""
    skip: int
    """Of these, how many were taken before."""
    table: KnownTable
    source: tuple[str, str]
    """Edge node and journal, for incidents."""


@dataclass(slots=True)
class Columns:
    """A run of records, in log order (docs/architecture.md)."""

    record_group: NDArray[np.int32]
    record_due_ns: Ints
    record_outcome: NDArray[np.int16]
    record_end: Ints
    series: NDArray[np.int32]
    t_ns: Ints
    value: NDArray[np.float64]
    integer: Ints
    has_value: NDArray[np.bool_]
    quality: NDArray[np.int32]

    @classmethod
    def empty(cls, records: int, samples: int) -> Columns:
        """Make room, not yet written."""
        return cls(
            np.empty(records, np.int32), np.empty(records, np.int64), np.empty(records, np.int16),
            np.empty(records, np.int64), np.empty(samples, np.int32), np.empty(samples, np.int64),
            np.empty(samples, np.float64), np.empty(samples, np.int64), np.empty(samples, np.bool_),
            np.empty(samples, np.int32),
        )  # fmt: skip

    def part(self, first: tuple[int, int], end: tuple[int, int]) -> Columns:
        """Give records [first[0], end[0]) and their samples [first[1], end[1])."""
        (r, n), (r_end, n_end) = first, end
        ends = self.record_end[r:r_end]
        return Columns(
            self.record_group[r:r_end], self.record_due_ns[r:r_end], self.record_outcome[r:r_end],
            ends - n if n else ends, self.series[n:n_end], self.t_ns[n:n_end], self.value[n:n_end],
            self.integer[n:n_end], self.has_value[n:n_end], self.quality[n:n_end],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is to be told of the last part of a run."""

    part: Part
    malformed: str = ""
    """Why it gave no record; else:"""
    polls: int = 0
    """Polls of groups that were never declared."""
    ok: int = 0


class _Malformed(Exception):  # never leaves this file
    """The payload does not follow docs/wire.md §3.1."""


def decode(parts: Sequence[Part], series: Series) -> Iterator[tuple[Columns, Trouble | None]]:
    """Give the records of `parts`, in order; a run ends at each part that there is something to tell of.

    `series` must not change before the last run has been taken.
    """
    data = np.frombuffer(b"".join(part.payload for part in parts), np.uint8)
    table = _table(parts, series)
    out = Columns.empty(int(table[:, wire.RECORDS].clip(max=[p.metrics for p in parts]).sum()), _samples(parts))
    used, done = np.zeros(2, np.int64), (0, 0)
    at = 0
    while at < len(parts):
        at = wire.decode(
            data, table, series.aliases, wire.key(), at, out.record_group, out.record_due_ns, out.record_outcome,
            out.record_end, out.series, out.t_ns, out.value, out.integer, out.has_value, out.quality, used,
        )  # fmt: skip
        trouble = None
        if at < len(parts):
            trouble = _settle(parts[at], table[at], series, out, used)
            at += 1
        if trouble is not None or at == len(parts):
            end = (int(used[0]), int(used[1]))
            yield out.part(done, end), trouble
            done = end


def warm() -> None:
    """Have the kernels compiled."""
    table = KnownTable(b"", "", "", 0, ((0, "g", "", ""),))
    place = Place(0, 0, 1)
    aliases = np.zeros((1, wire.ALIAS_WORDS), np.int64)
    out, used = Columns.empty(1, 1), np.zeros(2, np.int64)
    parts = _table([Part(b"", 0, 0, 0, table, ("", ""))], _Fixed(place))
    wire.decode(
        np.frombuffer(b"", np.uint8), parts, aliases, wire.key(), 0, out.record_group, out.record_due_ns,
        out.record_outcome, out.record_end, out.series, out.t_ns, out.value, out.integer, out.has_value, out.quality,
        used,
    )  # fmt: skip


class _Fixed(NamedTuple):
    only: Place

    def place(self, _table: KnownTable) -> Place:
        return self.only


def _samples(parts: Sequence[Part]) -> int:
    return sum(part.metrics for part in parts)


def _table(parts: Sequence[Part], series: Series | _Fixed) -> Ints:
    rows = []
    at = 0
    for part in parts:
        place = series.place(part.table)
        end = at + len(part.payload)
        rows.append((at, end, part.skip, part.records, place.at, place.first, place.span, 0, 0, 0))
        at = end
    return np.array(rows, np.int64).reshape(-1, wire.PART_WORDS)


def _settle(part: Part, row: Ints, series: Series, out: Columns, used: Ints) -> Trouble | None:
    """Do what is left of a part at which the kernel stopped."""
    if row[wire.STATUS] == wire.TAKEN:
        return Trouble(part, "", int(row[wire.LOST_POLLS]), int(row[wire.LOST_OK]))
    if row[wire.STATUS] == wire.MALFORMED:
        return Trouble(part, "metrics that contradict the table or the body")
    try:
        slow = _Slow(part, series, int(used[1]))
    except (_Malformed, pl.PayloadError) as error:
        return Trouble(part, str(error))
    slow.write(out, used)
    return Trouble(part, "", slow.polls, slow.ok) if slow.polls else None


class _Slow:
    """One payload by way of the protobuf library."""

    def __init__(self, part: Part, series: Series, first: int) -> None:
        """Read the payload; `first` is the number of its first sample.

        Raises:
            PayloadError: the bytes are no payload.
            _Malformed: they do not follow docs/wire.md §3.1.
        """
        self._part, self._first = part, first
        self._place, self._aliases = series.place(part.table), series.aliases
        self._by_name = {(point or pl.OUTCOME_PREFIX + group): at for at, group, point, _ in part.table.shape}
        self._records: list[tuple[int, int, int, int]] = []
        self._samples: list[tuple[int, int, float, int, bool, int]] = []
        self.polls = self.ok = 0
        self._local, self._seen, self._keep = -1, 0, False
        for metric in pl.parse(part.payload).metrics:
            self._metric(metric)
        if self._seen != part.records:
            raise _Malformed(f"{self._seen} records, and the body says {part.records}")
        self._end_record()

    def write(self, out: Columns, used: Ints) -> None:
        """Put what was read behind what is there."""
        r, n = used.tolist()
        if self._records:
            columns: tuple[NDArray[Any], ...] = (
                out.record_group,
                out.record_due_ns,
                out.record_outcome,
                out.record_end,
            )
            for array, column in zip(columns, zip(*self._records, strict=True), strict=True):
                array[r : r + len(self._records)] = column
        if self._samples:
            fields: tuple[NDArray[Any], ...] = (
                out.series,
                out.t_ns,
                out.value,
                out.integer,
                out.has_value,
                out.quality,
            )
            for field, column in zip(fields, zip(*self._samples, strict=True), strict=True):
                field[n : n + len(self._samples)] = column
        used += (len(self._records), len(self._samples))

    def _metric(self, metric: Metric) -> None:
        local, group, kind, series = self._meaning(metric)
        t_ns = min(metric.timestamp, wire.LATEST_MS) * 1_000_000
        if kind == wire.OUTCOME:
            self._outcome(metric, local, group, t_ns)
        elif local != self._local:
            raise _Malformed("a sample outside its group's record")
        elif self._keep and series >= 0:
            value, integer, has = _value(metric, kind)
            quality = pl.get_quality(metric) & wire.QUALITY_MASK
            self._samples.append((series, t_ns, value, integer, has, quality))

    def _meaning(self, metric: Metric) -> tuple[int, int, int, int]:
        at = metric.alias - self._place.first if metric.HasField("alias") else self._by_name.get(metric.name, -1)
        row = self._aliases[self._place.at + at].tolist() if 0 <= at < self._place.span else (0, 0, wire.HOLE, 0)
        if row[wire.KIND] == wire.HOLE:
            raise _Malformed(f"metric {metric.name or metric.alias} is not in the table")
        return row[0], row[1], row[2], row[3]

    def _outcome(self, metric: Metric, local: int, group: int, t_ns: int) -> None:
        self._end_record()
        said = metric.WhichOneof("value") == "int_value" and not metric.is_null
        outcome = min(metric.int_value, wire.OTHER_OUTCOME) if said else wire.OTHER_OUTCOME
        self._local = local
        self._keep = self._seen >= self._part.skip
        self._seen += 1
        if self._keep and group < 0:
            self._keep = False
            self.polls += 1
            self.ok += outcome == 0
        if self._keep:
            self._records.append((group, t_ns, outcome, 0))

    def _end_record(self) -> None:
        if self._keep:
            self._records[-1] = (*self._records[-1][:3], self._first + len(self._samples))


def _value(metric: Metric, kind: int) -> tuple[float, int, bool]:
    """Read a metric's value by its point's datatype: as a double, as an integer, whether there is one."""
    field = None if metric.is_null else metric.WhichOneof("value")
    if (kind, field) == (wire.FLOAT, "float_value"):
        return metric.float_value, 0, True
    if (kind, field) == (wire.DOUBLE, "double_value"):
        return metric.double_value, 0, True
    if (kind, field) == (wire.INT64, "long_value"):
        (integer,) = _INT64.unpack(metric.long_value.to_bytes(8, "little"))
        return float(integer), integer, True
    if (kind, field) == (wire.BOOLEAN, "boolean_value"):
        return float(metric.boolean_value), int(metric.boolean_value), True
    return float("nan"), 0, False
