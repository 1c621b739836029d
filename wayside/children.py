"""Processes that a demo starts: each with a log file of its own, awaited until ready, stopped or killed at will."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import PeerUnreachable

_LOOK_S = 0.05
_TAIL_BYTES = 2000
STOP_S = 12.0
"""Longest orderly end: our processes promise 10 s."""


@dataclass(slots=True)
class Child:
    """One process; `start` may be called again after it has ended."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _from_byte: int = 0

    def start(self) -> None:
        """Start it; what it says goes behind what it said before."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._from_byte = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as out:
            # A group of its own: Ctrl-C is the demo's to handle, in its order.
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether it has said so, since it was last started."""
        return any(_event(line) == "ready" for line in self.said.splitlines())

    @property
    def said(self) -> str:
        """What it has written since it was last started."""
        with self.log.open("rb") as said:
            said.seek(self._from_byte)
            return said.read().decode(errors="replace")

    def await_ready(self, timeout_s: float) -> None:
        """Wait for its `{"event":"ready"}`.

        Raises:
            PeerUnreachable: it ended, or did not become ready in time; the message has its last words.
        """
        for _ in range(int(timeout_s / _LOOK_S)):
            if self.is_ready:
                return
            if not self.is_running:
                raise PeerUnreachable(self.name, f"it ended while starting; {self._last_words()}")
            _pause(_LOOK_S)
        raise PeerUnreachable(self.name, f"not ready after {timeout_s:.0f} s; {self._last_words()}")

    def kill(self) -> None:
        """SIGKILL, as a power cut or the kernel would."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def ask_to_stop(self) -> None:
        """SIGTERM; `await_end` waits."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGTERM)

    def await_end(self, timeout_s: float = STOP_S) -> int | None:
        """Wait for its end and give its exit code; one that does not end is killed."""
        if self._process is None:
            return None
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def _last_words(self) -> str:
        lines = self.said[-_TAIL_BYTES:].strip().splitlines()[-5:]
        return f"its log {self.log} ends:\n  " + "\n  ".join(lines or ["(nothing)"])


def wayside(*arguments: str) -> list[str]:
    """The command line of one of our own commands, in this interpreter."""
    return [sys.executable, "-m", "wayside", *arguments]


def _event(line: str) -> str:
    if not line.startswith("{"):
        return ""
    try:
        said = json.loads(line)
    except ValueError:
        return ""
    return str(said.get("event", "")) if isinstance(said, dict) else ""


def _pause(real_s: float) -> None:
    threading.Event().wait(real_s)
