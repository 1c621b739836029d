"""What a process says about itself: JSON lines on stderr, and readiness to systemd.

Saying never fails: where stderr takes no more, the line is dropped and counted, and whoever said it goes on with its
work. Once nobody is left to read it, stderr is the null device, for the interpreter and every library alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO


class Teller:
    """Writes lines to this process's stderr, and counts those that it does not take; any thread."""

    def __init__(self) -> None:
        """Have said nothing."""
        self.unsaid = 0
        """Lines that were dropped."""
        self._gone: TextIO | None = None
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Write a line, or count it."""
        if not self._is_said(line):
            with self._lock:
                self.unsaid += 1

    def _is_said(self, line: str) -> bool:
        out = sys.stderr
        if out is None or out is self._gone:  # None: it was closed when the interpreter began
            return False
        try:
            out.write(line)  # one write: lines of several processes on one stderr stay whole
            out.flush()
        except BrokenPipeError:
            self._gone = out
            _silence(out)
            return False
        except (OSError, ValueError):  # no space, where it is a file; closed
            return False
        return True


teller = Teller()


def event(name: str, **fields: object) -> None:
    """Write one event as a JSON line on stderr; values that JSON has not are written as their text."""
    line = json.dumps({"event": name, **fields}, default=str, ensure_ascii=False, separators=(",", ":"))
    teller.say(line + "\n")


def ready(**fields: object) -> None:
    """Say that the process does its work now: `{"event":"ready"}` on stderr, `READY=1` to systemd."""
    event("ready", **fields)
    notify("READY=1")


def stopping() -> None:
    """Say that the process has begun an orderly end."""
    event("stopping")
    notify("STOPPING=1")


def notify(state: str) -> bool:
    """Tell systemd a state, if it asked for it; False if it did not or can't be reached."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(state.encode(), name)
    except OSError as error:
        event("notify_failed", address=address, error=error)
        return False
    return True


def _silence(out: TextIO) -> None:
    """Let nothing else fail of the pipe, as the interpreter would when it flushes at its end (exit 120)."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, out.fileno())
        os.close(null)
