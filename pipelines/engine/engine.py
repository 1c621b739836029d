"""The engine: declared groups and their records become final rows, ledger and incidents (docs/rows.md).

Every call is a function of log order alone, so the same log gives the same rows however it is cut into calls. Records
go through compiled kernels; Python sees groups when they are declared, and closed windows by the thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.model.point import Group
from pipelines.engine import ledger, rows, snapshot, windows
from pipelines.engine.blocks import RowBlock, RowShape, Tags
from pipelines.engine.incident import Incident
from pipelines.engine.rows import Chunk
from pipelines.engine.state import GroupEntry, State, new_out
from pipelines.kernels import layout as k
from pipelines.kernels import run as kernel
from pipelines.kernels import slots
from pipelines.kernels.layout import Ints

SPILL_BYTES = 64 << 20


class Columns(Protocol):
    """A run of accepted records, in log order (docs/architecture.md)."""

    record_group: NDArray[np.int32]
    record_due_ns: Ints
    record_outcome: NDArray[np.int16]
    record_end: Ints
    series: NDArray[np.int32]
    t_ns: Ints
    value: NDArray[np.float64]
    integer: Ints
    has_value: NDArray[np.bool_]
    quality: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """How far one group is."""

    site: str
    device: str
    group: str
    journal: str
    watermark_ns: int | None
    open_from_ns: int
    """Start of its first open window. [ns since 1970, UTC]"""
    period_ns: int
    is_retired: bool
    """Nothing of it is open."""


class Engine:
    """Windows of all groups."""

    def __init__(self, spill: Callable[[list[RowBlock]], None] | None = None) -> None:
        """Begin empty.

        Args:
            spill: takes final rows whenever more than SPILL_BYTES of them wait, in the order of `take`; they are part
                of the next checkpoint. Without it they wait for `take`, however many they are.
        """
        self._spill = spill
        self._state = State()
        self._event = 0
        self._groups: dict[tuple[str, str, str], int] = {}
        self._shapes: dict[RowShape, int] = {}
        self._tags: dict[Tags, int] = {}
        self._template_shape: list[int] = []
        self._template_key: list[int] = []
        self._out = new_out(np.zeros(4, np.int64))
        self._chunks: list[Chunk] = []
        self._ledger: list[Ints] = []
        self._marks: list[Ints] = []
        self._ledger_rows = 0
        self._incidents: list[Incident] = []
        self._refused: dict[tuple[int, int], int] = {}

    @property
    def event(self) -> int:
        """How many declarations and events the engine has taken."""
        return self._event

    def schedule(self, group: Group, from_ns: int, journal: str) -> int:
        """Declare a group, or change it, or end it (period 0); gives its dense index.

        An unchanged declaration changes nothing but the journal. A `from_ns` that is not after the group's watermark,
        or before its first open window, counts from there on.
        """
        self._event += 1
        g = self._groups.get(group.key)
        if g is None:
            return self._add(group, from_ns, journal)
        self._state.arrays.groups[g, k.JOURNAL] = self._state.journal(journal)
        row = self._state.arrays.groups[g]
        entry = self._state.entries[g]
        if row[k.RETIRED]:
            if from_ns >= row[k.CLOSED] and group.period_ns:
                row[k.RETIRED] = 0
                row[k.NEXT_SLOT] = -(-from_ns // group.period_ns)
        elif group.period_ns != entry.group.period_ns:
            self._turn(g, group.period_ns, from_ns)
        if group != entry.group:
            self._declare(g, group, from_ns)
        return g

    def group(self, key: tuple[str, str, str]) -> int | None:
        """Give the dense index of (site, device, group); None if it was never declared."""
        return self._groups.get(key)

    def series(self, group_index: int) -> NDArray[np.int32]:
        """Give the series of a group's points, in the order of its last declaration."""
        return np.array(self._state.entries[group_index].current, np.int32)

    def series_by_name(self, group_index: int) -> dict[str, int]:
        """Give the series of every point that a group ever had, the newest of each name."""
        return {self._state.points[s].name: s for s in self._state.entries[group_index].series}

    def epoch_began(self, journal: str) -> None:
        """Note that a journal was opened: slots without a record around this were `gateway_off`."""
        self._note(journal, k.EPOCH_EVENT)

    def jumped(self, journal: str, reason: str) -> None:
        """Note that records of a journal will never come; `reason` is `evicted` or `centre_restored`."""
        self._note(journal, k.EVICTED_EVENT if reason == "evicted" else k.RESTORED_EVENT)

    def undatable(self, key: tuple[str, str, str], polls: int, ok: int, t_ns: int = 0) -> None:
        """Note polls of a group whose boot ended without a date; `t_ns` is when that became known."""
        self._event += 1
        g = self._groups.get(key)
        if g is not None:
            self._state.arrays.groups[g, k.UNDATABLE_EVENT] = self._event
        site, device, name = key
        fields = {"site": site, "device": device, "group": name, "polls": polls, "ok": ok}
        self._add_incident(Incident(t_ns, "undatable", fields))

    def note(self, incident: Incident) -> None:
        """Keep an incident of the reader's, at its place in log order."""
        self._add_incident(incident)

    def apply(self, columns: Columns, receipt_ns: int) -> None:
        """Take a run of records, all received at `receipt_ns`.

        Raises:
            IndexError: a group or series that was never declared.
            ValueError: a sample's series is not of its record's group, or arrays of unequal length.
        """
        self._check(columns)
        bits = np.bitwise_count(columns.quality[columns.quality > 3] >> 2)
        if len(bits):
            self._state.ensure_marks(int(bits.sum()))
        cursor = np.zeros(4, np.int64)
        c = columns
        while True:
            answer = kernel.run(
                self._state.arrays, self._out,
                c.record_group, c.record_due_ns, c.record_outcome, c.record_end,
                c.series, c.t_ns, c.value, c.integer, c.has_value, c.quality,
                receipt_ns, self._event, cursor,
            )  # fmt: skip
            if answer == k.FOREIGN:
                raise ValueError(f"record {cursor[0]} has a sample of another group's series")
            if answer == k.OVERFLOW:
                raise AssertionError(f"group {c.record_group[cursor[0]]}: more windows open than its ring has places")
            if answer == k.DONE:
                return
            self._drain()

    def retire(self, scope: str, name: str) -> int:
        """Close everything of what will never come again; gives how many groups that were.

        Args:
            scope: `journal` (NAME its UUID) or `device` (NAME is SITE:DEVICE).
            name: which one. A gateway is retired by its journals.
        """
        self._event += 1
        found = [g for g in range(len(self._state.entries)) if self._is_of(g, scope, name)]
        for g in found:
            row = self._state.arrays.groups[g]
            row[k.RETIRED] = 1
            row[k.NEXT_SLOT] = k.FOREVER
            row[k.GAP_FIRST] = row[k.GAP_END] = 0
            slots.free_runs(self._state.arrays.groups, self._state.arrays.runs, g, k.FOREVER)
            while kernel.retire(self._state.arrays, self._out, g) == k.FULL:
                self._drain()
        return len(found)

    def take(self) -> tuple[list[RowBlock], list[Incident]]:
        """Hand over the final rows and the incidents since the last call; a checkpoint keeps them with `snapshot`."""
        self._drain()
        blocks, incidents = self._blocks(), self._incidents
        self._incidents, self._refused = [], {}
        return blocks, incidents

    @property
    def waiting_bytes(self) -> int:
        """Memory that waits for `take`. [bytes]."""
        return sum(c.nbytes for c in self._chunks) + sum(a.nbytes for a in (*self._ledger, *self._marks))

    def snapshot(self) -> bytes:
        """Make bytes of the whole state, equal for equal states.

        Raises:
            ValueError: rows or incidents wait to be taken, which a snapshot does not hold.
        """
        if self._incidents or self._chunks or self._ledger or self._out.used.any():
            raise ValueError("take() comes before snapshot()")
        return snapshot.encode(self._state, self._event)

    def restore(self, data: bytes) -> None:
        """Go on from a snapshot, whatever this engine held.

        Raises:
            msgspec.DecodeError: the bytes are no snapshot.
            ValueError: they are cut short, or of another version.
        """
        self.__init__(self._spill)  # type: ignore[misc] # a restore is a new beginning
        self._state, self._event = snapshot.decode(data)
        for g, entry in enumerate(self._state.entries):
            self._groups[entry.group.key] = g
        self._templates_changed()

    def status(self) -> list[GroupStatus]:
        """Tell how far every group is."""
        groups = self._state.arrays.groups
        return [
            GroupStatus(
                *entry.group.key,
                self._state.journals[groups[g, k.JOURNAL]],
                None if groups[g, k.WATERMARK] == k.NEVER else int(groups[g, k.WATERMARK]),
                int(groups[g, k.CLOSED]),
                entry.group.period_ns,
                bool(groups[g, k.RETIRED]),
            )
            for g, entry in enumerate(self._state.entries)
        ]

    def _add(self, group: Group, from_ns: int, journal: str) -> int:
        if group.period_ns <= 0:
            raise ValueError(f"{group.key}: a group begins with a period")
        state = self._state
        number = state.journal(journal)
        g = state.take("groups", 1)
        state.take("pieces", 1)
        state.take("long_slots", 1)
        row, pieces = state.arrays.groups[g], state.arrays.pieces[g]
        first, length = -(-from_ns // group.period_ns), windows.base_length_ns(group.period_ns)
        opened = first * group.period_ns // length * length
        row[[k.PERIOD, k.HOLD, k.JOURNAL]] = (group.period_ns, windows.hold_ns(group.period_ns), number)
        row[[k.CLOSED, k.NEXT_SLOT, k.SEEN_EVENT, k.PIECES]] = (opened, first, self._event, 1)
        row[[k.WATERMARK, k.TOP, k.LONG_OPEN]] = k.NEVER
        pieces[0] = (opened, 0, length)
        state.entries.append(GroupEntry(group))
        self._groups[group.key] = g
        self._declare(g, group, from_ns, is_new=True)
        return g

    def _declare(self, g: int, group: Group, from_ns: int, *, is_new: bool = False) -> None:
        state = self._state
        entry = state.entries[g]
        if group.period_ns and group.period_ns != entry.group.period_ns and not is_new:
            self._lengthen(g, group.period_ns, from_ns)
        known = {state.points[s].name: s for s in entry.current}
        known = {**{state.points[s].name: s for s in entry.series}, **known}
        current = []
        for point in group.points:
            s = known.get(point.name)
            if s is None or rows.kind_of(point) != rows.kind_of(state.points[s]):
                s = state.add_series(g, point)
            state.points[s] = point
            current.append(s)
        entry.group, entry.current = group, current
        state.declare(g)
        self._templates_changed()

    def _turn(self, g: int, period_ns: int, from_ns: int) -> None:
        """Judge slots up to `from_ns` by the old period, later ones by the new."""
        row = self._state.arrays.groups[g]
        old, next_slot = int(row[k.PERIOD]), int(row[k.NEXT_SLOT])
        from_ns = max(from_ns, int(row[k.WATERMARK]) + 1, int(row[k.CLOSED]))
        if next_slot != k.FOREVER and next_slot * old < from_ns:
            self._state.add_run(g, old, next_slot, -(-from_ns // old))
        row[k.NEXT_SLOT] = -(-from_ns // period_ns) if period_ns else k.FOREVER

    def _lengthen(self, g: int, period_ns: int, from_ns: int) -> None:
        row, pieces = self._state.arrays.groups[g], self._state.arrays.pieces[g]
        row[[k.PERIOD, k.HOLD]] = (period_ns, windows.hold_ns(period_ns))
        length = windows.base_length_ns(period_ns)
        if length != pieces[row[k.PIECES] - 1, k.LENGTH]:
            beyond = max(from_ns, int(row[k.WATERMARK]) + 1, int(row[k.TOP]) + 1, int(row[k.CLOSED]))
            row[k.PIECES] = windows.change_length(pieces, int(row[k.PIECES]), length, beyond, int(row[k.CLOSED]))

    def _templates_changed(self) -> None:
        for template in self._state.templates[len(self._template_shape) :]:
            self._template_shape.append(self._shapes.setdefault(template.shape, len(self._shapes)))
            self._template_key.append(self._tags.setdefault(template.tags, len(self._tags)))
        state = self._state
        needs = state.arrays.groups[: len(state.entries), [k.NEED_ROWS, k.NEED_FLOATS, k.NEED_INTS, k.NEED_MARKS]]
        wanted = needs[-1] if len(needs) else np.zeros(4, np.int64)
        have = (len(self._out.rows), len(self._out.floats), len(self._out.ints), len(self._out.marks))
        if (wanted > have).any():
            self._drain()
            self._out = new_out(needs.max(axis=0))

    def _note(self, journal: str, column: int) -> None:
        self._event += 1
        number = self._state.journal(journal)
        self._state.arrays.journals[number, column] = self._event

    def _is_of(self, g: int, scope: str, name: str) -> bool:
        group = self._state.entries[g].group
        if scope == "device":
            return f"{group.site}:{group.device}" == name
        return scope == "journal" and self._state.journals[int(self._state.arrays.groups[g, k.JOURNAL])] == name

    def _check(self, c: Columns) -> None:
        if len(c.record_group) and not 0 <= c.record_group.min() <= c.record_group.max() < len(self._state.entries):
            raise IndexError("a group that was never declared")
        if len(c.series) and c.series.max() >= len(self._state.points):
            raise IndexError("a series that was never declared")
        per_record = {len(a) for a in (c.record_group, c.record_due_ns, c.record_outcome, c.record_end)}
        per_sample = {len(a) for a in (c.series, c.t_ns, c.value, c.integer, c.has_value, c.quality)}
        end = int(c.record_end[-1]) if len(c.record_end) else 0
        if (
            len(per_record) != 1
            or per_sample != {end}
            or (len(c.record_end) and np.diff(c.record_end, prepend=0).min() < 0)
        ):
            raise ValueError("arrays of unequal length")

    def _drain(self) -> None:
        """Empty what kernels write to."""
        out = self._out
        if out.used[k.INCIDENTS]:
            self._refuse(out.incidents[: out.used[k.INCIDENTS]].tolist())
        if out.used[k.ROWS]:
            shapes, keys = (np.array(x, np.int64) for x in (self._template_shape, self._template_key))
            self._chunks.append(rows.chunk(out, shapes, keys))
        if out.used[k.LEDGER]:
            marks = out.marks[: out.used[k.OUT_MARKS]].copy()
            marks[:, 0] += self._ledger_rows
            self._ledger.append(out.ledger[: out.used[k.LEDGER]].copy())
            self._marks.append(marks)
            self._ledger_rows += int(out.used[k.LEDGER])
        out.used[:] = 0
        if self._spill is not None and self.waiting_bytes > SPILL_BYTES:
            self._spill(self._blocks())

    def _blocks(self) -> list[RowBlock]:
        blocks = rows.blocks(self._chunks, list(self._shapes), list(self._tags))
        if self._ledger:
            tags = [_group_tags(entry.group) for entry in self._state.entries]
            points = [point.name for point in self._state.points]
            blocks += ledger.blocks(np.concatenate(self._ledger), np.concatenate(self._marks), tags, points)
        self._chunks, self._ledger, self._marks, self._ledger_rows = [], [], [], 0
        return blocks

    def _add_incident(self, incident: Incident) -> None:
        """Keep an incident behind those that kernels reported before it."""
        if self._out.used[k.INCIDENTS]:
            self._drain()
        self._incidents.append(incident)

    def _refuse(self, reports: Iterable[list[int]]) -> None:
        """Gather the reports of one kind and group since the last `take` into one incident, where the first stood."""
        for kind, g, at, ok in reports:
            place = self._refused.get((kind, g))
            if place is None:
                self._refused[kind, g] = len(self._incidents)
                site, device, name = self._state.entries[g].group.key
                fields: dict[str, Any] = {"site": site, "device": device, "group": name}
                fields |= {"polls": 1, "ok": ok, "from_ns": at, "to_ns": at}
                self._incidents.append(Incident(at, k.INCIDENT_NAMES[kind], fields))
                continue
            fields = self._incidents[place].fields
            fields["polls"] += 1
            fields["ok"] += ok
            fields["from_ns"], fields["to_ns"] = min(fields["from_ns"], at), max(fields["to_ns"], at)


def _group_tags(group: Group) -> Tags:
    return (("device", group.device), ("group", group.group), ("site", group.site))
