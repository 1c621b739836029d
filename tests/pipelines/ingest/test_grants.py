"""The grant follows what is taken, and stops with the pressure."""

from __future__ import annotations

from pipelines.ingest.grants import LEAST_BYTES, MOST_BYTES, SPAN_S, Grants

A, B = ("city", "a"), ("city", "b")


def test_nobody_gets_less_than_a_batch_or_more_than_the_most() -> None:
    grants = Grants()
    assert grants.grant(0.0, pressed=False) == LEAST_BYTES
    grants.take(A, 1 << 30, 0.0)
    assert grants.grant(0.0, pressed=False) == MOST_BYTES


def test_pressure_stops_everybody() -> None:
    grants = Grants()
    grants.take(A, 1 << 20, 0.0)
    assert grants.grant(0.0, pressed=True) == 0


def test_what_is_taken_is_shared_by_those_who_drain() -> None:
    grants = Grants()
    grants.take(A, 1_000_000, 0.0)
    alone = grants.grant(0.0, pressed=False)
    assert alone == 2 * 1_000_000 / SPAN_S
    grants.take(B, 1_000_000, 0.1)
    assert grants.draining() == 2
    assert grants.grant(0.1, pressed=False) == alone
    for n in range(100):
        grants.take(("city", f"live-{n}"), 1000, 0.2)
    assert grants.draining() == 2, "live data is no backlog"


def test_what_is_long_ago_does_not_count() -> None:
    grants = Grants()
    grants.take(A, 1_000_000, 0.0)
    assert grants.capacity(SPAN_S - 0.01) > 0
    assert grants.capacity(SPAN_S) == 0
    assert grants.draining() == 0


def test_it_grows_while_the_gateway_is_the_slower_end() -> None:
    """A gateway that sends a grant each 200 ms is given more each time, up to what the centre takes."""
    grants, now_s, most_per_s = Grants(), 0.0, 2_000_000
    for _ in range(100):
        grants.take(A, min(grants.grant(now_s, pressed=False), most_per_s // 5), now_s)
        now_s += 0.2
    assert grants.grant(now_s, pressed=False) >= most_per_s
