"""The centre's log: what the broker gave, durable, in the order of its arrival, and nothing decoded.

Rows of `edge.durable.segments`, one a commit; `t_ns` is the receipt, in event time:
    FRAMES   a byte with the MQTT version (4 or 5), then QoS 0 PUBLISH packets exactly as received
    TICK     empty: time passed, also where nothing came
    RETIRE   JSON {"scope": "journal" | "gateway" | "device", "name"}
    OPENED   empty: the centre opened its log
Write: one thread. Read: `reader()`. Retention: whole files, oldest first, never one that the last checkpoint has not
    covered. Covered ones stay `keep_ns` of event time, or go earlier where the log would outgrow `limit_bytes`
    (`is_short` says so: what can be rebuilt is less; nothing of the rows is lost).
Full (no space, or the limit is reached by rows that no checkpoint covers): nothing is appended, the caller drops what
    it has, the centre acknowledges nothing and grants nothing, and the gateways hold. Each append tries anew.
Identity: a `Mark` of the last row that a checkpoint has. Where the row of its offset is another one, the log was
    replaced, or put back from a copy and written on: nothing of it may be passed over.
Failed (any other error of the medium): `append` raises for good; the process must end and start anew.
"""

from __future__ import annotations

import contextlib
import enum
import json
import threading
import zlib
from collections import deque
from typing import TYPE_CHECKING, Any, Self

import msgspec

from edge.durable import sqlitefile
from edge.durable.segments import Segments
from edge.durable.sqlitefile import Damaged, Row
from edge.errors import StorageFull
from edge.runtime.ready import event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from edge.durable.reader import Reader
    from edge.durable.sqlitefile import Stored
    from edge.runtime.clock import Clock

PAGE_BYTES = 16 << 10
"""Half as much CPU for a row of some hundred kilobytes as 4 KiB, and 1.02 times its size instead of 1.28."""
SEGMENT_BYTES = 64 << 20
ROW_BYTES = 4 << 20
"""Largest row."""
_COMMITS = 4096


class Kind(enum.IntEnum):
    """What a row holds."""

    FRAMES = 0
    TICK = 1
    RETIRE = 2
    OPENED = 3


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """What tells a row from that of another log under the same offset."""

    offset: int
    t_ns: int | None
    crc: int

    @classmethod
    def of(cls, row: Stored) -> Self:
        """Make the mark of a row."""
        return cls(row.offset, row.t_ns, zlib.crc32(row.data))


class State(enum.StrEnum):
    """How it stands with the medium."""

    WRITING = "writing"
    FULL = "full"


