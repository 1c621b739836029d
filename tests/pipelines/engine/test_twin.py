"""Engine and twin make the same rows, bit for bit, of whatever happens, however it is cut into calls."""

from __future__ import annotations

import os
import subprocess
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given

from tests.examples import examples
from tests.pipelines.engine.both import by_engine, by_twin
from tests.pipelines.engine.story import Author

CHECKS = list(HealthCheck)
seeds = st.integers(0, 2**32)


def agree(seed: int, polls: int, groups: int, *, calm: bool = False) -> None:
    steps = Author(seed, calm=calm).story(polls, groups)
    rows, refused = by_engine(steps, seed)
    twin_rows, twin_refused = by_twin(steps)
    for key in rows.keys() | twin_rows.keys():
        assert rows.get(key) == twin_rows.get(key), key
    assert refused == twin_refused


@examples(40, 3_000, suppress_health_check=CHECKS)
@given(seed=seeds, polls=st.integers(1, 40), groups=st.integers(1, 3))
def test_short_stories(seed: int, polls: int, groups: int) -> None:
    agree(seed, polls, groups)


@examples(8, 150, suppress_health_check=CHECKS)
@given(seed=seeds, polls=st.integers(100, 400), groups=st.integers(1, 2))
def test_long_stories(seed: int, polls: int, groups: int) -> None:
    agree(seed, polls, groups)


@examples(5, 100, suppress_health_check=CHECKS)
@given(seed=seeds, polls=st.integers(200, 400))
def test_undisturbed(seed: int, polls: int) -> None:
    agree(seed, polls, 1, calm=True)


@pytest.mark.proof
@pytest.mark.timeout(900)
@examples(50, 50, suppress_health_check=CHECKS)
@given(seed=seeds, polls=st.integers(400, 1_000), groups=st.integers(1, 4))
def test_longest_stories(seed: int, polls: int, groups: int) -> None:
    agree(seed, polls, groups)


INTERPRETED = """
from tests.pipelines.engine.test_twin import agree
import numba
import numpy
numpy.seterr(over="ignore", invalid="ignore")  # sums may overflow, and compiled ones do so silently
assert numba.config.DISABLE_JIT
for seed in range({count}):
    agree(seed, 5 + seed % 40, 1 + seed % 2)
print("agreed")
"""


@pytest.mark.parametrize(
    "count",
    [pytest.param(4, id="few"), pytest.param(200, id="many", marks=[pytest.mark.proof, pytest.mark.timeout(1200)])],
)
def test_interpreted_kernels(count: int) -> None:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", INTERPRETED.format(count=count)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "agreed", done.stderr
