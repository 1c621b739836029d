"""Real databases on free loopback ports: InfluxDB 1.6 and VictoriaMetrics, from Debian's packages."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import urllib3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition; looks often, fails when the deadline has passed."""
    never = threading.Event()
    for _ in range(int(deadline_s / 0.02)):
        if condition():
            return
        never.wait(0.02)
    raise AssertionError("the condition did not come true in time")


@dataclass
class Server:
    """A database process that can be killed and started again on its data."""

    command: list[str]
    url: str
    ping: str
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers)

    def kill(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        try:
            return urllib3.request("GET", self.url + self.ping, retries=False, timeout=1.0).status < 300
        except urllib3.exceptions.HTTPError:
            return False


@contextlib.contextmanager
def influxd(directory: Path) -> Iterator[Server]:
    """InfluxDB 1.6: `/write` and InfluxQL."""
    program = _program("influxd", "influxdb")
    port, internal = free_port(), free_port()
    config = directory / "influxdb.conf"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(
        f"""reporting-disabled = true
bind-address = "127.0.0.1:{internal}"
[meta]
dir = "{directory}/meta"
[data]
dir = "{directory}/data"
wal-dir = "{directory}/wal"
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[monitor]
store-enabled = false
"""
    )
    yield from _running(Server([program, "-config", str(config)], f"http://127.0.0.1:{port}", "/ping"))


@contextlib.contextmanager
def victoria(directory: Path) -> Iterator[Server]:
    """VictoriaMetrics: the v2 write path."""
    program = _program("victoria-metrics", "victoria-metrics")
    port = free_port()
    command = [program, f"-storageDataPath={directory}", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]
    yield from _running(Server(command, f"http://127.0.0.1:{port}", "/health"))


def _running(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _program(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on this machine: apt-get install --no-install-recommends {package}")
    return found


@contextlib.contextmanager
def influxd2(directory: Path, org: str, bucket: str, token: str) -> Iterator[Server]:
    """InfluxDB 2.x, which no Debian package brings: `WAYSIDE_TEST_INFLUXD2` names its program."""
    program = os.environ.get("WAYSIDE_TEST_INFLUXD2", "")
    if not program:
        pytest.skip(
            "set WAYSIDE_TEST_INFLUXD2 to an influxd of version 2 (Go module github.com/influxdata/influxdb/v2)"
        )
    port = free_port()
    command = [
        program,
        f"--http-bind-address=127.0.0.1:{port}",
        f"--bolt-path={directory}/influxd.bolt",
        f"--engine-path={directory}/engine",
        "--reporting-disabled",
        "--log-level=error",
    ]
    directory.mkdir(parents=True, exist_ok=True)
    for server in _running(Server(command, f"http://127.0.0.1:{port}", "/health")):
        setup = {"username": "city", "password": "city-password", "org": org, "bucket": bucket, "token": token}
        answer = urllib3.request("POST", f"{server.url}/api/v2/setup", json=setup, retries=False)
        assert answer.status == 201, answer.data
        yield server
