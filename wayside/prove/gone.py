"""Polls that no copy holds any more: what tombstones count, as far as jumps name it (docs/wire.md §5.1, rows.md §9)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from edge.model.record import PollRecord, TombstoneRecord
from wayside.prove.journals import Journals
from wayside.prove.reference import Jump

_DAMAGED = "damaged"


@dataclass(slots=True)
class Gone:
    """Good polls that tombstones count."""

    tombstoned: int = 0
    """All that they count."""
    named: int = 0
    """Those that no copy holds, in the ranges of jumps: never stored."""
    doubts: list[str] = field(default_factory=list)
    """What can't be accounted for exactly, in words."""


@dataclass(frozen=True, slots=True)
class _Stone:
    journal: str
    record: TombstoneRecord

    def covers(self, other: _Stone) -> bool:
        """Tell whether it stands for the other one, too."""
        ours, theirs = self.record, other.record
        is_wider = (ours.end - ours.first, ours.epoch is None) > (theirs.end - theirs.first, theirs.epoch is None)
        is_same_epoch = self.journal == other.journal and ours.epoch in {None, theirs.epoch}
        return is_same_epoch and is_wider and ours.first <= theirs.first and theirs.end <= ours.end

    def __str__(self) -> str:
        return f"{self.journal}: the tombstone of [{self.record.first}, {self.record.end})"


def count(read: Journals, jumps: Sequence[Jump]) -> Gone:
    """Count what went; each poll once, whatever number of tombstones say it."""
    gone = Gone()
    held: dict[tuple[str, int], list[tuple[int, bool]]] = {}
    for entry in read.entries():
        if isinstance(entry.record, PollRecord):
            at = held.setdefault((entry.journal, entry.offset), [])
            at.append((entry.epoch, entry.record.outcome == 0))
    stones, damaged = _stones(read)
    for stone in stones:
        gone.tombstoned += sum(each.ok for each in stone.record.groups)
        _Count(stone, held, [jump for jump in jumps if jump.journal == stone.journal]).add_to(gone, damaged)
    return gone


def _stones(read: Journals) -> tuple[list[_Stone], list[_Stone]]:
    """Give the widest tombstones that count, and those of damage."""
    found = {
        (entry.journal, entry.record.epoch, entry.record.first, entry.record.end, entry.record.reason == _DAMAGED): (
            _Stone(entry.journal, entry.record)
        )
        for entry in read.entries()
        if isinstance(entry.record, TombstoneRecord)
    }
    counting = [stone for stone in found.values() if stone.record.reason != _DAMAGED]
    widest = [stone for stone in counting if not any(other.covers(stone) for other in counting)]
    return widest, [stone for stone in found.values() if stone.record.reason == _DAMAGED]


class _Count:
    """One tombstone's offsets, sorted: held by a copy, named by a jump, known one by one."""

    def __init__(
        self, stone: _Stone, held: dict[tuple[str, int], list[tuple[int, bool]]], jumps: Sequence[Jump]
    ) -> None:
        record = stone.record
        self._stone = stone
        self._ok = sum(each.ok for each in record.groups)
        self._good = zlib.decompress(record.good) if record.good else b""
        self._held = self._named = self._taken = 0
        """Good polls: held; gone and named; gone and not named."""
        self._open_named = self._open_taken = 0
        """Offsets of which it is not said what they were."""
        for n in range(record.end - record.first):
            epochs = held.get((stone.journal, record.first + n), [])
            goods = [is_good for epoch, is_good in epochs if record.epoch in {None, epoch}]
            if goods:
                self._held += goods[0]
            else:
                self._look(n, is_named=any(_names(jump, record, record.first + n) for jump in jumps))

    def add_to(self, gone: Gone, damaged: Sequence[_Stone]) -> None:
        """Account for it."""
        record, rest = self._stone.record, self._ok - self._held - self._named - self._taken
        if rest < 0 and not any(
            each.journal == self._stone.journal and each.record.first < record.end and record.first < each.record.end
            for each in damaged
        ):  # what damage took before it was counted, a copy may hold
            held = self._held + self._named + self._taken
            gone.doubts.append(f"{self._stone} says {self._ok} good polls went, copies and it itself hold {held}")
        rest = max(rest, 0)
        gone.named += self._named + (0 if self._open_taken else rest)
        if self._open_taken and self._open_named and rest:
            most, least = min(rest, self._open_named), max(rest - self._open_taken, 0)
            gone.doubts.append(f"{self._stone}: a jump names a part of it, between {least} and {most} good polls")
        elif self._open_taken:
            self._taken += rest
        if self._taken:
            gone.doubts.append(f"{self._stone}: {self._taken} good polls in it are named by no jump, held by no copy")

    def _look(self, n: int, *, is_named: bool) -> None:
        if n >= len(self._good) * 8:
            self._open_named += is_named
            self._open_taken += not is_named
        elif self._good[n // 8] >> n % 8 & 1:
            self._named += is_named
            self._taken += not is_named


def _names(jump: Jump, stone: TombstoneRecord, offset: int) -> bool:
    """Tell whether a jump names an offset of a tombstone, which may be of several epochs."""
    return jump.start <= offset < jump.end and (None in {jump.epoch, stone.epoch} or jump.epoch == stone.epoch)
