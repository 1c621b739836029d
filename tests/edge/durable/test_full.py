"""A full disk harms nothing that is recorded, is told, and is got over when space returns."""

from __future__ import annotations

import subprocess
from os import statvfs
from typing import TYPE_CHECKING

import pytest

from edge.durable.journal import Journal, State
from edge.durable.reader import files_in
from edge.durable.segments import Segments
from edge.errors import StorageFull
from edge.model.record import PollRecord
from tests.edge.durable.material import commit, group, open_journal, poll
from tests.edge.durable.test_segments import everything, fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 4 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "wayside-test", str(mounted)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", str(mounted)], check=True)


def fill_up(segments: Segments) -> dict[int, bytes]:
    written: dict[int, bytes] = {}
    for _ in range(5000):
        try:
            written |= fill(segments, 1)
        except StorageFull:
            return written
    raise AssertionError("the disk is not full")


def overfill(journal: Journal, schedule: int, n: int) -> int:
    """Append polls from number n on until one is not taken; return its number."""
    for each in range(n, n + 100_000):
        try:
            journal.append(poll(schedule, each, padding="x" * 80))
        except StorageFull:
            return each
    raise AssertionError("the queue is not full")


def test_appending_works_again_when_space_returns(disk: Path) -> None:
    with Segments(disk / "log", segment_bytes=300_000) as segments:
        written = fill(segments, 10)
        for ballast_bytes in (1 << 12, 1 << 16, 1 << 20):
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(ballast_bytes))
            written |= fill_up(segments)
            assert everything(disk / "log") == written
            ballast.unlink()
            if ballast_bytes == 1 << 12:
                segments.drop_oldest()
                written = {o: d for o, d in written.items() if o >= segments.oldest}
            written |= fill(segments, 1)
            assert everything(disk / "log") == written
            while len(segments.files) > 2:
                segments.drop_oldest()
            written = {o: d for o, d in written.items() if o >= segments.oldest}
    with Segments(disk / "log") as segments:
        assert segments.salvages == []
        assert everything(disk / "log") == written


def test_a_journal_on_a_full_disk_waits_and_goes_on_where_it_was(disk: Path) -> None:
    with open_journal(disk / "j", segment_bytes=300_000, quota_bytes=64 << 20, queue_bytes=200_000) as journal:
        schedule = journal.declare(group(), 0)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(3 << 20))
        taken = 0
        while journal.state is State.WRITING:
            try:
                journal.append(poll(schedule, taken, padding="x" * 80))
                taken += 1
            except StorageFull:
                journal.wait(journal.committed + 1, 0.05)
        assert journal.state is State.FULL
        assert "no space left" in journal.status.error
        before = journal.committed
        taken = overfill(journal, schedule, taken)
        assert journal.status.refused >= 1
        assert journal.committed == before
        ballast.unlink()
        commit(journal)
        polls = [r.due_ns // 10**9 for _, r in journal.read(0, 100_000, 1 << 30) if isinstance(r, PollRecord)]
        assert polls == list(range(taken))
        assert journal.lost == 0


def test_a_journal_on_a_full_disk_lets_acknowledged_files_go(disk: Path) -> None:
    with open_journal(disk / "j", segment_bytes=300_000, quota_bytes=64 << 20) as journal:
        schedule = journal.declare(group(), 0)
        for n in range(60_000):
            offset = journal.append(poll(schedule, n, padding="x" * 80))
            if n % 500 == 0:
                commit(journal)
                journal.acknowledge(offset)
        assert journal.oldest > 0
        assert journal.lost == 0
        assert len(files_in(disk / "j")) > 3


def test_what_could_not_be_committed_at_the_end_is_told(disk: Path) -> None:
    journal = open_journal(disk / "j", queue_bytes=100_000)
    commit(journal)
    (disk / "ballast").write_bytes(bytes(statvfs(disk).f_bavail * statvfs(disk).f_frsize - 8192))
    overfill(journal, 1, 0)
    journal.flush()
    with pytest.raises(StorageFull, match="were not committed"):
        journal.close()
