"""The centre's log keeps what no checkpoint covers, and says when it can't."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from edge.durable.reader import files_in
from edge.durable.sqlitefile import Stored
from edge.errors import Refused, StorageFull
from edge.runtime.clock import ManualClock
from pipelines.ingest.log import PAGE_BYTES, Kind, Log, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAY_NS = 86_400 * 10**9
SEGMENT = 128 << 10


def make(path: Path, clock: ManualClock, covered: Callable[[], int] = lambda: 0, limit_bytes: int = 4 << 20) -> Log:
    return Log(path, clock, limit_bytes=limit_bytes, keep_ns=7 * DAY_NS, segment_bytes=SEGMENT, covered=covered)


def rows(log: Log, from_offset: int = 0) -> list[Stored]:
    with log.reader() as reader:
        return reader.read(from_offset, 1 << 30)


def fill(log: Log, count: int, size: int = 32 << 10) -> None:
    for _ in range(count):
        assert log.frames(5, os.urandom(size))


def test_rows_carry_their_kind_receipt_and_version(tmp_path: Path) -> None:
    clock = ManualClock(wall_ns=100)
    log = make(tmp_path, clock)
    assert log.frames(5, b"abc")
    clock.step_wall(50)
    log.tick()
    assert log.retire("device", "port:mètre") == log.next_offset == 4
    opened, frames, tick, retire = rows(log)
    assert opened == Stored(0, b"", Kind.OPENED, 100)
    assert frames == Stored(1, b"\x05abc", Kind.FRAMES, 100)
    assert tick == Stored(2, b"", Kind.TICK, 150)
    assert retire[2:] == (Kind.RETIRE, 150)
    assert json.loads(retire.data) == {"scope": "device", "name": "port:mètre"}
    log.close()
    log = make(tmp_path, clock)
    log.frames(4, b"x")
    assert [(row.offset, row.kind) for row in rows(log, 4)] == [(4, Kind.OPENED), (5, Kind.FRAMES)]
    log.close()


def test_pages_are_large(tmp_path: Path) -> None:
    make(tmp_path, ManualClock()).close()
    header = files_in(tmp_path)[0].read_bytes()[16:18]
    assert int.from_bytes(header, "big") == PAGE_BYTES


def test_a_second_centre_is_kept_out(tmp_path: Path) -> None:
    log = make(tmp_path, ManualClock())
    with pytest.raises(Refused):
        make(tmp_path, ManualClock())
    log.close()


async def test_files_go_when_they_are_covered_and_old(tmp_path: Path) -> None:
    clock, covered = ManualClock(), 0
    log = make(tmp_path, clock, lambda: covered, limit_bytes=64 << 20)
    fill(log, 20)
    await clock.advance(8 * 86_400)
    fill(log, 20)
    young = next(row.offset for row in rows(log) if row.t_ns == clock.wall_ns())
    log.tick()
    assert log.oldest == 0, "no checkpoint covers them"
    covered = 12
    log.tick()
    assert 0 < log.oldest <= 12
    covered = log.next_offset
    log.tick()
    assert 12 < log.oldest <= young, "the young ones stay"
    assert not log.is_short
    await clock.advance(8 * 86_400)
    log.tick()
    assert len(files_in(tmp_path)) == 1, "the newest stays whatever its age"
    log.close()


def test_beyond_its_limit_covered_rows_go_early_and_that_is_said(tmp_path: Path) -> None:
    covered = 0
    log = make(tmp_path, ManualClock(), lambda: covered)
    for _ in range(8):
        fill(log, 20)
        assert not log.is_short or log.oldest <= covered
        covered = log.next_offset
    assert log.is_short
    assert log.oldest > 0
    assert log.state is State.WRITING
    log.trim()
    assert log.status()["bytes"] <= 4 << 20
    log.close()


def test_at_its_limit_uncovered_rows_stay_and_new_ones_are_dropped(tmp_path: Path) -> None:
    covered = 0
    log = make(tmp_path, ManualClock(), lambda: covered)
    for _ in range(400):
        if not log.frames(5, os.urandom(32 << 10)):
            break
    end = log.next_offset
    assert log.status()["state"] == State.FULL
    assert (log.oldest, log.dropped_bytes) == (0, 32 << 10)
    assert [row.offset for row in rows(log)] == list(range(end))
    with pytest.raises(StorageFull):
        log.retire("device", "x" * (32 << 10))
    covered = end
    assert log.frames(5, os.urandom(32 << 10))
    assert log.status()["state"] == State.WRITING
    log.close()


def test_lag_counts_from_the_oldest_row_that_waits(tmp_path: Path) -> None:
    class Real(ManualClock):
        now_s = 0.0

        def real_s(self) -> float:
            return self.now_s

    clock = Real()
    log = make(tmp_path, clock)
    log.frames(5, b"a")
    clock.now_s = 3.0
    log.frames(5, b"b")
    clock.now_s = 5.0
    assert [log.lag_s(position) for position in (0, 1, 2, 3)] == [5.0, 5.0, 2.0, 0.0]
    log.close()


def test_a_damaged_newest_file_costs_itself(tmp_path: Path) -> None:
    clock = ManualClock()
    log = make(tmp_path, clock)
    fill(log, 30)
    log.close()
    newest = files_in(tmp_path)[-1]
    data = bytearray(newest.read_bytes())
    data[PAGE_BYTES : 2 * PAGE_BYTES] = bytes(PAGE_BYTES)
    newest.write_bytes(data)
    log = make(tmp_path, clock)
    first = log.next_offset
    assert log.frames(5, b"on")
    assert rows(log, first)[-1].data == b"\x05on"
    assert log.status()["salvages"] == 1
    log.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "wayside-test", str(mounted)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_a_full_disk_is_said_and_got_over(disk: Path) -> None:
    log = make(disk / "log", ManualClock(), limit_bytes=64 << 20)
    fill(log, 5)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(2 << 20))
    while log.frames(5, os.urandom(32 << 10)):
        pass
    end = log.next_offset
    assert (log.status()["state"], log.dropped_bytes) == (State.FULL, 32 << 10)
    assert "no space left" in log.error
    ballast.unlink()
    assert log.frames(5, b"on")
    assert log.status()["state"] == State.WRITING
    assert [row.offset for row in rows(log)] == list(range(end + 1))
    log.close()
