"""The ledger's cells: what each window expected, what arrived, and why the rest did not (docs/rows.md §8)."""

from __future__ import annotations

from pipelines.kernels._jit import jit
from pipelines.kernels.layout import (
    ARRIVED,
    EPOCH_EVENT,
    EVICTED,
    EVICTED_EVENT,
    EXPECTED,
    GAP_END,
    GAP_FIRST,
    GAP_REASON,
    GATEWAY_OFF,
    JOURNAL,
    MARK_COUNT,
    MARK_NEXT,
    MARK_REASON,
    MARK_SERIES,
    MARKS,
    MISSING,
    NEVER,
    NEXT_SLOT,
    PERIOD,
    RECORDS,
    RESTORED,
    RESTORED_EVENT,
    RETIRED,
    RUN,
    RUN_END,
    RUN_FIRST,
    RUN_NEXT,
    RUN_PERIOD,
    RUN_REASON,
    SEEN_EVENT,
    UNDATABLE,
    UNDATABLE_EVENT,
    UNKNOWN,
    UNRECORDED,
    WATERMARK,
    Ints,
)


@jit
def reason(groups: Ints, journals: Ints, g: int) -> int:
    """Tell why slots between a group's last record and the one at hand have none: the first reason that applies.

    A jump that came before a group's very first record explains what is missing before that, whenever it came: a new
    centre hears of the jump first, and only then of the schedule.
    """
    since = groups[g, SEEN_EVENT]
    journal = groups[g, JOURNAL]
    jumped_since = 0 if groups[g, WATERMARK] == NEVER else since
    if journals[journal, EVICTED_EVENT] > jumped_since:
        return EVICTED
    if journals[journal, RESTORED_EVENT] > jumped_since:
        return RESTORED
    if groups[g, UNDATABLE_EVENT] > since:
        return UNDATABLE
    if journals[journal, EPOCH_EVENT] > since:
        return GATEWAY_OFF
    return UNRECORDED


@jit
def find_gap(groups: Ints, journals: Ints, runs: Ints, g: int, slot: int) -> bool:
    """Note the slots without a record before `slot`, with their reason; True if `slot` itself was expected."""
    why = reason(groups, journals, g)
    link = groups[g, RUN]
    while link > 0:
        runs[link - 1, RUN_REASON] = why
        link = runs[link - 1, RUN_NEXT]
    if groups[g, RETIRED] != 0:
        groups[g, RETIRED] = 0
        groups[g, NEXT_SLOT] = slot
    if slot < groups[g, NEXT_SLOT]:
        return False
    groups[g, GAP_FIRST] = groups[g, NEXT_SLOT]
    groups[g, GAP_END] = slot
    groups[g, GAP_REASON] = why
    groups[g, NEXT_SLOT] = slot + 1
    return True


@jit
def settle(groups: Ints, slots: Ints, runs: Ints, g: int, cell: int, close_ns: int) -> None:
    """Count the slots of the gap that lie before `close_ns` in the window of `cell`."""
    period = groups[g, PERIOD]
    end = min(groups[g, GAP_END], -(-close_ns // period))
    if groups[g, GAP_FIRST] < end:
        _miss(slots, cell, groups[g, GAP_REASON], end - groups[g, GAP_FIRST])
        groups[g, GAP_FIRST] = end
    link = groups[g, RUN]
    while link > 0:
        run = link - 1
        link = runs[run, RUN_NEXT]
        end = min(runs[run, RUN_END], -(-close_ns // runs[run, RUN_PERIOD]))
        if runs[run, RUN_FIRST] < end:
            _miss(slots, cell, runs[run, RUN_REASON], end - runs[run, RUN_FIRST])
            runs[run, RUN_FIRST] = end


@jit
def _miss(slots: Ints, cell: int, why: int, count: int) -> None:
    slots[cell, EXPECTED] += count
    slots[cell, MISSING + why] += count


@jit
def has_gap(groups: Ints, runs: Ints, g: int, at_ns: int) -> bool:
    """Tell whether slots of the gap before `at_ns` wait to be settled."""
    if groups[g, GAP_FIRST] < groups[g, GAP_END]:
        return True
    link = groups[g, RUN]
    while link > 0:
        run = link - 1
        if runs[run, RUN_FIRST] < min(runs[run, RUN_END], -(-at_ns // runs[run, RUN_PERIOD])):
            return True
        link = runs[run, RUN_NEXT]
    return False


@jit
def free_runs(groups: Ints, runs: Ints, g: int, at_ns: int) -> None:
    """Give back a group's runs that end before `at_ns`; they stand in time order."""
    while groups[g, RUN] > 0:
        run = groups[g, RUN] - 1
        if (runs[run, RUN_END] - 1) * runs[run, RUN_PERIOD] >= at_ns:
            return
        groups[g, RUN] = runs[run, RUN_NEXT]
        runs[run, RUN_NEXT] = runs[0, RUN_NEXT]
        runs[0, RUN_NEXT] = run + 1


@jit
def count(slots: Ints, cell: int, outcome: int, expected: bool) -> None:
    """Count a record in the window of its slot."""
    slots[cell, RECORDS] += 1
    slots[cell, EXPECTED] += 1 if expected else 0
    if outcome == 0:
        slots[cell, ARRIVED] += 1
    elif 0 < outcome < EVICTED + 1:
        slots[cell, MISSING + outcome - 1] += 1
    else:
        slots[cell, MISSING + UNKNOWN] += 1


@jit
def mark(slots: Ints, marks: Ints, cell: int, series: int, why: int, number: int) -> None:
    """Count marked samples; `marks` has room for one more entry."""
    link = slots[cell, MARKS]
    while link > 0:
        if marks[link - 1, MARK_SERIES] == series and marks[link - 1, MARK_REASON] == why:
            marks[link - 1, MARK_COUNT] += number
            return
        link = marks[link - 1, MARK_NEXT]
    link = marks[0, MARK_NEXT]
    marks[0, MARK_NEXT] = marks[link - 1, MARK_NEXT]
    marks[link - 1, MARK_SERIES] = series
    marks[link - 1, MARK_REASON] = why
    marks[link - 1, MARK_COUNT] = number
    marks[link - 1, MARK_NEXT] = slots[cell, MARKS]
    slots[cell, MARKS] = link


@jit
def free_marks(slots: Ints, marks: Ints, cell: int) -> None:
    """Give back a cell's marks."""
    while slots[cell, MARKS] > 0:
        link = slots[cell, MARKS]
        slots[cell, MARKS] = marks[link - 1, MARK_NEXT]
        marks[link - 1, MARK_NEXT] = marks[0, MARK_NEXT]
        marks[0, MARK_NEXT] = link


@jit
def merge(into: Ints, into_cell: int, slots: Ints, marks: Ints, cell: int) -> None:
    """Add a window's ledger to the longer one's, and empty it."""
    while slots[cell, MARKS] > 0:
        link = slots[cell, MARKS]
        series, why, number = marks[link - 1, MARK_SERIES], marks[link - 1, MARK_REASON], marks[link - 1, MARK_COUNT]
        slots[cell, MARKS] = marks[link - 1, MARK_NEXT]
        marks[link - 1, MARK_NEXT] = marks[0, MARK_NEXT]
        marks[0, MARK_NEXT] = link
        mark(into, marks, into_cell, series, why, number)
    for word in range(MARKS):
        into[into_cell, word] += slots[cell, word]
        slots[cell, word] = 0
