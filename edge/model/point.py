"""What a point is: the declaration that travels from a profile to the journal, the birth and the windows."""

from __future__ import annotations

import enum

import msgspec


class Kind(enum.StrEnum):
    """What a value means in time, and so what a window yields from it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    DELTA = "delta"
    EVENT = "event"
    STATE = "state"
    TEXT = "text"


class Datatype(enum.StrEnum):
    """How a value is carried in journal and payload; a point never changes it under one name."""

    FLOAT = "float"
    DOUBLE = "double"
    INT64 = "int64"
    BOOLEAN = "boolean"
    STRING = "string"


class Domain(enum.StrEnum):
    """The measurement that a device's rows belong to."""

    TRAFFIC = "traffic"
    ENERGY = "energy"
    ENVIRONMENT = "environment"


Value = float | int | bool | str | None


class Point(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured quantity of a device.

    `name` is `field` alone, or `field/part` where a device has the field more than once
    (`active_power_w/L1`); `part` then gives the tags (`(("phase", "L1"),)`).
    """

    name: str
    kind: Kind
    datatype: Datatype
    unit: str = ""
    part: tuple[tuple[str, str], ...] = ()
    resolution: int = 1
    """Counter: smallest step, in `unit`; every value is a multiple of it."""
    modulus: int = 0
    """Counter: the value, in `unit`, at which the register starts again from 0; 0 = never."""
    max_rate: float = 0.0
    """Counter: physical bound of the increase. [unit/s]; 0 = none declared."""
    low: float | None = None
    high: float | None = None
    """Plausible range; a value outside is bad (out_of_range)."""
    interval_start: str = ""
    """Delta: name of the point, in the same group, that holds the interval's start. [s since 1970, UTC]"""
    interval_s: int = 0
    """Delta: length of an interval. [s]"""
    weight: str = ""
    """Delta: name of the point, earlier in the same group, that weights this one (speed by volume)."""

    @property
    def field(self) -> str:
        """The name without its part: the stem of the fields in a row."""
        return self.name.partition("/")[0]


class Group(msgspec.Struct, frozen=True):
    """Points of one device that are polled together, as one snapshot, with one period."""

    site: str
    device: str
    group: str
    domain: Domain
    profile: str
    """`<profile name>@<first 16 hex digits of its SHA-256>`."""
    period_ns: int
    points: tuple[Point, ...]

    @property
    def key(self) -> tuple[str, str, str]:
        """Identity at the centre: (site, device, group)."""
        return (self.site, self.device, self.group)
