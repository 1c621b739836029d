"""Traffic: what a detector over each lane sees, as a pure function of seed, device, lane and event time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge.model.point import Point, Value
from wayside.city.chance import key_of, unit
from wayside.city.flow import PER_UNIT, S_NS, SATURDAY, Flow, Warp, Week, bell

LANE_CAPACITY_H = 1900.0
"""Vehicles that a lane carries at most. [veh/h]"""
VEHICLE_M = 6.5
"""Length of a mean vehicle, with the length of the detection zone. [m]"""


@dataclass(frozen=True, slots=True)
class TrafficSettings:
    """What a traffic device sees."""

    peak_vehicles_h: float = 900.0
    """Of each lane, in the busiest hour."""
    free_speed_kmh: float = 52.0
    """Mean speed on an empty road."""
    utc_offset_h: float = 0.0


@dataclass(frozen=True, slots=True)
class Interval:
    """What one lane saw in one interval."""

    volume: int
    speed_kmh: float | None
    """Mean speed; nobody came by, no speed."""
    occupancy_pct: float


class Lane:
    """One lane under one detector."""

    def __init__(self, key: int, settings: TrafficSettings) -> None:
        """Follow from `key` and the settings alone; a lane leans to the morning or to the evening."""
        self._key, self._settings = key, settings
        lean = 0.3 * (unit(key, -1) - 0.5)

        def rate(day: int, hour: float) -> float:
            return settings.peak_vehicles_h * _share(day, hour, lean)

        self._flow = Flow(Week(rate, settings.utc_offset_h), Warp(key))
        self._latest: tuple[int, int, Interval] | None = None

    def count(self, t_ns: int) -> int:
        """Vehicles since 1970."""
        return self._flow.total(t_ns) // PER_UNIT

    def interval(self, start_ns: int, length_ns: int) -> Interval:
        """See what passed in `[start, start + length)`; its volume is the difference of two counts."""
        if self._latest is None or self._latest[:2] != (start_ns, length_ns):
            self._latest = start_ns, length_ns, self._seen(start_ns, length_ns)
        return self._latest[2]

    def _seen(self, start_ns: int, length_ns: int) -> Interval:
        volume = self.count(start_ns + length_ns) - self.count(start_ns)
        if not volume:
            return Interval(0, None, 0.0)
        length_s = length_ns / S_NS
        load = min(1.0, volume * 3600 / length_s / LANE_CAPACITY_H)
        luck = 0.94 + 0.12 * unit(self._key ^ 1, start_ns // S_NS)
        speed_kmh = self._settings.free_speed_kmh * (1.0 - 0.6 * load * load) * luck
        return Interval(volume, speed_kmh, min(100.0, 100.0 * volume * VEHICLE_M / (speed_kmh / 3.6) / length_s))


class Traffic:
    """A traffic detector: the sources of its points, by field name."""

    def __init__(self, seed: int, device: str, settings: TrafficSettings) -> None:
        """Make lanes when points ask for them."""
        self._seed, self._device, self._settings = seed, device, settings
        self._lanes: dict[str, Lane] = {}

    def total(self, point: Point) -> Callable[[int], int] | None:
        """Give the source of a counter: vehicles since 1970."""
        return self._lane(point).count if point.field in COUNTS else None

    def reading(self, point: Point, interval_s: int) -> Callable[[int], Value] | None:
        """Give the source of any other point, which speaks of the last whole interval before an instant."""
        if (of := READINGS.get(point.field)) is None:
            return None
        lane, length_ns = self._lane(point), interval_s * S_NS

        def read(t_ns: int) -> Value:
            start_ns = (t_ns // length_ns - 1) * length_ns
            return of(lane.interval(start_ns, length_ns), start_ns // S_NS)

        return read

    def _lane(self, point: Point) -> Lane:
        name = dict(point.part).get("lane", "")
        if name not in self._lanes:
            self._lanes[name] = Lane(key_of(self._seed, self._device, "lane", name), self._settings)
        return self._lanes[name]


COUNTS = frozenset({"vehicles"})
"""Fields of counters."""

READINGS: Mapping[str, Callable[[Interval, int], Value]] = {
    "volume": lambda seen, _: seen.volume,
    "mean_speed_kmh": lambda seen, _: seen.speed_kmh,
    "occupancy_pct": lambda seen, _: seen.occupancy_pct,
    "interval_start_s": lambda _, start_s: start_s,
}
"""Fields of everything else, from an interval and its start. [s since 1970]"""


def _share(day: int, hour: float, lean: float) -> float:
    """Part of the busiest hour's traffic: two commuters' peaks on weekdays, one long afternoon at the weekend."""
    night = 0.04 + 0.28 * bell(hour, 13.0, 4.5)
    if day >= SATURDAY:
        return night + 0.3 * bell(hour, 15.0, 3.5)
    return night + (0.6 + lean) * bell(hour, 8.0, 1.2) + (0.65 - lean) * bell(hour, 17.3, 1.6)
