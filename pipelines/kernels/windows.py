"""Base windows of a group: which holds an instant, when one closes, what it leaves behind (docs/rows.md §2, §6-§8)."""

from __future__ import annotations

from pipelines.kernels import counter, delta, gauge, slots
from pipelines.kernels._jit import jit
from pipelines.kernels.layout import (
    ACTIVE,
    CELL,
    CLOSED,
    COUNTER,
    DELTA_INT,
    EXPECTED,
    FLOAT_AT,
    FLOATS,
    FROM,
    GAUGE,
    HOLD,
    INT_AT,
    INTERVAL,
    INTS,
    KIND,
    LEDGER,
    LENGTH,
    LINE,
    LONG_NS,
    LONG_OPEN,
    LONGEST,
    MARK_COUNT,
    MARK_NEXT,
    MARK_REASON,
    MARK_SERIES,
    MARKS,
    MEMBER_FROM,
    MEMBER_TO,
    MISSED,
    NEED_FLOATS,
    NEED_INTS,
    NEED_MARKS,
    NEED_ROWS,
    NEVER,
    NUMBER,
    ORDINAL,
    OTHER,
    OUT_MARKS,
    PIECES,
    RECORDS,
    RING,
    ROWS,
    SEEN,
    SLOT_CELL,
    SLOT_WORDS,
    TEMPLATE,
    VALUE,
    WATERMARK,
    Arrays,
    Floats,
    Ints,
    Out,
    T,
)


@jit
def piece(groups: Ints, pieces: Ints, g: int, t_ns: int) -> int:
    """Find the piece of a group's time, of one window length, that holds an instant."""
    i = int(groups[g, PIECES]) - 1
    while i > 0 and t_ns < pieces[g, i, FROM]:
        i -= 1
    return i


