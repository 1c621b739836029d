"""kill -9 at any moment: whatever was reported committed is there, or in a tombstone's count."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from edge.model.record import EpochRecord, PollRecord, Record, TombstoneRecord
from tests.edge.durable.material import S_NS, stored

if TYPE_CHECKING:
    from pathlib import Path


def run_and_kill(directory: Path, seed: int, commits: int) -> int:
    """Let a writer live until it has reported some commits; return the last it reported."""
    command = [sys.executable, "-m", "tests.edge.durable.killed", str(directory), str(seed)]
    committed = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line[0].isdigit():
                committed = int(line)
                commits -= 1
            if commits <= 0:
                process.kill()
        # What it wrote before it died, and we had not read yet, was committed too.
        process.wait()
    assert committed
    return committed


def check(directory: Path, former: dict[int, Record], committed: int) -> dict[int, Record]:
    """Compare with what was there before the run: nothing changed, nothing missing that no tombstone names."""
    held = stored(directory)
    offsets = sorted(held)
    assert offsets == list(range(offsets[0], offsets[-1] + 1)), "a gap"
    assert offsets[-1] + 1 >= committed, "a committed record is gone"
    assert all(held[o] == record for o, record in former.items() if o in held), "a record has changed"
    return held


@pytest.mark.parametrize("rounds", [10, pytest.param(200, marks=pytest.mark.proof)])
@pytest.mark.timeout(600)
def test_nothing_committed_is_lost(tmp_path: Path, rounds: int) -> None:
    draw = random.Random(rounds)
    held: dict[int, Record] = {}
    everything: dict[int, Record] = {}
    for seed in range(rounds):
        committed = run_and_kill(tmp_path, seed, draw.randrange(1, 120))
        held = check(tmp_path, held, committed)
        everything |= held
    epochs = {r.epoch: r for r in everything.values() if isinstance(r, EpochRecord)}
    assert len(epochs) == rounds
    in_order = sorted(epochs.values(), key=lambda r: r.first)
    for before, after in itertools.pairwise(in_order):
        assert (after.previous, after.previous_boot) == (before.epoch, before.boot)
        polls = [r for o, r in everything.items() if before.first <= o < after.first and isinstance(r, PollRecord)]
        if polls:
            assert after.previous_last_ns == polls[-1].taken_ns
            assert [r.due_ns // S_NS for r in polls] == list(
                range(polls[0].due_ns // S_NS, len(polls) + polls[0].due_ns // S_NS)
            )
    stones = {(r.first, r.end) for r in everything.values() if isinstance(r, TombstoneRecord)}
    assert all(end <= min(held) for _, end in stones), "a tombstone names what is still held"
