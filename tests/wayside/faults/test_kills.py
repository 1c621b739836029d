"""kill -9 of each process at random moments loses nothing and doubles nothing: every final row equals the twin's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.wayside.faults.staged import assert_proved, kill_at_random, let_run, staged, wait_for
from wayside.stage import READY_S


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.proof)])
@pytest.mark.timeout(300)
def test_the_centre_is_killed(tmp_path: Path, times: int) -> None:
    with staged(tmp_path, 1) as stage:
        kill_at_random(stage.centre, times, random.Random(times))
        wait_for(lambda: stage.centre.is_running)
        stage.centre.await_ready(READY_S)
        let_run(3)
        assert_proved(stage)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.proof)])
@pytest.mark.timeout(300)
def test_a_gateway_is_killed(tmp_path: Path, times: int) -> None:
    with staged(tmp_path, 2) as stage:
        gateway = stage.gateways["gw-hall"]
        kill_at_random(gateway, times, random.Random(times))
        gateway.await_ready(READY_S)
        let_run(3)
        assert_proved(stage)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.proof)])
@pytest.mark.timeout(300)
def test_the_broker_is_killed(tmp_path: Path, times: int) -> None:
    with staged(tmp_path, 3) as stage:
        kill_at_random(stage.broker.child, times, random.Random(times), stage.broker.start)
        let_run(5)
        assert_proved(stage)


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_all_of_them_are_killed(tmp_path: Path) -> None:
    draw = random.Random(4)
    with staged(tmp_path, 4) as stage:
        for _ in range(10):
            kill_at_random(stage.gateways["gw-depot"], 1, draw)
            kill_at_random(stage.broker.child, 1, draw, stage.broker.start)
            kill_at_random(stage.centre, 1, draw)
        for child in (stage.centre, *stage.gateways.values()):
            child.await_ready(READY_S)
        let_run(5)
        assert_proved(stage)
