"""A small store with known content: two meters, a counter, five minutes, one of them with faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.engine.blocks import RowBlock, RowShape, Tags
from pipelines.sinks.embedded import EmbeddedStore
from pipelines.sinks.follower import Follower
from tests.pipelines.sinks.rows import Blocks, block

if TYPE_CHECKING:
    from pathlib import Path

T0_NS = 1_790_000_100 * 10**9
MINUTE_NS = 60 * 10**9
MINUTES = 5
INCIDENTS: list[dict[str, Any]] = [
    {"t_ns": T0_NS, "kind": "journal_restored", "gateway": "city/node-1"},
    {"t_ns": T0_NS + MINUTE_NS, "kind": "jumped", "gateway": "city/node-1", "reason": "evicted", "records": 12},
]

Rows = list[tuple[Tags, int, int, dict[str, float | int]]]


def city(path: Path) -> Path:
    """Write the store and give its path."""
    target = EmbeddedStore(path)
    follower = Follower(Blocks([_energy(), _traffic(), _ledger()], INCIDENTS), target)
    while follower.step():
        pass
    target.close()
    return path


def _energy() -> RowBlock:
    rows: Rows = [
        (
            (("device", f"meter-{m}"), ("site", "port")),
            60,
            T0_NS + k * MINUTE_NS,
            {"active_power_w_mean": 1000.0 * m + k, "import_wh_increase": 100 + k},
        )
        for m in (1, 2)
        for k in range(MINUTES)
    ]
    return block(RowShape("energy", ("active_power_w_mean",), ("import_wh_increase",)), rows)


def _traffic() -> RowBlock:
    rows: Rows = [
        (
            (("device", "counter"), ("lane", lane), ("site", "ring")),
            60,
            T0_NS + k * MINUTE_NS,
            {"volume_sum": 10 + k, "volume_n": 2, "volume_missed": 0},
        )
        for lane in "12"
        for k in range(MINUTES)
        if k != 2
    ]
    return block(RowShape("traffic", (), ("volume_sum", "volume_n", "volume_missed")), rows)


def _ledger() -> RowBlock:
    rows: Rows = []
    for m in (1, 2):
        tags = (("device", f"meter-{m}"), ("group", "fast"), ("site", "port"))
        for k in range(MINUTES):
            fields: dict[str, float | int] = {"expected": 30, "arrived": 30}
            if m == 1 and k == 0:
                fields |= {"arrived": 26, "missing_timeout": 3, "missing_bad_frame": 1}
                fields |= {"marked_active_power_w/L1_out_of_range": 2, "marked_active_power_w/L1_locked_on": 1}
            rows.append((tags, 60, T0_NS + k * MINUTE_NS, fields))
        rows.append((tags, 300, T0_NS, {"expected": 150, "arrived": 146 if m == 1 else 150}))
    names = tuple(sorted({name for *_, fields in rows for name in fields}))
    return block(RowShape("ledger", (), names), rows)
