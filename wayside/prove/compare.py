"""The proof: final rows against the journals, every window, every counter, every good poll (docs/rows.md §9)."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from edge.model.point import Domain
from edge.model.record import PollRecord
from wayside.prove.counters import RowKey, Truth, totals
from wayside.prove.gone import count
from wayside.prove.group import Row
from wayside.prove.journals import Entry, Journals
from wayside.prove.reference import Jump, Reference, jumps_of, quarantines_of, refer

LEDGER = "ledger"
COMPARED = {LEDGER, *(str(domain) for domain in Domain)}
SHOWN = 20
"""How many differences a verdict tells."""
_S_NS = 1_000_000_000

Fields = dict[str, float | int]
Table = dict[RowKey, Fields]


class StoredRow(Protocol):
    """A final row, as a store gives it back."""

    @property
    def measurement(self) -> str:
        """Its domain, or `ledger`; anything else is not compared."""

    @property
    def tags(self) -> Mapping[str, str]:
        """Without `window`."""

    @property
    def window_s(self) -> int:
        """Length of its window. [s]."""

    @property
    def t_ns(self) -> int:
        """Start of its window. [ns since 1970, UTC]."""

    @property
    def fields(self) -> Mapping[str, float | int]:
        """Absent is absent: no field says it with a number."""


@dataclass(slots=True)
class Verdict:
    """What the proof found."""

    committed: int = 0
    stored: int = 0
    lost: int = 0
    twice: int = 0
    tombstoned: int = 0
    accounted: int = 0
    compared: int = 0
    equal: int = 0
    named: int = 0
    untouched: int = 0
    points: int = 0
    points_equal: int = 0
    damaged: int = 0
    wrong: int = 0
    """How many differences there are."""
    differences: list[str] = field(default_factory=list)
    """The first of them."""
    where: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    """(start, end, lost, twice, wrong) of every window with a difference. [ns since 1970, UTC]"""

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing twice, nothing different, and something was there to compare."""
        return (
            not (self.wrong or self.lost or self.twice)
            and self.committed == self.stored + self.accounted
            and self.compared > 0
        )

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {
            "records": {
                "committed": self.committed,
                "stored": self.stored,
                "lost": self.lost,
                "twice": self.twice,
                "tombstoned": self.tombstoned,
                "accounted": self.accounted,
            },
            "windows": {
                "compared": self.compared,
                "equal": self.equal,
                "named": self.named,
                "untouched": self.untouched,
            },
            "counters": {"points": self.points, "equal": self.points_equal},
            "damaged_rows": self.damaged,
            "differences": self.differences,
            "ok": self.ok,
        }

    def within(self, from_ns: int, to_ns: int) -> tuple[int, int, int]:
        """Count polls lost, polls twice and values wrong in the windows that [from, to) touches."""
        hit = [counts for start, end, *counts in self.where if start < to_ns and from_ns < end]
        lost, twice, wrong = (sum(column) for column in zip(*hit, strict=True)) if hit else (0, 0, 0)
        return lost, twice, wrong

    def last_line(self) -> str:
        """Say it in a line."""
        return (
            f"{self.committed} committed, {self.stored} stored, {self.lost} lost, {self.twice} twice, "
            f"{self.accounted} accounted for"
        )

    def differ(self, text: str) -> None:
        """Count a difference, and keep it if it is among the first."""
        self.wrong += 1
        if len(self.differences) < SHOWN:
            self.differences.append(text)


def prove(
    journals: Sequence[Path], rows: Iterable[StoredRow], incidents: Iterable[Mapping[str, Any]], truth: Path | None
) -> Verdict:
    """Compare final rows with what a naive program computes from the journals.

    Args:
        journals: folders with copies of journals; the same record in two copies counts once.
        rows: all final rows, after everything was drained and retired.
        incidents: the centre's, in their published form.
        truth: the simulator's `truth.ndjson`, if there is one.
    """
    verdict = Verdict()
    read = Journals(journals)
    verdict.damaged = read.damaged
    for conflict in read.conflicts:
        verdict.differ(conflict)
    told = list(incidents)
    jumps, quarantines = jumps_of(told), quarantines_of(told)
    reference = refer(read, jumps, quarantines)
    stored = _stored(rows, verdict)
    expected = _table(reference.twin.rows())
    named = _named(read, expected) if jumps else set()
    _compare_polls(read, jumps, reference, told, verdict)  # first: what it tells explains windows that differ
    _compare_windows(expected, stored, named, verdict)
    _compare_arrived(expected, stored, verdict)
    for group in reference.twin.groups.values():
        for total in totals(group, stored, Truth(truth) if truth else None):
            verdict.points += 1
            verdict.points_equal += not total.wrong
            if total.wrong:
                verdict.differ(f"counter {total.name}: {total.wrong}")
    return verdict


def _stored(rows: Iterable[StoredRow], verdict: Verdict) -> Table:
    table: Table = {}
    for row in rows:
        if row.measurement not in COMPARED:
            continue
        key = (row.measurement, tuple(sorted(row.tags.items())), row.window_s, row.t_ns)
        kept = table.setdefault(key, {})
        for name, value in row.fields.items():
            if name in kept and not _same(kept[name], value):
                verdict.differ(f"{_said(key)}: {name} is stored as {kept[name]!r} and as {value!r}")
            kept[name] = value
    return table


