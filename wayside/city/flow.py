"""Something that flows, vehicles or energy: its total at any instant, without a walk through the time before.

A `Week` is a table of whole-numbered rates with prefix sums, so the total at `t` is one look-up. Chance comes in as a
`Warp`: the table is read at a time that runs between 0.2 and 1.8 times as fast, anew in each interval. A warp never
runs backwards and never strays by more than half an interval, so totals are monotonic, exact sums of their
increments, and reproducible at any instant from the key alone. All of it is integer arithmetic: a float would make a
total step back by one now and then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate

from wayside.city.chance import bits

S_NS = 1_000_000_000
HOUR_NS = 3600 * S_NS
INTERVAL_NS = 30 * S_NS
CELL_NS = 300 * S_NS
WEEK_NS = 7 * 24 * HOUR_NS
PER_UNIT = 1000 * HOUR_NS
"""A total counts thousandths of a unit per hour, times nanoseconds: this many are one unit."""

SATURDAY = 5

_CELLS = WEEK_NS // CELL_NS
_MONDAY_NS = 3 * 24 * HOUR_NS
"""1970 began on a Thursday."""
_STRAY_NS = INTERVAL_NS * 4 // 5


class Warp:
    """A clock that runs unevenly, by chance, and is never more than 12 s off."""

    def __init__(self, key: int) -> None:
        """Follow from `key` alone."""
        self._key = key
        self._n = -1
        self._offset = self._step = 0

    def at(self, t_ns: int) -> int:
        """Give the uneven time. [ns]."""
        n, rest = divmod(t_ns, INTERVAL_NS)
        if n != self._n:
            self._enter(n)
        return t_ns + self._offset + self._step * rest // INTERVAL_NS

    def speed(self, t_ns: int) -> float:
        """How fast the uneven clock runs: 0.2 to 1.8."""
        n = t_ns // INTERVAL_NS
        if n != self._n:
            self._enter(n)
        return 1.0 + self._step / INTERVAL_NS

    def _enter(self, n: int) -> None:
        self._n, self._offset = n, self._stray(n)
        self._step = self._stray(n + 1) - self._offset

    def _stray(self, n: int) -> int:
        return ((bits(self._key, n) >> 32) * _STRAY_NS >> 32) - _STRAY_NS // 2


class Week:
    """A rate that repeats every week, in steps of five minutes of local time."""

    def __init__(self, rate: Callable[[int, float], float], utc_offset_h: float = 0.0) -> None:
        """Tabulate `rate(weekday, hour)`: units per hour, never negative; Monday is 0."""
        self._shift_ns = _MONDAY_NS + round(utc_offset_h * HOUR_NS)
        cells = (divmod((cell + 0.5) * CELL_NS / HOUR_NS, 24) for cell in range(_CELLS))
        self._rates = [round(1000 * rate(int(day), hour)) for day, hour in cells]
        sums = list(accumulate((each * CELL_NS for each in self._rates), initial=0))
        self._whole, self._before = sums[-1], sums[:-1]

    def total(self, t_ns: int) -> int:
        """What has flowed since 1970, in parts of `PER_UNIT`."""
        week, rest = divmod(t_ns + self._shift_ns, WEEK_NS)
        cell, rest = divmod(rest, CELL_NS)
        return week * self._whole + self._before[cell] + self._rates[cell] * rest

    def rate(self, t_ns: int) -> float:
        """Units per hour, just now."""
        return self._rates[(t_ns + self._shift_ns) % WEEK_NS // CELL_NS] / 1000


class Flow:
    """A week, read by a warped clock."""

    def __init__(self, week: Week, warp: Warp) -> None:
        """Share `warp` between flows that belong together."""
        self._week, self._warp = week, warp

    def total(self, t_ns: int) -> int:
        """What has flowed since 1970, in parts of `PER_UNIT`; monotonic."""
        return self._week.total(self._warp.at(t_ns))

    def rate(self, t_ns: int) -> float:
        """Units per hour: exactly the slope of `total`."""
        return self._week.rate(self._warp.at(t_ns)) * self._warp.speed(t_ns)


def bell(hour: float, at: float, width: float) -> float:
    """Give a bump of height 1 in the day, `width` hours to the side of the hour `at`, over midnight too."""
    away = abs(hour - at)
    away = min(away, 24.0 - away)
    return math.exp(-0.5 * (away / width) ** 2)
