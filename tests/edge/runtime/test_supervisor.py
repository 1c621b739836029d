"""One task that falls is started again, alone, later and later; at the end everything stops in order."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from edge.errors import PeerUnreachable
from edge.runtime.clock import ManualClock
from edge.runtime.supervisor import Backoff, Supervisor, stop_on_signals

if TYPE_CHECKING:
    from pytest import CaptureFixture  # noqa: PT013 # a type only


async def test_the_one_that_fell_is_started_again_and_its_neighbour_is_not(capsys: CaptureFixture[str]) -> None:
    clock = ManualClock()
    began: list[tuple[str, float]] = []

    async def falls() -> None:
        began.append(("falls", clock.real_s()))
        raise PeerUnreachable("broker", "refused")

    async def stands() -> None:
        began.append(("stands", clock.real_s()))
        await clock.sleep(1e6)

    async with Supervisor(clock, random.Random(1)) as supervisor:
        supervisor.start("a", falls)
        supervisor.start("b", stands)
        await clock.advance(100)
        assert supervisor.names == ("a", "b")
        assert supervisor.fallen["a"].count == len(began) - 1
        assert supervisor.fallen["a"].error == "PeerUnreachable: broker: refused"
    assert [name for name, _ in began].count("stands") == 1
    starts = [at for name, at in began if name == "falls"]
    pauses = [b - a for a, b in itertools.pairwise(starts)]
    assert all(0.5 * bound <= pause <= bound for pause, bound in zip(pauses, [0.5, 1, 2, 4, 8, 16, 32], strict=False))
    assert len(pauses) >= 6
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [e["count"] for e in events] == list(range(1, len(starts) + 1))
    assert "falls" in events[0]["traceback"]
    assert events[1]["traceback"] is None


async def test_a_long_steady_run_forgets_earlier_falls() -> None:
    clock = ManualClock()
    starts: list[float] = []

    async def work() -> None:
        starts.append(clock.real_s())
        if len(starts) > 5:
            await clock.sleep(100)
        raise ValueError

    async with Supervisor(clock) as supervisor:
        supervisor.start("a", work)
        await clock.advance(200)
    assert len(starts) == 7
    assert starts[6] - starts[5] <= 100.5


async def test_tasks_stop_in_reverse_order_and_a_finished_one_stays_finished() -> None:
    clock = ManualClock()
    ended: list[str] = []

    async def runs(name: str) -> None:
        try:
            await clock.sleep(1e6)
        finally:
            ended.append(name)

    async def ends() -> None:
        ended.append("short")

    async with Supervisor(clock) as supervisor:
        supervisor.start("a", lambda: runs("a"))
        supervisor.start("b", lambda: runs("b"))
        supervisor.start("short", ends)
        await clock.advance(1)
        assert supervisor.names == ("a", "b")
        with pytest.raises(ValueError, match="already"):
            supervisor.start("a", lambda: runs("a"))
    assert ended == ["short", "b", "a"]


async def test_wait_ends_with_the_last_task() -> None:
    clock = ManualClock()
    done = asyncio.Event()
    async with Supervisor(clock) as supervisor, asyncio.TaskGroup() as tasks:

        async def work() -> None:
            await done.wait()

        supervisor.start("a", work)
        waiting = tasks.create_task(supervisor.wait())
        await clock.advance(0)
        assert not waiting.done()
        done.set()


def test_back_off_doubles_within_its_bounds_and_resets() -> None:
    backoff = Backoff(1, 5, random.Random(3))
    assert all(b / 2 <= backoff.pause_s() <= b for b in (1, 2, 4, 5, 5))
    backoff.reset()
    assert backoff.pause_s() <= 1


async def test_a_signal_sets_the_event() -> None:
    asked = stop_on_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(5):
        await asked.wait()
    loop = asyncio.get_running_loop()
    assert loop.remove_signal_handler(signal.SIGTERM)
    assert loop.remove_signal_handler(signal.SIGINT)
