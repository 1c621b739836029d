"""A poll that the journal does not take is counted by reason, and the poller never hears of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.durable.journal import Journal, State
from edge.errors import StorageError, StorageFull
from edge.model.record import Outcome, PollRecord
from edge.runtime.clock import ManualClock
from gateway.recording.recorder import Recorder, Tally
from tests.gateway.recording.material import GROUP, NOW_NS, Run, unexpected


def test_polls_are_records_in_their_order(tmp_path: Path) -> None:
    run = Run(tmp_path, ManualClock(NOW_NS))
    tally = Tally()
    run.recorder.watch(run.schedule, tally)
    run.recorder.poll(run.schedule, 1, 2, Outcome.OK, [1.5], [3])
    run.recorder.poll(run.schedule, 3, 4, Outcome.TIMEOUT, None, None)
    run.committed()
    polls = [record for _, record in run.journal.read(0) if isinstance(record, PollRecord)]
    assert polls == [
        PollRecord(run.schedule, 1, 2, 0, [1.5], [3]),
        PollRecord(run.schedule, 3, 4, int(Outcome.TIMEOUT), None, None),
    ]
    assert tally.outcomes == {Outcome.OK: 1, Outcome.TIMEOUT: 1}
    assert (tally.last_outcome, tally.last_ok_ns) == (Outcome.TIMEOUT, 2)
    assert not tally.not_recorded
    run.close()


def test_what_a_full_queue_does_not_take_is_counted(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, ("g", "n"), boot="b", mono_ns=0, queue_bytes=2000, commit_s=30.0)
    recorder, tally = Recorder(journal, unexpected), Tally()
    schedule = journal.declare(GROUP, 0)
    recorder.watch(schedule, tally)
    for n in range(2000):
        recorder.poll(schedule, n, n, Outcome.OK, [1.0], None)
    taken = tally.outcomes[Outcome.OK] - tally.not_recorded["slow"]
    assert tally.not_recorded["slow"] > 0
    assert journal.status.refused == tally.not_recorded["slow"]
    assert journal.wait(journal.flush(), 10)
    assert sum(isinstance(record, PollRecord) for _, record in journal.read(0, 5000)) == taken
    journal.close()


class Sick:
    """A journal whose medium is full, or failed."""

    def __init__(self, state: State, error: StorageError) -> None:
        self.state, self.error = state, error

    def append(self, _: object) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("state", "error", "reason", "ends"),
    [
        (State.FULL, StorageFull("no space"), "full", False),
        (State.WRITING, StorageFull("slow"), "slow", False),
        (State.FAILED, StorageError("I/O"), "failed", True),
    ],
)
def test_reasons(state: State, error: StorageError, reason: str, ends: bool) -> None:
    told: list[StorageError] = []
    journal: object = Sick(state, error)
    recorder, tally = Recorder(journal, told.append), Tally()  # type: ignore[arg-type]
    recorder.watch(1, tally)
    recorder.poll(1, 0, 0, Outcome.OK, [1.0], None)
    assert tally.not_recorded == {reason: 1}
    assert told == ([error] if ends else [])