@jit
def window_start(groups: Ints, pieces: Ints, g: int, t_ns: int) -> int:
    """Find the start of the base window that holds an instant. [ns]."""
    i = piece(groups, pieces, g, t_ns)
    return int(pieces[g, i, FROM] + (t_ns - pieces[g, i, FROM]) // pieces[g, i, LENGTH] * pieces[g, i, LENGTH])


@jit
def window_number(groups: Ints, pieces: Ints, g: int, t_ns: int) -> int:
    """Number the base window that holds an instant; numbers of a group follow one another."""
    i = piece(groups, pieces, g, t_ns)
    return int(pieces[g, i, NUMBER] + (t_ns - pieces[g, i, FROM]) // pieces[g, i, LENGTH])


@jit
def window_length(groups: Ints, pieces: Ints, g: int, t_ns: int) -> int:
    """Length of the base window that holds an instant. [ns]."""
    return int(pieces[g, piece(groups, pieces, g, t_ns), LENGTH])


@jit
def ring_end(groups: Ints, pieces: Ints, g: int) -> int:
    """Find the end of the last window that has a place in the group's ring. [ns]."""
    number = groups[g, ORDINAL] + groups[g, RING]
    i = groups[g, PIECES] - 1
    while i > 0 and number < pieces[g, i, NUMBER]:
        i -= 1
    return int(pieces[g, i, FROM] + (number - pieces[g, i, NUMBER]) * pieces[g, i, LENGTH])


@jit
def may_close(a: Arrays, g: int) -> bool:
    """Tell whether nothing that is still to come can touch the group's first open window."""
    opened = a.groups[g, CLOSED]
    water = a.groups[g, WATERMARK]
    close = opened + window_length(a.groups, a.pieces, g, opened)
    if water < close:
        return False
    hold = a.groups[g, HOLD]
    if water >= close + hold + a.groups[g, LONGEST]:
        return True
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        s = a.members[i]
        kind = a.spec[s, KIND]
        if kind < COUNTER or a.spec[s, ACTIVE] == 0 or (a.last_i[s, SEEN] != 0 and a.last_i[s, T] >= close):
            continue
        if water < close + hold + (0 if kind == COUNTER else a.spec[s, INTERVAL]):
            return False
    return True


@jit
def has_room(a: Arrays, out: Out, g: int) -> bool:
    """Tell whether `out` has room for what closing one window can leave behind."""
    return bool(
        out.used[ROWS] + a.groups[g, NEED_ROWS] <= out.rows.shape[0]
        and out.used[FLOATS] + a.groups[g, NEED_FLOATS] <= out.floats.shape[0]
        and out.used[INTS] + a.groups[g, NEED_INTS] <= out.ints.shape[0]
        and out.used[OUT_MARKS] + a.groups[g, NEED_MARKS] <= out.marks.shape[0]
        and out.used[LEDGER] + 2 <= out.ledger.shape[0]
    )


@jit
def close_window(a: Arrays, out: Out, g: int) -> None:
    """Close the group's first open window, and the longer one that ends with it."""
    opened = a.groups[g, CLOSED]
    length = window_length(a.groups, a.pieces, g, opened)
    close = opened + length
    place = a.groups[g, ORDINAL] % a.groups[g, RING]
    _complete(a, g, place, opened, close)
    slot = a.groups[g, SLOT_CELL] + place
    slots.settle(a.groups, a.slots, a.runs, g, slot, close)
    _write_rows(a, out, g, a.cells_i, a.cells_f, place, opened, length)
    _write_ledger(a, out, g, a.slots, slot, opened, length)
    if length < LONG_NS:
        _merge(a, g, place)
        slots.merge(a.long_slots, g, a.slots, a.marks, slot)
        a.groups[g, LONG_OPEN] = opened // LONG_NS * LONG_NS
    slots.free_marks(a.slots, a.marks, slot)
    a.slots[slot, :] = 0
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        a.cells_i[a.spec[a.members[i], CELL] + place, :] = 0
    a.groups[g, CLOSED] = close
    a.groups[g, ORDINAL] += 1
    if length < LONG_NS and close % LONG_NS == 0:
        close_long(a, out, g)


@jit
def close_long(a: Arrays, out: Out, g: int) -> None:
    """Close the longer window, if one is being merged."""
    opened = a.groups[g, LONG_OPEN]
    if opened == NEVER:
        return
    _write_rows(a, out, g, a.long_i, a.long_f, -1, opened, LONG_NS)
    _write_ledger(a, out, g, a.long_slots, g, opened, LONG_NS)
    slots.free_marks(a.long_slots, a.marks, g)
    a.long_slots[g, :] = 0
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        a.long_i[a.members[i], :] = 0
    a.groups[g, LONG_OPEN] = NEVER


@jit
def _complete(a: Arrays, g: int, place: int, opened: int, close: int) -> None:
    """Count what only the end of a window settles: a gauge's hold, a delta's missed intervals."""
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        s = a.members[i]
        kind = a.spec[s, KIND]
        if kind in (OTHER, COUNTER) or a.last_i[s, SEEN] == 0:
            continue
        cell = a.spec[s, CELL] + place
        if kind == GAUGE:
            start, end = max(opened, a.last_i[s, T]), min(close, a.last_i[s, LINE])
            gauge.hold(a.cells_i, a.cells_f, cell, start, end, a.last_f[s, VALUE])
        else:
            following, interval = a.last_i[s, LINE], a.spec[s, INTERVAL]
            if interval > 0 and following < close:
                missed = -((following - close) // interval)
                if a.spec[s, ACTIVE] != 0:
                    a.cells_i[cell, MISSED] += missed
                a.last_i[s, LINE] = following + missed * interval


@jit
def _merge(a: Arrays, g: int, place: int) -> None:
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        s = a.members[i]
        kind = a.spec[s, KIND]
        cell = a.spec[s, CELL] + place
        if kind == GAUGE:
            gauge.merge(a.long_i, a.long_f, s, a.cells_i, a.cells_f, cell)
        elif kind == COUNTER:
            counter.merge(a.long_i, s, a.cells_i, cell)
        elif kind != OTHER:
            delta.merge(kind, a.long_i, a.long_f, s, a.cells_i, a.cells_f, cell)


@jit
def _write_rows(
    a: Arrays, out: Out, g: int, cells_i: Ints, cells_f: Floats, place: int, opened: int, length: int
) -> None:
    """Write one row a template that has a field; `place` < 0: the cells are those of the longer window."""
    template = -1
    present = False
    for i in range(a.groups[g, MEMBER_FROM], a.groups[g, MEMBER_TO]):
        s = a.members[i]
        kind = a.spec[s, KIND]
        if kind == OTHER:
            continue
        if a.spec[s, TEMPLATE] != template:
            if present:
                _keep_row(a, out, template, opened, length)
            template = a.spec[s, TEMPLATE]
            present = False
            _clear_row(a, out, template)
        cell = s if place < 0 else a.spec[s, CELL] + place
        f = out.used[FLOATS] + a.spec[s, FLOAT_AT]
        j = out.used[INTS] + a.spec[s, INT_AT]
        if kind == GAUGE:
            present |= gauge.fields(cells_i, cells_f, cell, out.floats, f, out.ints, out.has, j)
        elif kind == COUNTER:
            present |= counter.fields(cells_i, cell, out.ints, out.has, j)
        elif kind == DELTA_INT:
            present |= delta.fields_int(cells_i, cell, out.ints, out.has, j)
        else:
            present |= delta.fields_float(kind, cells_i, cells_f, cell, out.floats, f, out.ints, out.has, j)
    if present:
        _keep_row(a, out, template, opened, length)


@jit
def _clear_row(a: Arrays, out: Out, template: int) -> None:
    f, i = out.used[FLOATS], out.used[INTS]
    for k in range(f, f + a.templates[template, 0]):
        out.floats[k] = float("nan")
    for k in range(i, i + a.templates[template, 1]):
        out.ints[k] = 0
        out.has[k] = False


@jit
def _keep_row(a: Arrays, out: Out, template: int, opened: int, length: int) -> None:
    r = out.used[ROWS]
    out.rows[r, 0] = template
    out.rows[r, 1] = length
    out.rows[r, 2] = opened
    out.rows[r, 3] = out.used[FLOATS]
    out.rows[r, 4] = out.used[INTS]
    out.used[ROWS] += 1
    out.used[FLOATS] += a.templates[template, 0]
    out.used[INTS] += a.templates[template, 1]


@jit
def _write_ledger(a: Arrays, out: Out, g: int, of: Ints, cell: int, opened: int, length: int) -> None:
    if of[cell, EXPECTED] == 0 and of[cell, RECORDS] == 0:
        return
    r = out.used[LEDGER]
    out.ledger[r, 0] = g
    out.ledger[r, 1] = length
    out.ledger[r, 2] = opened
    for word in range(SLOT_WORDS):
        out.ledger[r, 3 + word] = of[cell, word]
    out.used[LEDGER] += 1
    link = of[cell, MARKS]
    while link > 0:
        k = out.used[OUT_MARKS]
        out.marks[k, 0] = r
        out.marks[k, 1] = a.marks[link - 1, MARK_SERIES]
        out.marks[k, 2] = a.marks[link - 1, MARK_REASON]
        out.marks[k, 3] = a.marks[link - 1, MARK_COUNT]
        out.used[OUT_MARKS] += 1
        link = a.marks[link - 1, MARK_NEXT]
