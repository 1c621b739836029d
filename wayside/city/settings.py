"""city.toml: one frozen tree, or every mistake in it (docs/city.md)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edge.errors import ConfigurationError, Mistake
from edge.modbus.decode import Limits, Plan, answers
from edge.modbus.scaling import Source
from edge.model.point import Domain, Kind, Point
from edge.profile.load import Profile
from edge.runtime.profiles import find
from edge.runtime.settings import load
from edge.settings import Settings, nearest
from edge.settings import parse as parse_settings
from wayside.city.devices import Behaviour
from wayside.city.meters import MeterSettings
from wayside.city.sources import FIELDS, MOST_START, is_known
from wayside.city.traffic import TrafficSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
_OF_DOMAIN = {
    "power_w": Domain.ENERGY,
    "solar_w": Domain.ENERGY,
    "peak_vehicles_h": Domain.TRAFFIC,
    "free_speed_kmh": Domain.TRAFFIC,
}


class CitySettings(Settings):
    """What all devices have in common."""

    seed: int = Field(ge=0)
    """Every value follows from it."""
    site: Name
    """Of the devices that name none."""
    origin: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    """When counters stood at their `start`."""
    utc_offset_h: float = Field(default=0.0, ge=-12, le=14)
    """Local time, by which people drive and cook, less UTC. [h]"""

    @property
    def origin_ns(self) -> int:
        """The origin; without an offset it is UTC. [ns]."""
        origin = self.origin if self.origin.tzinfo else self.origin.replace(tzinfo=dt.UTC)
        return int(origin.timestamp()) * 1_000_000_000


class TcpBus(Settings):
    """A Modbus TCP server on loopback, with units behind it."""

    name: Name
    protocol: Literal["tcp"]
    port: int = Field(default=0, ge=0, le=65535)
    """0 = a free one."""


class RtuBus(Settings):
    """A pseudo-terminal that speaks Modbus RTU, under the name `ttyS-<bus>`."""

    name: Name
    protocol: Literal["rtu"]
    baud: int = Field(default=9600, ge=300, le=4_000_000)
    pace: bool = False
    """Let each frame take the time that it takes at `baud`."""


Bus = Annotated[TcpBus | RtuBus, Field(discriminator="protocol")]


class DeviceSettings(Settings):
    """One device on a bus."""

    name: Name
    site: Name | None = None
    bus: str
    unit_id: int = Field(ge=1, le=247)
    profile: str
    power_w: float | None = Field(default=None, ge=0, le=1e6)
    solar_w: float | None = Field(default=None, ge=0, le=1e6)
    peak_vehicles_h: float | None = Field(default=None, ge=0, le=3000)
    free_speed_kmh: float | None = Field(default=None, ge=5, le=200)
    start: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Counter point → where it stands at the city's origin."""
    latency_s: float = Field(default=0.0, ge=0, le=60)
    dead: bool = False
    silent_from_s: float = Field(default=0.0, ge=0)
    silent_for_s: float = Field(default=0.0, ge=0)

    @property
    def behaviour(self) -> Behaviour:
        """How it fails to be prompt."""
        return Behaviour(self.latency_s, self.dead, self.silent_from_s, self.silent_for_s)

    def meter(self, city: CitySettings) -> MeterSettings:
        """What hangs on it, if it is a meter."""
        return MeterSettings(**self._given("power_w", "solar_w"), utc_offset_h=city.utc_offset_h)

    def traffic(self, city: CitySettings) -> TrafficSettings:
        """What drives over it, if it is a detector."""
        return TrafficSettings(**self._given("peak_vehicles_h", "free_speed_kmh"), utc_offset_h=city.utc_offset_h)

    def _given(self, *names: str) -> dict[str, float]:
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class City(Settings):
    """A whole city."""

    city: CitySettings
    bus: tuple[Bus, ...]
    device: tuple[DeviceSettings, ...]

    def site_of(self, device: DeviceSettings) -> str:
        """Give the site of a device."""
        return device.site or self.city.site


def load_city(path: Path) -> tuple[City, list[Profile]]:
    """Read city.toml; give the profile of each device too.

    Raises:
        ConfigurationError: every mistake in it, also between tables and against the profiles.
    """
    return _checked(load(path, City), str(path), path.parent)


def parse_city(text: str, file: str, base: Path) -> tuple[City, list[Profile]]:
    """`load_city` a text; `base` is where paths of profiles begin."""
    return _checked(parse_settings(text, file, City), file, base)


