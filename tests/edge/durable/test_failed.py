"""An error of the medium other than "full" ends the journal's work at once; what was committed is there."""

from __future__ import annotations

import contextlib
import errno
import resource
from typing import TYPE_CHECKING

import pytest

from edge.durable.journal import Journal, State
from edge.durable.reader import files_in
from edge.errors import StorageError, StorageFull
from edge.model.record import PollRecord
from tests.edge.durable.material import commit, open_journal, poll, settle, stored

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel refuses writes beyond 300 kB of any file of this process: an error that SQLite calls I/O."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_a_write_error_fails_the_journal_and_keeps_what_was_committed(tmp_path: Path) -> None:
    told: list[int] = []
    journal = open_journal(tmp_path, progress=told.append)
    taken = 0
    while journal.state is State.WRITING and taken < 100_000:
        journal.append(poll(1, taken, padding="x" * 100))
        taken += 1
        if taken % 50 == 0:
            journal.wait(journal.flush(), 0.2)
    assert journal.state is State.FAILED
    assert "I/O" in journal.status.error
    committed = journal.committed
    assert told[-1] == committed, "a loop that waits for progress hears of the failure"
    with pytest.raises(StorageError) as caught:
        journal.append(poll(1, 0))
    assert not isinstance(caught.value, StorageFull)
    journal.close()
    offsets = list(stored(tmp_path))
    assert offsets == list(range(committed))


def test_after_a_failure_a_new_opening_goes_on(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    request.getfixturevalue("small_files")
    test_a_write_error_fails_the_journal_and_keeps_what_was_committed(tmp_path)
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, soft))
    before = stored(tmp_path)
    with open_journal(tmp_path) as journal:
        journal.append(poll(1, 7))
        commit(journal)
        assert journal.epoch.first == len(before)
        assert sum(isinstance(r, PollRecord) for r in stored(tmp_path).values()) == len(before)


@pytest.mark.parametrize(
    ("place", "error", "state"),
    [
        ("edge.durable.eviction.tombstones", ValueError("no such thing"), State.FAILED),
        ("edge.durable.segments.discard", OSError(errno.EIO, "Input/output error"), State.FAILED),
        ("edge.durable.segments.discard", OSError(errno.EROFS, "Read-only file system"), State.FAILED),
        ("edge.durable.segments.sync_directory", OSError(errno.ENOSPC, "No space left"), State.FULL),
    ],
)
def test_whatever_goes_wrong_in_the_writer_is_a_state_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, error: Exception, state: State
) -> None:
    """A thread that ends unseen records nothing, for good, and nobody hears of it."""
    told: list[State] = []
    journal: Journal = open_journal(tmp_path, quota_bytes=1 << 18, progress=lambda _: told.append(journal.state))
    armed = False

    def fail(*_: object) -> None:
        if len(files_in(tmp_path)) > 3:
            raise error

    for n in range(20_000):
        if journal.state is not State.WRITING:
            break
        with contextlib.suppress(StorageError):
            journal.append(poll(1, n, padding="x" * 100))
        if n % 50 == 0:
            journal.wait(journal.flush(), 1)
        if not armed and len(files_in(tmp_path)) > 3:
            armed = True
            monkeypatch.setattr(place, fail)
    assert journal.state is state
    assert told[-1] is state
    assert str(error.args[-1]).lower() in journal.status.error.lower()
    monkeypatch.undo()
    if state is State.FULL:
        commit(journal)
        settle(journal)
        assert journal.state is State.WRITING
    journal.close()
