"""Where rows.md could be read in two ways: each reading is pinned by hand-made numbers, for engine and twin alike."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from tests.pipelines.engine.both import Rows, by_engine, by_twin
from tests.pipelines.engine.story import Declare, Event, Poll, S, Step
from wayside.prove.group import Reading

T = 1_790_000_100 * S  # a multiple of 300 s
P = 10 * S
H = 25 * S
DONE = Event("retire", ("device", "s:d"))

GAUGE = Point("g", Kind.GAUGE, Datatype.DOUBLE)
COUNTER = Point("c", Kind.COUNTER, Datatype.INT64)
VOLUME = Point("v", Kind.DELTA, Datatype.INT64, interval_start="b", interval_s=20)
WEIGHTED = Point("w", Kind.DELTA, Datatype.DOUBLE, interval_start="b", interval_s=20, weight="v")

Tell = Callable[[Sequence[Step]], tuple[Rows, object]]


@pytest.fixture(params=[by_engine, by_twin], ids=["engine", "twin"])
def tell(request: pytest.FixtureRequest) -> Tell:
    told: Tell = request.param
    return told


def declare(*points: Point, period_ns: int = P, from_ns: int = T) -> Declare:
    return Declare(Group("s", "d", "g", Domain.ENERGY, "p", period_ns, points), from_ns, "j")


def poll(at_s: float, *samples: tuple[str, float, Value], outcome: int = 0) -> Poll:
    """A poll due at T + `at_s`, with samples (name, seconds after T, value)."""
    due = T + int(at_s * S)
    readings = tuple(Reading(name, T + int(t * S), value, 0) for name, t, value in samples)
    return Poll(("s", "d", "g"), due, outcome, readings, due)


def field(rows: Rows, name: str, start_s: int, window_s: int = 60) -> float | None:
    for (_, _, length, t_ns), fields in rows.items():
        if (length, t_ns) == (window_s, T + start_s * S) and name in fields:
            value = fields[name]
            return float(struct.unpack("<d", value)[0]) if isinstance(value, bytes) else value
    return None


def test_a_sample_at_an_edge_belongs_to_the_later_window(tell: Tell) -> None:
    rows, _ = tell([declare(GAUGE), poll(50, ("g", 50, 1.0)), poll(60, ("g", 60, 3.0)), DONE])
    assert (field(rows, "g_n", 0), field(rows, "g_last", 0)) == (1, 1.0)
    assert (field(rows, "g_n", 60), field(rows, "g_last", 60)) == (1, 3.0)
    assert field(rows, "g_covered_s", 0) == 10.0


def test_a_value_holds_for_exactly_h(tell: Tell) -> None:
    rows, _ = tell([declare(GAUGE), poll(30, ("g", 35, 1.0)), poll(80, outcome=1), poll(120, outcome=1), DONE])
    assert field(rows, "g_covered_s", 0) == 25.0
    assert field(rows, "g_n", 60) is None
    rows, _ = tell([declare(GAUGE), poll(40, ("g", 35.001, 1.0)), poll(80, outcome=1), poll(120, outcome=1), DONE])
    assert field(rows, "g_covered_s", 0) == pytest.approx(24.999)
    assert field(rows, "g_covered_s", 60) == pytest.approx(0.001)
    assert (field(rows, "g_n", 60), field(rows, "g_min", 60), field(rows, "g_mean", 60)) == (0, None, 1.0)


@pytest.mark.parametrize(("t_s", "increase", "bridged"), [(75.0, 60, 0), (75.001, 0, 100)])
def test_a_step_over_exactly_h_is_divided_and_a_longer_one_bridged(
    tell: Tell, t_s: float, increase: int, bridged: int
) -> None:
    rows, _ = tell([declare(COUNTER), poll(50, ("c", 50, 0)), poll(70, ("c", t_s, 100)), DONE])
    assert field(rows, "c_increase", 60) == increase
    assert field(rows, "c_increase_bridged", 60) == bridged
    assert field(rows, "c_increase", 0) == (40 if increase else 0)


def test_a_counter_at_the_edge_itself(tell: Tell) -> None:
    rows, _ = tell([declare(COUNTER), poll(50, ("c", 50, 0)), poll(60, ("c", 60, 7)), DONE])
    assert (field(rows, "c_increase", 0), field(rows, "c_increase", 60)) == (7, 0)


def test_a_long_pause_within_a_window_is_increase(tell: Tell) -> None:
    rows, _ = tell([declare(COUNTER), poll(0, ("c", 0, 0)), poll(50, ("c", 59, 9)), DONE])
    assert (field(rows, "c_increase", 0), field(rows, "c_increase_bridged", 0)) == (9, 0)


def test_a_window_waits_for_the_counters_next_sample_up_to_h(tell: Tell) -> None:
    steps: list[Step] = [declare(COUNTER), poll(50, ("c", 50, 0)), poll(60, outcome=1), poll(70, outcome=1)]
    assert field(tell(steps)[0], "c_n", 0) is None
    late = tell([*steps, poll(80, ("c", 80, 30)), DONE])[0]
    assert (field(late, "c_increase", 0), field(late, "c_increase_bridged", 60)) == (0, 30)
    closed = tell([*steps, poll(80, outcome=1), poll(90, outcome=1)])[0]
    assert field(closed, "c_n", 0) == 1


def test_a_step_out_of_a_closed_window_is_bridged(tell: Tell) -> None:
    """The clock stepped back: the window of the last sample is closed, though the next one comes within H of it."""
    back = poll(60, ("c", 61, 10))
    rows, _ = tell([declare(COUNTER), poll(50, ("c", 50, 0)), poll(90, outcome=1), back, DONE])
    assert (field(rows, "c_increase", 0), field(rows, "c_increase_bridged", 60)) == (0, 10)


def test_a_rollover_never_counts_backwards(tell: Tell) -> None:
    point = Point("c", Kind.COUNTER, Datatype.INT64, modulus=100)
    rows, _ = tell([declare(point), poll(0, ("c", 0, 500)), poll(10, ("c", 10, 3)), DONE])
    assert (field(rows, "c_rollovers", 0), field(rows, "c_discontinuity", 0)) == (0, -497)
    rows, _ = tell([declare(point), poll(0, ("c", 0, 98)), poll(10, ("c", 10, 3)), DONE])
    assert (field(rows, "c_rollovers", 0), field(rows, "c_increase", 0)) == (1, 5)


def test_a_sample_ahead_of_its_window_waits_for_it(tell: Tell) -> None:
    """A sample after the window's end comes before the window's last one: the order is that of the log."""
    rows, _ = tell([declare(GAUGE), poll(40, ("g", 61, 9.0)), poll(50, ("g", 50, 1.0)), poll(60, ("g", 62, 5.0)), DONE])
    assert (field(rows, "g_last", 0), field(rows, "g_covered_s", 0)) == (1.0, 10.0)
    assert (field(rows, "g_n", 60), field(rows, "g_max", 60)) == (2, 9.0)
    assert field(rows, "g_covered_s", 60) == 2.0 + 25.0


def test_the_first_window_is_that_of_the_first_expected_slot(tell: Tell) -> None:
    rows, refused = tell([declare(GAUGE, from_ns=T + 61 * S), poll(50, ("g", 50, 1.0)), poll(70, ("g", 70, 1.0)), DONE])
    assert field(rows, "expected", 0) is None
    assert (field(rows, "expected", 60), field(rows, "arrived", 60)) == (1, 1)
    assert refused == {("late_after_close", "s", "d", "g"): (1, 1, T + 50 * S, T + 50 * S)}


def test_retirement_closes_five_minutes_that_are_not_over(tell: Tell) -> None:
    rows, _ = tell([declare(GAUGE), poll(0, ("g", 0, 2.0)), poll(70, ("g", 70, 4.0)), DONE])
    assert (field(rows, "arrived", 0, 300), field(rows, "expected", 0, 300)) == (2, 8)
    assert field(rows, "missing_unrecorded", 0, 300) == 6
    assert field(rows, "arrived", 60) == 1


def test_a_schedule_ends_at_the_next_ones_beginning(tell: Tell) -> None:
    """From 31 s on every 20 s: 0, 10, 20, 30, then 40."""
    change = declare(GAUGE, period_ns=20 * S, from_ns=T + 31 * S)
    rows, _ = tell([declare(GAUGE), poll(0, ("g", 0, 1.0)), change, poll(60, ("g", 60, 1.0)), DONE])
    assert (field(rows, "expected", 0), field(rows, "missing_unrecorded", 0)) == (5, 4)


def test_a_changed_base_length_waits_for_five_minutes(tell: Tell) -> None:
    """Slots of 120 s lie at 60, 180, 300 s after T."""
    change = declare(GAUGE, period_ns=120 * S, from_ns=T + 130 * S)
    polls = [poll(s, ("g", s, 1.0)) for s in (180, 300, 420, 660)]
    rows, _ = tell([declare(GAUGE), poll(0, ("g", 0, 1.0)), change, *polls, DONE])
    assert field(rows, "arrived", 180, 60) == 1
    assert field(rows, "arrived", 300, 60) is None
    assert (field(rows, "arrived", 0, 300), field(rows, "arrived", 300, 300)) == (2, 2)


def test_a_skipped_interval_is_missed_and_one_read_again_is_not_counted(tell: Tell) -> None:
    again = poll(40, ("v", 20, 99))
    steps: list[Step] = [
        declare(VOLUME),
        poll(20, ("v", 0, 5)),
        poll(30, ("v", 20, 6)),
        again,
        poll(90, ("v", 60, 7)),
        DONE,
    ]
    rows, _ = tell(steps)
    assert (field(rows, "v_sum", 0), field(rows, "v_n", 0), field(rows, "v_missed", 0)) == (11, 2, 1)
    assert (field(rows, "v_sum", 60), field(rows, "v_missed", 60)) == (7, 2)


def test_a_window_whose_intervals_were_all_missed_has_no_sum(tell: Tell) -> None:
    steps: list[Step] = [declare(VOLUME), poll(20, ("v", 0, 5)), poll(200, ("v", 180, 0)), DONE]
    rows, _ = tell(steps)
    assert (field(rows, "v_n", 60), field(rows, "v_missed", 60), field(rows, "v_sum", 60)) == (0, 3, None)
    assert (field(rows, "v_n", 180), field(rows, "v_sum", 180)) == (1, 0)


def test_what_is_passed_over_has_the_length_declared_last(tell: Tell) -> None:
    longer = Point("v", Kind.DELTA, Datatype.INT64, interval_start="b", interval_s=100)
    rows, _ = tell([
        declare(VOLUME), poll(10, ("v", 0, 1)),
        declare(longer), declare(GAUGE), poll(180, ("g", 180, 1.0)),  # passed over: 20 and 120
        declare(GAUGE, VOLUME, from_ns=T + 190 * S), poll(290, ("g", 290, 1.0)), DONE,
    ])  # fmt: skip
    assert [field(rows, "v_missed", start_s) for start_s in (0, 60, 120, 180)] == [0, None, None, 1]


def test_a_delta_that_is_declared_no_more_misses_nothing(tell: Tell) -> None:
    steps: list[Step] = [declare(GAUGE, VOLUME), poll(20, ("v", 0, 5)), declare(GAUGE, from_ns=T + 30 * S)]
    rows, _ = tell([*steps, *(poll(s, ("g", s, 1.0)) for s in (60, 120, 180)), DONE])
    assert (field(rows, "v_n", 0), field(rows, "v_missed", 0)) == (1, 0)
    assert field(rows, "v_missed", 60) is None


def test_a_weighted_mean_counts_what_its_weight_counts(tell: Tell) -> None:
    points = (VOLUME, WEIGHTED)
    steps: list[Step] = [
        declare(*points),
        poll(20, ("v", 0, 3), ("w", 0, 50.0)),
        poll(40, ("v", 20, 0), ("w", 20, 999.0)),
        poll(50, ("w", 40, 999.0)),
        poll(70, ("v", 60, 1), ("w", 60, 10.0)),
        DONE,
    ]
    rows, _ = tell(steps)
    assert (field(rows, "w_mean", 0), field(rows, "w_n", 0), field(rows, "w_max", 0)) == (50.0, 1, 50.0)
    assert field(rows, "w_missed", 0) is None


def test_a_schedule_that_begins_before_the_first_window(tell: Tell) -> None:
    change = declare(GAUGE, period_ns=1 * S, from_ns=T)
    rows, _ = tell([declare(GAUGE, from_ns=T + 60 * S), change, poll(61, ("g", 61, 1.0)), DONE])
    assert field(rows, "expected", 0) is None
    assert field(rows, "expected", 60) == 2


def test_numpy_finds_the_same_mean_and_deviation(tell: Tell) -> None:
    values = np.random.default_rng(7).normal(230.0, 9.0, 6)
    times = np.array([0.0, 10.5, 20.25, 30.0, 41.0, 50.0])
    polls = [poll(10 * i, ("g", float(t), float(v))) for i, (t, v) in enumerate(zip(times, values, strict=True))]
    rows, _ = tell([declare(GAUGE), *polls, poll(60, ("g", 60, 0.0)), DONE])
    mean, deviation = field(rows, "g_mean", 0), field(rows, "g_stdev", 0)
    assert mean is not None
    assert deviation is not None
    assert math.isclose(mean, np.average(values, weights=np.diff(times, append=60.0)), rel_tol=1e-12)
    assert math.isclose(deviation, float(np.std(values)), rel_tol=1e-9)
