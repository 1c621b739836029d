"""The InfluxDB follower: rows as line protocol, in requests of some thousand lines, and a cursor of its own.

The cursor stands in a small SQLite file per target beside the checkpoint, and moves after the database has
said that it has the rows; a row that is sent again is the same bytes, which every InfluxDB keeps once.

A database that was emptied or replaced is noticed by a marker: with each request a point of the measurement
`wayside_follower` (tag `cursor` = this file's UUID) is written, at most one an hour. When it can't be found,
the cursor starts again from the first block. A server without InfluxQL (VictoriaMetrics, or a v2 bucket
without DBRP mapping) can't be asked: there the operator stops the centre and deletes the cursor's file.

Lines that the database will never take (400, 413, 422) are found by halving, and set aside in a file of JSON
lines with the server's words; the others go on. They are not lost: the checkpoint has their block.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sqlite3
import uuid
from typing import TYPE_CHECKING, Any

from edge.durable.sqlitefile import meaning
from pipelines.sinks.damaged import SCHEMA, keep_damaged, read_damaged
from pipelines.sinks.follower import Batch, Cursor, Unavailable
from pipelines.sinks.influx_http import TIMEOUT_S, Database, Rejected, connect
from pipelines.sinks.line import encode, encode_incident
from pipelines.sinks.settings import InfluxSettings

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger("wayside.sinks.influx")

LINES = 5000
"""Lines of one request: InfluxDB's own advice, and the knee of what was measured."""
MARKER = "wayside_follower"
QUARANTINE_BYTES = 64 << 20
"""From this on the file does not grow; lines set aside are still counted."""
_HOUR_NS = 3600 * 10**9

_SCHEMA = (
    "CREATE TABLE cursor (block INTEGER, incident INTEGER, check_ INTEGER, uuid TEXT, marked INTEGER)",
    "CREATE TABLE quarantine (lines INTEGER, last TEXT)",
    "INSERT INTO quarantine VALUES (0, NULL)",
)


class InfluxTarget:
    """One InfluxDB: a `Target`."""

    def __init__(self, settings: InfluxSettings, directory: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        """Build; files are opened and the database is asked by the first call of `cursor`."""
        self.name = settings.name
        stem = f"influx-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"
        self.cursor_path = directory / f"{stem}.db"
        self.quarantine_path = directory / f"{stem}.rejected.ndjson"
        self._database: Database = connect(settings, timeout_s)
        self._file: sqlite3.Connection | None = None
        self._uuid = ""
        self._is_marked = False
        self._quarantined = 0
        self._last_words: str | None = None

    def cursor(self) -> Cursor:
        """Read the cursor; start again from the first block if the database does not know our marker."""
        self._database.prepare()
        try:
            row = self._opened().execute("SELECT block, incident, check_, uuid, marked FROM cursor").fetchone()
            damaged = read_damaged(self._opened())
        except sqlite3.Error as error:
            raise self._failed(error) from error
        block, incident, check, self._uuid, self._is_marked = row
        if self._is_marked and not self._finds_marker():
            _log.warning("%s has lost what was written to it: refilling from the first block", self.name)
            return Cursor()
        return Cursor(block, incident, check, damaged)

    def write(self, batch: Batch) -> None:
        """Send the batch's lines, then move the cursor."""
        lines = [line for _, block in batch.blocks for line in encode(block)]
        lines += [encode_incident(seq, incident) for seq, incident in batch.incidents]
        refused: list[tuple[bytes, Rejected]] = []
        for at in range(0, len(lines), LINES):
            refused += self._send(lines[at : at + LINES])
        self._mark(batch)
        try:
            self._commit(batch.cursor, refused)
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error

    def details(self) -> dict[str, Any]:
        """Say how many lines were set aside, where they are, and the server's last words about one."""
        return {
            "quarantined": self._quarantined,
            "quarantine": str(self.quarantine_path) if self._quarantined else None,
            "rejected": self._last_words,
        }

    def close(self) -> None:
        """Close the cursor's file and the connections."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._database.close()

    def _send(self, lines: list[bytes]) -> list[tuple[bytes, Rejected]]:
        """Write lines and give back those that the database will never take."""
        try:
            self._database.write(b"\n".join(lines))
        except Rejected as error:
            if len(lines) == 1:
                return [(lines[0], error)]
            half = len(lines) // 2
            return self._send(lines[:half]) + self._send(lines[half:])
        return []

    def _mark(self, batch: Batch) -> None:
        """Write the marker; until it has been found once, nobody can say that it was lost."""
        times = [int(block.t_ns[-1]) for _, block in batch.blocks if len(block.t_ns)]
        if times:
            hour = max(times) // _HOUR_NS * _HOUR_NS
            self._send([f"{MARKER},cursor={self._uuid} block={batch.cursor.block}i {hour}".encode()])
            with contextlib.suppress(Unavailable):  # a token that may only write: nobody can ask for the marker
                self._is_marked = self._is_marked or self._finds_marker()

    def _finds_marker(self) -> bool:
        """Ask for our marker; False also where the server speaks no InfluxQL."""
        try:
            series = self._database.influxql(f"SELECT last(block) FROM {MARKER} WHERE cursor = '{self._uuid}'")
        except Rejected:
            return False
        return any(each.get("name") == MARKER for each in series)

    def _commit(self, cursor: Cursor, refused: list[tuple[bytes, Rejected]]) -> None:
        """Set aside first, then move: after a crash between the two a line may stand in the file twice."""
        if refused:
            self._set_aside(refused)
        file = self._opened()
        file.execute("BEGIN IMMEDIATE")
        file.execute(
            "UPDATE cursor SET block = ?, incident = ?, check_ = ?, marked = ?",
            (cursor.block, cursor.incident, cursor.check, self._is_marked),
        )
        keep_damaged(file, cursor.damaged)
        file.execute("UPDATE quarantine SET lines = ?, last = ?", (self._quarantined, self._last_words))
        file.execute("COMMIT")

    def _set_aside(self, refused: list[tuple[bytes, Rejected]]) -> None:
        entries = [{"line": line.decode(), "status": why.status, "message": why.message} for line, why in refused]
        _append(self.quarantine_path, [json.dumps(entry, ensure_ascii=False) for entry in entries])
        self._quarantined += len(refused)
        self._last_words = str(refused[-1][1])
        _log.warning(
            "%s refused %d line(s), set aside in %s: %s",
            self.name,
            len(refused),
            self.quarantine_path,
            self._last_words,
        )

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._file = _open(self.cursor_path)
            self._quarantined, self._last_words = self._file.execute("SELECT lines, last FROM quarantine").fetchone()
        return self._file

    def _failed(self, error: sqlite3.Error | OSError) -> Unavailable:
        """Give the file up: opened again, it says how many lines are set aside."""
        if self._file is not None:
            self._file.close()
        self._file = None
        path = self.cursor_path if isinstance(error, sqlite3.Error) else self.quarantine_path
        return Unavailable(str(meaning(error, str(path))))


def _append(path: Path, lines: list[str]) -> None:
    """Add lines durably, all of them or none: where there is no space, they come again with the batch."""
    with path.open("ab", buffering=0) as out:
        begin = out.tell()
        rest = memoryview("".join(f"{line}\n" for line in lines).encode() if begin < QUARANTINE_BYTES else b"")
        try:
            while rest:
                rest = rest[out.write(rest) :]
            os.fsync(out.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                out.truncate(begin)
            raise


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
    try:
        connection.execute("BEGIN IMMEDIATE")
        if not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO cursor VALUES (0, 0, 0, ?, 0)", (str(uuid.uuid4()),))
        connection.execute(SCHEMA)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection
