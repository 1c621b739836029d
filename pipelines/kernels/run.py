"""Records into windows, in log order: a record's slot, its samples, and the windows that close after it.

A record is applied whole before windows close (docs/rows.md §1). Where it lies so far after the group's open windows
that the ring has no place for it, the first of them are closed before the samples that have no place are applied. That
changes nothing: such a window ends more than hold + longest interval before the record, so it closes after this
record whatever its samples say; no sample beyond the ring can touch it; and samples within the ring go first.
"""

from __future__ import annotations

import math

from pipelines.kernels import counter, delta, gauge, slots
from pipelines.kernels._jit import jit
from pipelines.kernels.layout import (
    AHEAD,
    AHEAD_NS,
    BREAKS,
    BRIDGED,
    BROKEN,
    CELL,
    CLOSED,
    COUNTER,
    DELTA_FLOAT,
    DELTA_INT,
    DONE,
    FOREIGN,
    FULL,
    GAUGE,
    GROUP,
    HOLD,
    INCIDENTS,
    INTEGER,
    INTERVAL,
    KIND,
    LATE,
    LINE,
    LONG_NS,
    LONG_OPEN,
    LONGEST,
    MARK_BITS,
    MEMBER_FROM,
    MEMBER_TO,
    MISSED,
    MODULUS,
    NEVER,
    ORDINAL,
    OTHER,
    OVERFLOW,
    PERIOD,
    QUARANTINED,
    RESOLUTION,
    RING,
    ROLLOVERS,
    SEEN,
    SEEN_EVENT,
    SLOT_CELL,
    TOP,
    VALUE,
    WATERMARK,
    WEIGHT,
    Arrays,
    Floats,
    Ints,
    Out,
    T,
    Words,
)
from pipelines.kernels.windows import (
    close_long,
    close_window,
    has_room,
    may_close,
    ring_end,
    window_length,
    window_number,
    window_start,
)

FRESH, SAMPLES, CLOSING = 0, 1, 2
"""How far the record at hand is: cursor[0] is its number, cursor[1] this, cursor[2] where samples go on [ns]."""


