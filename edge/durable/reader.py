"""Reading a sequence page by page, while it is written or when nobody has it open."""

from __future__ import annotations

import bisect
import contextlib
import sqlite3
from typing import TYPE_CHECKING, Self

from edge.durable import sqlitefile
from edge.durable.salvage import readable
from edge.durable.sqlitefile import Damaged, Stored
from edge.errors import StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SELECT = "SELECT offset, kind, t_ns, crc, data FROM record WHERE offset >= ? ORDER BY offset"
_SELECT_MARKED = (
    "SELECT offset, kind, t_ns, crc, data FROM record INDEXED BY marked WHERE kind <> 0 AND offset >= ? ORDER BY offset"
)


def files_in(directory: Path) -> list[Path]:
    """List a sequence's files, oldest first."""
    return sorted(path for path in directory.iterdir() if path.suffix == sqlitefile.SUFFIX and path.stem.isdecimal())


class Reader:
    """Reads committed rows; belongs to one thread at a time. Holds one file open."""

    def __init__(
        self,
        directory: Path,
        *,
        page_bytes: int = 1024,
        files: Callable[[], list[Path]] | None = None,
        damaged: Callable[[Path], None] = lambda _path: None,
    ) -> None:
        """Read the sequence in `directory`.

        Args:
            directory: where the files are.
            page_bytes: page size they were made with.
            files: lists them, oldest first, where somebody knows them without looking.
            damaged: is told of each file that is not what was written.
        """
        self._files = files or (lambda: files_in(directory))
        self._page_bytes, self._damaged = page_bytes, damaged
        self._path: Path | None = None
        self._inode = 0
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Use as a context that closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def read(self, from_offset: int, limit_bytes: int = 1 << 20, limit_rows: int = 1 << 16) -> list[Stored]:
        """Read the rows from `from_offset` on, up to the first that reaches a limit; empty if there is none yet.

        Rows that damage has destroyed are left out, as a salvage will.

        Raises:
            StorageError: a file can't be read for another reason than damage.
        """
        rows: list[Stored] = []
        for row in self._from(from_offset, _SELECT):
            rows.append(row)
            limit_bytes -= len(row.data)
            if limit_bytes <= 0 or len(rows) >= limit_rows:
                break
        return rows

    def marked(self, from_offset: int = 0) -> Iterator[Stored]:
        """Yield the rows of a kind other than 0; their number, not the backlog's, is what it costs."""
        yield from self._from(from_offset, _SELECT_MARKED)

    def close(self) -> None:
        """Close the file held open."""
        if self._connection is not None:
            self._connection.close()
        self._path = self._connection = None

    def _from(self, at: int, select: str) -> Iterator[Stored]:
        """Go through the files in order, `at` being the next offset wanted."""
        files = self._files()
        n = max(bisect.bisect_right(files, at, key=sqlitefile.first_of) - 1, 0)
        while n < len(files):
            path = files[n]
            for row in self._file(path, at, select, ended=n + 1 < len(files)):
                yield row
                at = row.offset + 1
            # What was appended to this file before the next one began may have come after our look.
            later = [each for each in self._files() if each.name > path.name]
            if later and sqlitefile.first_of(later[0]) > at:
                yield from self._file(path, at, select, ended=True)
                at = sqlitefile.first_of(later[0])
            files, n = later, 0

    def _file(self, path: Path, at: int, select: str, *, ended: bool) -> Iterator[Stored]:
        try:
            for found in self._opened(path, ended=ended).execute(select, (at,)):
                row = sqlitefile.checked(found)
                yield row
                at = row.offset + 1
        except (sqlite3.Error, Damaged) as error:
            self.close()
            if not path.exists():
                if path in self._files():
                    self._damaged(path)  # removed by somebody else
                return  # else dropped between our look and our read: the rows are evicted, not damaged
            meaning = sqlitefile.meaning(error, path.name) if isinstance(error, sqlite3.Error) else error
            if not isinstance(meaning, Damaged):
                raise meaning from error
            self._damaged(path)
            yield from self._readable(path, at, marked=select == _SELECT_MARKED)

    def _readable(self, path: Path, at: int, *, marked: bool) -> Iterator[Stored]:
        with contextlib.closing(readable(path, self._page_bytes)) as batches:
            for rows in batches:
                yield from (row for row in rows if row.offset >= at and (row.kind or not marked))

    def _opened(self, path: Path, *, ended: bool) -> sqlite3.Connection:
        inode = path.stat().st_ino if path.exists() else 0  # a salvaged file takes the name of the damaged one
        if self._connection is None or (self._path, self._inode) != (path, inode):
            self.close()
            self._path, self._inode = path, inode
            self._connection = sqlitefile.open_reader(path, fixed=ended and not sqlitefile.log_bytes(path))
            if not ended and not self._has_place(path):
                self.close()  # not kept: somebody may write it again
                return sqlitefile.open_reader(path, fixed=True)
        return self._connection

    def _has_place(self, path: Path) -> bool:
        """On a full disk a file without SQLite's index beside it can't have one: then nobody has it open to write."""
        assert self._connection is not None
        if sqlitefile.log_bytes(path):
            return True  # or it can't be read: without its write-ahead log it is not whole
        try:
            self._connection.execute("SELECT 1 FROM record LIMIT 0")
        except sqlite3.Error as error:
            return not isinstance(sqlitefile.meaning(error, ""), StorageFull)
        return True
