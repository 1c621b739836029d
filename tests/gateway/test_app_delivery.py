"""The gateway process, a real broker, and a centre that acknowledges: every record once, whatever is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.runtime.profiles import find
from tests.brokers import Mosquitto, mosquitto
from tests.gateway.process import Config, running
from tests.gateway.servers import Unit, modbus_server
from tests.gateway.uplink.centre import Centre
from tests.gateway.uplink.centre import running as listening


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as server:
        yield server


@pytest.fixture
async def config(tmp_path: Path, broker: Mosquitto) -> AsyncIterator[Config]:
    units = {1: Unit(find("em340", tmp_path)), 2: Unit(find("modbus_counter", tmp_path))}
    async with modbus_server(units) as server:
        config = Config(tmp_path / "gateway.toml", "gw-1", broker.port).tcp("cabinet", server.port)
        yield config.device("meter", "cabinet", 1).device("lanes", "cabinet", 2, "modbus_counter")


def polled(config: Config) -> dict[tuple[int, int], tuple[int, int, dict[str, Any]]]:
    """What the journal holds, as the centre is to have it: due date, outcome, values."""
    return {
        (int(poll["epoch"], 16), poll["offset"]): (
            poll["due_t_ns"] // 1_000_000,
            poll["outcome"],
            {name: value for name, (value, _) in poll["samples"].items()},
        )
        for poll in config.records("poll")
    }


def taken(centre: Centre) -> dict[tuple[int, int], tuple[int, int, dict[str, Any]]]:
    return {
        identity: (said.due_ms, said.outcome, {name: value for name, (value, _, _) in said.samples.items()})
        for identity, said in centre.taken.items()
    }


async def test_every_record_once_through_kills_and_a_lost_broker(config: Config, broker: Mosquitto) -> None:
    centre = Centre(broker.port)
    async with listening(centre):
        async with running(config.write()) as process:
            await centre.until(lambda: len(centre.taken) >= 12)
            broker.kill()
            process.child.kill()
            await process.ended()
        broker.start()
        async with running(config.path) as process:
            n = len(centre.taken)
            await centre.until(lambda: len(centre.taken) >= n + 12)
            process.child.kill()
            await process.ended()
        async with running(config.path) as process:
            n = len(centre.taken)
            await centre.until(lambda: len(centre.taken) >= n + 12)
            said = await asyncio.to_thread(config.status)
            assert await process.end() == 0
        want = polled(config)
        await centre.until(lambda: len(centre.taken) >= len(want), 5)
    assert said["state"] == "running"
    assert said["waiting"] == []
    assert said["lag_s"] < 5
    assert said["backlog"] < 30
    assert [place["position"] > 0 for place in said["positions"]] == [True]
    assert process.other == []
    assert taken(centre) == want, "the last stop delivered what it had committed"
    assert centre.jumps == []
    assert len({epoch for epoch, _ in centre.taken}) == 3


async def test_its_log_says_what_it_waits_for_and_what_no_longer(config: Config, broker: Mosquitto) -> None:
    async with running(config.write()) as process:
        broker.kill()
        waiting = await process.event("waiting")
        assert waiting["on"] == "broker"
        assert waiting["why"]
        broker.start()
        assert (await process.event("waits_no_more"))["on"] == "broker"
        assert await process.end() == 0


async def test_stop_with_a_broker_that_hangs_is_a_stop(config: Config, broker: Mosquitto) -> None:
    centre = Centre(broker.port)
    async with listening(centre), running(config.write()) as process:
        await centre.until(lambda: len(centre.taken) >= 4)
        broker.pause()
        try:
            async with asyncio.timeout(10):
                assert await process.end() == 0
        finally:
            broker.resume()
    assert [event["event"] for event in process.events][-1] == "stopping"
