"""What a process says about itself: JSON lines on stderr, and readiness to systemd."""

from __future__ import annotations

import json
import os
import socket
import sys


def event(name: str, **fields: object) -> None:
    """Write one event as a JSON line on stderr; values that JSON has not are written as their text."""
    line = json.dumps({"event": name, **fields}, default=str, ensure_ascii=False, separators=(",", ":"))
    # One write: lines of several processes on one stderr stay whole.
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


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
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        try:
            out.sendto(state.encode(), name)
        except OSError as error:
            event("notify_failed", address=address, error=error)
            return False
    return True
