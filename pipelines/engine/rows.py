"""From what the kernels leave behind to blocks of final rows, column by column (docs/rows.md §7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.model.point import Datatype, Group, Kind, Point
from pipelines.engine.blocks import RowBlock, RowShape, Tags
from pipelines.kernels import counter, delta, gauge
from pipelines.kernels.layout import (
    COUNTER,
    DELTA_FLOAT,
    DELTA_INT,
    DELTA_WEIGHTED,
    FLOATS,
    GAUGE,
    INTS,
    OTHER,
    ROWS,
    S_NS,
    Floats,
    Ints,
    Out,
)

FIELDS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    OTHER: ((), ()),
    GAUGE: (gauge.FLOAT_FIELDS, gauge.INT_FIELDS),
    COUNTER: ((), counter.INT_FIELDS),
    DELTA_INT: ((), delta.INT_INT_FIELDS),
    DELTA_FLOAT: (delta.FLOAT_FLOAT_FIELDS, delta.FLOAT_INT_FIELDS),
    DELTA_WEIGHTED: (delta.WEIGHTED_FLOAT_FIELDS, delta.WEIGHTED_INT_FIELDS),
}
"""Float and integer fields of each kind, in the order in which the kernels write them."""
_WHOLE = (Datatype.INT64, Datatype.BOOLEAN)


def kind_of(point: Point) -> int:
    """Tell how the kernels treat a point; OTHER has marks only."""
    if point.datatype is Datatype.STRING:
        return OTHER
    if point.kind is Kind.GAUGE:
        return GAUGE
    if point.kind is Kind.COUNTER:
        return COUNTER if point.datatype in _WHOLE else OTHER
    if point.kind is not Kind.DELTA:
        return OTHER
    if point.weight:
        return DELTA_WEIGHTED
    return DELTA_INT if point.datatype in _WHOLE else DELTA_FLOAT


def is_whole(point: Point) -> bool:
    """Tell whether a point's values stand in the integer column."""
    return point.datatype in _WHOLE


@dataclass(slots=True)
class Template:
    """What one row of a group's window looks like."""

    tags: Tags
    measurement: str
    part: tuple[tuple[str, str], ...]
    floats: list[str]
    ints: list[str]

    @property
    def shape(self) -> RowShape:
        """The row's columns."""
        return RowShape(self.measurement, tuple(self.floats), tuple(self.ints))

    def admits(self, point: Point, names: set[str]) -> bool:
        """Tell whether a point's fields belong here: the same part, and no field of that name yet."""
        return self.part == point.part and names.isdisjoint((*self.floats, *self.ints))


def place(templates: list[Template], group: Group, point: Point) -> tuple[int, int, int]:
    """Give a point its template (a new one where none admits it) and its first float and integer column."""
    floats, ints = ([f"{point.field}_{name}" for name in names] for names in FIELDS[kind_of(point)])
    names = {*floats, *ints}
    at = next((i for i, template in enumerate(templates) if template.admits(point, names)), len(templates))
    if at == len(templates):
        tags = tuple(sorted({"site": group.site, "device": group.device, **dict(point.part)}.items()))
        templates.append(Template(tags, str(group.domain), point.part, [], []))
    template = templates[at]
    columns = at, len(template.floats), len(template.ints)
    template.floats += floats
    template.ints += ints
    return columns


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows as the kernels left them: copies of the used part of `Out`."""

    rows: Ints
    floats: Floats
    ints: Ints
    has: NDArray[np.bool_]
    shape: Ints
    """(n,) number of each row's shape."""
    key: Ints
    """(n,) number of each row's tag set."""

    @property
    def nbytes(self) -> int:
        """Memory held. [bytes]."""
        return sum(a.nbytes for a in (self.rows, self.floats, self.ints, self.has, self.shape, self.key))


def chunk(out: Out, shapes: Ints, keys: Ints) -> Chunk:
    """Copy the rows out of `out`; `shapes` and `keys` are by template."""
    rows = out.rows[: out.used[ROWS]].copy()
    f, i = out.used[FLOATS], out.used[INTS]
    templates = rows[:, 0]
    return Chunk(
        rows, out.floats[:f].copy(), out.ints[:i].copy(), out.has[:i].copy(), shapes[templates], keys[templates]
    )


def blocks(chunks: Sequence[Chunk], shapes: Sequence[RowShape], tags: Sequence[Tags]) -> list[RowBlock]:
    """Build one block for each shape, in order of occurrence, rows in the order in which windows closed."""
    if not chunks:
        return []
    f = np.cumsum([0, *(len(c.floats) for c in chunks)])
    i = np.cumsum([0, *(len(c.ints) for c in chunks)])
    joined = Chunk(
        np.concatenate([c.rows + np.array([0, 0, 0, f[n], i[n]]) for n, c in enumerate(chunks)]),
        *(_joined(chunks, name) for name in ("floats", "ints", "has", "shape", "key")),
    )
    numbers, first = np.unique(joined.shape, return_index=True)
    return [
        _block(joined, np.flatnonzero(joined.shape == number), shapes[number], tags)
        for number in numbers[np.argsort(first)].tolist()
    ]


def _joined(chunks: Sequence[Chunk], name: str) -> NDArray[Any]:
    arrays: list[NDArray[Any]] = [getattr(c, name) for c in chunks]
    return np.concatenate(arrays)


def _block(joined: Chunk, at: Ints, shape: RowShape, tags: Sequence[Tags]) -> RowBlock:
    rows = joined.rows[at]
    floats = rows[:, 3, None] + np.arange(len(shape.floats))
    ints = rows[:, 4, None] + np.arange(len(shape.ints))
    keys, key = dense(joined.key[at])
    return RowBlock(
        shape,
        tuple(tags[k] for k in keys),
        key,
        (rows[:, 1] // S_NS).astype(np.int32),
        rows[:, 2].copy(),
        joined.floats[floats],
        joined.ints[ints],
        joined.has[ints],
    )


def dense(values: Ints) -> tuple[list[int], NDArray[np.int32]]:
    """Number what occurs in `values` in order of occurrence; gives what occurs, and each value's number."""
    found, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return found[order].tolist(), rank[inverse]
