"""A follower's own rules: pauses grow, the cursor is asked for again after a failure, stop is prompt."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.errors import StorageFull, WaysideError
from edge.runtime.supervisor import Backoff
from pipelines.engine.blocks import RowBlock
from pipelines.engine.checkpoint import DamagedBlock
from pipelines.sinks.follower import Batch, Cursor, Follower, Unavailable
from tests.pipelines.sinks.rows import Blocks, incident, meter_block
from tests.pipelines.sinks.servers import until


@dataclass
class Unreadable(Blocks):
    """A source with damaged blocks, that can't be read at all as often as it is told."""

    damaged: tuple[int, ...] = ()
    failures: list[WaysideError | OSError] = field(default_factory=list)

    def blocks_after(self, seq: int, limit_bytes: int) -> list[tuple[int, RowBlock]]:
        if self.failures:
            raise self.failures[0]
        if seq + 1 in self.damaged:
            raise DamagedBlock(Path("checkpoint.db"), seq + 1, "a bit")
        return [each for each in super().blocks_after(seq, limit_bytes) if each[0] <= self._intact(seq)]

    def last_block(self) -> int:
        if self.failures:
            raise self.failures[0]
        return super().last_block()

    def _intact(self, seq: int) -> int:
        return min((number for number in self.damaged if number > seq), default=len(self.blocks) + 1) - 1


@dataclass
class Scripted:
    """A target that fails as it is told to."""

    failures: list[Exception] = field(default_factory=list)
    name: str = "scripted"
    at: Cursor = field(default_factory=Cursor)
    asked: int = 0
    batches: list[Batch] = field(default_factory=list)
    closed: bool = False

    def cursor(self) -> Cursor:
        self.asked += 1
        return self.at

    def write(self, batch: Batch) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.batches.append(batch)
        self.at = batch.cursor

    def details(self) -> dict[str, Any]:
        return {"more": 1}

    def close(self) -> None:
        self.closed = True


def test_blocks_and_incidents_come_in_order_with_the_cursor_that_covers_them() -> None:
    target = Scripted()
    source = Blocks([meter_block(minute) for minute in range(3)], [incident(1), incident(2)])
    follower = Follower(source, target, batch_bytes=0)
    while follower.step():
        pass
    assert [number for batch in target.batches for number, _ in batch.blocks] == [1, 2, 3]
    assert [number for batch in target.batches for number, _ in batch.incidents] == [1, 2]
    assert [(batch.cursor.block, batch.cursor.incident) for batch in target.batches] == [(1, 2), (2, 2), (3, 2)]
    assert target.asked == 1
    status = follower.status()
    assert (status["state"], status["behind_blocks"], status["progress_pct"], status["more"]) == (
        "following",
        0,
        100.0,
        1,
    )


def test_while_it_is_far_behind_it_says_how_far() -> None:
    follower = Follower(Blocks([meter_block(minute) for minute in range(4)]), Scripted(), batch_bytes=0)
    follower.step()
    status = follower.status()
    assert (status["state"], status["behind_blocks"], status["progress_pct"]) == ("refilling", 3, 25.0)


def test_after_a_failure_the_target_says_again_where_it_stands() -> None:
    target = Scripted(failures=[Unavailable("down")])
    follower = Follower(Blocks([meter_block(1)]), target, backoff=Backoff(0.01, 0.02))
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    until(lambda: follower.status()["behind_blocks"] == 0)
    follower.stop()
    thread.join(5)
    assert target.asked == 2
    assert [batch.cursor.block for batch in target.batches] == [1]
    assert (target.closed, follower.status()["state"]) == (True, "stopped")


def test_a_target_that_asks_to_be_left_alone_is_and_stop_does_not_wait_for_it() -> None:
    target = Scripted(failures=[Unavailable("HTTP 429", retry_after_s=3600)])
    follower = Follower(Blocks([meter_block(1)]), target, backoff=Backoff(0.01, 0.02))
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    until(lambda: follower.status()["state"] == "waiting")
    follower.notify()
    follower.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert target.batches == []


