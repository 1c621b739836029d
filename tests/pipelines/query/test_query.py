"""Ledger rows, totals and aggregates, read from a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.query.aggregate import FUNCTIONS, aggregate
from pipelines.query.ledger import LedgerRow, ledger, totals
from pipelines.query.select import Selection, Store
from tests.pipelines.query.city import MINUTE_NS, T0_NS, city


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return city(tmp_path_factory.mktemp("city") / "store.db")


def test_a_ledger_row_names_what_is_missing_and_what_is_marked(store: Path) -> None:
    with Store(store) as opened:
        (row,) = ledger(opened, Selection(tags={"device": "meter-1"}, window_s=60, to_ns=T0_NS + MINUTE_NS))
    assert row == LedgerRow(
        "port",
        "meter-1",
        "fast",
        60,
        T0_NS,
        expected=30,
        arrived=26,
        missing={"bad_frame": 1, "timeout": 3},
        marked={"active_power_w/L1": {"locked_on": 1, "out_of_range": 2}},
    )


def test_totals_count_each_group_by_its_shortest_window(store: Path) -> None:
    with Store(store) as opened:
        sums = totals(ledger(opened, Selection()))
    assert (sums.expected, sums.arrived) == (2 * 5 * 30, 2 * 5 * 30 - 4)
    assert sums.missing == {"timeout": 3, "bad_frame": 1}
    assert sums.completeness_pct == pytest.approx(100 * 296 / 300)


def test_nothing_expected_is_no_completeness() -> None:
    assert totals([]).completeness_pct is None


def test_an_aggregate_stands_beside_the_completeness_of_its_device(store: Path) -> None:
    chosen = Selection("energy", {"device": "meter-1"}, 60, to_ns=T0_NS + MINUTE_NS, fields=("import_wh_increase",))
    with Store(store) as opened:
        (found,) = aggregate(opened, chosen, "sum", opened.rows(chosen))
    assert found.row.fields == {"import_wh_increase_sum": 100}
    assert (found.completeness.expected, found.completeness.arrived) == (30, 26)


@pytest.mark.parametrize(
    ("function", "value"), [("sum", 510), ("mean", 102.0), ("min", 100), ("max", 104), ("count", 5), ("last", 104)]
)
def test_every_function(store: Path, function: str, value: float) -> None:
    chosen = Selection("energy", {"device": "meter-1"}, 60, fields=("import_wh_increase",))
    with Store(store) as opened:
        (found,) = aggregate(opened, chosen, function, opened.rows(chosen))
    assert found.row.fields == {f"import_wh_increase_{function}": value}
    assert function in FUNCTIONS