class Log:
    """The writer; its methods belong to one thread, except `reader`, `lag_s`, `status` and the properties."""

    def __init__(
        self,
        directory: Path,
        clock: Clock,
        *,
        limit_bytes: int,
        keep_ns: int,
        segment_bytes: int = SEGMENT_BYTES,
        covered: Callable[[], int] = lambda: 0,
        grown: Callable[[], None] = lambda: None,
    ) -> None:
        """Open the log in `directory`, making it where there is none.

        Args:
            directory: holds the log and nothing else.
            clock: gives receipts.
            limit_bytes: what its files may take together.
            keep_ns: how long covered rows stay. [ns of event time]
            segment_bytes: size of one file; an eighth of the limit at most.
            covered: gives the offset that the last checkpoint has reached.
            grown: is called after each commit.

        Raises:
            Refused: another process has it open.
            StorageError: it can't be opened; StorageFull where there is no space.
            OSError: the directory can't be made or entered.
        """
        self._clock, self._limit_bytes, self._keep_ns = clock, limit_bytes, keep_ns
        self._covered, self._grown = covered, grown
        segment_bytes = min(segment_bytes, limit_bytes // 8)
        self._segments = Segments(directory, page_bytes=PAGE_BYTES, segment_bytes=segment_bytes)
        self._looks = self._segments.reader()
        self._begins: dict[Path, int] = {}
        self._is_opened = False
        self._size_bytes, self._appended_bytes = self._segments.size_bytes, 0
        self._salvages_told = 0
        self._commits: deque[tuple[int, float]] = deque(maxlen=_COMMITS)
        self._commits_lock = threading.Lock()
        self._next = self._segments.next_offset
        self.state = State.WRITING
        self.error = ""
        self.is_short = False
        """Covered rows younger than `keep_ns` had to go."""
        self.dropped_bytes = 0
        """What came while the log was full, since it was opened."""

    @property
    def oldest(self) -> int:
        """Offset from which on rows are held."""
        return self._segments.oldest

    @property
    def next_offset(self) -> int:
        """Offset of the row to be appended next."""
        return self._next

    def reader(self) -> Reader:
        """Make a reader for one other thread."""
        return self._segments.reader()

    def frames(self, version: int, packets: bytes | bytearray) -> bool:
        """Append packets; False, and they are dropped, where there is no space.

        Raises:
            StorageError: the medium failed; this object is of no more use.
        """
        try:
            self._append(Row(bytes((version,)) + packets, Kind.FRAMES, self._clock.wall_ns()))
        except StorageFull:
            self.dropped_bytes += len(packets)
            return False
        return True

    def tick(self) -> None:
        """Say that time has passed, and let go of what need not be kept.

        Raises:
            StorageError: the medium failed; this object is of no more use.
        """
        try:
            self.trim()
            self._append(Row(b"", Kind.TICK, self._clock.wall_ns()))
        except StorageFull:
            return  # `state` tells it

    def retire(self, scope: str, name: str) -> int:
        """Append a retirement; return the offset that a reader must have passed for it to be done.

        Raises:
            StorageFull: there is no space; it is not retired.
            StorageError: the medium failed; this object is of no more use.
        """
        data = json.dumps({"scope": scope, "name": name}, ensure_ascii=False).encode()
        return self._append(Row(data, Kind.RETIRE, self._clock.wall_ns())) + 1

    def trim(self) -> None:
        """Drop the oldest files: those covered and old enough, and covered ones beyond the limit.

        Raises:
            StorageError: the medium failed; this object is of no more use.
        """
        with _medium():
            self._measure()
            while self._is_covered() and self._first_is_old():
                self._drop()
            while self._size_bytes > self._limit_bytes and self._is_covered():
                self._drop()
                if not self.is_short:
                    event("log_short", limit_bytes=self._limit_bytes)
                self.is_short = True

    def differs(self, mark: Mark) -> bool:
        """Tell whether this is another log than the one that `mark` was made of; a row that is gone proves nothing.

        Raises:
            StorageError: the log can't be read.
        """
        if mark.offset >= self._next:
            return True
        with self.reader() as reader:
            rows = reader.read(mark.offset, limit_rows=1)
        return bool(rows) and rows[0].offset == mark.offset and Mark.of(rows[0]) != mark

    def lag_s(self, position: int) -> float:
        """Tell how long the row at `position` has been waiting for its reader; 0 = there is none. [s, real]."""
        with self._commits_lock:
            if position >= self._next:
                return 0.0
            return next((self._clock.real_s() - at for end, at in self._commits if end > position), 0.0)

    def status(self) -> dict[str, Any]:
        """Say what an operator is shown."""
        return {
            "state": str(self.state),
            "error": self.error or None,
            "oldest": self.oldest,
            "next": self._next,
            "bytes": self._size_bytes + self._appended_bytes,
            "limit_bytes": self._limit_bytes,
            "is_short": self.is_short,
            "dropped_bytes": self.dropped_bytes,
            "salvages": len(self._segments.salvages),
        }

    def close(self) -> None:
        """Close it and let another process open it."""
        self._looks.close()
        self._segments.close()

    def _append(self, row: Row) -> int:
        rows = [row] if self._is_opened else [Row(b"", Kind.OPENED, row.t_ns), row]
        try:
            with _medium():
                self._assert_room(len(row.data))
                first = self._commit(rows)
        except StorageFull as error:
            self._tell(State.FULL, str(error))
            raise
        self._is_opened = True
        self._tell(State.WRITING, "")
        self._appended_bytes += len(row.data)
        with self._commits_lock:
            self._next = first + len(rows)
            self._commits.append((self._next, self._clock.real_s()))
        self._grown()
        return first + len(rows) - 1

    def _commit(self, rows: Sequence[Row]) -> int:
        try:
            return self._segments.append_many(rows)
        except Damaged:
            return self._segments.append_many(rows)  # the damaged file was reported; this append salvages it first
        finally:
            self._tell_salvages()

    def _assert_room(self, data_bytes: int) -> None:
        if self._size_bytes + self._appended_bytes + data_bytes <= self._limit_bytes:
            return
        self.trim()
        if self._size_bytes + data_bytes > self._limit_bytes:
            raise StorageFull(f"the log has its limit of {self._limit_bytes} bytes, and no checkpoint covers it")

    def _is_covered(self) -> bool:
        files = self._segments.files
        return len(files) > 1 and sqlitefile.first_of(files[1]) <= self._covered()

    def _first_is_old(self) -> bool:
        """Rows stand in order of receipt: the oldest file is as young as the beginning of the next one."""
        begins_ns = self._begins_ns(self._segments.files[1])
        return begins_ns is not None and begins_ns < self._clock.wall_ns() - self._keep_ns

    def _begins_ns(self, path: Path) -> int | None:
        if path not in self._begins:
            rows = self._looks.read(sqlitefile.first_of(path), limit_rows=1)
            if not rows or rows[0].t_ns is None:
                return None
            self._begins[path] = rows[0].t_ns
        return self._begins[path]

    def _drop(self) -> None:
        self._begins.pop(self._segments.files[0], None)
        self._segments.drop_oldest()
        self._measure()

    def _measure(self) -> None:
        self._size_bytes, self._appended_bytes = self._segments.size_bytes, 0

    def _tell(self, state: State, error: str) -> None:
        if state is not self.state:
            event("log_state", state=state, error=error or None)
        self.state, self.error = state, error

    def _tell_salvages(self) -> None:
        for salvage in self._segments.salvages[self._salvages_told :]:
            event("log_salvaged", file=salvage.file, salvaged=salvage.salvaged, lost=salvage.lost)
        self._salvages_told = len(self._segments.salvages)


@contextlib.contextmanager
def _medium() -> Iterator[None]:
    """Say a file's error as the log's: a bare OSError means the connection to whoever writes it."""
    try:
        yield
    except OSError as error:
        raise sqlitefile.meaning(error, f"the log: {error.filename}") from error