def test_new_blocks_are_taken_when_they_are_announced() -> None:
    source, target = Blocks(), Scripted()
    follower = Follower(source, target)
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    until(lambda: follower.status()["state"] == "following")
    source.blocks.append(meter_block(1))
    follower.notify()
    until(lambda: bool(target.batches), deadline_s=2.0)
    follower.stop()
    thread.join(5)


@pytest.mark.parametrize("cursor", [Cursor(2, 0, 99), Cursor(9, 0, 1)], ids=["another block", "beyond the end"])
def test_a_cursor_of_another_checkpoint_begins_again(cursor: Cursor) -> None:
    target = Scripted(at=cursor)
    follower = Follower(Blocks([meter_block(minute) for minute in range(3)]), target)
    follower.step()
    assert [number for number, _ in target.batches[0].blocks] == [1, 2, 3]


def test_a_damaged_block_is_passed_over_alone_named_and_kept_with_the_cursor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = Scripted()
    source = Unreadable([meter_block(minute) for minute in range(5)], [incident(1)], damaged=(2, 5))
    follower = Follower(source, target)
    while follower.step():
        pass
    assert [number for batch in target.batches for number, _ in batch.blocks] == [1, 3, 4]
    assert target.at == Cursor(5, 1, 0, (2, 5))
    status = follower.status()
    assert (status["state"], status["block"], status["damaged"], status["damaged_blocks"]) == (
        "following",
        5,
        2,
        [2, 5],
    )
    assert "2 damaged block(s)" in status["error"]
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(each["event"], each["block"], each["target"]) for each in told] == [
        ("block_damaged", 2, "scripted"),
        ("block_damaged", 5, "scripted"),
    ]


def test_a_follower_that_comes_back_knows_what_it_passed_over_and_a_mended_block_brings_a_refill() -> None:
    target = Scripted()
    source = Unreadable([meter_block(minute) for minute in range(2)], damaged=(2,))
    while Follower(source, target).step():
        pass
    again = Follower(source, target)
    assert not again.step()
    assert again.status()["damaged_blocks"] == [2]
    mended = Follower(Blocks(source.blocks), target)
    while mended.step():
        pass
    assert [number for batch in target.batches for number, _ in batch.blocks] == [1, 1, 2]
    assert (mended.status()["damaged_blocks"], mended.status()["error"]) == ([], None)


@pytest.mark.parametrize("error", [StorageFull("no space left"), OSError(5, "Input/output error")])
@pytest.mark.parametrize("of", ["checkpoint", "target"])
def test_what_a_disk_refuses_is_waited_out(error: WaysideError | OSError, of: str) -> None:
    target = Scripted(failures=[error] if of == "target" else [])
    source = Unreadable([meter_block(1)], failures=[error] if of == "checkpoint" else [])
    follower = Follower(source, target, backoff=Backoff(0.01, 0.02))
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    if of == "checkpoint":
        until(lambda: follower.status()["state"] == "waiting")
        assert follower.status()["error"] == str(error)
        source.failures.clear()
    until(lambda: follower.status()["behind_blocks"] == 0 and bool(target.batches))
    follower.stop()
    thread.join(5)
    assert [batch.cursor.block for batch in target.batches] == [1]


def test_a_fault_of_ours_still_ends_the_thread() -> None:
    target = Scripted(failures=[ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        Follower(Blocks([meter_block(1)]), target).run()
    assert target.closed


def test_a_checkpoint_that_is_set_aside_meanwhile_is_followed_from_its_first_block() -> None:
    source, target = Blocks([meter_block(minute) for minute in range(3)]), Scripted()
    follower = Follower(source, target)
    while follower.step():
        pass
    source.blocks[:] = [meter_block(9)]
    while follower.step():
        pass
    assert [number for batch in target.batches for number, _ in batch.blocks] == [1, 2, 3, 1]
