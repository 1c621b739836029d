"""A full disk harms nothing that is recorded, is told, and is got over when space returns."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from os import statvfs
from typing import TYPE_CHECKING

import pytest

from edge.durable.journal import Journal, State
from edge.durable.reader import files_in
from edge.durable.segments import Segments
from edge.durable.sqlitefile import Row
from edge.errors import ExitCode, StorageFull
from edge.model.record import PollRecord
from tests.edge.durable.material import commit, group, open_journal, poll, settle, stored
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


def occupy(disk: Path) -> Path:
    """Take the last byte, as another program does."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


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


@pytest.mark.parametrize("acknowledged", [True, False])
@pytest.mark.parametrize("end", ["orderly", "killed", "power"])
def test_a_journal_opens_on_a_full_disk_and_makes_room_if_it_may(disk: Path, *, acknowledged: bool, end: str) -> None:
    command = [sys.executable, "-m", "tests.edge.durable.stopped", str(disk / "j")]
    with subprocess.Popen(
        [*command, str(int(acknowledged)), str(int(end == "orderly"))], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        committed = int(process.stdout.readline())
        if end != "orderly":
            process.kill()
    before = stored(disk / "j")
    assert len(before) == committed
    if end == "power":  # SQLite's index is not synced, and may not have come to the card
        for index in (disk / "j").glob("*-shm"):
            index.unlink()
    ballast = occupy(disk)
    if end == "power" and not acknowledged:
        with pytest.raises(StorageFull, match="free space on its file system; nothing recorded is lost"):
            open_journal(disk / "j")
        ballast.unlink()
        open_journal(disk / "j").close()
        assert before.items() <= stored(disk / "j").items()
        return
    with open_journal(disk / "j", boot="boot-2", queue_bytes=20_000) as journal:
        assert journal.epoch.first == committed
        settle(journal)
        assert journal.lost == 0
        schedule = journal.declare(group(), 1)
        if acknowledged:
            commit(journal)
            assert 0 < journal.oldest < committed
            assert journal.state is State.WRITING
        else:
            taken = overfill(journal, schedule, 0)
            assert journal.state is State.FULL
            assert "no space left" in journal.status.error
            assert journal.status.refused == 1
            assert stored(disk / "j") == before
            ballast.unlink()
            commit(journal)
            after = [r for _, r in journal.read(committed, 100_000, 1 << 30) if isinstance(r, PollRecord)]
            assert len(after) == taken
    held = stored(disk / "j")
    assert {o: r for o, r in before.items() if o in held} == {o: r for o, r in held.items() if o < committed}
    assert journal.lineage()[-1] == (journal.epoch.epoch, committed)


def test_what_can_t_be_opened_for_want_of_space_says_what_to_do(disk: Path) -> None:
    ballast = occupy(disk)
    with pytest.raises(StorageFull, match=r"/j can't be opened: free space on .*; nothing recorded is lost") as caught:
        open_journal(disk / "j")
    assert caught.value.exit_code is ExitCode.REFUSED
    ballast.unlink()
    open_journal(disk / "j").close()


def test_a_log_without_space_for_its_index_is_read_and_goes_on(disk: Path) -> None:
    with Segments(disk / "log", segment_bytes=300_000) as segments:
        written = fill(segments, 100)
    ballast = occupy(disk)
    with Segments(disk / "log", segment_bytes=300_000) as segments, segments.reader() as reader:
        assert segments.is_full
        assert segments.next_offset == len(written)
        assert reader.read(segments.newest, limit_rows=1)[0].data == written[segments.newest]
        for _ in range(2):
            with pytest.raises(StorageFull):
                segments.append_many([Row(b"x")])
        ballast.unlink()
        written |= fill(segments, 1)
        assert everything(disk / "log") == written
        assert segments.salvages == []
