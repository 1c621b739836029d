"""The numbers of damaged blocks, kept beside a target's cursor in the target's own SQLite file.

Layout: `damaged (block)`; made where it is missing, so that files of before have it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

SCHEMA = "CREATE TABLE IF NOT EXISTS damaged (block INTEGER PRIMARY KEY)"


def read_damaged(connection: sqlite3.Connection) -> tuple[int, ...]:
    """Give the numbers, ascending."""
    return tuple(block for (block,) in connection.execute("SELECT block FROM damaged ORDER BY block"))


def keep_damaged(connection: sqlite3.Connection, damaged: tuple[int, ...]) -> None:
    """Keep the newest, inside the caller's transaction: those before it came with cursors before this one."""
    if len(damaged) < 2:
        connection.execute("DELETE FROM damaged")  # of before a refill
    connection.executemany("INSERT OR IGNORE INTO damaged VALUES (?)", [(block,) for block in damaged[-1:]])
