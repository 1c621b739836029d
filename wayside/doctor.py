"""Looks at the machine for `wayside doctor`: each finding says what is, and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge.errors import ConfigurationError, Mistake
from wayside.installed import EXTRAS, missing, one_place

_REACH_S = 3.0
_SERIAL = ("ttyUSB*", "ttyACM*", "ttyAMA*", "ttyS*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    ok: bool
    found: str
    needed: bool = True
    advice: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return asdict(self)

    def line(self) -> str:
        """Say it to a person."""
        mark = "ok  " if self.ok else ("MISS" if self.needed else "-   ")
        return f"{mark} {self.name}: {self.found}" + (f"\n       {self.advice}" if self.advice and not self.ok else "")


def examine(config: Path | None, influx: str | None, broker: str | None) -> list[Finding]:
    """Look at everything; reach only the peers that are named."""
    findings = [_python(), _place(), *_extras(), *_programs(), *_serial_ports()]
    urls = _named(config) if config else []
    urls += [("database", influx)] if influx else []
    urls += [("broker", broker)] if broker else []
    return findings + [_reach(what, url) for what, url in urls]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), version, advice="install Python 3.11 or newer")


def _place() -> Finding:
    try:
        return Finding("packages", True, str(one_place()))
    except ConfigurationError as error:
        advice = "install wayside alone in its own virtual environment"
        return Finding("packages", False, str(error).replace("\n", "; "), advice=advice)


def _extras() -> Iterator[Finding]:
    for extra in EXTRAS:
        gone = missing(extra)
        found = f"missing: {', '.join(gone)}" if gone else "installed"
        advice = f"pip install 'wayside[{extra}]', where this machine runs `wayside {extra}`"
        yield Finding(f"extra {extra}", not gone, found, needed=False, advice=advice)


def _programs() -> Iterator[Finding]:
    uses = {"mosquitto": "the demo starts it as its broker; without it, a broker in Python serves"}
    for program, use in uses.items():
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
        advice = f"apt-get install --no-install-recommends {program}: {use}"
        yield Finding(program, path is not None, path or "not found", needed=False, advice=advice)


def _serial_ports() -> Iterator[Finding]:
    """USB and on-board serial lines that exist; a console's ttyS0 that nobody may use is no fault."""
    for path in sorted(path for pattern in _SERIAL for path in Path("/dev").glob(pattern)):
        allowed = os.access(path, os.R_OK | os.W_OK)
        advice = "add the user that runs the gateway to the group `dialout`, and log in again"
        yield Finding(
            f"port {path}", allowed, "may be opened" if allowed else "permission denied", needed=False, advice=advice
        )


def _named(config: Path) -> list[tuple[str, str]]:
    """The peers that a configuration file names; the file is checked by `check`, not here."""
    from edge.settings import tree_of  # noqa: PLC0415 -- imported late

    try:
        text = config.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            [Mistake(str(config), "(whole file)", None, f"a readable file ({error.strerror})")]
        ) from error
    tree = tree_of(text, str(config))
    brokers = [tree.get("broker", {}).get("url"), tree.get("uplink", {}).get("broker")]
    named = [("broker", url) for url in brokers if url]
    return named + [("database", table["url"]) for table in tree.get("influx", []) if "url" in table]


def _reach(what: str, url: str) -> Finding:
    name = f"{what} {url}"
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    ports = {"http": 80, "https": 443, "mqtts": 8883, "ssl": 8883}
    try:
        with socket.create_connection((parts.hostname or "", parts.port or ports.get(parts.scheme, 1883)), _REACH_S):
            return Finding(name, True, "answers")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Finding(name, False, reason, advice=f"start the {what}, or correct its address")