def _checked(city: City, file: str, base: Path) -> tuple[City, list[Profile]]:
    mistakes = [*_twice(city, file), *_unknown_buses(city, file)]
    profiles: list[Profile] = []
    for number, device in enumerate(city.device):
        try:
            profiles.append(find(device.profile, base))
        except ConfigurationError as error:
            mistakes += [_moved(mistake, device, file, f"device[{number}].profile") for mistake in error.mistakes]
        else:
            mistakes += _against_profile(device, profiles[-1], file, f"device[{number}]")
    if mistakes:
        raise ConfigurationError(mistakes)
    return city, profiles


def _moved(mistake: Mistake, device: DeviceSettings, file: str, path: str) -> Mistake:
    """A name that no profile has is a mistake of this file; one inside a profile stays where it is."""
    if mistake.file != device.profile:
        return mistake
    return Mistake(file, path, mistake.value, mistake.expected, mistake.nearest)


def _twice(city: City, file: str) -> Iterator[Mistake]:
    ports = [bus.port or -n if isinstance(bus, TcpBus) else -n for n, bus in enumerate(city.bus, 1)]
    yield from _again(file, "bus[{}].name", [bus.name for bus in city.bus], "a name that no other bus has")
    yield from _again(file, "bus[{}].port", ports, "a port of its own")
    units = [(device.bus, device.unit_id) for device in city.device]
    yield from _again(file, "device[{}].unit_id", units, "a unit id that is unique on its bus")
    names = [f"{city.site_of(device)}:{device.name}" for device in city.device]
    yield from _again(file, "device[{}].name", names, "a name that is unique in its site")


def _again(file: str, path: str, values: Sequence[object], expected: str) -> Iterator[Mistake]:
    for number, value in enumerate(values):
        if value in values[:number]:
            shown = value[-1] if isinstance(value, tuple) else value
            yield Mistake(file, path.format(number), shown, expected)


def _unknown_buses(city: City, file: str) -> Iterator[Mistake]:
    names = [bus.name for bus in city.bus]
    for number, device in enumerate(city.device):
        if device.bus not in names:
            yield Mistake(
                file, f"device[{number}].bus", device.bus, f"one of {', '.join(names)}", nearest(device.bus, names)
            )


def _against_profile(device: DeviceSettings, profile: Profile, file: str, path: str) -> Iterator[Mistake]:
    for key, domain in _OF_DOMAIN.items():
        if getattr(device, key) is not None and domain != profile.domain:
            yield Mistake(
                file, f"{path}.{key}", getattr(device, key), f"nothing: {profile.name} is of {profile.domain}"
            )
    sources = [source for group in profile.groups for source in profile.plan(group).sources]
    yield from _unknown_fields([source.point for source in sources], profile, file, f"{path}.profile")
    counters = {source.point.name: source for source in sources if source.point.kind is Kind.COUNTER}
    for name in dict.fromkeys([*device.start, *counters]):
        yield from _start(name, device.start.get(name), counters, file, f"{path}.start.{name}")


def _unknown_fields(points: Iterable[Point], profile: Profile, file: str, path: str) -> Iterator[Mistake]:
    known = FIELDS.get(profile.domain, ())
    for field, kind in sorted({(point.field, point.kind) for point in points if not is_known(point, profile.domain)}):
        expected = f"a profile of fields that the city can fill ({', '.join(known)}), not {field!r} as a {kind}"
        yield Mistake(file, path, profile.name, expected, nearest(field, known))


def _start(name: str, value: int | None, counters: dict[str, Source], file: str, path: str) -> Iterator[Mistake]:
    if (source := counters.get(name)) is None:
        yield Mistake(file, path, value, f"a counter: {', '.join(counters)}", nearest(name, counters))
    elif value is not None and source.point.modulus and value >= source.point.modulus:
        yield Mistake(file, path, value, f"less than the modulus, {source.point.modulus}")
    elif not _shows(source, MOST_START if value is None else value):
        yield Mistake(file, path, value, "a value that the register can show exactly")


def _shows(source: Source, count: int) -> bool:
    """Whether a counter's registers mean exactly this, in steps of its resolution."""
    value = (count % source.point.modulus if source.point.modulus else count) // source.point.resolution
    value *= source.point.resolution
    alone = Plan([source], Limits())
    try:
        registers = alone.encode([value])
    except ValueError:
        return False
    return alone.decode(answers(alone.requests, registers))[0] == [value]
