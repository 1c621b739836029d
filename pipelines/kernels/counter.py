"""Counter: exact integers; every step of the register goes to windows, to `bridged` or to a discontinuity (§4)."""

from __future__ import annotations

from pipelines.kernels._jit import jit
from pipelines.kernels.layout import (
    BREAKS,
    BRIDGED,
    BROKEN,
    INCREASE,
    REGISTER,
    ROLLOVERS,
    TOUCHED,
    Ints,
    N,
    Words,
)

STEP, ROLLOVER, DISCONTINUITY = 0, 1, 2
_SAFE = 1 << 62


@jit
def judge(step: int, dt_ns: int, modulus: int, max_rate: float, resolution: int) -> tuple[int, int]:
    """Tell a step, a rollover and a discontinuity apart; gives the step to count, and which it is."""
    bound = max_rate * (float(dt_ns) / 1e9) + float(resolution)
    if step < 0 and modulus > 0:
        turned = step + modulus
        if turned >= 0 and (max_rate == 0.0 or float(turned) <= bound):
            return turned, ROLLOVER
    if step < 0 or (max_rate > 0.0 and float(step) > bound):
        return step, DISCONTINUITY
    return step, STEP


@jit
def share(step: int, part_ns: int, dt_ns: int) -> int:
    """Give `step * part_ns // dt_ns`, exactly, for 0 <= part_ns <= dt_ns < 2**61, also where the product has no room.

    For example, 2.5 polls of 300 s leave room for a step of 12 million only.
    """
    if part_ns == 0:
        return 0
    if abs(step) <= _SAFE // part_ns:
        return step * part_ns // dt_ns
    whole = step // dt_ns
    rest = step - whole * dt_ns
    # rest * part_ns // dt_ns by long multiplication from the highest bit on: nothing exceeds 3 * dt_ns.
    bit = 1
    while bit <= part_ns // 2:
        bit *= 2
    quotient = 0
    remainder = 0
    while bit > 0:
        quotient *= 2
        remainder *= 2
        if part_ns & bit:
            remainder += rest
        while remainder >= dt_ns:
            remainder -= dt_ns
            quotient += 1
        bit //= 2
    return whole * part_ns + quotient


@jit
def sample(ints: Ints, cell: int, register: int) -> None:
    """Count a sample in its window."""
    ints[cell, N] += 1
    ints[cell, REGISTER] = register
    ints[cell, TOUCHED] = 1


@jit
def increase(ints: Ints, cell: int, amount: int) -> None:
    """Assign a part of a step to a window, be it 0: a meter that stood still did so knowingly."""
    ints[cell, INCREASE] += amount
    ints[cell, TOUCHED] = 1


@jit
def merge(into_i: Ints, into: int, ints: Ints, cell: int) -> None:
    """Add a window's state to the longer one it belongs to."""
    if ints[cell, N] > 0:
        into_i[into, REGISTER] = ints[cell, REGISTER]
    for word in (N, INCREASE, BRIDGED, ROLLOVERS, BREAKS, BROKEN):
        into_i[into, word] += ints[cell, word]
    into_i[into, TOUCHED] |= ints[cell, TOUCHED]


INT_FIELDS = ("increase", "increase_bridged", "n", "rollovers", "discontinuities", "discontinuity", "last")


@jit
def fields(ints: Ints, cell: int, out_i: Ints, has: Words, i: int) -> bool:
    """Write a window's fields (INT_FIELDS from `i` on); False if it has none."""
    if ints[cell, TOUCHED] == 0:
        return False
    out_i[i] = ints[cell, INCREASE]
    out_i[i + 1] = ints[cell, BRIDGED]
    out_i[i + 2] = ints[cell, N]
    out_i[i + 3] = ints[cell, ROLLOVERS]
    out_i[i + 4] = ints[cell, BREAKS]
    out_i[i + 5] = ints[cell, BROKEN]
    has[i : i + 6] = True
    if ints[cell, N] > 0:
        out_i[i + 6] = ints[cell, REGISTER]
        has[i + 6] = True
    return True
