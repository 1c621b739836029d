"""The city as a process: builds devices and lines, then serves them until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
from collections.abc import Iterator
from pathlib import Path

from edge.errors import PeerUnreachable, Refused
from edge.model.point import Domain
from edge.profile.load import Profile
from edge.runtime.clock import Clock, process_clock
from edge.runtime.ready import ready, stopping
from edge.runtime.supervisor import Supervisor, stop_on_signals
from wayside.city.devices import LATCH_S, Image, Unit
from wayside.city.line import MOST_FRAMES_BYTES, RtuLine, TcpServer, byte_s
from wayside.city.meters import Meter
from wayside.city.settings import Bus, City, DeviceSettings, RtuBus, TcpBus, load_city
from wayside.city.sources import Model, Origin, source_of
from wayside.city.traffic import Traffic
from wayside.city.truth import Truth

ENDPOINTS = "endpoints.json"
TRUTH = "truth.ndjson"


def run(path: Path, directory: Path, minutes: float | None) -> None:
    """Serve the city of a file until SIGTERM, or for some minutes of real time.

    Raises:
        ConfigurationError: every mistake in the file.
        PeerUnreachable: a port is taken.
        Refused: another city is served from this folder.
    """
    city, profiles = load_city(path)
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        _run(city, profiles, directory, minutes)


def _run(city: City, profiles: list[Profile], directory: Path, minutes: float | None) -> None:
    clock = process_clock(["host"])
    truth = Truth(directory / TRUTH, clock)
    try:
        lines = lines_of(city, profiles, directory.absolute(), clock, truth)
        asyncio.run(_serve(lines, directory.absolute(), clock, truth, minutes))
    finally:
        truth.close()


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Keep a second city out of the folder: it would take the first one's terminals away."""
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(f"{directory}: another city is served from here; name another folder with --dir") from error
        yield


async def _serve(
    lines: dict[str, TcpServer | RtuLine], directory: Path, clock: Clock, truth: Truth, minutes: float | None
) -> None:
    stop = stop_on_signals()
    try:
        await open_all(lines, directory)
        async with Supervisor(clock) as supervisor:
            supervisor.start("city.truth", truth.run)
            ready(buses=len(lines), endpoints=str(directory / ENDPOINTS))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), None if minutes is None else minutes * 60)
            stopping()
    finally:
        for line in lines.values():
            line.close()
        (directory / ENDPOINTS).unlink(missing_ok=True)


def lines_of(
    city: City, profiles: list[Profile], directory: Path, clock: Clock, truth: Truth
) -> dict[str, TcpServer | RtuLine]:
    """Build every line with its units, by bus name; nothing is opened yet."""
    units: dict[str, dict[int, Unit]] = {bus.name: {} for bus in city.bus}
    most_frame_s = {bus.name: MOST_FRAMES_BYTES * _byte_s(bus) for bus in city.bus}
    for device, profile in zip(city.device, profiles, strict=True):
        latch_s = LATCH_S + device.latency_s + most_frame_s[device.bus]
        images = _images(city, device, profile, latch_s)
        units[device.bus][device.unit_id] = Unit(images, device.behaviour, clock, truth)
    return {bus.name: _line(bus, units[bus.name], directory, clock) for bus in city.bus}


async def open_all(lines: dict[str, TcpServer | RtuLine], directory: Path) -> None:
    """Open every line, then say in `endpoints.json` where each is, in the form that gateway.toml takes.

    Raises:
        PeerUnreachable: a port is taken.
    """
    buses = {}
    for name, line in lines.items():
        try:
            buses[name] = {"protocol": line.protocol, "port": await line.open()}
        except OSError as error:
            raise PeerUnreachable(f"bus {name}", str(error)) from error
    part = directory / f"{ENDPOINTS}.part"
    part.write_text(json.dumps({"buses": buses}, indent=1) + "\n", encoding="utf-8")
    part.replace(directory / ENDPOINTS)  # who looks sees all of it, or what was there before


def _line(bus: Bus, units: dict[int, Unit], directory: Path, clock: Clock) -> TcpServer | RtuLine:
    if isinstance(bus, TcpBus):
        return TcpServer(bus.port, units)
    return RtuLine(directory / f"ttyS-{bus.name}", _byte_s(bus), units, clock)


def _byte_s(bus: Bus) -> float:
    """Time that a byte takes on a bus. [s]."""
    return byte_s(bus.baud) if isinstance(bus, RtuBus) and bus.pace else 0.0


def _images(city: City, device: DeviceSettings, profile: Profile, latch_s: float) -> list[Image]:
    name = f"{city.site_of(device)}:{device.name}"
    model = _model(city, device, profile.domain, name)
    origin = Origin(city.city.seed, name, city.city.origin_ns, device.start)
    images = []
    for group in profile.groups:
        points = profile.points(group)
        sources = [source for point in points if (source := source_of(point, points, model, origin)) is not None]
        images.append(Image(name, profile.plan(group), points, sources, latch_s))
    return images


def _model(city: City, device: DeviceSettings, domain: Domain, name: str) -> Model:
    if domain is Domain.TRAFFIC:
        return Traffic(city.city.seed, name, device.traffic(city.city))
    return Meter(city.city.seed, name, device.meter(city.city))
