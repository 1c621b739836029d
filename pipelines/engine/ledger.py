"""The ledger's rows: from the slot cells that closed windows leave to columns (docs/rows.md §8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.model.quality import REASONS
from pipelines.engine.blocks import RowBlock, RowShape, Tags
from pipelines.engine.rows import dense
from pipelines.kernels.layout import ARRIVED, EXPECTED, MARK_BITS, MISSING, REASON_NAMES, S_NS, Ints

MEASUREMENT = "ledger"
_HEAD = 3

assert tuple(bit for _, bit in REASONS) == tuple(1 << (2 + i) for i in range(MARK_BITS))


def blocks(ledger: Ints, marks: Ints, tags: Sequence[Tags], points: Sequence[str]) -> list[RowBlock]:
    """Build the blocks of ledger rows, one for each set of fields that occurs, in order of occurrence.

    Args:
        ledger: (n, 3 + SLOT_WORDS) group, length, start, slot cell.
        marks: (k, 4) row of `ledger`, series, reason, count.
        tags: the tag set of each group.
        points: the name of each series' point.
    """
    found: list[RowBlock] = []
    names, extra = _marked(marks, points)
    missing = ledger[:, _HEAD + MISSING : _HEAD + MISSING + len(REASON_NAMES)]
    mask = (missing != 0) @ (1 << np.arange(len(REASON_NAMES), dtype=np.int64))
    kinds: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    plain = np.ones(len(ledger), np.bool_)
    plain[list(extra)] = False
    order: list[tuple[int, tuple[int, tuple[int, ...]], Ints]] = []
    for value in np.unique(mask[plain]).tolist():
        rows = np.flatnonzero(plain & (mask == value))
        order.append((int(rows[0]), (value, ()), rows))
    for row, counts in extra.items():
        kinds.setdefault((int(mask[row]), tuple(sorted(counts))), []).append(row)
    order += [(rows[0], kind, np.array(rows)) for kind, rows in kinds.items()]
    for _, (value, marked), rows in sorted(order, key=lambda item: item[0]):
        reasons = [i for i in range(len(REASON_NAMES)) if value >> i & 1]
        columns = [_HEAD + EXPECTED, _HEAD + ARRIVED, *(_HEAD + MISSING + i for i in reasons)]
        ints = ledger[rows][:, columns]
        if marked:
            counts_of = np.array([[extra[row][name] for name in marked] for row in rows.tolist()], np.int64)
            ints = np.concatenate([ints, counts_of], axis=1)
        fields = ("expected", "arrived", *(f"missing_{REASON_NAMES[i]}" for i in reasons), *(names[n] for n in marked))
        found.append(_block(RowShape(MEASUREMENT, (), fields), ledger[rows], ints, tags))
    return found


def _block(shape: RowShape, heads: Ints, ints: Ints, tags: Sequence[Tags]) -> RowBlock:
    groups, key = dense(heads[:, 0])
    return RowBlock(
        shape,
        tuple(tags[g] for g in groups),
        key,
        (heads[:, 1] // S_NS).astype(np.int32),
        heads[:, 2].copy(),
        np.empty((len(heads), 0)),
        np.ascontiguousarray(ints),
        np.ones(ints.shape, np.bool_),
    )


def _marked(marks: Ints, points: Sequence[str]) -> tuple[list[str], dict[int, dict[int, int]]]:
    """Give the names of the marks that occur, sorted, and each marked row's counts by place in that list."""
    cells = [
        (row, f"marked_{points[series]}_{REASONS[reason][0]}", count) for row, series, reason, count in marks.tolist()
    ]
    names = sorted({name for _, name, _ in cells})
    place = {name: i for i, name in enumerate(names)}
    rows: dict[int, dict[int, int]] = {}
    for row, name, count in cells:
        counts = rows.setdefault(row, {})
        counts[place[name]] = counts.get(place[name], 0) + count
    return names, dict(sorted(rows.items()))
