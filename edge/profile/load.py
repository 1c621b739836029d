"""Text of a profile file → Profile."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edge.errors import ConfigurationError, Mistake
from edge.modbus.decode import Limits, Plan
from edge.model.point import Domain, Group, Point
from edge.profile import expand
from edge.profile.check import mistakes
from edge.profile.schema import GroupTable, ProfileTable
from edge.settings import parse as parse_settings


@dataclass(frozen=True, slots=True)
class Compiled:
    """One group of a profile."""

    table: GroupTable
    points: tuple[Point, ...]
    plan: Plan


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of device: its groups of points, and how each is read."""

    table: ProfileTable
    """The file as it was written, with defaults."""
    identity: str
    """`<name>@<16 hex digits of the SHA-256 of the file's text>`."""
    _groups: Mapping[str, Compiled]

    @property
    def name(self) -> str:
        """Short name, by which a gateway's configuration may call it."""
        return self.table.name

    @property
    def title(self) -> str:
        """Name for people."""
        return self.table.title

    @property
    def domain(self) -> Domain:
        """The measurement of its rows."""
        return self.table.domain

    @property
    def timeout_s(self) -> float:
        """Longest time to wait for an answer; what a device really needs is learned from its answers."""
        return self.table.modbus.timeout_s

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of its groups."""
        return tuple(self._groups)

    def points(self, name: str) -> tuple[Point, ...]:
        """Give the points of a group, in the order of its plan's values."""
        return self._groups[name].points

    def group(self, name: str, *, site: str, device: str, period_ns: int | None = None) -> Group:
        """Declare a group of one device.

        `period_ns` replaces the profile's own period; where there are deltas it is cut to their interval, since a
        longer one would lose intervals.
        """
        compiled = self._groups[name]
        period = period_ns or round(compiled.table.period_s * 1000) * 10**6
        if compiled.table.interval_s:
            period = min(period, compiled.table.interval_s * 10**9)
        return Group(site, device, name, self.domain, self.identity, period, compiled.points)

    def plan(self, name: str) -> Plan:
        """Give the plan of a group."""
        return self._groups[name].plan


def parse(text: str, file: str) -> Profile:
    """Read a profile; `file` is the name that mistakes carry.

    Raises:
        ConfigurationError: every mistake in it.
    """
    table = parse_settings(text, file, ProfileTable)
    found = list(mistakes(table, file))
    if found:
        raise ConfigurationError(found)
    groups = [_compile(group, table) for group in table.group]
    torn = [mistake for number, group in enumerate(groups) for mistake in _torn(group, file, f"group[{number}]")]
    if torn:
        raise ConfigurationError(torn)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Profile(table, f"{table.name}@{digest}", {group.table.name: group for group in groups})


def _compile(group: GroupTable, table: ProfileTable) -> Compiled:
    sources = expand.sources(group, table.modbus)
    limits = Limits(table.modbus.max_registers, table.modbus.max_hole)
    return Compiled(group, tuple(source.point for source in sources), Plan(sources, limits))


def _torn(group: Compiled, file: str, path: str) -> Iterator[Mistake]:
    """Between two reads a device may begin its next interval: its counts would be dated by the one before."""
    reads = len(group.plan.requests)
    if group.table.interval_s and reads > 1:
        expected = "points that one read can get (max_hole, max_registers), since they belong to one interval"
        yield Mistake(file, f"{path}.point", f"{reads} reads", expected)
