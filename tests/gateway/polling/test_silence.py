"""Silent devices: what they cost, and how soon they are back."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from edge.model.record import Outcome
from gateway.polling.silence import AFTER, MOST_PAUSE_S, SHARE, Silences
from tests.examples import examples


def silences(*devices: str, period_s: float = 1.0) -> Silences:
    made = Silences(draw=random.Random(1))
    for device in devices:
        made.add(device, period_s)
    return made


def fall_silent(made: Silences, device: str, outcome: Outcome = Outcome.TIMEOUT) -> None:
    for _ in range(AFTER):
        assert made.passed_over(device, 0.0) is None
        made.polled(device, outcome, 0.0, 0.0)


def test_silent_after_some_time_outs_in_a_row() -> None:
    made = silences("a", "b")
    for _ in range(AFTER - 1):
        made.polled("a", Outcome.TIMEOUT, 0.0, 0.0)
    made.polled("a", Outcome.EXCEPTION, 0.0, 0.0)
    assert not made.is_silent("a")
    fall_silent(made, "a")
    assert made.passed_over("a", 0.0) == Outcome.TIMEOUT
    assert made.passed_over("b", 0.0) is None


def test_a_device_that_sends_rubbish_is_left_alone_too() -> None:
    made = silences("a", "b")
    fall_silent(made, "a", Outcome.BAD_FRAME)
    assert made.passed_over("a", 0.0) == Outcome.BAD_FRAME


def test_a_bus_that_is_down_says_nothing_about_a_device() -> None:
    made = silences("a")
    for _ in range(10):
        made.polled("a", Outcome.BUS_DOWN, 0.0, 0.0)
    assert made.passed_over("a", 0.0) is None
    fall_silent(made, "a")
    made.polled("a", Outcome.BUS_DOWN, 1.0, 1.0)
    assert made.is_silent("a")


def test_returned_device_is_polled_at_once() -> None:
    made = silences("a", "b")
    fall_silent(made, "a")
    made.polled("a", Outcome.OK, 90.0, 90.1)
    assert made.passed_over("a", 90.1) is None


@examples(15, 300)
@given(st.lists(st.sampled_from([1, 5, 60]), min_size=1, max_size=12), st.floats(0.05, 2.0), st.integers(0, 10**6))
def test_silent_devices_take_their_share_and_each_gets_its_turn(periods: list[int], cost_s: float, seed: int) -> None:
    made = Silences(draw=random.Random(seed))
    devices = {f"dead{i}": period_s for i, period_s in enumerate(periods)}
    made.add("alive", 1.0)
    for device, period_s in devices.items():
        made.add(device, period_s)
        fall_silent(made, device)
    probes, now_s, end_s = dict.fromkeys(devices, 0), 0.0, 1200.0
    for second in range(int(end_s)):
        for device, period_s in devices.items():
            now_s = max(now_s, second)
            if second % period_s == 0 and made.passed_over(device, now_s) is None:
                made.polled(device, Outcome.TIMEOUT, now_s, now_s + cost_s)
                now_s, probes[device] = now_s + cost_s, probes[device] + 1
    first_round_s = len(devices) * cost_s
    assert sum(probes.values()) * cost_s <= 2 * SHARE * end_s + first_round_s
    assert min(probes.values()) >= end_s / (2 * (60 + 60 + len(devices) * cost_s / SHARE)) - 1
    assert min(probes.values()) >= 1


def test_pauses_grow_to_a_minute() -> None:
    made = silences("a")
    fall_silent(made, "a")
    now_s, pauses = 0.0, []
    for _ in range(12):
        began_s = now_s
        while made.passed_over("a", now_s) is not None:
            now_s += 0.1
        pauses.append(now_s - began_s)
        made.polled("a", Outcome.TIMEOUT, now_s, now_s)
    assert pauses[0] <= 1.1
    assert MOST_PAUSE_S / 2 <= pauses[-1] <= MOST_PAUSE_S + 0.2


def test_pauses_are_short_where_the_event_clock_is_scaled() -> None:
    made = silences("a", period_s=1 / 60)
    fall_silent(made, "a")
    for _ in range(12):
        made.polled("a", Outcome.TIMEOUT, 0.0, 0.0)
    assert made.passed_over("a", 1.001) is None
