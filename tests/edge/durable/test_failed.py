"""An error of the medium other than "full" ends the journal's work at once; what was committed is there."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

import pytest

from edge.durable.journal import State
from edge.errors import StorageError, StorageFull
from edge.model.record import PollRecord
from tests.edge.durable.material import commit, open_journal, poll, stored

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
