"""What flows: reproducible, monotonic, and sums that are sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model.point import Datatype, Kind, Point
from tests.wayside.city.rig import MONDAY_8_NS, S_NS
from wayside.city.flow import INTERVAL_NS, PER_UNIT, WEEK_NS, Flow, Warp, Week
from wayside.city.meters import Meter, MeterSettings, Phase
from wayside.city.traffic import Lane, TrafficSettings

HOUR_NS = 3600 * S_NS
TIMES = st.integers(0, 4 * 10**18)


def point(name: str, kind: Kind = Kind.GAUGE, phase: str = "") -> Point:
    return Point(name, kind, Datatype.DOUBLE, part=(("phase", phase),) if phase else ())


def test_a_week_carries_what_its_rate_says() -> None:
    week = Week(lambda day, _: 100.0 * (day == 6))
    assert week.total(MONDAY_8_NS + WEEK_NS) - week.total(MONDAY_8_NS) == 2400 * PER_UNIT
    sunday_noon_ns = MONDAY_8_NS + 6 * 24 * HOUR_NS + 4 * HOUR_NS
    assert week.rate(sunday_noon_ns) == 100.0
    assert week.rate(sunday_noon_ns + 13 * HOUR_NS) == 0.0


@given(TIMES, st.integers(0, 200 * S_NS), st.integers(0, 2**64 - 1))
def test_a_warp_never_runs_back_nor_strays(t_ns: int, step_ns: int, key: int) -> None:
    warp = Warp(key)
    assert warp.at(t_ns + step_ns) >= warp.at(t_ns)
    assert abs(warp.at(t_ns) - t_ns) <= 12 * S_NS
    assert 0.2 <= warp.speed(t_ns) <= 1.8


@given(TIMES)
def test_a_rate_is_the_slope_of_its_total(t_ns: int) -> None:
    flow = Flow(Week(lambda _, hour: 1000.0 + hour), Warp(3))
    t_ns = t_ns // INTERVAL_NS * INTERVAL_NS + INTERVAL_NS // 2
    grown = flow.total(t_ns + 1000) - flow.total(t_ns)
    assert grown == pytest.approx(flow.rate(t_ns) * 1000 * 1000, rel=0.003)


def test_the_same_seed_gives_the_same_city_in_any_order() -> None:
    times = [MONDAY_8_NS + n * 77 * S_NS for n in range(500)]
    one, other = Lane(7, TrafficSettings()), Lane(7, TrafficSettings())
    back = {t: other.count(t) for t in reversed(times)}
    assert [one.count(t) for t in times] == [back[t] for t in times]
    stranger = Lane(8, TrafficSettings())
    assert [stranger.count(t) for t in times] != [back[t] for t in times]


def test_a_count_is_the_sum_of_its_volumes() -> None:
    lane = Lane(1, TrafficSettings())
    starts = [MONDAY_8_NS + n * INTERVAL_NS for n in range(2880)]
    volumes = [lane.interval(start, INTERVAL_NS).volume for start in starts]
    assert sum(volumes) == lane.count(starts[-1] + INTERVAL_NS) - lane.count(starts[0])
    assert min(volumes) >= 0
    assert 3000 < sum(volumes) < 15_000
    assert len(set(volumes)) > 8


def test_traffic_has_two_peaks_and_a_weekend() -> None:
    lane = Lane(1, TrafficSettings())

    def hour(day: int, at: int) -> int:
        begin = MONDAY_8_NS + (24 * day + at - 8) * HOUR_NS
        return lane.count(begin + HOUR_NS) - lane.count(begin)

    morning, noon, evening, night = (hour(1, at) for at in (8, 12, 17, 3))
    assert morning > noon > night
    assert evening > noon
    assert hour(5, 8) < morning / 2


def test_speed_falls_and_occupancy_fits() -> None:
    lane = Lane(1, TrafficSettings(peak_vehicles_h=1800.0))
    seen = [lane.interval(MONDAY_8_NS - 8 * HOUR_NS + n * INTERVAL_NS, INTERVAL_NS) for n in range(2880)]
    driven = [each for each in seen if each.speed_kmh is not None]
    assert all(each.occupancy_pct == 0.0 and each.volume == 0 for each in seen if each.speed_kmh is None)
    for each in driven:
        assert each.speed_kmh is not None
        expected = 100 * each.volume * 6.5 / (each.speed_kmh / 3.6) / 30
        assert each.occupancy_pct == pytest.approx(min(100.0, expected))
    ordered = sorted(driven, key=lambda each: each.volume)
    slow = [each.speed_kmh or 0.0 for each in ordered[-50:]]
    free = [each.speed_kmh or 0.0 for each in ordered[:50]]
    assert sum(slow) < 0.8 * sum(free)


def test_energy_is_the_integral_of_power() -> None:
    phase = Phase(11, 1.0, MeterSettings(power_w=9000.0, solar_w=8000.0))
    step_ns = S_NS
    begin = MONDAY_8_NS + HOUR_NS
    summed = sum(phase.at(begin + n * step_ns + step_ns // 2).active_power_w for n in range(4 * 3600)) / 3600
    end = begin + 4 * HOUR_NS
    net = phase.imported(end) - phase.imported(begin) - phase.exported(end) + phase.exported(begin)
    assert net / PER_UNIT == pytest.approx(summed, abs=1.0)
    assert phase.exported(end) > phase.exported(begin)


def test_the_sums_of_a_meter_are_those_of_its_phases() -> None:
    meter = Meter(1, "port:m", MeterSettings())
    for field in ("active_power_w", "reactive_power_var"):
        whole = meter.reading(point(field), 0)
        parts = [meter.reading(point(f"{field}/{p}", phase=p), 0) for p in ("L1", "L2", "L3")]
        assert whole is not None
        assert whole(MONDAY_8_NS) == pytest.approx(sum(float(part(MONDAY_8_NS) or 0) for part in parts if part))
    total = meter.total(point("import_energy_wh", Kind.COUNTER))
    assert total is not None
    increase = total(MONDAY_8_NS + 24 * HOUR_NS) - total(MONDAY_8_NS)
    assert 40_000 < increase < 200_000


def test_an_instant_is_plausible() -> None:
    meter = Meter(1, "port:m", MeterSettings())
    read = {
        name: meter.reading(point(name, phase=phase), 0)
        for name, phase in (("voltage_v/L1", "L1"), ("current_a/L1", "L1"), ("apparent_power_va/L1", "L1"))
    }
    volts, amperes, va = (float(source(MONDAY_8_NS) or 0) for source in read.values() if source)
    assert 220 < volts < 240
    assert volts * amperes == pytest.approx(va)
    factor, hertz = (meter.reading(point(name), 0) for name in ("power_factor", "frequency_hz"))
    assert factor is not None
    assert hertz is not None
    assert 0.8 < float(factor(MONDAY_8_NS) or 0) <= 1
    assert 49.9 < float(hertz(MONDAY_8_NS) or 0) < 50.1


def test_what_is_not_known_has_no_source() -> None:
    meter = Meter(1, "port:m", MeterSettings())
    assert meter.reading(point("humidity_pct"), 0) is None
    assert meter.total(point("water_m3", Kind.COUNTER)) is None
