"""Delta: values that carry their own interval, each counted once; skipped intervals are named (docs/rows.md §5)."""

from __future__ import annotations

from pipelines.kernels._jit import jit
from pipelines.kernels.layout import DELTA_INT, DELTA_WEIGHTED, MAX, MIN, MISSED, SUM, WEIGHTS, Floats, Ints, N, Words

MAX_INT = 3
"""Column of an integer delta's greatest value."""


@jit
def add_int(ints: Ints, cell: int, value: int) -> None:
    """Count an interval of a volume."""
    if ints[cell, N] == 0 or value > ints[cell, MAX_INT]:
        ints[cell, MAX_INT] = value
    ints[cell, N] += 1
    ints[cell, SUM] += value


@jit
def add_float(ints: Ints, floats: Floats, cell: int, value: float) -> None:
    """Count an interval of a quantity that is averaged over intervals."""
    _range(ints, floats, cell, value)
    ints[cell, N] += 1
    floats[cell, SUM] += value


@jit
def add_weighted(ints: Ints, floats: Floats, cell: int, value: float, weight: float) -> None:
    """Count an interval of a quantity that is averaged over what `weight` counts."""
    _range(ints, floats, cell, value)
    ints[cell, N] += 1
    floats[cell, SUM] += weight * value
    floats[cell, WEIGHTS] += weight


@jit
def _range(ints: Ints, floats: Floats, cell: int, value: float) -> None:
    if ints[cell, N] == 0 or value < floats[cell, MIN]:
        floats[cell, MIN] = value
    if ints[cell, N] == 0 or value > floats[cell, MAX]:
        floats[cell, MAX] = value


@jit
def merge(kind: int, into_i: Ints, into_f: Floats, into: int, ints: Ints, floats: Floats, cell: int) -> None:
    """Add a window's state to the longer one it belongs to."""
    if kind == DELTA_INT:
        if ints[cell, N] > 0 and (into_i[into, N] == 0 or ints[cell, MAX_INT] > into_i[into, MAX_INT]):
            into_i[into, MAX_INT] = ints[cell, MAX_INT]
        into_i[into, SUM] += ints[cell, SUM]
    else:
        if ints[cell, N] > 0:
            if into_i[into, N] == 0 or floats[cell, MIN] < into_f[into, MIN]:
                into_f[into, MIN] = floats[cell, MIN]
            if into_i[into, N] == 0 or floats[cell, MAX] > into_f[into, MAX]:
                into_f[into, MAX] = floats[cell, MAX]
        into_f[into, SUM] += floats[cell, SUM]
        into_f[into, WEIGHTS] += floats[cell, WEIGHTS]
    into_i[into, N] += ints[cell, N]
    into_i[into, MISSED] += ints[cell, MISSED]


INT_INT_FIELDS = ("sum", "n", "missed", "max")
FLOAT_FLOAT_FIELDS = ("mean", "min", "max")
FLOAT_INT_FIELDS = ("n", "missed")
WEIGHTED_FLOAT_FIELDS = ("mean", "min", "max")
WEIGHTED_INT_FIELDS = ("n",)


@jit
def fields_int(ints: Ints, cell: int, out_i: Ints, has: Words, i: int) -> bool:
    """Write a volume's fields (INT_INT_FIELDS from `i` on); False if it has none."""
    n = ints[cell, N]
    if n == 0 and ints[cell, MISSED] == 0:
        return False
    out_i[i + 1] = n
    out_i[i + 2] = ints[cell, MISSED]
    has[i + 1 : i + 3] = True
    if n > 0:  # a sum of nothing would be a zero that nobody measured
        out_i[i] = ints[cell, SUM]
        out_i[i + 3] = ints[cell, MAX_INT]
        has[i] = has[i + 3] = True
    return True


@jit
def fields_float(
    kind: int, ints: Ints, floats: Floats, cell: int, out_f: Floats, f: int, out_i: Ints, has: Words, i: int
) -> bool:
    """Write a mean's fields (FLOAT_FLOAT_FIELDS, FLOAT_INT_FIELDS, or those of a weighted one); False if none."""
    n = ints[cell, N]
    weighted = kind == DELTA_WEIGHTED
    if n == 0 and (weighted or ints[cell, MISSED] == 0):
        return False
    if n > 0:
        by = floats[cell, WEIGHTS] if weighted else float(n)
        out_f[f] = floats[cell, SUM] / by
        out_f[f + 1] = floats[cell, MIN]
        out_f[f + 2] = floats[cell, MAX]
    out_i[i] = n
    has[i] = True
    if not weighted:
        out_i[i + 1] = ints[cell, MISSED]
        has[i + 1] = True
    return True
