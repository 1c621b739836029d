"""Blocks of final rows for tests, and a source that gives them as a checkpoint does."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipelines.engine.blocks import RowBlock, RowShape, Tags

T0_NS = 1_790_000_040 * 10**9
MINUTE_NS = 60 * 10**9
AWKWARD = (0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, 2.0**53, 1e22, -123456.789)


def block(
    shape: RowShape,
    rows: list[tuple[Tags, int, int, dict[str, float | int]]],
) -> RowBlock:
    """Build a block of (tags, window_s, t_ns, fields)."""
    keys = tuple(dict.fromkeys(tags for tags, *_ in rows))
    floats = np.full((len(rows), len(shape.floats)), np.nan)
    ints = np.zeros((len(rows), len(shape.ints)), np.int64)
    has = np.zeros(ints.shape, np.bool_)
    for r, (*_, fields) in enumerate(rows):
        for name, value in fields.items():
            if name in shape.floats:
                floats[r, shape.floats.index(name)] = value
            else:
                ints[r, shape.ints.index(name)], has[r, shape.ints.index(name)] = value, True
    return RowBlock(
        shape,
        keys,
        np.array([keys.index(tags) for tags, *_ in rows], np.int32),
        np.array([window_s for _, window_s, _, _ in rows], np.int32),
        np.array([t_ns for _, _, t_ns, _ in rows], np.int64),
        floats,
        ints,
        has,
    )


def meter_block(minute: int, meters: int = 4, seed: int = 0) -> RowBlock:
    """One minute of energy meters: awkward floats, big integers, absent fields."""
    rng = np.random.default_rng([seed, minute])
    bits = rng.integers(0, 2**63, (meters, 2), dtype=np.int64)
    rows: list[tuple[Tags, int, int, dict[str, float | int]]] = []
    for m in range(meters):
        fields: dict[str, float | int] = {
            "active_power_w_mean": _finite(int(bits[m, 0])),
            "import_wh_increase": int(bits[m, 1] // 3 - 2**61),
        }
        if m % 2:
            fields["active_power_w_max"] = AWKWARD[(minute + m) % len(AWKWARD)]
        else:
            fields["import_wh_n"] = minute
        tags = (("device", f"meter {m}"), ("site", "port, north=1"))
        rows.append((tags, 60, T0_NS + minute * MINUTE_NS, fields))
    shape = RowShape("energy", ("active_power_w_mean", "active_power_w_max"), ("import_wh_increase", "import_wh_n"))
    return block(shape, rows)


def _finite(bits: int) -> float:
    value = float(struct.unpack("<d", struct.pack("<q", bits))[0])
    return value if np.isfinite(value) else float(bits)


def incident(number: int) -> dict[str, Any]:
    """One incident, as a checkpoint keeps it."""
    return {
        "t_ns": T0_NS + number * 10**6,
        "kind": "reconnected",
        "site": "port",
        "count": number,
        "detail": 'say "no"',
    }


@dataclass
class Blocks:
    """A source in memory, for what is not about the checkpoint itself."""

    blocks: list[RowBlock] = field(default_factory=list)
    incidents: list[dict[str, Any]] = field(default_factory=list)

    def blocks_after(self, seq: int, limit_bytes: int) -> list[tuple[int, RowBlock]]:
        found: list[tuple[int, RowBlock]] = []
        for number, each in enumerate(self.blocks[max(seq, 0) :], max(seq, 0) + 1):
            if found and limit_bytes <= 0:
                break
            limit_bytes -= len(each.encode())
            found.append((number, each))
        return found

    def incidents_after(self, seq: int) -> list[tuple[int, dict[str, Any]]]:
        return list(enumerate(self.incidents, 1))[seq:]

    def last_block(self) -> int:
        return len(self.blocks)
