"""One SQLite file of a sequence: its layout, how it is opened, what its errors mean.

Layout: `record (offset, kind, t_ns, crc, data)`. `kind` and `t_ns` belong to the caller (0 and NULL cost a
byte each); an index holds the rows of a kind other than 0 and nothing of the others. `crc` is the CRC-32 of
`data`, begun with the offset, as a signed number (4 bytes): SQLite does not notice a flipped bit in a row.
"""

from __future__ import annotations

import errno
import sqlite3
import zlib
from typing import TYPE_CHECKING, NamedTuple

from edge.errors import StorageError, StorageFull

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".seg"

_SCHEMA = (
    """CREATE TABLE record (
    offset INTEGER PRIMARY KEY, kind INTEGER NOT NULL, t_ns INTEGER, crc INTEGER NOT NULL, data BLOB NOT NULL)""",
    "CREATE INDEX marked ON record (offset) WHERE kind <> 0",
)
_INSERT = "INSERT INTO record (offset, kind, t_ns, crc, data) VALUES (?, ?, ?, ?, ?)"
_FULL_ERRNOS = {errno.ENOSPC, errno.EDQUOT}
_DAMAGED_CODES = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    # A damaged schema shows as "no such table" or "unsupported file format": our statements themselves are right.
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_FORMAT,
}
_WAL_PAGES = 1000
_WAL_BYTES = 4 << 20


class Row(NamedTuple):
    """One row to write; its offset is given when it is written."""

    data: bytes
    kind: int = 0
    t_ns: int | None = None


class Stored(NamedTuple):
    """One row read back."""

    offset: int
    data: bytes
    kind: int
    t_ns: int | None


class Damaged(StorageError):
    """A file, or a row in it, is not what was written."""


def name_of(first: int) -> str:
    """Name the file whose first row has offset `first`."""
    return f"{first:020d}{SUFFIX}"


def first_of(path: Path) -> int:
    """Read the first offset from a file's name."""
    return int(path.name[:20])


def companions(path: Path) -> tuple[Path, Path]:
    """SQLite's own files beside `path`: write-ahead log and its index."""
    return path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def open_writer(path: Path, page_bytes: int) -> sqlite3.Connection:
    """Open or create a file for writing, with every commit durable when it returns."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        for setting in (
            f"page_size={page_bytes}",
            "journal_mode=WAL",
            "synchronous=FULL",
            f"wal_autocheckpoint={_WAL_PAGES}",
            f"journal_size_limit={_WAL_BYTES}",
        ):
            connection.execute(f"PRAGMA {setting}")
        _assert_durable(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _assert_durable(connection: sqlite3.Connection, path: Path) -> None:
    modes = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    if modes != ["wal", 2]:
        raise StorageError(f"{path}: SQLite keeps {modes} here, not WAL with synchronous=FULL")


def open_reader(path: Path, *, fixed: bool) -> sqlite3.Connection:
    """Open a file for reading only, also while another process writes it.

    A `fixed` file, which nobody writes now, is read without locks and without SQLite's files beside it.
    """
    address = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if fixed else ''}"
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)


def last_of(connection: sqlite3.Connection) -> int | None:
    """Read the last offset; None if the file has no row."""
    (last,) = connection.execute("SELECT max(offset) FROM record").fetchone()
    return None if last is None else int(last)


def log_bytes(path: Path) -> int:
    """Size of the write-ahead log beside `path`."""
    try:
        return companions(path)[0].stat().st_size
    except FileNotFoundError:
        return 0


def fold(connection: sqlite3.Connection, path: Path) -> None:
    """Copy the write-ahead log into the file and close it for good; a reader in mid-read may put the copy off."""
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    if not log_bytes(path):
        for companion in companions(path):
            companion.unlink(missing_ok=True)


def create_layout(connection: sqlite3.Connection) -> None:
    """Make the table, inside the caller's transaction."""
    for statement in _SCHEMA:
        connection.execute(statement)


def insert(connection: sqlite3.Connection, first: int, rows: list[Row]) -> None:
    """Write `rows` under the offsets from `first` on, inside the caller's transaction."""
    connection.executemany(
        _INSERT, [(first + i, row.kind, row.t_ns, crc_of(first + i, row.data), row.data) for i, row in enumerate(rows)]
    )


def insert_stored(connection: sqlite3.Connection, rows: list[Stored]) -> None:
    """Write rows back under their own offsets, inside the caller's transaction."""
    values = [(row.offset, row.kind, row.t_ns, crc_of(row.offset, row.data), row.data) for row in rows]
    connection.executemany(_INSERT, values)


def crc_of(offset: int, data: bytes) -> int:
    """Check number of a row: a row found under another's offset is damaged too."""
    value = zlib.crc32(data, offset & 0xFFFFFFFF)
    return value - (1 << 32) if value >> 31 else value


def checked(found: tuple[int, int, int | None, int, bytes]) -> Stored:
    """Turn (offset, kind, t_ns, crc, data) into a row.

    Raises:
        Damaged: its bytes are not those that were written.
    """
    offset, kind, t_ns, crc, data = found
    if not isinstance(data, bytes) or crc_of(offset, data) != crc:
        raise Damaged(f"row {offset} is damaged")
    return Stored(offset, data, kind, t_ns)


def logical_bytes(connection: sqlite3.Connection) -> int:
    """Size of the file once its write-ahead log is copied into it."""
    (pages,), (page_bytes,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size"))
    return int(pages) * int(page_bytes)


def disk_bytes(path: Path) -> int:
    """Bytes that a file and its write-ahead log take now; 0 if it is gone."""
    total = 0
    for each in (path, companions(path)[0]):
        try:
            total += each.stat().st_size
        except FileNotFoundError:
            continue
    return total


def meaning(error: sqlite3.Error | OSError, what: str) -> StorageError:
    """Sort an error by who must act: full disk, damaged file, anything else of the medium."""
    if isinstance(error, OSError):
        is_full = error.errno in _FULL_ERRNOS
        return StorageFull(f"{what}: no space left") if is_full else StorageError(f"{what}: {error.strerror}")
    extended = getattr(error, "sqlite_errorcode", None)
    if extended is None and isinstance(error, sqlite3.OperationalError):
        return Damaged(f"{what}: {error}")  # Python's own: text that is no UTF-8
    code = (extended or 0) & 0xFF  # the primary code; the extended one says where it happened
    if code == sqlite3.SQLITE_FULL or extended == sqlite3.SQLITE_IOERR_SHMSIZE:
        return StorageFull(f"{what}: no space left ({error})")
    return (Damaged if code in _DAMAGED_CODES else StorageError)(f"{what}: {error}")
