"""Event time is one over all processes, and only where the operator vouches for the clock is it scaled."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from edge.errors import ConfigurationError, Refused
from edge.runtime.clock import ManualClock, RealClock, clock_of

S_NS = 1_000_000_000


def test_an_unscaled_clock_needs_no_vouching() -> None:
    clock = clock_of({}, ["ntp", "rtc"])
    assert (clock.scale, "*" in clock.boot) == (1, False)
    assert clock_of({"WAYSIDE_TIME_SCALE": "1"}, ["ntp"]).scale == 1


@pytest.mark.parametrize("sources", [["ntp"], ["host", "ntp"], []])
def test_a_scaled_clock_is_refused_without_the_operators_word(sources: list[str]) -> None:
    with pytest.raises(Refused, match="host"):
        clock_of({"WAYSIDE_TIME_SCALE": "60", "WAYSIDE_TIME_ORIGIN": "1790000000"}, sources)


@pytest.mark.parametrize(
    "environment",
    [
        {"WAYSIDE_TIME_SCALE": "fast"},
        {"WAYSIDE_TIME_SCALE": "0"},
        {"WAYSIDE_TIME_SCALE": "60"},
        {"WAYSIDE_TIME_SCALE": "60", "WAYSIDE_TIME_ORIGIN": "99999999999"},
    ],
)
def test_numbers_that_make_no_sense_are_named(environment: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="WAYSIDE_TIME_"):
        clock_of(environment, ["host"])


def test_two_processes_agree_on_scaled_time() -> None:
    origin = RealClock().wall_ns() // S_NS - 5
    environment = {"WAYSIDE_TIME_SCALE": "100", "WAYSIDE_TIME_ORIGIN": str(origin)}
    clock = clock_of(environment, ["host"])
    program = (
        "import json, os; from edge.runtime.clock import process_clock; c = process_clock(['host']);"
        "print(json.dumps([c.wall_ns(), c.mono_ns(), c.boot]))"
    )
    before = clock.wall_ns(), clock.mono_ns()
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    wall_ns, mono_ns, boot = json.loads(run.stdout)
    assert before[0] <= wall_ns <= clock.wall_ns()
    assert before[1] <= mono_ns <= clock.mono_ns()
    assert boot == clock.boot
    assert clock.wall_ns() - origin * S_NS >= 500 * S_NS


async def test_sleep_until_ends_on_the_event_clock() -> None:
    clock = RealClock(1000, RealClock().wall_ns() // S_NS)
    until = clock.mono_ns() + 20 * S_NS
    began = clock.real_s()
    await clock.sleep_until(until)
    assert clock.mono_ns() >= until
    assert clock.real_s() - began < 5


async def test_a_manual_clock_wakes_its_sleepers_in_order() -> None:
    clock = ManualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, period_s: float) -> None:
        while True:
            await clock.sleep(period_s)
            woken.append((name, clock.real_s()))

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(sleeper("a", 2)), tasks.create_task(sleeper("b", 3))]
        await clock.advance(6.5)
        for task in running:
            task.cancel()
    assert sorted(woken, key=lambda w: w[1]) == woken
    assert sorted(woken) == [("a", 2), ("a", 4), ("a", 6), ("b", 3), ("b", 6)]
    assert clock.mono_ns() == 6_500_000_000
    assert clock.next_wake_ns is None


def test_a_step_moves_the_wall_clock_alone() -> None:
    clock = ManualClock(wall_ns=100, mono_ns=7)
    clock.step_wall(-60)
    assert (clock.wall_ns(), clock.mono_ns()) == (40, 7)
