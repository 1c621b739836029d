"""kill -9 of each process at random moments loses nothing and doubles nothing: every final row equals the twin's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.wayside.faults.staged import assert_proved, kill_at_random, let_run, staged, wait_for
from wayside.stage import READY_S

TIMES = 20

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.proof)])
def test_all_of_them_are_killed(tmp_path: Path, rounds: int) -> None:
    draw = random.Random(rounds)
    with staged(tmp_path, 4) as stage:
        for _ in range(rounds):
            kill_at_random(stage.gateways["gw-depot"], 1, draw)
            kill_at_random(stage.broker.child, 1, draw, stage.broker.start)
            kill_at_random(stage.centre, 1, draw)
        for child in (stage.centre, *stage.gateways.values()):
            child.await_ready(READY_S)
        let_run(3)
        assert_proved(stage)


@pytest.mark.proof
def test_the_centre_is_killed(tmp_path: Path) -> None:
    with staged(tmp_path, 1) as stage:
        kill_at_random(stage.centre, TIMES, random.Random(1))
        wait_for(lambda: stage.centre.is_running)
        stage.centre.await_ready(READY_S)
        let_run(3)
        assert_proved(stage)


@pytest.mark.proof
@pytest.mark.parametrize("name", ["gw-hall", "gw-depot"])
def test_a_gateway_is_killed(tmp_path: Path, name: str) -> None:
    with staged(tmp_path, 2) as stage:
        gateway = stage.gateways[name]
        kill_at_random(gateway, TIMES, random.Random(name))
        gateway.await_ready(READY_S)
        let_run(3)
        assert_proved(stage)


@pytest.mark.proof
def test_the_broker_is_killed(tmp_path: Path) -> None:
    with staged(tmp_path, 3) as stage:
        kill_at_random(stage.broker.child, TIMES, random.Random(3), stage.broker.start)
        let_run(5)
        assert_proved(stage)
