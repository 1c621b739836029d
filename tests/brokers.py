"""A real mosquitto on a free loopback port, which can be killed, started again and held still."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = "/usr/sbin/mosquitto"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mosquitto:
    """`start` after `kill` comes back on the same port, without what the old process knew."""

    program: str
    config: Path
    port: int
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    def start(self) -> None:
        assert self.process is None
        self.process = subprocess.Popen(
            [self.program, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        never = threading.Event()
        for _ in range(500):
            assert self.process.poll() is None, f"mosquitto does not start with {self.config}"
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1):
                return
            never.wait(0.02)
        raise AssertionError("mosquitto does not listen")

    def kill(self) -> None:
        """End it at once, as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Hold it still: its connections stay open, and nobody answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def mosquitto(directory: Path, *lines: str, anonymous: bool = True) -> Iterator[Mosquitto]:
    """Run mosquitto with its files in `directory`; `lines` are added to its configuration."""
    program = shutil.which("mosquitto") or shutil.which(PROGRAM)
    if program is None:
        pytest.skip("mosquitto is not on this machine: apt-get install --no-install-recommends mosquitto")
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = directory / "mosquitto.conf"
    # Started by root it would become a user who can't read the test's files; started by another this means nothing.
    settings = ("user root", f"listener {port} 127.0.0.1", f"allow_anonymous {str(anonymous).lower()}")
    config.write_text("\n".join((*settings, "persistence false", *lines)) + "\n")
    broker = Mosquitto(program, config, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
