"""The embedded store: final rows and incidents in one SQLite file, store.db, read by others while it is written.

Layout
    series    one for each (measurement, tags without `window`); `tag` finds them by tag
    shape     the float and integer field names of a block
    row       key (series, window_s, t_ns, shape); `data` = float64 values, int64 values, then one byte per
              integer that says whether it is there; little-endian, as in a block
    incident  seq, t_ns, kind, data (JSON)
    cursor    the last block and incident in it, committed in the transaction that brought them
    damaged   numbers of blocks that could not be read, likewise

Values stand in a blob because rows must come back bit for bit (SQLite's REAL turns -0.0 into 0.0) and a
measurement may have more fields than SQLite has columns. Rows of one key from blocks of different shape
(two groups of a device with the same part) are merged by the reader, the later block last (`seq`).
A row that comes again replaces itself. Not supported: two writers; deleting.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any

import numpy as np

from edge.durable.sqlitefile import meaning
from pipelines.engine.blocks import RowBlock, RowShape, Tags
from pipelines.sinks.damaged import SCHEMA, keep_damaged, read_damaged
from pipelines.sinks.follower import Batch, Cursor, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

STORE_NAME = "store.db"
LAYOUT = 1

_SCHEMA = (
    """CREATE TABLE series (
    id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, tags TEXT NOT NULL, UNIQUE (measurement, tags))""",
    """CREATE TABLE tag (
    name TEXT NOT NULL, value TEXT NOT NULL, series INTEGER NOT NULL REFERENCES series,
    PRIMARY KEY (name, value, series)) WITHOUT ROWID""",
    """CREATE TABLE shape (
    id INTEGER PRIMARY KEY, measurement TEXT NOT NULL, floats TEXT NOT NULL, ints TEXT NOT NULL,
    UNIQUE (measurement, floats, ints))""",
    """CREATE TABLE row (
    series INTEGER NOT NULL, window_s INTEGER NOT NULL, t_ns INTEGER NOT NULL, shape INTEGER NOT NULL,
    seq INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (series, window_s, t_ns, shape)) WITHOUT ROWID""",
    """CREATE TABLE incident (
    seq INTEGER PRIMARY KEY, t_ns INTEGER NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL)""",
    "CREATE INDEX incident_time ON incident (t_ns)",
    "CREATE TABLE cursor (block INTEGER NOT NULL, incident INTEGER NOT NULL, check_ INTEGER NOT NULL)",
    "INSERT INTO cursor VALUES (0, 0, 0)",
    f"PRAGMA user_version={LAYOUT}",
)
_PUT = "INSERT OR REPLACE INTO row (series, window_s, t_ns, shape, seq, data) VALUES (?, ?, ?, ?, ?, ?)"


class EmbeddedStore:
    """The writing side of store.db: a `Target`."""

    name = "embedded store"

    def __init__(self, path: Path) -> None:
        """Name the file; it is opened, and made if it is missing, by the first call of `cursor`."""
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._series: dict[tuple[str, Tags], int] = {}
        self._shapes: dict[RowShape, int] = {}

    def cursor(self) -> Cursor:
        """Read where the store stands."""
        try:
            block, incident, check = self._opened().execute("SELECT block, incident, check_ FROM cursor").fetchone()
            return Cursor(block, incident, check, read_damaged(self._opened()))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def write(self, batch: Batch) -> None:
        """Add the batch's rows and incidents and move the cursor, in one transaction."""
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            for seq, block in batch.blocks:
                connection.executemany(_PUT, self._values(seq, block))
            connection.executemany("INSERT OR REPLACE INTO incident VALUES (?, ?, ?, ?)", _incidents(batch))
            at = batch.cursor
            values = (at.block, at.incident, at.check)
            connection.execute("UPDATE cursor SET block = ?, incident = ?, check_ = ?", values)
            keep_damaged(connection, at.damaged)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def details(self) -> dict[str, Any]:
        """Name the file and its size."""
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            size = 0
        return {"path": str(self.path), "bytes": size}

    def close(self) -> None:
        """Close the file; what was not committed is not in it."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._series.clear()
        self._shapes.clear()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _open(self.path)
        return self._connection

    def _failed(self, error: sqlite3.Error) -> Unavailable:
        """Give the file up (that rolls back) and forget ids that may have been rolled back with it."""
        self.close()
        return Unavailable(str(meaning(error, str(self.path))))

    def _values(self, seq: int, block: RowBlock) -> Iterator[tuple[int, int, int, int, int, bytes]]:
        shape = self._shape_id(block.shape)
        series = [self._series_id(block.shape.measurement, tags) for tags in block.keys]
        for key, window_s, t_ns, data in zip(
            block.key.tolist(), block.window_s.tolist(), block.t_ns.tolist(), _packed(block), strict=True
        ):
            yield series[key], window_s, t_ns, shape, seq, data

    def _series_id(self, measurement: str, tags: Tags) -> int:
        known = self._series.get((measurement, tags))
        if known is None:
            known, is_new = self._id("series", {"measurement": measurement, "tags": canonical(tags)})
            if is_new:
                self._opened().executemany("INSERT INTO tag VALUES (?, ?, ?)", [(*pair, known) for pair in tags])
            self._series[measurement, tags] = known
        return known

    def _shape_id(self, shape: RowShape) -> int:
        known = self._shapes.get(shape)
        if known is None:
            names = {"floats": json.dumps(shape.floats), "ints": json.dumps(shape.ints)}
            known, _ = self._id("shape", {"measurement": shape.measurement, **names})
            self._shapes[shape] = known
        return known

    def _id(self, table: str, values: dict[str, str]) -> tuple[int, bool]:
        """Find the row of `table` with these values, or make it."""
        where = " AND ".join(f"{name} = :{name}" for name in values)
        found = self._opened().execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()
        if found is not None:
            return int(found[0]), False
        names, marks = ", ".join(values), ", ".join(f":{name}" for name in values)
        made = self._opened().execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values).lastrowid
        assert made is not None
        return made, True


def canonical(tags: Iterable[tuple[str, str]]) -> str:
    """Write tags as the store's key does: JSON pairs, sorted by name."""
    return json.dumps(sorted(tags), ensure_ascii=False, separators=(",", ":"))


def _packed(block: RowBlock) -> Iterator[bytes]:
    """Lay each row's values out as `row.data`: the whole block as bytes once, then cut."""
    parts = [
        np.ascontiguousarray(part).view(np.uint8).reshape(len(block.key), part.shape[1] * part.itemsize)
        for part in (block.floats, block.ints, block.has_int)
    ]
    whole = np.concatenate(parts, axis=1)
    data, width = whole.tobytes(), whole.shape[1]
    return (data[row * width : (row + 1) * width] for row in range(len(block.key)))


def _incidents(batch: Batch) -> Iterator[tuple[int, int, str, str]]:
    for seq, incident in batch.incidents:
        yield seq, int(incident["t_ns"]), str(incident["kind"]), json.dumps(incident, ensure_ascii=False)


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        # NORMAL: after a power cut the newest transactions may be missing, cursor and rows alike; they come again.
        for setting in ("journal_mode=WAL", "synchronous=NORMAL", "journal_size_limit=67108864"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            for statement in _SCHEMA:
                connection.execute(statement)
        connection.execute(SCHEMA)
        connection.execute("COMMIT")
        _assert_ours(version, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _assert_ours(version: int, path: Path) -> None:
    if version not in {0, LAYOUT}:
        raise Unavailable(f"{path} has layout {version}, this program writes {LAYOUT}: move the file away")
