"""Which STATE of the acknowledging host asks for births, and when they are due."""

from __future__ import annotations

import random

from edge.sparkplug.session import HostState
from gateway.uplink.presence import AGAIN_S, SPREAD_S, Presence


def begun(*, kept: HostState | None = HostState(online=True, t_ms=100)) -> Presence:  # noqa: B008 # frozen
    """A session at 0 s, its births at 1 s."""
    presence = Presence(random.Random(1))
    presence.begin()
    if kept is not None:
        presence.hear(kept, 0.0, is_retained=True)
    presence.born(1.0)
    return presence


def hear(presence: Presence, t_ms: int, now_s: float = 5.0, *, online: bool = True, is_retained: bool = False) -> None:
    presence.hear(HostState(online, t_ms), now_s, is_retained=is_retained)


def test_the_copy_that_the_broker_has_kept_asks_for_nothing() -> None:
    late = begun(kept=None)
    hear(late, 100, is_retained=True)
    assert (begun().due_s, late.due_s) == (None, None)
    hear(late, 100, is_retained=True)
    hear(late, 100)
    assert late.due_s is None, "nor does its repetition"


def test_a_host_that_comes_back_is_answered_soon_and_many_are_spread() -> None:
    due: list[float] = []
    presence = begun()
    for n in range(200):
        hear(presence, 100 + n, online=False)
        assert presence.due_s is None
        hear(presence, 101 + n)
        assert presence.due_s is not None
        due.append(presence.due_s - 5.0)
        presence.born(5.0)
        assert presence.due_s is None
    assert 0.0 <= min(due) < 0.1 * SPREAD_S < 0.9 * SPREAD_S < max(due) <= SPREAD_S


def test_a_host_that_was_kept_as_offline_or_not_at_all_has_come_back() -> None:
    for kept in (None, HostState(online=False, t_ms=100)):
        presence = begun(kept=kept)
        hear(presence, 101)
        assert presence.due_s is not None
        assert presence.due_s <= 5.0 + SPREAD_S


def test_another_online_alone_is_answered_once_in_a_while() -> None:
    presence = begun()
    for n in range(20):
        hear(presence, 101 + n, 5.0 + n)
    assert presence.due_s is not None
    assert 1.0 + AGAIN_S <= presence.due_s <= 1.0 + AGAIN_S + SPREAD_S
    hear(presence, 200, 6.0, online=False)
    hear(presence, 201, 6.0)
    assert presence.due_s is not None
    assert presence.due_s <= 6.0 + SPREAD_S, "it was away"


def test_a_clock_that_went_back_is_another_host_and_a_late_will_is_none() -> None:
    presence = begun()
    hear(presence, 99, online=False)
    hear(presence, 100)
    assert presence.due_s is None
    hear(presence, 50)
    assert presence.due_s is not None


def test_a_new_session_knows_nothing() -> None:
    presence = begun()
    hear(presence, 101)
    presence.begin()
    assert presence.due_s is None
    hear(presence, 101, is_retained=True)
    assert presence.due_s is None
