"""Copies of journals, read without the gateway's own reader: every record once, in order, with its date.

A copy is a folder with `identity.json` and `*.seg` files (edge/durable/sqlitefile has their layout), as a killed
process left it: files are copied before they are opened, with their write-ahead logs, so nothing in it is changed.
"""

from __future__ import annotations

import bisect
import sqlite3
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile

import msgspec

from edge.model.point import Group
from edge.model.record import DatingRecord, EpochRecord, Record, ScheduleRecord, decode

_MS_NS = 1_000_000
_SELECT = "SELECT offset, crc, data FROM record WHERE offset >= ? ORDER BY offset"
_NAMES = ("identity.json", "identity.copy.json")


class Identity(msgspec.Struct):
    """What `identity.json` says, as far as a proof needs it."""

    journal: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, under its identity."""

    journal: str
    epoch: int
    offset: int
    record: Record
    schedule: Group | None
    """The group of a poll's schedule; None where no copy says it."""


@dataclass(slots=True)
class Epoch:
    """One opening of a journal: its records in order of offset."""

    journal: str
    record: EpochRecord
    entries: list[Entry] = field(default_factory=list)
    began_ns: int = 0
    """Date of its first record that has one."""


@dataclass(slots=True)
class _Copy:
    journal: str
    rows: dict[int, tuple[bytes, Record]]
    epochs: list[EpochRecord]
    schedules: list[tuple[int, ScheduleRecord]]


