"""Electricity: what a three-phase meter shows, as a pure function of seed, device and event time.

Energy is the integral of power, in whole units; the sums of a meter are the sums of its phases.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.model.point import Point, Value
from wayside.city.chance import key_of, unit, wander
from wayside.city.flow import PER_UNIT, S_NS, SATURDAY, Flow, Warp, Week, bell

PHASES = ("L1", "L2", "L3")
NOMINAL_V = 230.0
NOMINAL_HZ = 50.0
MOST_SAG_V = 20.0
"""Load pulls the voltage down, and solar power up, by no more than this, whatever the configuration says."""
_HALF_SAG_W = 80_000.0
_WANDER_NS = 20 * S_NS


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """What hangs on a meter."""

    power_w: float = 9000.0
    """Load of all phases together in the busiest hour."""
    solar_w: float = 0.0
    """Solar panels behind the meter, at noon; what exceeds the load is exported."""
    utc_offset_h: float = 0.0


@dataclass(frozen=True, slots=True)
class Instant:
    """One phase at one instant. Power is positive from the grid."""

    active_power_w: float
    reactive_power_var: float
    voltage_v: float

    @property
    def apparent_power_va(self) -> float:
        """From active and reactive power."""
        return math.hypot(self.active_power_w, self.reactive_power_var)

    @property
    def current_a(self) -> float:
        """From apparent power and voltage."""
        return self.apparent_power_va / self.voltage_v


class Phase:
    """One phase of one meter."""

    def __init__(self, key: int, share: float, settings: MeterSettings) -> None:
        """Carry `share` of the meter's load and panels."""
        self._key = key
        self._tan_milli = 150 + int(300 * unit(key, -1))
        """Thousandths of reactive for each active: whole, so that energy and power tell the same."""

        def net(day: int, hour: float) -> float:
            return share * (settings.power_w * _load(day, hour) - settings.solar_w * _sun(hour))

        warp, offset_h = Warp(key), settings.utc_offset_h
        self._imported = Flow(Week(lambda day, hour: max(0.0, net(day, hour)), offset_h), warp)
        self._exported = Flow(Week(lambda day, hour: max(0.0, -net(day, hour)), offset_h), warp)
        self._latest: tuple[int, Instant] | None = None

    def imported(self, t_ns: int) -> int:
        """Energy from the grid since 1970, in parts of `PER_UNIT` of 1 Wh."""
        return self._imported.total(t_ns)

    def exported(self, t_ns: int) -> int:
        """Energy into the grid since 1970, in parts of `PER_UNIT` of 1 Wh."""
        return self._exported.total(t_ns)

    def reactive_imported(self, t_ns: int) -> int:
        """Reactive energy that came with the imported energy, in parts of `PER_UNIT` of 1 varh."""
        return self._imported.total(t_ns) * self._tan_milli // 1000

    def reactive_exported(self, t_ns: int) -> int:
        """Reactive energy that went with the exported energy, in parts of `PER_UNIT` of 1 varh."""
        return self._exported.total(t_ns) * self._tan_milli // 1000

    def at(self, t_ns: int) -> Instant:
        """See the phase at an instant."""
        if self._latest is None or self._latest[0] != t_ns:
            self._latest = t_ns, self._seen(t_ns)
        return self._latest[1]

    def _seen(self, t_ns: int) -> Instant:
        power_w = self._imported.rate(t_ns) - self._exported.rate(t_ns)
        sag_v = MOST_SAG_V * math.tanh(power_w / _HALF_SAG_W)
        voltage_v = NOMINAL_V + 2.5 * wander(self._key ^ 1, t_ns, _WANDER_NS) - sag_v
        return Instant(power_w, power_w * self._tan_milli / 1000, voltage_v)


class Meter:
    """An electricity meter: the sources of its points, by field name."""

    def __init__(self, seed: int, device: str, settings: MeterSettings) -> None:
        """Spread the load over the phases unevenly, as houses do."""
        keys = [key_of(seed, device, "phase", name) for name in PHASES]
        weights = [0.8 + 0.4 * unit(key, -2) for key in keys]
        self._phases = [Phase(key, weight / sum(weights), settings) for key, weight in zip(keys, weights, strict=True)]
        self._grid = key_of(seed, "grid")

    def total(self, point: Point) -> Callable[[int], int] | None:
        """Give the source of a counter: Wh or varh since 1970, of a phase or of all."""
        if (of := ENERGIES.get(point.field)) is None:
            return None
        phases = self._of(point)
        return lambda t_ns: sum(of(phase, t_ns) for phase in phases) // PER_UNIT

    def reading(self, point: Point, interval_s: int) -> Callable[[int], Value] | None:  # noqa: ARG002 # a meter has no intervals
        """Give the source of any other point, of a phase or of all."""
        if point.field == "frequency_hz":
            return lambda t_ns: NOMINAL_HZ + 0.03 * wander(self._grid, t_ns, _WANDER_NS)
        if (of := READINGS.get(point.field)) is None:
            return None
        phases = self._of(point)
        return lambda t_ns: of([phase.at(t_ns) for phase in phases])

    def _of(self, point: Point) -> list[Phase]:
        name = dict(point.part).get("phase")
        return [self._phases[PHASES.index(name)]] if name in PHASES else self._phases


ENERGIES: Mapping[str, Callable[[Phase, int], int]] = {
    "import_energy_wh": Phase.imported,
    "export_energy_wh": Phase.exported,
    "total_energy_wh": lambda phase, t_ns: phase.imported(t_ns) + phase.exported(t_ns),
    "import_reactive_energy_varh": Phase.reactive_imported,
    "export_reactive_energy_varh": Phase.reactive_exported,
    "total_reactive_energy_varh": lambda phase, t_ns: phase.reactive_imported(t_ns) + phase.reactive_exported(t_ns),
}
"""Fields of counters."""


def _active(phases: list[Instant]) -> float:
    return sum(each.active_power_w for each in phases)


def _reactive(phases: list[Instant]) -> float:
    return sum(each.reactive_power_var for each in phases)


def _apparent(phases: list[Instant]) -> float:
    return math.hypot(_active(phases), _reactive(phases))


def _power_factor(phases: list[Instant]) -> float:
    return _active(phases) / apparent if (apparent := _apparent(phases)) else 1.0


def _voltage(phases: list[Instant]) -> float:
    return sum(each.voltage_v for each in phases) / len(phases)


READINGS: Mapping[str, Callable[[list[Instant]], Value]] = {
    "active_power_w": _active,
    "reactive_power_var": _reactive,
    "apparent_power_va": _apparent,
    "power_factor": _power_factor,
    "voltage_v": _voltage,
    "voltage_ll_v": lambda phases: _voltage(phases) * math.sqrt(3),
    "current_a": lambda phases: sum(each.current_a for each in phases),
}
"""Fields of everything else but `frequency_hz`, from the phases that a point covers."""


def _load(day: int, hour: float) -> float:
    """Part of the busiest hour's load: a base, mornings, evenings; offices sleep at the weekend."""
    work = 0.25 if day < SATURDAY else 0.08
    return 0.25 + work * bell(hour, 11.0, 3.5) + 0.2 * bell(hour, 7.5, 1.3) + 0.5 * bell(hour, 19.0, 2.2)


def _sun(hour: float) -> float:
    return math.pow(max(0.0, math.cos((hour - 12.5) / 12 * math.pi)), 1.5)
