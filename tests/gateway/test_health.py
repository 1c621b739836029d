"""How busy a bus is, and when a gateway is well."""

from __future__ import annotations

import json
import random

import pytest

from edge.errors import PeerUnreachable
from edge.runtime.clock import ManualClock
from edge.runtime.supervisor import Supervisor
from gateway.health import DEGRADED_S, Busy, fallen_status, state_of


def test_utilisation_is_of_the_last_minute_or_two() -> None:
    busy = Busy()
    assert busy.utilisation_pct(5.0) == 0.0
    for second in range(600):
        busy.add(second, second + (0.5 if second < 300 else 0.1))
        if second == 299:
            assert busy.utilisation_pct(300) == pytest.approx(50, abs=1)
    assert busy.utilisation_pct(600) == pytest.approx(10, abs=1)


async def test_one_fall_does_not_degrade_the_gateway_for_good(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock()
    starts: list[float] = []

    async def work() -> None:
        starts.append(clock.real_s())
        if len(starts) <= 3:
            raise PeerUnreachable("broker", "refused")
        await clock.sleep(1e6)

    async with Supervisor(clock, random.Random(1)) as supervisor:
        supervisor.start("gateway.uplink", work)
        assert state_of([], fallen_status(supervisor, clock.real_s())) == "running"
        await clock.advance(100)
        fell_s = 100 - fallen_status(supervisor, 100)["gateway.uplink"]["ago_s"]
        assert 0 < starts[3] - fell_s < 2.1
        assert state_of([], fallen_status(supervisor, clock.real_s())) == "degraded"
        await clock.advance(DEGRADED_S)
        fallen = fallen_status(supervisor, clock.real_s())
        assert state_of([], fallen) == "running"
        assert state_of([{"for": "clock"}], fallen) == "degraded"
        assert fallen["gateway.uplink"]["count"] == 3
        assert fallen["gateway.uplink"]["error"] == "PeerUnreachable: broker: refused"
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["task_fell"] * 3