class Journals:
    """All records of all copies."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Read every copy in and below `folders`."""
        self.damaged = 0
        """Rows that are not what was written."""
        self.conflicts: list[str] = []
        """Identities that two copies give to different records."""
        self.epochs: list[Epoch] = []
        """In order of time; those of one journal in the order of their beginnings."""
        self._datings: dict[tuple[str, str], list[DatingRecord]] = {}
        self._boot_of: dict[tuple[str, int], str] = {}
        copies = [self._read(folder) for folder in _copies(folders)]
        for copy in copies:
            self._learn_datings(copy)
        self._gather(copies)
        self._order()

    def entries(self) -> Iterator[Entry]:
        """Give every record, in order."""
        for epoch in self.epochs:
            yield from epoch.entries

    def date_ns(self, entry: Entry, mono_ns: int) -> int | None:
        """Date an instant in a record (docs/wire.md §2); None = undatable. [ns UTC]."""
        boot = self._boot_of[entry.journal, entry.epoch]
        datings = self._datings.get((entry.journal, boot), [])
        n = bisect.bisect_right(datings, entry.offset, key=lambda dating: dating.from_offset)
        if n == 0:
            return None
        dating = datings[n - 1]
        return (dating.wall_ns + (mono_ns - dating.mono_ns)) // _MS_NS * _MS_NS

    def instant_ns(self, entry: Entry) -> int | None:
        """Date a record itself; None where it says no instant, or has no date."""
        instant = getattr(entry.record, "due_ns", None) or getattr(entry.record, "mono_ns", None)
        return None if instant is None or isinstance(entry.record, DatingRecord) else self.date_ns(entry, instant)

    def _order(self) -> None:
        """Epochs in order of time; one without any date follows the one before it."""
        began: dict[tuple[str, int | None], int] = {}
        for epoch in self.epochs:
            before_ns = began.get((epoch.journal, epoch.record.previous), 0)
            dates = (self.instant_ns(entry) for entry in epoch.entries)
            epoch.began_ns = next((t_ns for t_ns in dates if t_ns is not None), before_ns)
            began[epoch.journal, epoch.record.epoch] = epoch.began_ns
        self.epochs.sort(key=lambda epoch: epoch.began_ns)

    def _read(self, folder: Path) -> _Copy:
        copy = _Copy(_identity(folder), {}, [], [])
        for path in sorted(folder.glob("*.seg")):
            for offset, data in self._rows(path):
                try:
                    record = decode(data)
                except msgspec.DecodeError:
                    self.damaged += 1
                    continue
                copy.rows[offset] = (data, record)
        for offset, (_, record) in sorted(copy.rows.items()):
            if isinstance(record, EpochRecord) and record.epoch not in {epoch.epoch for epoch in copy.epochs}:
                copy.epochs.append(record)
            if isinstance(record, ScheduleRecord):
                copy.schedules.append((offset, record))
        copy.epochs.sort(key=lambda epoch: epoch.first)
        return copy

    def _rows(self, path: Path) -> Iterator[tuple[int, bytes]]:
        with tempfile.TemporaryDirectory(prefix="wayside-prove-") as room:
            for source in (path, path.with_name(path.name + "-wal")):
                if source.exists():
                    copyfile(source, Path(room) / source.name)
            with closing(sqlite3.connect(Path(room) / path.name)) as connection:
                yield from self._readable(connection, int(path.stem))

    def _readable(self, connection: sqlite3.Connection, at: int) -> Iterator[tuple[int, bytes]]:
        """Read on behind damage, by growing leaps."""
        leap = 1
        while leap < 1 << 20:
            try:
                for offset, crc, data in connection.execute(_SELECT, (at,)):
                    at, leap = offset + 1, 1
                    if isinstance(data, bytes) and crc == _signed(zlib.crc32(data, offset & 0xFFFFFFFF)):
                        yield offset, data
                    else:
                        self.damaged += 1
            except sqlite3.DatabaseError:
                self.damaged += 1
                at, leap = at + leap, leap * 2
                continue
            return

    def _learn_datings(self, copy: _Copy) -> None:
        for _, (_, record) in sorted(copy.rows.items()):
            if isinstance(record, DatingRecord):
                known = self._datings.setdefault((copy.journal, record.boot), [])
                known[:] = [dating for dating in known if dating.from_offset != record.from_offset]
                bisect.insort(known, record, key=lambda dating: dating.from_offset)

    def _gather(self, copies: Sequence[_Copy]) -> None:
        found: dict[tuple[str, int], dict[int, tuple[bytes, Entry]]] = {}
        records: dict[tuple[str, int], EpochRecord] = {}
        for copy in copies:
            for epoch in copy.epochs:
                key = (copy.journal, epoch.epoch)
                self._boot_of[key] = epoch.boot
                records[key] = epoch
                found.setdefault(key, {})
            self._sort_in(copy, found)
        for (journal, number), entries in sorted(found.items(), key=lambda item: records[item[0]].first):
            ordered = [entries[offset][1] for offset in sorted(entries)]
            self.epochs.append(Epoch(journal, records[journal, number], ordered))

    def _sort_in(self, copy: _Copy, found: dict[tuple[str, int], dict[int, tuple[bytes, Entry]]]) -> None:
        groups = {record.schedule: record.group for _, record in copy.schedules}
        for offset, (data, record) in copy.rows.items():
            n = bisect.bisect_right(copy.epochs, offset, key=lambda epoch: epoch.first)
            if n == 0:
                self.damaged += 1
                continue
            key = (copy.journal, copy.epochs[n - 1].epoch)
            known = found[key].get(offset)
            if known is not None and known[0] != data:
                self.conflicts.append(f"{copy.journal} epoch {key[1]:016x} offset {offset}: two different records")
            group = groups.get(getattr(record, "schedule", -1))
            if known is None or known[1].schedule is None:
                found[key][offset] = (data, Entry(*key, offset, record, group))


def _copies(folders: Iterable[Path]) -> list[Path]:
    found = {path.parent for folder in folders for path in folder.rglob("*.seg")}
    return sorted(folder for folder in found if any((folder / name).exists() for name in _NAMES))


def _identity(folder: Path) -> str:
    for name in _NAMES:
        with suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode((folder / name).read_bytes(), type=Identity).journal
    raise ValueError(f"{folder}: no readable identity")


def _signed(crc: int) -> int:
    return crc - (1 << 32) if crc >> 31 else crc
