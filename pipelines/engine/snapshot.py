"""The engine's state as bytes, for a checkpoint: deterministic, and without what is empty.

Layout: 4 bytes little-endian, the length of a msgpack header; the header (names and declarations, array sizes); then
raw little-endian int64 arrays in the order of `_parts`. Places in memory (where a group's cells or row templates
stand) are not kept: they are laid out anew, in order of declaration, which also gives back what growth left unused.
Cells are kept as (number, words), numbered series by series in ring order, and only where a word is not zero.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from edge.model.point import Group, Point
from pipelines.engine.state import GroupEntry, State
from pipelines.kernels import layout as k
from pipelines.kernels import slots as kernels
from pipelines.kernels.layout import Ints

VERSION = 1


class _Header(msgspec.Struct, array_like=True):
    version: int
    event: int
    journals: list[str]
    groups: list[Group]
    current: list[list[int]]
    points: list[Point]
    owners: list[int]
    shapes: list[tuple[int, ...]]


def encode(state: State, event: int) -> bytes:
    """Make the bytes."""
    parts = _parts(state)
    header = msgspec.msgpack.encode(
        _Header(
            VERSION,
            event,
            state.journals,
            [entry.group for entry in state.entries],
            [entry.current for entry in state.entries],
            state.points,
            state.owners,
            [part.shape for part in parts],
        )
    )
    return b"".join([len(header).to_bytes(4, "little"), header, *(np.ascontiguousarray(p).tobytes() for p in parts)])


def decode(data: bytes) -> tuple[State, int]:
    """Lay out the state that `encode` was given, and its event number.

    Raises:
        msgspec.DecodeError: the bytes are no snapshot.
        ValueError: they are cut short, or of another version.
    """
    size = int.from_bytes(data[:4], "little")
    head = msgspec.msgpack.decode(data[4 : 4 + size], type=_Header)
    if head.version != VERSION:
        raise ValueError(f"a snapshot of version {head.version}, not {VERSION}")
    parts = []
    at = 4 + size
    for shape in head.shapes:
        part = np.frombuffer(data, np.int64, int(np.prod(shape)), at).reshape(shape)
        at += part.nbytes
        parts.append(part)
    return _state(head, parts), head.event


def _parts(state: State) -> list[Ints]:
    a, n_groups, n_series = state.arrays, len(state.entries), len(state.points)
    groups = a.groups[:n_groups].copy()
    groups[:, k.DERIVED] = 0
    groups[:, k.RUN] = 0
    cells, slots = _places(state)
    return [
        groups,
        a.pieces[:n_groups],
        a.journals[: len(state.journals)],
        a.last_i[:n_series],
        *_filled(a.cells_i[cells]),
        *_filled(a.long_i[:n_series]),
        *_filled(_unmarked(a.slots[slots])),
        *_filled(_unmarked(a.long_slots[:n_groups])),
        _marks(a.slots[slots], a.marks),
        _marks(a.long_slots[:n_groups], a.marks),
        _runs(state),
    ]


def _state(head: _Header, parts: list[Ints]) -> State:
    state = State()
    for journal in head.journals:
        state.journal(journal)
    state.take("pieces", len(head.groups))
    state.take("long_slots", len(head.groups))
    state.take("groups", len(head.groups))
    groups, pieces, journals, last, *rest = parts
    state.arrays.journals[: len(journals)] = journals
    state.entries = [GroupEntry(group, [], current) for group, current in zip(head.groups, head.current, strict=True)]
    for point, g in zip(head.points, head.owners, strict=True):
        state.add_series(g, point)
    a = state.arrays
    a.groups[: len(groups)] = groups
    a.pieces[: len(pieces)] = pieces
    a.last_i[: len(last)] = last
    a.groups[: len(groups), k.RING] = 0
    for g, ring in enumerate(groups[:, k.RING].tolist()):
        state.declare(g, ring)
    cells, slots = _places(state)
    a = state.arrays
    a.cells_i[cells[rest[0]]] = rest[1]
    a.long_i[rest[2]] = rest[3]
    a.slots[slots[rest[4]]] = rest[5]
    a.long_slots[rest[6]] = rest[7]
    state.ensure_marks(len(rest[8]) + len(rest[9]))
    _mark(state, state.arrays.slots, slots, rest[8])
    _mark(state, state.arrays.long_slots, np.arange(len(groups)), rest[9])
    for g, period_ns, first, end in rest[10].tolist():
        state.add_run(g, period_ns, first, end)
    return state


def _places(state: State) -> tuple[Ints, Ints]:
    """Where the cells of every series, and the slots of every group, stand, in ring order."""
    a = state.arrays
    owners = np.array(state.owners, np.int64)
    cells = _spread(a.spec[: len(owners), k.CELL], a.groups[owners, k.RING])
    n = len(state.entries)
    return cells, _spread(a.groups[:n, k.SLOT_CELL], a.groups[:n, k.RING])


def _spread(first: Ints, count: Ints) -> Ints:
    begins = np.cumsum(count) - count
    return np.repeat(first - begins, count) + np.arange(int(count.sum()), dtype=np.int64)


def _filled(words: Ints) -> tuple[Ints, Ints]:
    at = np.flatnonzero(words.any(axis=1))
    return at, words[at]


def _unmarked(slots: Ints) -> Ints:
    bare = slots.copy()
    bare[:, k.MARKS] = 0
    return bare


def _marks(slots: Ints, marks: Ints) -> Ints:
    found = []
    for row in np.flatnonzero(slots[:, k.MARKS]).tolist():
        link = int(slots[row, k.MARKS])
        while link:
            series, reason, count, following = marks[link - 1].tolist()
            found.append((row, series, reason, count))
            link = following
    return np.array(sorted(found), np.int64).reshape(-1, 4)


def _mark(state: State, slots: Ints, places: Ints, marks: Ints) -> None:
    for row, series, reason, count in marks.tolist():
        kernels.mark(slots, state.arrays.marks, int(places[row]), series, reason, count)


def _runs(state: State) -> Ints:
    found: list[tuple[Any, ...]] = []
    for g in np.flatnonzero(state.arrays.groups[: len(state.entries), k.RUN]).tolist():
        link = int(state.arrays.groups[g, k.RUN])
        while link:
            period_ns, first, end, _, link = state.arrays.runs[link - 1].tolist()
            found.append((g, period_ns, first, end))
    return np.array(found, np.int64).reshape(-1, 4)
