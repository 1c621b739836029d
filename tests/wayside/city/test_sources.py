"""The points of the shipped profiles: each has a source, the same at any time, and counters add up."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model.point import Domain, Kind, Point, Value
from edge.profile.load import Profile
from edge.runtime.profiles import library
from tests.wayside.city.rig import MONDAY_8_NS, S_NS
from wayside.city.meters import Meter, MeterSettings
from wayside.city.sources import Model, Origin, source_of
from wayside.city.traffic import Traffic, TrafficSettings

HOUR_NS = 3600 * S_NS
TIMES = st.integers(MONDAY_8_NS - 10**17, MONDAY_8_NS + 10**17)
SETTINGS = MeterSettings(power_w=9000.0, solar_w=12_000.0)
Source = Callable[[int], Value]


def built(profile: Profile, seed: int = 5, start: dict[str, int] | None = None) -> dict[str, tuple[Point, Source]]:
    """Every source of a profile, by point."""
    traffic = profile.domain is Domain.TRAFFIC
    model: Model = Traffic(seed, "port:d", TrafficSettings()) if traffic else Meter(seed, "port:d", SETTINGS)
    made = {}
    for group in profile.groups:
        points = profile.points(group)
        for point in points:
            source = source_of(point, points, model, Origin(seed, "port:d", MONDAY_8_NS, start or {}))
            assert source is not None, point.name
            made[point.name] = point, source
    return made


@cache
def shared(name: str) -> dict[str, tuple[Point, Source]]:
    """Sources that all tests ask, in whatever order."""
    return built(library()[name])


@pytest.mark.parametrize("profile", library().values(), ids=library())
def test_every_point_has_a_source_and_every_source_a_number(profile: Profile) -> None:
    made = built(profile)
    assert len(made) == sum(len(profile.points(group)) for group in profile.groups)
    for name, (point, source) in made.items():
        value = source(MONDAY_8_NS)
        assert isinstance(value, int | float), name
        assert point.low is None or value >= point.low, name
        assert point.high is None or value <= point.high, name


@pytest.mark.parametrize("name", library())
@settings(max_examples=12)  # building a city takes a tenth of a second
@given(times=st.lists(TIMES, min_size=1, max_size=3))
def test_a_value_asked_for_alone_is_that_in_any_sequence(name: str, times: list[int]) -> None:
    fresh = built(library()[name])
    for point, (_, source) in shared(name).items():
        in_sequence = [source(t_ns) for t_ns in times]
        assert fresh[point][1](times[-1]) == in_sequence[-1]


@pytest.mark.parametrize("name", library())
def test_another_seed_is_another_city(name: str) -> None:
    other = built(library()[name], seed=6)
    same = [point for point, (_, source) in shared(name).items() if source(MONDAY_8_NS) == other[point][1](MONDAY_8_NS)]
    assert set(same) <= {"interval_start_s", "volume/1", "volume/2", "export_energy_wh"}


@pytest.mark.parametrize("name", library())
@given(t_ns=TIMES, step_ns=st.integers(0, 10**15))
def test_counters_never_step_back_but_over_their_end(name: str, t_ns: int, step_ns: int) -> None:
    for point, source in shared(name).values():
        if point.kind is Kind.COUNTER:
            before, after = int(source(t_ns) or 0), int(source(t_ns + step_ns) or 0)
            assert before <= after
            assert before % point.resolution == after % point.resolution == 0


@pytest.mark.parametrize("lane", ["1", "2"])
def test_the_lifetime_count_is_the_sum_of_the_intervals_over_a_rollover_too(lane: str) -> None:
    end = 2**32 - 50
    made = built(library()["modbus_counter"], start={f"vehicles/{lane}": end})
    vehicles, volume = made[f"vehicles/{lane}"][1], made[f"volume/{lane}"][1]
    times = [MONDAY_8_NS + n * 30 * S_NS for n in range(121)]
    rise = (int(vehicles(times[-1]) or 0) - int(vehicles(times[0]) or 0)) % 2**32
    assert vehicles(times[0]) == end
    assert int(vehicles(times[-1]) or 0) < end
    # A detector speaks of the interval before, so what is read at the end of one belongs to it.
    assert rise == sum(int(volume(t_ns) or 0) for t_ns in times[1:]) > 100


@pytest.mark.parametrize("name", ["sdm630", "em340"])
@pytest.mark.parametrize(("field", "sign"), [("import_energy_wh", 1), ("export_energy_wh", -1)])
def test_energy_is_the_integral_of_power_to_a_step_of_the_register(name: str, field: str, sign: int) -> None:
    made = built(library()[name])
    point, energy = made[field]
    phases = [made[f"active_power_w/{phase}"][1] for phase in ("L1", "L2", "L3")]
    begin, hours = MONDAY_8_NS, 4
    seconds = range(begin + S_NS // 2, begin + hours * HOUR_NS, S_NS)
    wh = sum(max(0.0, sign * float(power(t_ns) or 0)) for t_ns in seconds for power in phases) / 3600
    rise = int(energy(begin + hours * HOUR_NS) or 0) - int(energy(begin) or 0)
    assert wh > 500
    assert abs(rise - wh) <= point.resolution + 1


def test_reactive_energy_is_the_integral_of_reactive_power() -> None:
    made = built(library()["sdm630"])
    power, energy = made["reactive_power_var"][1], made["import_reactive_energy_varh"][1]
    evening = MONDAY_8_NS + 9 * HOUR_NS
    varh = sum(float(power(evening + n * S_NS + S_NS // 2) or 0) for n in range(2 * 3600)) / 3600
    assert abs(int(energy(evening + 2 * HOUR_NS) or 0) - int(energy(evening) or 0) - varh) <= 10 + 1
