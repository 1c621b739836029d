"""What can still be read of a damaged file, and how it is put in the damaged one's place.

A file is replaced in steps that a power cut may part: the readable rows go into `<name>.seg.salvaged`, complete
and durable; then the damaged file and its write-ahead log are renamed `.bad-<n>`; then the salvaged file takes
the name. `finish` does what is left of the last two, at any opening.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.durable.sqlitefile import (
    Damaged,
    Stored,
    checked,
    companions,
    create_layout,
    first_of,
    insert_stored,
    meaning,
    open_writer,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

SALVAGED = ".salvaged"
_BATCH_ROWS = 256
_LEAST_ROW_BYTES = 8
_SELECT = "SELECT offset, kind, t_ns, crc, data FROM record WHERE offset >= ? ORDER BY offset LIMIT ?"


@dataclass(frozen=True, slots=True)
class Salvage:
    """What one damaged file cost."""

    file: str
    """Name under which the damaged file was kept."""
    salvaged: int
    """Rows that go on under their offsets."""
    lost: tuple[tuple[int, int], ...]
    """Ranges [first, end) of offsets that are known to be gone; what stood at the end of the newest file is not."""
    end: int
    """Offset after the last row salvaged."""

    @property
    def lost_rows(self) -> int:
        """How many offsets are gone."""
        return sum(end - first for first, end in self.lost)


def salvage(path: Path, end: int | None, page_bytes: int) -> Salvage:
    """Replace a damaged file by its readable rows; one that somebody removed, by none.

    Args:
        path: the file; no connection to it may be writing.
        end: offset after its last row, where known (the next file's first).
        page_bytes: page size it was made with.

    Raises:
        StorageError: the readable rows could not be written; the damaged file is where it was.
    """
    count, lost, at = 0, [], first_of(path)
    fresh = path.with_name(path.name + ".new")
    discard(fresh)
    try:
        connection = open_writer(fresh, page_bytes)
        with contextlib.closing(connection):
            connection.execute("BEGIN")
            create_layout(connection)
            for rows in readable(path, page_bytes):
                for row in rows:
                    if row.offset > at:
                        lost.append((at, row.offset))
                    at = row.offset + 1
                insert_stored(connection, rows)
                count += len(rows)
            connection.execute("COMMIT")
        after = at
        if end is not None and end > at:
            lost.append((at, end))
        fresh.rename(path.with_name(path.name + SALVAGED))
        sync_directory(path.parent)
        return Salvage(finish(path).name, count, tuple(lost), after)
    except (sqlite3.Error, OSError) as error:
        fresh.unlink(missing_ok=True)
        raise meaning(error, f"{path.name}: salvage") from error


def finish(path: Path) -> Path:
    """Put the salvaged file in the place of `path`; return the name under which the damaged one is kept."""
    bad = _bad_name(path)
    if path.exists():
        for companion, kept in zip(companions(path), companions(bad), strict=True):
            if companion.exists():
                companion.rename(kept)
        os.link(path, bad)  # the name is never without a file: a reader would take its rows for evicted
    path.with_name(path.name + SALVAGED).rename(path)
    sync_directory(path.parent)
    return bad


def finish_all(directory: Path) -> None:
    """Complete what a power cut parted, and remove what was never completed."""
    for pattern in ("*.seg.new", "*.seg.copy-*"):
        for left in directory.glob(pattern):
            discard(left)
    for salvaged in directory.glob(f"*.seg{SALVAGED}"):
        finish(salvaged.with_name(salvaged.name.removesuffix(SALVAGED)))


def readable(path: Path, page_bytes: int) -> Generator[list[Stored], None, None]:
    """Yield what can be read of a damaged file, in order of offset; the file is not changed.

    It works on a copy: a first page that is no SQLite header is replaced by that of an empty file of the same
    layout, since all our files share it.

    Raises:
        StorageError: the copy could not be made; StorageFull where there is no space for it.
    """
    copy = path.with_name(f"{path.name}.copy-{os.getpid()}-{threading.get_ident()}")
    try:
        discard(copy)
        for source, target in zip((path, *companions(path)[:1]), (copy, *companions(copy)[:1]), strict=True):
            if source.exists():
                shutil.copyfile(source, target)
        if not copy.exists():
            return
        if not _has_table(copy):
            _lend_first_page(copy, page_bytes)
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            yield from _rows(connection, first_of(path), copy.stat().st_size)
    except (sqlite3.Error, OSError) as error:
        raise meaning(error, f"{path.name}: copy") from error
    finally:
        discard(copy)


def discard(path: Path) -> None:
    """Remove a file, then what SQLite keeps beside it."""
    for each in (path, *companions(path)):
        each.unlink(missing_ok=True)


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _bad_name(path: Path) -> Path:
    n = 1
    while (bad := path.with_name(f"{path.name}.bad-{n}")).exists():
        n += 1
    return bad


def _has_table(path: Path) -> bool:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        try:
            connection.execute("SELECT offset, kind, t_ns, crc, data FROM record LIMIT 0")
        except sqlite3.Error:
            return False
    return True


def _lend_first_page(path: Path, page_bytes: int) -> None:
    empty = path.with_name(path.name + "-empty")
    discard(empty)
    try:
        with contextlib.closing(open_writer(empty, page_bytes)) as connection:
            create_layout(connection)
        page = bytearray(empty.read_bytes()[:page_bytes])
        page[28:32] = bytes(4)  # the number of pages: 0 = as many as the file has
    finally:
        discard(empty)
    with path.open("r+b") as damaged:
        damaged.write(page)


def _rows(connection: sqlite3.Connection, first: int, size_bytes: int) -> Iterator[list[Stored]]:
    """Read forwards; at a damaged place, find the next offset that can be read."""
    at, furthest = first, first + size_bytes // _LEAST_ROW_BYTES
    while at <= furthest:
        rows, damaged = _run(connection, at)
        if rows:
            yield rows
            at = rows[-1].offset + 1
            furthest = max(furthest, at)
        if damaged:
            beyond = _beyond(connection, at, furthest)
            if beyond is None:
                return
            at = beyond
        elif not rows:
            return


def _run(connection: sqlite3.Connection, at: int) -> tuple[list[Stored], bool]:
    """Read some rows from `at` on, up to a damaged one."""
    rows: list[Stored] = []
    try:
        for found in connection.execute(_SELECT, (at, _BATCH_ROWS)):
            rows.append(checked(found))  # noqa: PERF401 # what came before the damage counts
    except (sqlite3.Error, Damaged, OverflowError):
        return rows, True
    return rows, False


def _beyond(connection: sqlite3.Connection, at: int, furthest: int) -> int | None:
    """Find the first readable offset after the damaged place that begins at `at`."""
    bad, step = at, 1
    while not (_run_starts(connection, at + step)):
        bad = at + step
        step *= 2
        if bad > furthest:
            return None
    good = at + step
    while good - bad > 1:
        middle = (good + bad) // 2
        bad, good = (bad, middle) if _run_starts(connection, middle) else (middle, good)
    return good


def _run_starts(connection: sqlite3.Connection, at: int) -> bool:
    """Tell whether the first row from `at` on can be read."""
    try:
        found = connection.execute(_SELECT, (at, 1)).fetchone()
        return found is not None and checked(found).offset >= at
    except (sqlite3.Error, Damaged, OverflowError):
        return False