def _table(rows: Iterable[Row]) -> Table:
    table: Table = {}
    for row in rows:
        table.setdefault((row.measurement, row.tags, row.window_s, row.t_ns), {}).update(row.fields)
    return table


def _named(read: Journals, expected: Table) -> set[RowKey]:
    """Find the rows that a committed record which was not stored would have changed."""
    whole = _table(refer(read, [], []).twin.rows())
    return {key for key in whole.keys() | expected.keys() if not _equal(whole.get(key), expected.get(key))}


def _compare_windows(expected: Table, stored: Table, named: set[RowKey], verdict: Verdict) -> None:
    whole = {
        (key[1][:1] + key[1][2:], key[2], key[3])
        for key, fields in expected.items()
        if key[0] == LEDGER and fields == {"expected": fields["arrived"], "arrived": fields["arrived"]}
    }
    for key in sorted(expected.keys() | stored.keys()):
        verdict.compared += 1
        verdict.named += key in named
        place = tuple(tag for tag in key[1] if tag[0] in {"device", "site"})
        verdict.untouched += key not in named and (place, key[2], key[3]) in whole
        ours, theirs = expected.get(key), stored.get(key)
        before = verdict.wrong
        if _equal(ours, theirs):
            verdict.equal += 1
        elif ours is None:
            verdict.differ(f"{_said(key)}: stored, and no record makes it")
        elif theirs is None:
            verdict.differ(f"{_said(key)}: not stored")
        else:
            for name in sorted(ours.keys() | theirs.keys()):
                if not _same(ours.get(name), theirs.get(name)):
                    verdict.differ(f"{_said(key)}: {name} is {theirs.get(name)!r}, not {ours.get(name)!r}")
        if verdict.wrong > before:
            verdict.where.append((key[3], key[3] + key[2] * _S_NS, 0, 0, verdict.wrong - before))


def _compare_polls(
    read: Journals,
    jumps: Sequence[Jump],
    reference: Reference,
    incidents: Sequence[Mapping[str, Any]],
    verdict: Verdict,
) -> None:
    """Count good polls: committed, and accounted for by incidents of the centre that the journals bear out."""
    gone = count(read, jumps)
    verdict.tombstoned = gone.tombstoned
    for doubt in gone.doubts:
        verdict.differ(doubt)
    said = {**reference.refused, "undatable": reference.undatable, "undeclared": reference.undeclared}
    for kind in ("late_after_close", "quarantined", "undatable", "undeclared"):
        told = sum(int(incident["ok"]) for incident in incidents if incident["kind"] == kind)
        if told != said.get(kind, 0):
            verdict.differ(f"{kind}: the centre tells of {told} good polls, the journals of {said.get(kind, 0)}")
    verdict.committed = gone.named + sum(is_good(entry) for entry in read.entries())
    verdict.accounted = gone.named + reference.named + sum(said.values())


def is_good(entry: Entry) -> bool:
    """Tell whether a record is a poll that was answered."""
    return isinstance(entry.record, PollRecord) and entry.record.outcome == 0


def _compare_arrived(expected: Table, stored: Table, verdict: Verdict) -> None:
    """Count good polls by the base windows of the ledger: stored, lost and twice."""
    bases = _bases({*expected, *stored})
    for key in bases:
        ours, theirs = (int(table.get(key, {}).get("arrived", 0)) for table in (expected, stored))
        verdict.stored += theirs
        lost, twice = max(0, ours - theirs), max(0, theirs - ours)
        verdict.lost += lost
        verdict.twice += twice
        if lost or twice:
            verdict.where.append((key[3], key[3] + key[2] * _S_NS, lost, twice, 0))


def _bases(keys: Iterable[RowKey]) -> list[RowKey]:
    """Pick the ledger's rows that hold no shorter one of the same group."""
    ledger = sorted({key for key in keys if key[0] == LEDGER}, key=lambda key: key[2])
    lengths = sorted({key[2] for key in ledger})
    merged = {
        (key[1], length, key[3] // (length * _S_NS) * length * _S_NS)
        for key in ledger
        for length in lengths
        if length > key[2]
    }
    return [key for key in ledger if (key[1], key[2], key[3]) not in merged]


def _equal(ours: Mapping[str, float | int] | None, theirs: Mapping[str, float | int] | None) -> bool:
    if ours is None or theirs is None:
        return ours is theirs
    return ours.keys() == theirs.keys() and all(_same(value, theirs[name]) for name, value in ours.items())


def _same(ours: float | None, theirs: float | None) -> bool:
    """Compare bit for bit; an integer is not a double."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return struct.pack("<d", ours) == struct.pack("<d", theirs)
    return ours == theirs and type(ours) is type(theirs)


def _said(key: RowKey) -> str:
    measurement, tags, window_s, t_ns = key
    return f"{measurement} {','.join(f'{n}={v}' for n, v in tags)} {window_s} s at {t_ns}"
