"""sites.toml: the registry of sites; entries are effective-dated, so that old rows keep their old meaning.

An entry holds from its `from` until the next entry of the same site. It says everything: what it leaves out
is not taken over from the entry before.
"""

from __future__ import annotations

import datetime as dt
import functools
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from edge.errors import ConfigurationError, Mistake
from edge.runtime.settings import load
from edge.settings import Settings, nearest

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)]
"""What becomes a tag and part of an MQTT topic: no spaces, slashes, colons or wildcards."""


class Lane(Settings):
    """One lane of a site; `lane` is the tag in its rows."""

    lane: Name
    direction: Name


class Ratings(Settings):
    """What a device was built for."""

    current_a: float | None = Field(default=None, gt=0)
    voltage_v: float | None = Field(default=None, gt=0)
    power_w: float | None = Field(default=None, gt=0)


class Device(Settings):
    """One device; its name is unique in the site, and one gateway owns it."""

    device: Name
    gateway: str = Field(min_length=1)
    """Edge node, as `<group>/<edge node>`."""
    ratings: Ratings = Ratings()


class Site(Settings):
    """A site from one moment on."""

    id: Name
    """The tag `site`."""
    since: dt.date | dt.datetime = Field(alias="from")
    name: str
    latitude: float = Field(ge=-90, le=90)
    longitude: float = Field(ge=-180, le=180)
    time_zone: str
    owner: str
    """The department that answers for it."""
    speed_limit_kmh: int | None = Field(default=None, gt=0)
    neighbours: tuple[str, ...] = ()
    tariff: str | None = None
    lane: tuple[Lane, ...] = ()
    device: tuple[Device, ...] = ()

    @field_validator("time_zone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in _time_zones():
            near = nearest(name, _time_zones())
            raise ValueError(f"a time zone's name{f', such as {near}' if near else ''}")
        return name

    @property
    def since_ns(self) -> int:
        """When the entry begins to hold: a date means its midnight in the site's own zone. [ns]."""
        moment = self.since
        if not isinstance(moment, dt.datetime):
            moment = dt.datetime.combine(moment, dt.time())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zoneinfo.ZoneInfo(self.time_zone))
        return int(moment.timestamp()) * 10**9


class Registry(Settings):
    """All entries of all sites, in the order of the file."""

    site: tuple[Site, ...] = ()

    def ids(self) -> list[str]:
        """Name the sites."""
        return sorted({entry.id for entry in self.site})

    def entries(self, site: str) -> list[Site]:
        """Give one site's entries, oldest first."""
        return sorted((entry for entry in self.site if entry.id == site), key=lambda entry: entry.since_ns)

    def at(self, site: str, t_ns: int) -> Site | None:
        """Give what held for a site at an instant; None before its first entry, or if it is unknown."""
        held = [entry for entry in self.entries(site) if entry.since_ns <= t_ns]
        return held[-1] if held else None


def load_registry(path: Path) -> Registry:
    """Read sites.toml.

    Raises:
        ConfigurationError: every mistake in it, also between entries.
    """
    registry = load(path, Registry)
    mistakes = list(_mistakes(registry, str(path)))
    if mistakes:
        raise ConfigurationError(mistakes)
    return registry


def _mistakes(registry: Registry, file: str) -> Iterator[Mistake]:
    ids = registry.ids()
    begun: set[tuple[str, int]] = set()
    for number, entry in enumerate(registry.site):
        path = f"site[{number}]"
        if (entry.id, entry.since_ns) in begun:
            yield Mistake(file, f"{path}.from", str(entry.since), f"another moment: {entry.id} has an entry from then")
        begun.add((entry.id, entry.since_ns))
        yield from _twice(file, f"{path}.lane", [lane.lane for lane in entry.lane])
        yield from _twice(file, f"{path}.device", [device.device for device in entry.device])
        for n, neighbour in enumerate(entry.neighbours):
            if neighbour not in ids or neighbour == entry.id:
                others = [each for each in ids if each != entry.id]
                yield Mistake(
                    file, f"{path}.neighbours[{n}]", neighbour, "another site's id", nearest(neighbour, others)
                )


def _twice(file: str, path: str, names: list[str]) -> Iterator[Mistake]:
    for number, name in enumerate(names):
        if name in names[:number]:
            yield Mistake(file, f"{path}[{number}]", name, "a name that is unique in the site")


@functools.cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
