"""One number over many rows, always beside what it stands on: the ledger's completeness of the same span."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipelines.query.ledger import Totals, ledger, totals
from pipelines.query.select import Row, Selection, Store

Number = float | int


def _mean(values: list[Number]) -> float:
    return math.fsum(values) / len(values)


def _sum(values: list[Number]) -> Number:
    return sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)


FUNCTIONS: dict[str, Callable[[list[Number]], Number]] = {
    "sum": _sum,
    "mean": _mean,
    "min": min,
    "max": max,
    "count": len,
    "last": lambda values: values[-1],
}
"""`mean` is the plain mean of the rows: each window weighs the same, however much of it was covered."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The rows of one series, made one; `completeness` is that of its device over the same span."""

    row: Row
    """`t_ns` is the first window's start; field names carry the function: `volume_sum_sum`."""
    completeness: Totals

    def as_json(self) -> dict[str, Any]:
        """Give the published form: a row, and beside it the completeness."""
        return {**self.row.as_json(), "completeness": self.completeness.as_json()}


def aggregate(store: Store, selection: Selection, function: str, rows: list[Row]) -> list[Aggregate]:
    """Make one of each series' rows, given in order of time; window lengths are kept apart.

    Raises:
        KeyError: `function` is none of FUNCTIONS.
    """
    series: dict[tuple[str, tuple[tuple[str, str], ...], int], list[Row]] = {}
    for row in rows:
        series.setdefault((row.measurement, tuple(sorted(row.tags.items())), row.window_s), []).append(row)
    known: dict[tuple[str, str], Totals] = {}
    found = []
    for (measurement, tags, window_s), members in series.items():
        named = dict(tags)
        place = (named.get("site", ""), named.get("device", ""))
        if place not in known:
            known[place] = _completeness(store, selection, *place)
        fields = _fields(members, function)
        found.append(Aggregate(Row(measurement, named, window_s, members[0].t_ns, fields), known[place]))
    return found


def _fields(rows: list[Row], function: str) -> dict[str, Number]:
    values: dict[str, list[Number]] = {}
    for row in rows:
        for name, value in row.fields.items():
            values.setdefault(name, []).append(value)
    return {f"{name}_{function}": FUNCTIONS[function](each) for name, each in values.items()}


def _completeness(store: Store, selection: Selection, site: str, device: str) -> Totals:
    """Every group of the device, by its shortest window, over the selection's span."""
    narrowed = Selection(tags={"site": site, "device": device}, from_ns=selection.from_ns, to_ns=selection.to_ns)
    return totals(ledger(store, narrowed))
