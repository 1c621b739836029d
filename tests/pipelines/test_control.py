"""What the control socket's handlers say, and that asking harms nobody."""

from __future__ import annotations

import asyncio
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge.errors import Refused, WaysideError
from edge.runtime.clock import RealClock
from edge.runtime.control import call, serve
from edge.runtime.mqtt import Link
from edge.runtime.wire import Address
from pipelines.control import Control
from pipelines.engine.checkpoint import CheckpointReader
from pipelines.ingest.front import Front, Stage
from pipelines.ingest.host import Host
from pipelines.sinks.embedded import STORE_NAME, EmbeddedStore
from pipelines.sinks.follower import Follower
from tests.brokers import free_port
from tests.pipelines.test_reading import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.pipelines.test_reading import Running

WAIT_S = 10.0


DOCS = Path(__file__).parents[2] / "docs" / "central.md"


class Unconnected:
    """A host's broker that is not there."""

    link, reason = Link.IDLE, ""


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[tuple[Running, Control]]:
    """Log, front, reader and store in their threads, without a broker."""
    with running(tmp_path) as run:
        front = Front(Address("127.0.0.1", free_port()), "front", run.log, RealClock())
        source = CheckpointReader(tmp_path / "checkpoint.db")
        follower = Follower(source, EmbeddedStore(tmp_path / STORE_NAME))
        broker: Any = Unconnected()
        host = Host("centre", broker, RealClock(), pressed=lambda: False, is_able=lambda: False)
        threads = [threading.Thread(target=work) for work in (front.run, follower.run)]
        for thread in threads:
            thread.start()
        try:
            yield run, Control(RealClock(), run.log, front, run.reading, host, [follower], source)
        finally:
            front.stop()
            follower.stop()
            for thread in threads:
                thread.join(WAIT_S)
                assert not thread.is_alive()
            front.close()


async def test_status_says_how_everything_is(centre: tuple[Running, Control]) -> None:
    status = await centre[1].status({})
    assert status["state"] in {"replaying", "unsubscribed"}
    assert (status["gateways"], status["groups"], status["waiting"], status["positions"]) == ([], 0, [], [])
    assert status["reader"]["error"] is None


async def test_the_docs_name_all_that_status_says(centre: tuple[Running, Control]) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCS.read_text().split("## Status")[1], re.MULTILINE))
    status = await centre[1].status({})
    assert status.keys() == rows.keys()
    for name in ("log", "front", "host", "reader"):
        assert status[name].keys() == set(re.findall(r"`([a-z_]+)`", rows[name])) & status[name].keys(), name
    for stage in Stage:
        assert f"`{stage}`" in rows["front"]
    for link in Link:
        assert f"`{link}`" in rows["host"]


async def test_checkpoint_saves_what_is_in_the_log_now(centre: tuple[Running, Control]) -> None:
    run, control = centre
    run.reading.passed(1).result(WAIT_S)  # the front's first tick
    answer = await control.checkpoint({})
    assert answer["ok"]
    assert answer["position"] == run.reading.saved_position >= 2


@pytest.mark.parametrize("scope", ["city", "gateway", "journal", "device"])
async def test_what_is_not_known_is_not_retired(scope: str, centre: tuple[Running, Control]) -> None:
    run, control = centre
    with pytest.raises(Refused, match=r"no (scope|gateway|journal|device)"):
        await control.retire({"scope": scope, "name": "nobody"})
    assert not run.errors


async def test_an_end_with_questions_open_costs_no_checkpoint(centre: tuple[Running, Control], tmp_path: Path) -> None:
    run, control = centre
    run.reading.passed(2).result(WAIT_S)
    path = tmp_path / "control.sock"
    asked = asyncio.Event()

    async def status(request: dict[str, Any]) -> dict[str, Any]:
        asked.set()
        return await control.status(request)

    with run.held():
        async with serve(path, {"status": status}):
            question = asyncio.get_running_loop().run_in_executor(None, _ask, path)
            async with asyncio.timeout(WAIT_S):
                await asked.wait()
        async with asyncio.timeout(WAIT_S):
            await question
    await asyncio.to_thread(run.end)
    assert run.reading.saved_position == run.reading.position >= 2


def _ask(path: Path) -> str:
    try:
        return str(call(path, {"do": "status"}, WAIT_S))
    except WaysideError as error:
        return str(error)
