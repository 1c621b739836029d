"""Rows out of the embedded store, by measurement, tags, window, time and field; also while it is written."""

from __future__ import annotations

import fnmatch
import json
import math
import sqlite3
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from edge.durable.sqlitefile import Damaged, meaning
from edge.errors import ExitCode, StorageError, StorageFull
from pipelines.sinks.embedded import LAYOUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_MOST_NS = (1 << 63) - 1


class NoStore(StorageError):
    """What was named is no store that can be read: the caller's choice of path, and the caller's to correct."""

    exit_code = ExitCode.USAGE

    def __init__(self, path: Path, found: str) -> None:
        """Say what is there instead, and what to do."""
        super().__init__(f"{path}: {found}; name another with --store, or a central.toml with -c")


@dataclass(frozen=True, slots=True)
class Row:
    """One final row, its blocks merged."""

    measurement: str
    tags: dict[str, str]
    """Without `window`."""
    window_s: int
    t_ns: int
    fields: dict[str, float | int]

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {
            "measurement": self.measurement,
            "tags": self.tags,
            "window_s": self.window_s,
            "t_ns": self.t_ns,
            "fields": self.fields,
        }


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows; what is left empty does not narrow."""

    measurement: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    window_s: int | None = None
    from_ns: int = 0
    to_ns: int = _MOST_NS
    """Rows with from_ns ≤ start of the window < to_ns."""
    fields: tuple[str, ...] = ()
    """Names or patterns (`active_power_w_*`); a row without any of them is left out."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """How `row.data` of one shape is read."""

    floats: tuple[str, ...]
    ints: tuple[str, ...]
    layout: struct.Struct

    def fields(self, data: bytes) -> Iterator[tuple[str, float | int]]:
        values = self.layout.unpack(data)
        n_floats, n_ints = len(self.floats), len(self.ints)
        for name, value in zip(self.floats, values, strict=False):
            if not math.isnan(value):
                yield name, value
        yield from ((name, values[n_floats + i]) for i, name in enumerate(self.ints) if values[n_floats + n_ints + i])


class Store:
    """The reading side of store.db; one thread, any number of processes."""

    def __init__(self, path: Path) -> None:
        """Open the file for reading only.

        Raises:
            NoStore: there is no store there, it can't be opened, or it is of another layout.
            StorageError: there is no space for what SQLite needs to read it.
        """
        try:
            is_there = path.is_file()
        except OSError as error:
            raise NoStore(path, str(error.strerror)) from error
        if not is_there:
            raise NoStore(path, "there is no store yet, `wayside central run` makes it")
        self._path = path
        self._shapes: dict[int, _Shape] = {}
        self._connection = _opened(path)

    def __enter__(self) -> Self:
        """Use as a context, so that the file is closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def measurements(self) -> list[str]:
        """Name the measurements that have rows."""
        return [name for (name,) in self._ask("SELECT DISTINCT measurement FROM series ORDER BY 1")]

    def windows(self, measurement: str) -> list[int]:
        """Give the window lengths that a measurement has rows of, shortest first. [s]."""
        return [
            window_s
            for (window_s,) in self._ask(
                "SELECT DISTINCT window_s FROM row JOIN series ON series.id = series WHERE measurement = ? ORDER BY 1",
                (measurement,),
            )
        ]

    def rows(self, selection: Selection) -> list[Row]:
        """Give the selected rows in order of time, window length and tags."""
        found = [
            row
            for series, measurement, tags in self._series(selection)
            for row in self._rows_of(series, measurement, tags, selection)
        ]
        found.sort(key=lambda row: (row.t_ns, row.window_s, row.measurement, sorted(row.tags.items())))
        return found

    def incidents(self, from_ns: int = 0, to_ns: int = _MOST_NS) -> list[dict[str, Any]]:
        """Give the incidents of a span, oldest first."""
        statement = "SELECT data FROM incident WHERE t_ns >= ? AND t_ns < ? ORDER BY t_ns, seq"
        return [json.loads(data) for (data,) in self._ask(statement, (from_ns, to_ns))]

    def _series(self, selection: Selection) -> list[tuple[int, str, dict[str, str]]]:
        conditions = [] if selection.measurement is None else ["measurement = ?"]
        values: list[Any] = [] if selection.measurement is None else [selection.measurement]
        for pair in selection.tags.items():
            conditions.append("id IN (SELECT series FROM tag WHERE name = ? AND value = ?)")
            values.extend(pair)
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        return [
            (series, measurement, dict(json.loads(tags)))
            for series, measurement, tags in self._ask(f"SELECT id, measurement, tags FROM series {where}", values)
        ]

    def _rows_of(self, series: int, measurement: str, tags: dict[str, str], selection: Selection) -> list[Row]:
        lengths, length = ("", []) if selection.window_s is None else ("AND window_s = ?", [selection.window_s])
        statement = f"""SELECT window_s, t_ns, shape, data FROM row
            WHERE series = ? {lengths} AND t_ns >= ? AND t_ns < ? ORDER BY seq"""
        merged: dict[tuple[int, int], dict[str, float | int]] = {}
        for window_s, t_ns, shape, data in self._ask(
            statement, [series, *length, selection.from_ns, min(selection.to_ns, _MOST_NS)]
        ):
            merged.setdefault((window_s, t_ns), {}).update(self._shape(shape).fields(data))
        rows = (
            Row(measurement, tags, window_s, t_ns, _chosen(fields, selection.fields))
            for (window_s, t_ns), fields in merged.items()
        )
        return [row for row in rows if row.fields]

    def _shape(self, number: int) -> _Shape:
        if number not in self._shapes:
            floats, ints = (
                tuple(json.loads(names))
                for names in self._ask("SELECT floats, ints FROM shape WHERE id = ?", (number,))[0]
            )
            layout = struct.Struct(f"<{len(floats)}d{len(ints)}q{len(ints)}?")
            self._shapes[number] = _Shape(floats, ints, layout)
        return self._shapes[number]

    def _ask(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise _meaning(error, self._path) from error


def _opened(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise NoStore(path, str(error)) from error
    try:
        _assert_ours(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _assert_ours(connection: sqlite3.Connection, path: Path) -> None:
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        found = _meaning(error, path)
        raise (found if isinstance(found, StorageFull) else NoStore(path, str(error))) from error
    if version != LAYOUT:
        raise NoStore(path, f"layout {version}, and this program reads {LAYOUT}")


def _meaning(error: sqlite3.Error, path: Path) -> StorageError:
    found = meaning(error, str(path))
    return NoStore(path, f"damaged, or no store of Wayside ({error})") if isinstance(found, Damaged) else found


def _chosen(fields: dict[str, float | int], patterns: Sequence[str]) -> dict[str, float | int]:
    if not patterns:
        return fields
    return {name: value for name, value in fields.items() if any(fnmatch.fnmatchcase(name, each) for each in patterns)}
