"""What every run of tests begins with: how much is tried, and kernels that are compiled before any test's time counts.

A property is a test of both runs: by default on few examples, under `-m proof` on many (`tests/examples.py`).
"""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.examples import DEFAULT, PROOF

RUNS_KERNELS = ("tests/benchmarks/", "tests/pipelines/", "tests/wayside/")


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile(PROOF if config.option.markexpr == "proof" else DEFAULT)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Count properties as proof, before the others are left out."""
    if config.option.markexpr == "proof":
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker(pytest.mark.proof)
                item.add_marker(pytest.mark.timeout(600))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compile the kernels, which takes about a minute where it has not been done."""
    if not session.config.option.collectonly and any(item.nodeid.startswith(RUNS_KERNELS) for item in session.items):
        from pipelines.engine.reader import warm  # noqa: PLC0415 # other tests need no numba

        warm()
