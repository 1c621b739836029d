"""The checkpoint: state, log position, final rows and incidents, in one SQLite file, each time in one transaction.

Invariants: what `load` gives is one `save` whole; the blocks and incidents up to it are exactly those that the log up
to its position has made; a block, once committed, is never changed or dropped (InfluxDB and the embedded store follow
them, and a new one is refilled from the first).
Layout: `position (log_position)`, one row; `state (name, crc, data)`; `block (seq, measurement, first_t_ns, last_t_ns,
rows, crc, data)`; `incident (seq, t_ns, kind, fields)`, fields as JSON. `seq` counts from 1 without a gap. `crc` is
the CRC-32 of `data`: SQLite does not notice a flipped bit in a row.
Write: WAL, synchronous=FULL, one writer. Read: followers, each call on a connection of its own.
Recover: a file whose state is damaged is set aside whole as `<name>.bad-<n>`, with an event, and the engine starts
from the log. A damaged block costs itself: it is named to each follower that comes to it, and stays where it is.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge.durable.sqlitefile import Damaged, companions, crc_of, meaning, open_reader, open_writer
from edge.errors import StorageError
from pipelines.engine.blocks import RowBlock
from pipelines.engine.incident import Incident

_log = logging.getLogger("wayside.pipelines.checkpoint")

PAGE_BYTES = 8192
INCIDENTS = 5000
"""Most incidents given in one go: some megabytes, however many there are."""
_SCHEMA = (
    "CREATE TABLE position (log_position INTEGER NOT NULL)",
    "CREATE TABLE state (name TEXT PRIMARY KEY, crc INTEGER NOT NULL, data BLOB NOT NULL)",
    """CREATE TABLE block (
    seq INTEGER PRIMARY KEY, measurement TEXT NOT NULL, first_t_ns INTEGER NOT NULL, last_t_ns INTEGER NOT NULL,
    rows INTEGER NOT NULL, crc INTEGER NOT NULL, data BLOB NOT NULL)""",
    "CREATE TABLE incident (seq INTEGER PRIMARY KEY, t_ns INTEGER NOT NULL, kind TEXT NOT NULL, fields TEXT NOT NULL)",
    "PRAGMA user_version = 1",
)


class DamagedBlock(Damaged):
    """One block is not what was written; those after it can still be read."""

    def __init__(self, path: Path, number: int, reason: str) -> None:
        """Name the block."""
        self.number = number
        super().__init__(f"{path}: block {number} is damaged: {reason}")


@dataclass(frozen=True, slots=True)
class Saved:
    """What the last checkpoint holds besides rows."""

    position: int
    """Offset in the log up to which everything is in it."""
    states: dict[str, bytes]


class Checkpoint:
    """The writer's side; used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and check what a restart needs of it; a damaged one is set aside.

        Raises:
            StorageError: it can't be opened or written, or is of another version of this program.
        """
        self.path = path
        self.set_aside: Path | None = None
        """Where a damaged file was put by this opening."""
        try:
            self._saved = self._open()
        except Damaged as error:
            self.set_aside = _put_aside(path)
            _log.error("checkpoint damaged: %s; set aside as %s", error, self.set_aside.name)
            self._saved = self._open()

    def load(self) -> Saved | None:
        """Give what the last checkpoint before this opening held; None if there was none."""
        return self._saved

    def stage(self, blocks: Iterable[RowBlock]) -> None:
        """Write rows ahead of the `save` they belong to, so that they need not wait in memory.

        Raises:
            StorageError: they could not be written; what was staged since the last `save` is gone.
        """
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            for block in blocks:
                data = block.encode()
                times = (int(block.t_ns.min()), int(block.t_ns.max())) if len(block.t_ns) else (0, 0)
                self._block += 1
                self._connection.execute(
                    "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (self._block, block.shape.measurement, *times, len(block.t_ns), crc_of(self._block, data), data),
                )
        except (sqlite3.Error, OSError) as error:
            self._give_up()
            raise meaning(error, str(self.path)) from error

    def save(
        self, position: int, states: Mapping[str, bytes], blocks: Iterable[RowBlock], incidents: Iterable[Incident]
    ) -> None:
        """Commit a checkpoint, durably: all of it, or nothing.

        Raises:
            StorageError: nothing was committed, and what was staged is gone: go on from the last checkpoint.
        """
        self.stage(blocks)
        connection = self._connection
        try:
            for incident in incidents:
                self._incident += 1
                fields = json.dumps(incident.fields, ensure_ascii=False)
                row = (self._incident, incident.t_ns, incident.kind, fields)
                connection.execute("INSERT INTO incident VALUES (?, ?, ?, ?)", row)
            connection.execute("DELETE FROM position")
            connection.execute("INSERT INTO position VALUES (?)", (position,))
            connection.execute("DELETE FROM state")
            rows = [(name, crc_of(0, data), data) for name, data in sorted(states.items())]
            connection.executemany("INSERT INTO state VALUES (?, ?, ?)", rows)
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._give_up()
            raise meaning(error, str(self.path)) from error

    def close(self) -> None:
        """Close the file; what was staged and not saved is dropped."""
        self._connection.close()

    def _open(self) -> Saved | None:
        try:
            self._connection = open_writer(self.path, PAGE_BYTES)
        except (sqlite3.Error, OSError) as error:
            raise meaning(error, str(self.path)) from error
        try:
            return self._read()
        except sqlite3.Error as error:
            self._connection.close()
            raise meaning(error, str(self.path)) from error
        except StorageError:
            self._connection.close()
            raise

    def _read(self) -> Saved | None:
        connection = self._connection
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")
        elif version > 1:
            raise StorageError(f"{self.path}: version {version}, and this program knows 1")
        states = {}
        for name, crc, data in connection.execute("SELECT name, crc, data FROM state"):
            if crc_of(0, data) != crc:
                raise Damaged(f"{self.path}: state {name!r} is damaged")
            states[name] = data
        self._count()
        for (position,) in connection.execute("SELECT log_position FROM position"):
            return Saved(position, states)
        return None

    def _count(self) -> None:
        (self._block,) = self._connection.execute("SELECT ifnull(max(seq), 0) FROM block").fetchone()
        (self._incident,) = self._connection.execute("SELECT ifnull(max(seq), 0) FROM incident").fetchone()

    def _give_up(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._count()


class CheckpointReader:
    """The followers' side: what is committed, read while the writer goes on; any thread."""

    def __init__(self, path: Path) -> None:
        """Read the checkpoint at `path`, which need not exist yet."""
        self._path = path

    def blocks_after(self, seq: int, limit_bytes: int) -> Sequence[tuple[int, RowBlock]]:
        """Give the blocks that follow `seq`, in order: at least one if there is any, else about `limit_bytes`.

        Raises:
            DamagedBlock: the next one is not what was written.
            StorageError: they can't be read now.
        """
        found: list[tuple[int, RowBlock]] = []
        size = 0
        try:
            for row in self._rows("SELECT seq, crc, data FROM block WHERE seq > ? ORDER BY seq", seq):
                decoded = _decoded(self._path, seq + len(found) + 1, *row)
                size += len(row[2])
                if found and size > limit_bytes:
                    break
                found.append((row[0], decoded))
        except Damaged:
            return found or self._alone(seq + 1)  # what was read comes first; the next call meets it again
        return found

    def incidents_after(self, seq: int, limit: int = INCIDENTS) -> Sequence[tuple[int, dict[str, Any]]]:
        """Give the incidents that follow `seq`, in order, at most `limit`.

        Raises:
            StorageError: they can't be read.
        """
        statement = """SELECT seq, t_ns, CAST(kind AS BLOB), CAST(fields AS BLOB)
            FROM incident WHERE seq > ? ORDER BY seq LIMIT ?"""
        return [(row[0], _incident(*row).as_json()) for row in self._rows(statement, seq, limit)]

    def last_block(self) -> int:
        """Give the number of the newest block; 0 = none.

        Raises:
            StorageError: it can't be read.
        """
        return next((int(n) for (n,) in self._rows("SELECT max(seq) FROM block WHERE seq > ?", 0) if n), 0)

    def _alone(self, number: int) -> Sequence[tuple[int, RowBlock]]:
        """Read one block by itself, which tells a damaged one from a file that can't be read, or is being replaced."""
        if self.last_block() < number:
            return []
        try:
            rows = list(self._rows("SELECT seq, crc, data FROM block WHERE seq = ?", number))
        except Damaged as error:
            raise DamagedBlock(self._path, number, str(error)) from error
        if not rows:
            raise DamagedBlock(self._path, number, "it is gone")
        return [(number, _decoded(self._path, number, *rows[0]))]

    def _rows(self, statement: str, *values: int) -> Iterable[tuple[Any, ...]]:
        if not self._path.exists():
            return
        try:
            with closing(open_reader(self._path, fixed=False)) as connection:
                yield from connection.execute(statement, values)
        except sqlite3.Error as error:
            raise meaning(error, str(self._path)) from error


def _decoded(path: Path, expected: int, number: int, crc: int, data: bytes) -> RowBlock:
    if number != expected:  # numbers have no gap
        raise DamagedBlock(path, expected, f"block {number} stands in its place")
    if not isinstance(data, bytes) or crc_of(number, data) != crc:
        raise DamagedBlock(path, number, "its check number does not fit")
    try:
        return RowBlock.decode(data)
    except (msgspec.DecodeError, ValueError) as error:
        raise DamagedBlock(path, number, str(error)) from error


def _incident(number: int, t_ns: int, kind: bytes, fields: bytes) -> Incident:
    """Read an incident back; one that can't be read is an incident too."""
    try:
        return Incident(t_ns, kind.decode(), msgspec.json.decode(fields, type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return Incident(t_ns, "incident_damaged", {"number": number, "error": str(error)})


def _put_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.bad-{number}")).exists():
        number += 1
    # The write-ahead log first: alone under its name it would be taken for the new file's.
    for each, name in zip(companions(path), companions(aside), strict=True):
        if each.exists():
            each.rename(name)
    path.rename(aside)
    return aside
