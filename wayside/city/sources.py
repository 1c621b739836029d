"""Where the value of each point of a profile comes from: its field's generator, made into what a register can hold."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import Protocol

from edge.model.point import Domain, Kind, Point, Value
from wayside.city import meters, traffic
from wayside.city.chance import bits, key_of

MOST_START = 10_000_000
"""Where a counter stands at the city's origin, where nobody says it, is drawn from below this."""


class Model(Protocol):
    """What a device measures."""

    def total(self, point: Point) -> Callable[[int], int] | None:
        """Give the source of a counter, since 1970; None for a field that the model does not know."""

    def reading(self, point: Point, interval_s: int) -> Callable[[int], Value] | None:
        """Give the source of any other point; None for a field that the model does not know."""


FIELDS: dict[Domain, tuple[str, ...]] = {
    Domain.TRAFFIC: (*traffic.COUNTS, *traffic.READINGS),
    Domain.ENERGY: (*meters.ENERGIES, *meters.READINGS, "frequency_hz"),
}
"""The fields that the city can fill, by domain."""

_COUNTERS: dict[Domain, Container[str]] = {Domain.TRAFFIC: traffic.COUNTS, Domain.ENERGY: meters.ENERGIES}


def is_known(point: Point, domain: Domain) -> bool:
    """Whether the city can fill a point: its field is one that counts just where the point is a counter."""
    counts = point.field in _COUNTERS.get(domain, ())
    return point.field in FIELDS.get(domain, ()) and counts == (point.kind is Kind.COUNTER)


@dataclass(frozen=True, slots=True)
class Counter:
    """A register that counts: `start` at the city's origin, in steps of the profile's resolution."""

    point: Point
    total: Callable[[int], int]
    start: int
    before: int
    """The total at the origin."""

    def unrolled(self, t_ns: int) -> int:
        """What the register would say if it had no end; before the origin it stands still."""
        count = self.start + max(0, self.total(t_ns) - self.before)
        return count - count % self.point.resolution

    def rolled(self, t_ns: int) -> int:
        """What the register has lost by rolling over."""
        return self.unrolled(t_ns) // self.point.modulus * self.point.modulus if self.point.modulus else 0

    def __call__(self, t_ns: int) -> Value:
        """What the register says."""
        return self.unrolled(t_ns) - self.rolled(t_ns)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where counters begin."""

    seed: int
    device: str
    """`site:device`."""
    t_ns: int
    start: dict[str, int]
    """By point name."""

    def counter(self, point: Point, total: Callable[[int], int]) -> Counter:
        """Begin a counter where the configuration says, else by chance."""
        drawn = bits(key_of(self.seed, self.device, "start", point.name), 0) % MOST_START
        return Counter(point, total, self.start.get(point.name, drawn), total(self.t_ns))


def source_of(point: Point, points: Iterable[Point], model: Model, origin: Origin) -> Callable[[int], Value] | None:
    """Give what makes a point's value from an instant; None for a field that the model does not know."""
    if point.kind is Kind.COUNTER:
        total = model.total(point)
        return None if total is None else origin.counter(point, total)
    lengths = (each.interval_s for each in points if point.name in {each.name, each.interval_start})
    return model.reading(point, max(lengths) or _NO_INTERVAL_S)


_NO_INTERVAL_S = 30
"""A detector's gauge speaks of the last half minute."""
