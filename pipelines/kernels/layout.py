"""Where each number of the engine's state stands: the arrays that kernels share, and their columns.

All state is in two-dimensional int64 arrays, one row an entity (group, series, window cell); a column that holds a
double is reached through a float64 view of the same memory. All-zero rows are empty, so a snapshot leaves them out.
The cell of a series in a window stands at `spec[s, CELL] + ordinal % groups[g, RING]`; `ring_windows` proves that two
open windows never share one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[Any]

S_NS = 1_000_000_000
LONG_NS = 300 * S_NS
"""Length of the merged window. [ns]"""
AHEAD_NS = 300 * S_NS
"""How far a record may be dated after its receipt, and a sample after its record was due. [ns]"""
NEVER = -(1 << 62)
"""A time or slot before all others."""
FOREVER = 1 << 62
"""A time or slot after all others."""

# groups
PERIOD, HOLD, RING, JOURNAL, CLOSED, ORDINAL, WATERMARK, NEXT_SLOT = 0, 1, 2, 3, 4, 5, 6, 7
GAP_FIRST, GAP_END, GAP_REASON, RUN, SEEN_EVENT, UNDATABLE_EVENT, TOP, LONG_OPEN = 8, 9, 10, 11, 12, 13, 14, 15
RETIRED, PIECES, LONGEST = 16, 17, 18
MEMBER_FROM, MEMBER_TO, SLOT_CELL, NEED_ROWS, NEED_FLOATS, NEED_INTS, NEED_MARKS = 19, 20, 21, 22, 23, 24, 25
GROUP_WORDS = 26
DERIVED = (MEMBER_FROM, MEMBER_TO, SLOT_CELL, NEED_ROWS, NEED_FLOATS, NEED_INTS, NEED_MARKS)
"""Columns of a group that say where things stand in memory: made anew by a restore."""

# pieces[g, i]: from `FROM` on windows have length `LENGTH`, and the first of them is number `NUMBER`
FROM, NUMBER, LENGTH = 0, 1, 2
PIECE_WORDS = 3
MAX_PIECES = 4

# journals: the event that last told of each; events are numbered in log order from 1
EPOCH_EVENT, EVICTED_EVENT, RESTORED_EVENT = 0, 1, 2
JOURNAL_WORDS = 3

# spec: what a series is
KIND, GROUP, CELL, INTEGER, MODULUS, RESOLUTION, INTERVAL, WEIGHT = 0, 1, 2, 3, 4, 5, 6, 7
FLOAT_AT, INT_AT, TEMPLATE, ACTIVE = 8, 9, 10, 11
SPEC_WORDS = 12

OTHER, GAUGE, COUNTER, DELTA_INT, DELTA_FLOAT, DELTA_WEIGHTED = 0, 1, 2, 3, 4, 5

# last: the newest usable sample of a series; LINE is a gauge's end of hold, or a delta's next start not yet counted
SEEN, T, VALUE, LINE = 0, 1, 2, 3
LAST_WORDS = 4

# cells
N = 0
COVERED, SUM, SQUARES, MIN, MAX, LAST, WEIGHTED = 1, 2, 3, 4, 5, 6, 7
INCREASE, BRIDGED, ROLLOVERS, BREAKS, BROKEN, REGISTER, TOUCHED = 1, 2, 3, 4, 5, 6, 7
MISSED, WEIGHTS = 1, 3
CELL_WORDS = 8

# slots: the ledger's cells; MARKS is the head of a list in `marks`, plus one
RECORDS, EXPECTED, ARRIVED, MISSING = 0, 1, 2, 3
REASON_NAMES = (
    "timeout", "exception", "bad_frame", "bus_down", "stretched", "refused",
    "evicted", "centre_restored", "undatable", "gateway_off", "unrecorded", "other",
)  # fmt: skip
EVICTED, RESTORED, UNDATABLE, GATEWAY_OFF, UNRECORDED, UNKNOWN = 6, 7, 8, 9, 10, 11
MARKS = 15
SLOT_WORDS = 16

# marks and runs: lists in arrays; links are index + 1, 0 ends a list; row 0's link is the head of the free list
MARK_SERIES, MARK_REASON, MARK_COUNT, MARK_NEXT = 0, 1, 2, 3
MARK_WORDS = 4
RUN_PERIOD, RUN_FIRST, RUN_END, RUN_REASON, RUN_NEXT = 0, 1, 2, 3, 4
RUN_WORDS = 5
MARK_BITS = 11
"""Reason bits of a quality, from bit 2 on."""

# incidents that a kernel reports
LATE, QUARANTINED, AHEAD = 0, 1, 2
INCIDENT_NAMES = ("late_after_close", "quarantined", "sample_ahead")

# what `run` answers
DONE, FULL, FOREIGN, OVERFLOW = 0, 1, 2, 3


class Arrays(NamedTuple):
    """The whole state; sizes grow by doubling, rows beyond those in use are zero."""

    groups: Ints
    pieces: Ints
    journals: Ints
    spec: Ints
    rates: Floats
    """(series,) a counter's `max_rate`."""
    last_i: Ints
    last_f: Floats
    cells_i: Ints
    cells_f: Floats
    long_i: Ints
    """(series, CELL_WORDS) the longer window that is being merged."""
    long_f: Floats
    slots: Ints
    long_slots: Ints
    marks: Ints
    runs: Ints
    members: Ints
    """Series of a group, in the order of its rows' templates: `members[MEMBER_FROM:MEMBER_TO]`."""
    templates: Ints
    """(templates, 2) how many float and integer fields a row has."""


class Out(NamedTuple):
    """What closing windows leaves behind; `used` counts the rows in use of each array, in this order."""

    rows: Ints
    """(n, 5) template, length, start, and where its fields begin in `floats` and `ints`."""
    floats: Floats
    ints: Ints
    has: NDArray[np.bool_]
    ledger: Ints
    """(n, 3 + SLOT_WORDS) group, length, start, then the slot cell."""
    marks: Ints
    """(n, 4) row of `ledger`, series, reason, count."""
    incidents: Ints
    """(n, 4) kind, group, time, 1 if the poll's outcome was ok."""
    used: Ints


ROWS, FLOATS, INTS, LEDGER, OUT_MARKS, INCIDENTS = 0, 1, 2, 3, 4, 5
