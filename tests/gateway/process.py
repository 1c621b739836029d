"""`wayside gateway run` as a process of its own, and the file it runs with."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge.durable.export import export
from edge.runtime.control import call

_CODE = """
import os, resource, sys
from wayside.cli import run
if limit := int(os.environ.get("TEST_FILE_BYTES", 0)):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
code = run(sys.argv[1:])
assert "numpy" not in sys.modules, "the gateway has no use for numpy"
sys.exit(code)
"""
RUN = (sys.executable, "-c", _CODE, "gateway", "run")
"""`wayside gateway run`, on a medium that fails where TEST_FILE_BYTES says so, and without numpy."""

_HEAD = """
[gateway]
group = "city"
node = "{node}"
state_dir = "state"
commit_s = 0.1
publish_s = 0.2
{gateway}

[uplink]
broker = "mqtt://127.0.0.1:{broker}"
acknowledging_host = "centre"

[clock]
sources = ["host"]
"""


@dataclass
class Config:
    """A `gateway.toml` in the making."""

    path: Path
    node: str = "node-1"
    broker: int = 1
    gateway: str = ""
    buses: list[str] = field(default_factory=list)
    devices: list[str] = field(default_factory=list)

    @property
    def state_dir(self) -> Path:
        return self.path.parent / "state"

    @property
    def journal(self) -> Path:
        return self.state_dir / "journal"

    def tcp(self, name: str, port: int) -> Config:
        self.buses.append(f'[[bus]]\nname = "{name}"\nprotocol = "tcp"\nport = "127.0.0.1:{port}"\n')
        return self

    def rtu(self, name: str, port: Path) -> Config:
        self.buses.append(f'[[bus]]\nname = "{name}"\nprotocol = "rtu"\nport = "{port}"\nbaud = 115200\n')
        return self

    def device(self, name: str, bus: str, unit_id: int, profile: str = "em340", period_s: float = 0.2) -> Config:
        self.devices.append(
            f'[[device]]\nname = "{name}"\nsite = "port"\nbus = "{bus}"\nunit_id = {unit_id}\n'
            f'profile = "{profile}"\nperiod_s = {period_s}\n'
        )
        return self

    def write(self) -> Path:
        head = _HEAD.format(node=self.node, gateway=self.gateway, broker=self.broker)
        self.path.write_text("\n".join([head, *self.buses, *self.devices]), encoding="utf-8")
        return self.path

    def status(self) -> dict[str, Any]:
        return call(self.state_dir / "control.sock", {"do": "status"})

    def records(self, kind: str) -> list[dict[str, Any]]:
        if not self.journal.is_dir():
            return []
        return [record for record in export(self.journal) if record["kind"] == kind]

    def polls(self, device: str = "", outcome: int | None = None) -> list[dict[str, Any]]:
        return [
            poll
            for poll in self.records("poll")
            if (not device or poll["device"] == device) and outcome in {None, poll["outcome"]}
        ]


@dataclass
class Process:
    """A running gateway, and what it said."""

    child: asyncio.subprocess.Process
    events: list[dict[str, Any]] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    async def event(self, name: str) -> dict[str, Any]:
        """Wait for an event on stderr."""
        assert self.child.stderr is not None
        async with asyncio.timeout(20):
            while line := (await self.child.stderr.readline()).decode().strip():
                self._take(line)
                if self.events and self.events[-1]["event"] == name:
                    return self.events[-1]
        raise AssertionError(f"no event {name}: {self.events} {self.other}")

    def _take(self, line: str) -> None:
        if line.startswith("{"):
            self.events.append(json.loads(line))
        elif not line.startswith("Executing <"):  # asyncio's debug mode says how busy the machine is
            self.other.append(line)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal it; give its exit code."""
        if self.child.returncode is None:
            self.child.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(15):
            _, rest = await self.child.communicate()
            for line in rest.decode().splitlines():
                self._take(line)
        assert self.child.returncode is not None
        return self.child.returncode


@asynccontextmanager
async def running(
    config: Path, environment: dict[str, str] | None = None, *, ready: bool = True
) -> AsyncIterator[Process]:
    """Run the gateway; it is ready at the beginning and gone at the end."""
    child = await asyncio.create_subprocess_exec(
        *RUN,
        "-c",
        str(config),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONASYNCIODEBUG": "1", "PYTHONWARNINGS": "error"} | (environment or {}),
    )
    process = Process(child)
    try:
        if ready:
            await process.event("ready")
        yield process
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()
