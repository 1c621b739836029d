"""An append-only sequence of SQLite files: the durable record of the gateway and of the centre.

Invariants:
    * The files are `<first offset, 20 digits>.seg` in one directory; each holds the offsets from its name up to
      the next file's name. Offsets go up by one; a hole exists only where damage was salvaged.
    * `append_many` returns after its transaction is on the medium (WAL, synchronous=FULL), or raises and has
      changed nothing. An error of the medium is never tried again on the same connection.
    * A file has its table and its head rows when it gets its name (it is made as `.new`, then renamed).
    * Only whole files go, oldest first; the newest never does.
Write: one thread. Read: any number of `Reader`s, in any thread or process, page by page.
Recover: SQLite recovers the newest file's write-ahead log; that file alone is checked when opened. A damaged file
    costs itself: `salvage` keeps its readable rows under their offsets and sets the file aside as `.bad-<n>`.
Full: a sequence opens also where SQLite finds no space to open its newest file for writing (`is_full` says so);
    it is read without, and each append tries anew.
Not supported: changing or deleting rows; two writers (a lock file keeps the second out).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, NoReturn, Self

from edge.durable import sqlitefile
from edge.durable.reader import Reader, files_in
from edge.durable.salvage import Salvage, discard, finish_all, salvage, sync_directory
from edge.durable.sqlitefile import Damaged, Row
from edge.errors import Refused, StorageError, StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


class Segments:
    """The one writer of a sequence; its methods belong to one thread, except `reader` and what readers do."""

    def __init__(
        self,
        directory: Path,
        *,
        page_bytes: int = 1024,
        segment_bytes: int | None = 16 << 20,
        head: Callable[[int], Sequence[Row]] = lambda _first: (),
        spare: int = 0,
    ) -> None:
        """Open the sequence in `directory`, making it where there is none.

        Args:
            directory: holds these files only, besides a lock.
            page_bytes: SQLite page size of files made from now on.
            segment_bytes: size at which `append_many` begins a new file; None = only `roll` does.
            head: gives the rows to write first into each new file, from its first offset.
            spare: offset below which files may go, oldest first, if else there is no space to read the newest.

        Raises:
            Refused: another process has it open.
            StorageError: it can't be opened; StorageFull where there is no space.
        """
        self.salvages: list[Salvage] = []
        self._directory, self._page_bytes, self._segment_bytes = directory, page_bytes, segment_bytes
        self._head, self._spare = head, spare
        self._ended_bytes: dict[Path, int] = {}
        self._suspects: set[Path] = set()
        self._suspects_lock = threading.Lock()
        self._lock = _lock(directory)
        self._connection: sqlite3.Connection | None = None
        self._is_checked = False
        self._next = 0
        self.is_full = False
        """There was no space to open the newest file for writing at first, when the sequence was opened."""
        self.files: list[Path] = []
        """Oldest first; the last one is written."""
        try:
            self._open()
        except StorageFull as error:
            os.close(self._lock)
            raise _no_space(directory, str(error)) from error
        except BaseException:
            os.close(self._lock)
            raise

    def __enter__(self) -> Self:
        """Use as a context that closes."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    @property
    def oldest(self) -> int:
        """Offset from which on rows are held (`next_offset` if none is)."""
        return sqlitefile.first_of(self.files[0])

    @property
    def newest(self) -> int:
        """First offset of the newest file."""
        return sqlitefile.first_of(self.files[-1])

    @property
    def next_offset(self) -> int:
        """Offset of the row to be appended next."""
        return self._next

    @property
    def size_bytes(self) -> int:
        """Bytes on the medium now, write-ahead logs included."""
        for path in self.files[:-1]:
            if path not in self._ended_bytes and not sqlitefile.log_bytes(path):
                self._ended_bytes[path] = sqlitefile.disk_bytes(path)
        return sum(self._ended_bytes.get(path) or sqlitefile.disk_bytes(path) for path in self.files)

    @property
    def newest_bytes(self) -> int:
        """Size of the newest file, as it will be without a write-ahead log."""
        if self._connection is None:
            return sqlitefile.disk_bytes(self.files[-1])
        return sqlitefile.logical_bytes(self._connection)

    def append_many(self, rows: Sequence[Row]) -> int:
        """Commit `rows` in one transaction; return the first one's offset.

        Raises:
            StorageFull: no space; nothing was appended, and the same call may succeed later.
            StorageError: the medium failed; this object is of no more use.
        """
        self.repair()
        self._writer()
        if self._segment_bytes is not None and self.newest_bytes >= self._segment_bytes:
            self.roll()
        first = self._next
        connection = self._writer()
        try:
            connection.execute("BEGIN IMMEDIATE")
            sqlitefile.insert(connection, first, list(rows))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed(error)
        self._next = first + len(rows)
        return first

    def roll(self, head: Sequence[Row] | None = None) -> int:
        """Begin a new file with `head` (by default, what the hook gives); return its first offset.

        Raises:
            StorageFull: no space; the newest file is the one before.
        """
        first = self._next
        rows = list(self._head(first) if head is None else head)
        path = self._directory / sqlitefile.name_of(first)
        if self.files and path == self.files[-1]:
            raise StorageError(f"{path.name} is empty: there is nothing to begin anew")
        self._create(path, first, rows)
        self._end(self.files[-1:])
        self.files.append(path)
        self._next = first + len(rows)
        return first

    def drop_oldest(self) -> tuple[int, int]:
        """Remove the oldest file; return its offsets [first, end). The newest one is never removed.

        Raises:
            Refused: there is only the newest.
            StorageError: the medium failed; this object is of no more use.
        """
        if len(self.files) < 2:
            raise Refused("the newest file of a sequence can't be dropped")
        path = self.files.pop(0)
        self._ended_bytes.pop(path, None)
        # The file first: a write-ahead log without its file is harmless, a file without its log is not whole.
        try:
            discard(path)
            sync_directory(self._directory)
        except OSError as error:
            raise sqlitefile.meaning(error, path.name) from error
        return sqlitefile.first_of(path), self.oldest

    def reader(self) -> Reader:
        """Make a reader for one other thread; damage that it meets is repaired by the next append."""
        return Reader(
            self._directory, page_bytes=self._page_bytes, files=lambda: list(self.files), damaged=self.suspect
        )

    def suspect(self, path: Path) -> None:
        """Report a damaged file, from any thread."""
        with self._suspects_lock:
            self._suspects.add(path)

    def repair(self) -> list[Salvage]:
        """Salvage the files that readers found damaged; return what each cost."""
        with self._suspects_lock:
            suspects, self._suspects = self._suspects, set()
        return [self._salvage(path) for path in sorted(suspects) if path in self.files]

    def holes(self) -> list[tuple[int, int]]:
        """Find the offsets [first, end) that are missing at the ends of files: a file was removed, or salvaged."""
        found = []
        for path, later in pairwise(self.files):
            with contextlib.suppress(sqlite3.Error):  # damage is found when it is read
                fixed = not sqlitefile.log_bytes(path)
                with contextlib.closing(sqlitefile.open_reader(path, fixed=fixed)) as connection:
                    after = sqlitefile.first_of(path) if (last := sqlitefile.last_of(connection)) is None else last + 1
                if after < sqlitefile.first_of(later):
                    found.append((after, sqlitefile.first_of(later)))
        return found

    def close(self) -> None:
        """Close the newest file and let another process open the sequence."""
        self._close_newest()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open(self) -> None:
        try:
            finish_all(self._directory)
        except OSError as error:
            raise sqlitefile.meaning(error, str(self._directory)) from error
        self.files = files_in(self._directory)
        for orphan in self._directory.glob(f"*{sqlitefile.SUFFIX}-wal"):
            if orphan.with_name(orphan.name.removesuffix("-wal")) not in self.files:
                discard(orphan.with_name(orphan.name.removesuffix("-wal")))
        if not self.files:
            self.roll()
            return
        self._end([path for path in self.files[:-1] if sqlitefile.log_bytes(path)])
        try:
            self._open_newest()
        except Damaged:
            self.repair()

    def _open_newest(self) -> None:
        while (last := self._last_opened()) is None:
            self.drop_oldest()
        self._next = last + 1

    def _last_opened(self) -> int | None:
        """Read the last offset; None = there is no space even for that, and the oldest file may go."""
        try:
            return self._last(self._writer())
        except StorageFull:
            self.is_full = True
        try:
            return self._last_of_full()
        except StorageFull:
            if len(self.files) < 2 or sqlitefile.first_of(self.files[1]) > self._spare:
                raise
            return None

    def _last_of_full(self) -> int:
        """Read the last offset where SQLite has no space for its index: what a stop in order left needs none."""
        path = self.files[-1]
        if sqlitefile.log_bytes(path):
            raise StorageFull(f"{path.name}: no space to read its write-ahead log")
        try:
            with contextlib.closing(sqlitefile.open_reader(path, fixed=True)) as connection:
                return self._last(connection)
        except sqlite3.Error as error:
            raise sqlitefile.meaning(error, path.name) from error

    def _opened(self, path: Path) -> sqlite3.Connection:
        connection, check = None, not self._is_checked
        try:
            connection = sqlitefile.open_writer(path, self._page_bytes)
            if check and (found := connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
                raise Damaged(f"{path.name}: {found}")
            connection.execute("SELECT offset, kind, t_ns, crc, data FROM record LIMIT 0")
        except (sqlite3.Error, StorageError) as error:
            if connection:
                connection.close()
            raise sqlitefile.meaning(error, path.name) if isinstance(error, sqlite3.Error) else error from error
        self._is_checked = True
        return connection

    def _last(self, connection: sqlite3.Connection) -> int:
        last = sqlitefile.last_of(connection)
        return self.newest - 1 if last is None else last

    def _end(self, paths: list[Path]) -> None:
        """Close files that are written no more; what goes wrong here is found again when they are read."""
        for path in paths:
            connection, self._connection = self._connection, None
            with contextlib.suppress(sqlite3.Error, OSError, StorageError):
                sqlitefile.fold(connection or sqlitefile.open_writer(path, self._page_bytes), path)

    def _create(self, path: Path, first: int, rows: list[Row]) -> None:
        fresh = path.with_name(path.name + ".new")
        discard(fresh)
        try:
            with contextlib.closing(sqlitefile.open_writer(fresh, self._page_bytes)) as connection:
                connection.execute("BEGIN")
                sqlitefile.create_layout(connection)
                sqlitefile.insert(connection, first, rows)
                connection.execute("COMMIT")
                # Its name must never stand for less than the whole file.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            fresh.rename(path)
            sync_directory(self._directory)
        except (sqlite3.Error, OSError) as error:
            discard(fresh)
            raise sqlitefile.meaning(error, path.name) from error

    def _salvage(self, path: Path) -> Salvage:
        index = self.files.index(path)
        is_newest = index == len(self.files) - 1
        if is_newest:
            self._close_newest()
        end = None if is_newest else sqlitefile.first_of(self.files[index + 1])
        done = salvage(path, end, self._page_bytes)
        self._ended_bytes.pop(path, None)
        self.salvages.append(done)
        if is_newest:
            self._next = max(self._next, done.end)
        return done

    def _failed(self, error: sqlite3.Error) -> NoReturn:
        connection = self._writer()
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):  # the first error is the one to tell
                connection.execute("ROLLBACK")
        meaning = sqlitefile.meaning(error, self.files[-1].name)
        if isinstance(meaning, Damaged):
            self.suspect(self.files[-1])
        raise meaning from error

    def _writer(self) -> sqlite3.Connection:
        """The newest file's connection, opened when needed: a full disk may have no space for SQLite's index."""
        if self._lock < 0:
            raise StorageError(f"{self._directory}: the sequence is closed")
        if self._connection is None:
            try:
                self._connection = self._opened(self.files[-1])
            except Damaged:
                self.suspect(self.files[-1])  # the next append salvages it
                raise
        return self._connection

    def _close_newest(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _no_space(directory: Path, why: str) -> StorageFull:
    return StorageFull(f"{directory} can't be opened: free space on its file system; nothing recorded is lost ({why})")


def _lock(directory: Path) -> int:
    """Take the lock that keeps a second process out; it goes with the process."""
    path = directory / "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    except OSError as error:
        if isinstance(meaning := sqlitefile.meaning(error, path.name), StorageFull):
            raise _no_space(directory, str(meaning)) from error
        raise
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Refused(f"{directory} is in use by another process: stop that one first") from error
    return descriptor
