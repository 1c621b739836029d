"""A follower's own rules: pauses grow, the cursor is asked for again after a failure, stop is prompt."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from pipelines.sinks.follower import BackOff, Batch, Cursor, Follower, Unavailable
from tests.pipelines.sinks.rows import Blocks, incident, meter_block
from tests.pipelines.sinks.servers import until


@dataclass
class Scripted:
    """A target that fails as it is told to."""

    failures: list[Unavailable] = field(default_factory=list)
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


def test_pauses_double_with_jitter_up_to_the_longest() -> None:
    back_off = BackOff(first_s=1.0, most_s=8.0)
    for longest in (1.0, 2.0, 4.0, 8.0, 8.0, 8.0):
        assert longest / 2 <= back_off.pause_s() <= longest
    back_off.failures = 10_000
    assert back_off.pause_s() <= 8.0


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
    follower = Follower(Blocks([meter_block(1)]), target, back_off=BackOff(0.01, 0.02))
    thread = threading.Thread(target=follower.run)
    thread.start()
    until(lambda: follower.status()["behind_blocks"] == 0)
    follower.stop()
    thread.join(5)
    assert target.asked == 2
    assert [batch.cursor.block for batch in target.batches] == [1]
    assert (target.closed, follower.status()["state"]) == (True, "stopped")


def test_a_target_that_asks_to_be_left_alone_is_and_stop_does_not_wait_for_it() -> None:
    target = Scripted(failures=[Unavailable("HTTP 429", retry_after_s=3600)])
    follower = Follower(Blocks([meter_block(1)]), target, back_off=BackOff(0.01, 0.02))
    thread = threading.Thread(target=follower.run)
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
    thread = threading.Thread(target=follower.run)
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
