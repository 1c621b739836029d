"""Due times: no drift, and every slot used exactly once, whatever polls take."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.polling.schedule import Timetable, declared_from_ns, first_due_ns

S = 1_000_000_000
periods = st.integers(1, 3_600).map(lambda s: s * S // 4)
instants = st.integers(0, 10**6 * S)
offsets = st.integers(-(10**6) * S, 2 * 10**9 * S)


@given(periods, instants, st.sampled_from((0, 1)).flatmap(lambda known: offsets if known else st.just(0)), offsets)
def test_the_first_slot_expected_is_that_of_the_first_poll(
    period_ns: int, now_ns: int, offset_ns: int, dated_ns: int
) -> None:
    """Whatever date the instants get in the end: before a clock is known, due times lie between the slots."""
    from_ns = declared_from_ns(period_ns, now_ns, offset_ns)
    due_ns = Timetable(period_ns, from_ns, offset_ns).due_ns
    assert due_ns == first_due_ns(period_ns, now_ns, offset_ns)
    from_date, due_date = ((instant + dated_ns) // 1_000_000 * 1_000_000 for instant in (from_ns, due_ns))
    assert -(-from_date // period_ns) == (due_date + period_ns // 2) // period_ns


@given(periods, instants, offsets)
def test_first_due_is_the_first_multiple(period_ns: int, from_ns: int, offset_ns: int) -> None:
    due_ns = first_due_ns(period_ns, from_ns, offset_ns)
    assert (due_ns + offset_ns) % period_ns == 0
    assert from_ns <= due_ns < from_ns + period_ns


@given(periods, instants, offsets, st.lists(st.integers(0, 20_000), min_size=1, max_size=50))
def test_no_drift_and_no_slot_twice(period_ns: int, from_ns: int, offset_ns: int, took_ms: list[int]) -> None:
    timetable = Timetable(period_ns, from_ns, offset_ns)
    first_ns, used = timetable.due_ns, []
    now_ns = from_ns
    for took in took_ms:
        now_ns = max(now_ns, timetable.due_ns)
        taken = timetable.take(now_ns, offset_ns)
        used += [*taken.missed_ns, taken.due_ns]
        assert taken.due_ns <= now_ns < taken.due_ns + period_ns
        now_ns += took * 1_000_000
    assert used == list(range(first_ns, timetable.due_ns, period_ns))


@given(periods, instants, offsets, st.integers(-(10**5) * S, 10**5 * S))
@example(S, 0, 0, S // 2)
def test_stepped_wall_clock_uses_no_slot_twice(period_ns: int, from_ns: int, offset_ns: int, step_ns: int) -> None:
    timetable = Timetable(period_ns, from_ns, offset_ns)
    last_ns = timetable.take(timetable.due_ns, offset_ns + step_ns).due_ns
    assert (timetable.due_ns + offset_ns + step_ns) % period_ns == 0
    assert period_ns // 2 < timetable.due_ns - last_ns <= period_ns // 2 + period_ns
    slots = [(due_ns + offset_ns + step_ns + period_ns // 2) // period_ns for due_ns in (last_ns, timetable.due_ns)]
    assert slots[0] < slots[1]
