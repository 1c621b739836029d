"""The ledger's rows: what each window expected, what arrived, and why the rest did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edge.model.quality import REASONS
from pipelines.query.select import Row, Selection, Store

MEASUREMENT = "ledger"


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One window of one group."""

    site: str
    device: str
    group: str
    window_s: int
    t_ns: int
    expected: int
    arrived: int
    missing: dict[str, int]
    marked: dict[str, dict[str, int]]

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over ledger rows of one window length."""

    expected: int
    arrived: int
    missing: dict[str, int]

    @property
    def completeness_pct(self) -> float | None:
        """What arrived of what was expected; None = nothing was expected. [%]."""
        return min(100.0, 100.0 * self.arrived / self.expected) if self.expected else None

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {
            "expected": self.expected,
            "arrived": self.arrived,
            "missing": self.missing,
            "completeness_pct": self.completeness_pct,
        }


def ledger(store: Store, selection: Selection) -> list[LedgerRow]:
    """Read the ledger rows of a selection, whose measurement and fields are not looked at."""
    narrowed = Selection(MEASUREMENT, selection.tags, selection.window_s, selection.from_ns, selection.to_ns)
    return [ledger_row(row) for row in store.rows(narrowed)]


def ledger_row(row: Row) -> LedgerRow:
    """Read a row of the measurement `ledger`."""
    missing: dict[str, int] = {}
    marked: dict[str, dict[str, int]] = {}
    for name, value in sorted(row.fields.items()):
        if name.startswith("missing_"):
            missing[name.removeprefix("missing_")] = int(value)
        elif name.startswith("marked_"):
            point, reason = _marked(name)
            marked.setdefault(point, {})[reason] = int(value)
    expected, arrived = (int(row.fields.get(name, 0)) for name in ("expected", "arrived"))
    site, device, group = (row.tags.get(name, "") for name in ("site", "device", "group"))
    return LedgerRow(site, device, group, row.window_s, row.t_ns, expected, arrived, missing, marked)


def base_rows(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Keep each group's shortest window only, so that nothing is counted twice."""
    rows = list(rows)
    shortest: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row.site, row.device, row.group)
        shortest[key] = min(row.window_s, shortest.get(key, row.window_s))
    return [row for row in rows if row.window_s == shortest[row.site, row.device, row.group]]


def totals(rows: Iterable[LedgerRow]) -> Totals:
    """Add up ledger rows, each group by its shortest window."""
    expected = arrived = 0
    missing: Counter[str] = Counter()
    for row in base_rows(rows):
        expected += row.expected
        arrived += row.arrived
        missing.update(row.missing)
    return Totals(expected, arrived, dict(missing.most_common()))


def _marked(name: str) -> tuple[str, str]:
    """Part `marked_<point>_<reason>`: both may hold underscores, the reasons are known."""
    rest = name.removeprefix("marked_")
    reasons = [reason for reason, _ in REASONS if rest.endswith(f"_{reason}")]
    reason = max(reasons, key=len, default=rest.rpartition("_")[2])
    return rest.removesuffix(f"_{reason}"), reason
