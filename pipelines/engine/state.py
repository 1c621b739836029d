"""The engine's state in memory: arrays that grow by doubling, and where each group and series has its places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.model.point import Group, Point
from pipelines.engine import rows, windows
from pipelines.engine.rows import Template
from pipelines.kernels import layout as k
from pipelines.kernels.layout import Arrays, Ints, Out

_FIRST_ROWS = 16
_S_NS = k.S_NS
_WORDS = {
    "groups": (k.GROUP_WORDS,),
    "pieces": (k.MAX_PIECES, k.PIECE_WORDS),
    "journals": (k.JOURNAL_WORDS,),
    "spec": (k.SPEC_WORDS,),
    "rates": (),
    "last_i": (k.LAST_WORDS,),
    "cells_i": (k.CELL_WORDS,),
    "long_i": (k.CELL_WORDS,),
    "slots": (k.SLOT_WORDS,),
    "long_slots": (k.SLOT_WORDS,),
    "marks": (k.MARK_WORDS,),
    "runs": (k.RUN_WORDS,),
    "members": (),
    "templates": (2,),
}
_VIEWS = {"last_f": "last_i", "cells_f": "cells_i", "long_f": "long_i"}


@dataclass(slots=True)
class GroupEntry:
    """What is known of one group besides numbers."""

    group: Group
    """As last declared."""
    series: list[int] = field(default_factory=list)
    """Every series it ever had, in order of declaration."""
    current: list[int] = field(default_factory=list)
    """The series of `group.points`."""


class State:
    """Arrays and names of all groups and series; kernels change the arrays, `grow` replaces them."""

    def __init__(self) -> None:
        """Begin empty."""
        self.used = dict.fromkeys(_WORDS, 0)
        self.arrays = _viewed(
            {n: np.zeros((_FIRST_ROWS, *w), np.float64 if n == "rates" else np.int64) for n, w in _WORDS.items()}
        )
        self.entries: list[GroupEntry] = []
        self.points: list[Point] = []
        self.owners: list[int] = []
        """The group of each series."""
        self.templates: list[Template] = []
        self.journals: list[str] = []
        self.take("marks", 1)
        self.take("runs", 1)
        self._free("marks", k.MARK_NEXT)
        self._free("runs", k.RUN_NEXT)

    def take(self, name: str, count: int) -> int:
        """Put `count` rows of an array to use, which are zero; gives the first."""
        first = self.used[name]
        self.used[name] += count
        self.reserve(name, self.used[name])
        return first

    def reserve(self, name: str, rows_needed: int) -> None:
        """Make an array at least so long."""
        old: Any = getattr(self.arrays, name)
        if rows_needed > len(old):
            new = np.zeros((max(rows_needed, 2 * len(old)), *old.shape[1:]), old.dtype)
            new[: len(old)] = old
            owned = {n: getattr(self.arrays, n) for n in _WORDS}
            self.arrays = _viewed({**owned, name: new})

    def ensure_marks(self, count: int) -> None:
        """Have room for so many new marks."""
        a = self.arrays.marks
        free, link = 0, int(a[0, k.MARK_NEXT])
        while link and free < count:
            free += 1
            link = int(a[link - 1, k.MARK_NEXT])
        if free < count:
            self.reserve("marks", len(a) + count - free)
            self._free("marks", k.MARK_NEXT)

    def _free(self, name: str, link: int) -> None:
        """Thread the rows of an array that were never used onto its free list."""
        a: Ints = getattr(self.arrays, name)
        for row in range(len(a) - 1, self.used[name] - 1, -1):
            a[row, link] = a[0, link]
            a[0, link] = row + 1
        self.used[name] = len(a)

    def add_run(self, g: int, period_ns: int, first: int, end: int) -> None:
        """Keep the slots [first, end) of an old period until the group's next record tells why they are empty."""
        if not self.arrays.runs[0, k.RUN_NEXT]:
            self.reserve("runs", len(self.arrays.runs) + 1)
            self._free("runs", k.RUN_NEXT)
        runs, groups = self.arrays.runs, self.arrays.groups
        run = int(runs[0, k.RUN_NEXT])
        runs[0, k.RUN_NEXT] = runs[run - 1, k.RUN_NEXT]
        runs[run - 1] = (period_ns, first, end, 0, 0)
        last = int(groups[g, k.RUN])
        if not last:
            groups[g, k.RUN] = run
            return
        while runs[last - 1, k.RUN_NEXT]:
            last = int(runs[last - 1, k.RUN_NEXT])
        runs[last - 1, k.RUN_NEXT] = run

    def journal(self, name: str) -> int:
        """Give a journal's number; a new one if it is not known."""
        if name not in self.journals:
            self.take("journals", 1)
            self.journals.append(name)
        return self.journals.index(name)

    def add_series(self, g: int, point: Point) -> int:
        """Give a point of a group its series."""
        s = self.take("spec", 1)
        for name in ("rates", "last_i", "long_i"):
            self.take(name, 1)
        self.points.append(point)
        self.owners.append(g)
        self.entries[g].series.append(s)
        self.arrays.spec[s, k.GROUP] = g
        self.arrays.spec[s, k.CELL] = -1
        return s

    def declare(self, g: int, ring: int = 0) -> None:
        """Write what a group's points are into the arrays, after its declaration changed; at least `ring` places."""
        entry = self.entries[g]
        spec, rates = self.arrays.spec, self.arrays.rates
        by_name = {self.points[s].name: s for s in (*entry.series, *entry.current)}
        for s in entry.series:
            point = self.points[s]
            spec[s, [k.KIND, k.INTEGER]] = (rows.kind_of(point), rows.is_whole(point))
            spec[s, [k.MODULUS, k.RESOLUTION]] = (point.modulus, point.resolution)
            spec[s, [k.INTERVAL, k.WEIGHT]] = (point.interval_s * _S_NS, by_name.get(point.weight, -1))
            spec[s, k.ACTIVE] = s in entry.current
            rates[s] = point.max_rate
        deltas = [s for s in entry.current if spec[s, k.KIND] >= k.DELTA_INT]
        self.arrays.groups[g, k.LONGEST] = spec[deltas, k.INTERVAL].max(initial=0)
        self._members(g)
        self._ring(g, ring)

    def _members(self, g: int) -> None:
        """Lay out a group's rows: templates, and its series in their order."""
        entry = self.entries[g]
        own: list[Template] = []
        first = len(self.templates)
        for s in entry.series:
            at, f, i = rows.place(own, entry.group, self.points[s])
            self.arrays.spec[s, [k.TEMPLATE, k.FLOAT_AT, k.INT_AT]] = (first + at, f, i)
        self.templates += own
        start = self.take("members", len(entry.series))
        at_template = self.take("templates", len(own))
        a = self.arrays
        members = sorted(entry.series, key=lambda s: int(a.spec[s, k.TEMPLATE]))
        a.members[start : start + len(members)] = members
        a.templates[at_template : at_template + len(own)] = [(len(t.floats), len(t.ints)) for t in own] or 0
        floats, ints = a.templates[at_template : at_template + len(own)].sum(axis=0)
        # Twice: a base window, and the longer one that ends with it; and one row more, which is built to be dropped.
        a.groups[g, [k.MEMBER_FROM, k.MEMBER_TO]] = (start, start + len(members))
        a.groups[g, [k.NEED_ROWS, k.NEED_FLOATS, k.NEED_INTS]] = (2 * len(own) + 1, 3 * floats, 3 * ints)
        a.groups[g, k.NEED_MARKS] = 2 * k.MARK_BITS * len(members)

    def _ring(self, g: int, at_least: int) -> None:
        """Give a group's windows enough places, and move what is in them."""
        a = self.arrays
        lengths = a.pieces[g, : a.groups[g, k.PIECES], k.LENGTH]
        shortest, longest = int(lengths.min()), int(lengths.max())
        need = windows.ring_windows(shortest, longest, int(a.groups[g, k.PERIOD]), int(a.groups[g, k.LONGEST]))
        old, ordinal = int(a.groups[g, k.RING]), int(a.groups[g, k.ORDINAL])
        ring = max(need, old, at_least)
        fresh = [s for s in self.entries[g].series if ring > old or a.spec[s, k.CELL] < 0]
        moved = (ordinal + np.arange(old, dtype=np.int64)) % max(old, 1)
        into = (ordinal + np.arange(old, dtype=np.int64)) % ring
        first = self.take("cells_i", ring * len(fresh))
        cells, spec, groups = self.arrays.cells_i, self.arrays.spec, self.arrays.groups
        for n, s in enumerate(fresh):
            before, now = int(spec[s, k.CELL]), first + n * ring
            if before >= 0:
                cells[now + into] = cells[before + moved]
            spec[s, k.CELL] = now
        if ring > old:
            before, now = int(groups[g, k.SLOT_CELL]), self.take("slots", ring)
            self.arrays.slots[now + into] = self.arrays.slots[before + moved]
            groups[g, k.SLOT_CELL] = now
            groups[g, k.RING] = ring


def _viewed(owned: dict[str, Any]) -> Arrays:
    views = {view: owned[of].view(np.float64) for view, of in _VIEWS.items()}
    return Arrays(**owned, **views)


def new_out(needs: Ints) -> Out:
    """Make what kernels write closed windows to; `needs` is the greatest of each NEED of a group."""
    n_rows, floats, ints, marks = (int(n) for n in needs)
    return Out(
        rows=np.zeros((max(16_384, 4 * n_rows), 5), np.int64),
        floats=np.zeros(max(131_072, 4 * floats)),
        ints=np.zeros(max(131_072, 4 * ints), np.int64),
        has=np.zeros(max(131_072, 4 * ints), np.bool_),
        ledger=np.zeros((16_384, 3 + k.SLOT_WORDS), np.int64),
        marks=np.zeros((max(16_384, 4 * marks), 4), np.int64),
        incidents=np.zeros((16_384, 4), np.int64),
        used=np.zeros(6, np.int64),
    )