@jit
def run(
    a: Arrays,
    out: Out,
    record_group: Words,
    record_due_ns: Ints,
    record_outcome: Words,
    record_end: Ints,
    series: Words,
    t_ns: Ints,
    value: Floats,
    integer: Ints,
    has_value: Words,
    quality: Words,
    receipt_ns: int,
    event: int,
    cursor: Ints,
) -> int:
    """Apply records from `cursor` on; FULL: empty `out` and call again, nothing is lost or done twice."""
    while cursor[0] < record_group.shape[0]:
        r = cursor[0]
        g = record_group[r]
        first = record_end[r - 1] if r > 0 else 0
        period = a.groups[g, PERIOD]
        slot = (record_due_ns[r] + period // 2) // period
        at = slot * period
        latest = record_due_ns[r] + AHEAD_NS
        if cursor[1] == FRESH:
            if out.used[INCIDENTS] + 1 > out.incidents.shape[0]:
                return FULL
            if record_due_ns[r] > receipt_ns + AHEAD_NS or at < a.groups[g, CLOSED]:
                kind = QUARANTINED if record_due_ns[r] > receipt_ns + AHEAD_NS else LATE
                _report(out, kind, g, at, record_outcome[r] == 0)
                cursor[0] += 1
                continue
            ahead = False
            for k in range(first, record_end[r]):
                if series[k] >= 0 and a.spec[series[k], GROUP] != g:
                    return FOREIGN
                ahead |= t_ns[k] > latest
            if ahead:
                _report(out, AHEAD, g, at, False)
            cursor[1] = SAMPLES
            cursor[2] = a.groups[g, CLOSED]
            cursor[3] = slots.find_gap(a.groups, a.journals, a.runs, g, slot)
        while cursor[1] == SAMPLES:
            end = ring_end(a.groups, a.pieces, g)
            far = _samples(
                a, g, series, t_ns, value, integer, has_value, quality, first, record_end[r], cursor[2], end, latest
            )
            cursor[2] = max(cursor[2], end)
            if not far and at < end:
                _settle_gap(a, g, at)
                _count(a, g, at, record_outcome[r], cursor[3] != 0, series, quality, first, record_end[r])
                a.groups[g, WATERMARK] = max(a.groups[g, WATERMARK], at)
                a.groups[g, SEEN_EVENT] = event
                cursor[1] = CLOSING
            else:
                opened = a.groups[g, CLOSED]
                close = opened + window_length(a.groups, a.pieces, g, opened)
                if max(a.groups[g, WATERMARK], at) < close + a.groups[g, HOLD] + a.groups[g, LONGEST]:
                    return OVERFLOW
                if not has_room(a, out, g):
                    return FULL
                close_window(a, out, g)
        while may_close(a, g):
            if not has_room(a, out, g):
                return FULL
            close_window(a, out, g)
        cursor[1] = FRESH
        cursor[0] += 1
    return DONE


@jit
def retire(a: Arrays, out: Out, g: int) -> int:
    """Close everything of a group, as far as a record or a sample reaches; FULL: empty `out` and call again.

    The rest of the longer window that it ends in is closed too, unwritten: a group that comes back must not write
    that window's row a second time.
    """
    top = max(a.groups[g, WATERMARK], a.groups[g, TOP])
    while a.groups[g, CLOSED] <= top:
        if not has_room(a, out, g):
            return FULL
        close_window(a, out, g)
    if a.groups[g, LONG_OPEN] != NEVER:
        if not has_room(a, out, g):
            return FULL
        rest = a.groups[g, LONG_OPEN] + LONG_NS
        close_long(a, out, g)
        a.groups[g, ORDINAL] = window_number(a.groups, a.pieces, g, rest)
        a.groups[g, CLOSED] = rest
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        s = a.members[i]
        short = a.groups[g, CLOSED] - a.last_i[s, LINE]
        if a.spec[s, KIND] >= DELTA_INT and a.spec[s, INTERVAL] > 0 and a.last_i[s, SEEN] != 0 and short > 0:
            a.last_i[s, LINE] += -(-short // a.spec[s, INTERVAL]) * a.spec[s, INTERVAL]
    return DONE


@jit
def _report(out: Out, kind: int, g: int, at: int, ok: bool) -> None:
    k = out.used[INCIDENTS]
    out.incidents[k, 0] = kind
    out.incidents[k, 1] = g
    out.incidents[k, 2] = at
    out.incidents[k, 3] = 1 if ok else 0
    out.used[INCIDENTS] += 1


@jit
def _settle_gap(a: Arrays, g: int, at: int) -> None:
    """Count the slots without a record before `at`, each in its window; all these windows are open."""
    groups = a.groups
    opened = groups[g, CLOSED]
    number = groups[g, ORDINAL]
    while slots.has_gap(groups, a.runs, g, at):
        close = opened + window_length(groups, a.pieces, g, opened)
        cell = groups[g, SLOT_CELL] + number % groups[g, RING]
        slots.settle(groups, a.slots, a.runs, g, cell, min(close, at))
        opened = close
        number += 1
    slots.free_runs(groups, a.runs, g, at)


@jit
def _count(
    a: Arrays, g: int, at: int, outcome: int, expected: bool, series: Words, quality: Words, first: int, end: int
) -> None:
    """Count a record and the marks of its samples in the window of its slot."""
    cell = a.groups[g, SLOT_CELL] + window_number(a.groups, a.pieces, g, at) % a.groups[g, RING]
    slots.count(a.slots, cell, outcome, expected)
    for k in range(first, end):
        if quality[k] >> 2 != 0 and series[k] >= 0:
            for bit in range(MARK_BITS):
                if (quality[k] >> (bit + 2)) & 1:
                    slots.mark(a.slots, a.marks, cell, series[k], bit, 1)


@jit
def _samples(
    a: Arrays,
    g: int,
    series: Words,
    t_ns: Ints,
    value: Floats,
    integer: Ints,
    has_value: Words,
    quality: Words,
    first: int,
    last: int,
    from_ns: int,
    to_ns: int,
    latest_ns: int,
) -> bool:
    """Apply a record's usable samples with from_ns <= t < to_ns; True if there are later ones."""
    far = False
    opened = 0
    close = 0
    place = 0
    top = a.groups[g, TOP]
    hold = a.groups[g, HOLD]
    spec, last_i, last_f, cells_i, cells_f = a.spec, a.last_i, a.last_f, a.cells_i, a.cells_f
    for k in range(first, last):
        s = series[k]
        t = t_ns[k]
        if s < 0 or t < from_ns or t > latest_ns or not has_value[k] or (quality[k] & 3) == 2:
            continue
        kind = spec[s, KIND]
        whole = spec[s, INTEGER] != 0
        v = float(integer[k]) if whole else value[k]
        if kind == OTHER or not (whole or math.isfinite(v)):
            continue
        if t >= to_ns:
            far = True
            continue
        if t < opened or t >= close:
            opened = window_start(a.groups, a.pieces, g, t)
            close = opened + window_length(a.groups, a.pieces, g, t)
            place = window_number(a.groups, a.pieces, g, t) % a.groups[g, RING]
        top = max(top, t)
        cell = spec[s, CELL] + place
        before = last_i[s, T]
        if kind == GAUGE:
            if last_i[s, SEEN] != 0:
                end = min(t, last_i[s, LINE])
                if before >= opened and end <= close:
                    gauge.hold(cells_i, cells_f, cell, before, end, last_f[s, VALUE])
                else:
                    _hold(a, g, s, before, end)
            gauge.add(cells_i, cells_f, cell, v)
            last_i[s, LINE] = t + hold
            last_f[s, VALUE] = v
        elif kind == COUNTER:
            if last_i[s, SEEN] != 0:
                dt = t - before
                if dt <= 0:
                    continue
                step, verdict = counter.judge(
                    integer[k] - last_i[s, VALUE], dt, spec[s, MODULUS], a.rates[s], spec[s, RESOLUTION]
                )
                if verdict == counter.ROLLOVER:
                    cells_i[cell, ROLLOVERS] += 1
                if verdict == counter.DISCONTINUITY:
                    cells_i[cell, BREAKS] += 1
                    cells_i[cell, BROKEN] += step
                elif before >= opened:
                    counter.increase(cells_i, cell, step)
                elif dt > hold or before < a.groups[g, CLOSED]:
                    # The window of `before` may be closed though dt is short: a second record in a slot, say.
                    cells_i[cell, BRIDGED] += step
                else:
                    _spread(a, g, s, before, t, step)
            counter.sample(cells_i, cell, integer[k])
            last_i[s, VALUE] = integer[k]
        else:
            if last_i[s, SEEN] != 0:
                if t <= before:
                    continue
                if last_i[s, LINE] + spec[s, INTERVAL] // 2 <= t:
                    _miss(a, g, s, t)
            if kind == DELTA_INT:
                delta.add_int(cells_i, cell, integer[k])
            elif kind == DELTA_FLOAT:
                delta.add_float(cells_i, cells_f, cell, v)
            else:
                w = spec[s, WEIGHT]
                if w >= 0 and last_i[w, SEEN] != 0 and last_i[w, T] == t and last_f[w, VALUE] != 0.0:
                    delta.add_weighted(cells_i, cells_f, cell, v, last_f[w, VALUE])
            last_i[s, LINE] = t + spec[s, INTERVAL]
            last_f[s, VALUE] = v
        last_i[s, SEEN] = 1
        last_i[s, T] = t
    a.groups[g, TOP] = top
    return far


@jit
def _hold(a: Arrays, g: int, s: int, start: int, end: int) -> None:
    """Let a gauge's last value hold in every open window that [start, end) touches."""
    opened = max(a.groups[g, CLOSED], window_start(a.groups, a.pieces, g, start))
    number = window_number(a.groups, a.pieces, g, opened)
    while opened < end:
        close = opened + window_length(a.groups, a.pieces, g, opened)
        cell = a.spec[s, CELL] + number % a.groups[g, RING]
        gauge.hold(a.cells_i, a.cells_f, cell, max(start, opened), min(end, close), a.last_f[s, VALUE])
        opened = close
        number += 1


@jit
def _spread(a: Arrays, g: int, s: int, before: int, t: int, step: int) -> None:
    """Divide a step at the window edges between `before` and `t`; all these windows are open."""
    opened = window_start(a.groups, a.pieces, g, before)
    number = window_number(a.groups, a.pieces, g, before)
    given = 0
    while opened <= t:
        edge = opened + window_length(a.groups, a.pieces, g, opened)
        upto = step if edge > t else counter.share(step, edge - before, t - before)
        counter.increase(a.cells_i, a.spec[s, CELL] + number % a.groups[g, RING], upto - given)
        given = upto
        opened = edge
        number += 1


@jit
def _miss(a: Arrays, g: int, s: int, t: int) -> None:
    """Count a delta's intervals that were skipped before one that starts at `t`, each in its window."""
    interval = a.spec[s, INTERVAL]
    while interval > 0 and a.last_i[s, LINE] + interval // 2 <= t:
        number = window_number(a.groups, a.pieces, g, a.last_i[s, LINE])
        a.cells_i[a.spec[s, CELL] + number % a.groups[g, RING], MISSED] += 1
        a.last_i[s, LINE] += interval
