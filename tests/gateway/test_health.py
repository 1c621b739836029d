"""How busy a bus is."""

from __future__ import annotations

import pytest

from gateway.health import Busy


def test_utilisation_is_of_the_last_minute_or_two() -> None:
    busy = Busy()
    assert busy.utilisation_pct(5.0) == 0.0
    for second in range(600):
        busy.add(second, second + (0.5 if second < 300 else 0.1))
        if second == 299:
            assert busy.utilisation_pct(300) == pytest.approx(50, abs=1)
    assert busy.utilisation_pct(600) == pytest.approx(10, abs=1)
