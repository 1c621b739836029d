"""Gauge: statistics by sample, and a mean over the time that each sample holds (docs/rows.md §3)."""

from __future__ import annotations

import math

from pipelines.kernels._jit import jit
from pipelines.kernels.layout import COVERED, LAST, MAX, MIN, SQUARES, SUM, WEIGHTED, Floats, Ints, N, Words


@jit
def add(ints: Ints, floats: Floats, cell: int, value: float) -> None:
    """Count a sample in its window."""
    if ints[cell, N] == 0 or value < floats[cell, MIN]:
        floats[cell, MIN] = value
    if ints[cell, N] == 0 or value > floats[cell, MAX]:
        floats[cell, MAX] = value
    ints[cell, N] += 1
    floats[cell, SUM] += value
    floats[cell, SQUARES] += value * value
    floats[cell, LAST] = value


@jit
def hold(ints: Ints, floats: Floats, cell: int, from_ns: int, to_ns: int, value: float) -> None:
    """Let a value hold over [from_ns, to_ns), which lies in the window; nothing if it is empty."""
    span = to_ns - from_ns
    if span > 0:
        ints[cell, COVERED] += span
        floats[cell, WEIGHTED] += value * float(span)


@jit
def merge(into_i: Ints, into_f: Floats, into: int, ints: Ints, floats: Floats, cell: int) -> None:
    """Add a window's state to the longer one it belongs to."""
    if ints[cell, N] > 0:
        if into_i[into, N] == 0 or floats[cell, MIN] < into_f[into, MIN]:
            into_f[into, MIN] = floats[cell, MIN]
        if into_i[into, N] == 0 or floats[cell, MAX] > into_f[into, MAX]:
            into_f[into, MAX] = floats[cell, MAX]
        into_f[into, LAST] = floats[cell, LAST]
    into_i[into, N] += ints[cell, N]
    into_i[into, COVERED] += ints[cell, COVERED]
    into_f[into, SUM] += floats[cell, SUM]
    into_f[into, SQUARES] += floats[cell, SQUARES]
    into_f[into, WEIGHTED] += floats[cell, WEIGHTED]


FLOAT_FIELDS = ("mean", "min", "max", "last", "stdev", "covered_s")
INT_FIELDS = ("n",)


@jit
def fields(ints: Ints, floats: Floats, cell: int, out_f: Floats, f: int, out_i: Ints, has: Words, i: int) -> bool:
    """Write a window's fields (FLOAT_FIELDS from `f` on, INT_FIELDS from `i` on); False if it has none."""
    n = ints[cell, N]
    covered = ints[cell, COVERED]
    if n == 0 and covered == 0:
        return False
    if covered > 0:
        out_f[f] = floats[cell, WEIGHTED] / float(covered)
    if n > 0:
        out_f[f + 1] = floats[cell, MIN]
        out_f[f + 2] = floats[cell, MAX]
        out_f[f + 3] = floats[cell, LAST]
        mean = floats[cell, SUM] / float(n)
        variance = floats[cell, SQUARES] / float(n) - mean * mean
        # Not max(): a difference of infinities is NaN, and what max makes of that differs between libraries.
        out_f[f + 4] = math.sqrt(variance) if variance > 0.0 else 0.0
    out_f[f + 5] = float(covered) / 1e9
    out_i[i] = n
    has[i] = True
    return True
