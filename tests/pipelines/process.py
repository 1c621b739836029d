"""`wayside central run` as a process of its own, and a gateway's uplink to feed it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge.durable.journal import Journal
from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.record import AnchorRecord, DatingRecord, PollRecord
from edge.runtime.clock import RealClock
from edge.runtime.control import call
from edge.runtime.mqtt import Address, Broker
from gateway.uplink.uplink import Uplink, UplinkSettings
from pipelines.query.select import Selection, Store
from pipelines.sinks.embedded import STORE_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

WAIT_S = 60.0
S_NS = 1_000_000_000
Rows = dict[tuple[str, tuple[tuple[str, str], ...], int, int], dict[str, float | int]]

_CONFIG = """
[central]
host_id = "centre"
state_dir = "state"
checkpoint_s = {checkpoint_s}
[broker]
url = "mqtt://127.0.0.1:{port}"
"""


class Central:
    """One centre in a folder, started and ended again and again."""

    def __init__(self, directory: Path, port: int, checkpoint_s: float = 0.3) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / "central.toml"
        self.config.write_text(_CONFIG.format(port=port, checkpoint_s=checkpoint_s))
        self.state_dir = directory / "state"
        self.events: list[dict[str, Any]] = []
        self.process: asyncio.subprocess.Process | None = None
        self._ears: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        await self.launch()
        async with asyncio.timeout(WAIT_S):
            await self._ready.wait()
        assert self.events[-1]["event"] != "ended", self.events

    async def launch(self) -> None:
        self.events.clear()
        self._ready.clear()
        command = (sys.executable, "-m", "wayside", "central", "run", "-c", str(self.config))
        self.process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        self._ears = asyncio.get_running_loop().create_task(self._listen(), name="tests.central")

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and give the exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self.process is not None
        assert self._ears is not None
        async with asyncio.timeout(WAIT_S):
            code = await self.process.wait()
            await self._ears
        self.process = None
        return code

    async def ask(self, do: str, **more: Any) -> dict[str, Any]:
        return await asyncio.to_thread(call, self.state_dir / "control.sock", {"do": do, **more}, WAIT_S)

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a status."""
        status: dict[str, Any] = {}
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition(status := await self.ask("status")):  # noqa: ASYNC110 # asked, not told
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(status) from None
        return status

    def told(self, name: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == name]

    def rows(self) -> Rows:
        """Everything in the store."""
        with Store(self.state_dir / STORE_NAME) as store:
            return {
                (row.measurement, tuple(sorted(row.tags.items())), row.window_s, row.t_ns): row.fields
                for row in store.rows(Selection())
            }

    async def _listen(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == "ready":
                    self._ready.set()
        self.events.append({"event": "ended"})
        self._ready.set()


@contextlib.asynccontextmanager
async def central(directory: Path, port: int, **settings: Any) -> AsyncIterator[Central]:
    """A centre that runs, and is ended with the test."""
    made = Central(directory, port, **settings)
    await made.start()
    try:
        yield made
    finally:
        if made.process is not None:
            await made.end(signal.SIGKILL)


POINTS = (Point("active_power_w", Kind.GAUGE, Datatype.DOUBLE), Point("import_wh", Kind.COUNTER, Datatype.INT64))
GROUP = Group("plaza", "m1", "fast", Domain.ENERGY, "meter@0123456789abcdef", S_NS, POINTS)
GATEWAY = "city/gw-1"


@dataclass
class _Ready:
    ready_at: int | None


@dataclass
class Gateway:
    """An uplink on a journal of one meter, polled once a second two hours ago."""

    directory: Path
    port: int
    polls: int = 0
    journal: Journal = field(init=False)
    commits: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.journal = Journal.open(
            self.directory / "journal",
            ("city", "gw-1"),
            boot="boot-1",
            mono_ns=0,
            commit_s=0.01,
            progress=lambda _: self.commits(),
        )
        self.schedule = self.journal.declare(GROUP, 0)
        first, wall_ns = self.journal.epoch.first, (RealClock().wall_ns() // (300 * S_NS) - 24) * 300 * S_NS
        self.journal.append(AnchorRecord("boot-1", wall_ns, 0, "host", 0))
        self._ready = _Ready(self.journal.append(DatingRecord("boot-1", first, wall_ns, 0, "host", 0)) + 1)

    def poll(self, count: int) -> None:
        """Every tenth poll fails."""
        for n in range(self.polls, self.polls + count):
            outcome = int(n % 10 == 7)
            values: list[Value] | None = None if outcome else [n * 0.1, n * 3]
            self.journal.append(PollRecord(self.schedule, n * S_NS, n * S_NS + 5_000_000, outcome, values))
        self.polls += count
        self.journal.flush()

    @property
    def ok(self) -> int:
        return sum(n % 10 != 7 for n in range(self.polls))

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[Uplink]:
        broker = Broker(Address("127.0.0.1", self.port), "gw-1", RealClock(), random.Random(3))
        settings = UplinkSettings("city", "gw-1", "centre", "", 0.05)
        uplink = Uplink(settings, self.journal, broker, self._ready, RealClock(), self.directory / "bdseq")
        self.commits = uplink.committed
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(uplink.run(), name="tests.uplink")
            yield uplink
            task.cancel()

    async def acknowledged(self) -> None:
        """Wait until a centre has all of it."""
        assert await asyncio.to_thread(self.journal.wait, self.journal.flush(), WAIT_S)
        async with asyncio.timeout(WAIT_S):
            while self.journal.acknowledged < self.journal.committed:  # noqa: ASYNC110 # set in no task of ours
                await asyncio.sleep(0.01)
