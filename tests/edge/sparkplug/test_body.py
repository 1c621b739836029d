"""The body: what is encoded comes back, and no bytes crash the reader."""

from __future__ import annotations

import contextlib
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model.point import Datatype, Domain, Group, Kind, Point
from edge.model.record import EpochRecord, Evicted, ScheduleRecord, TombstoneRecord
from edge.sparkplug.body import NO_TABLE, Body, BodyError, Extra, Undatable, decode

U64 = st.integers(0, 2**64 - 1)
U40 = st.integers(0, 2**40)
GROUP = Group("s", "d", "g", Domain.ENERGY, "p@0", 10**10, (Point("a_w/L1", Kind.GAUGE, Datatype.FLOAT, "W"),))
EXTRAS: st.SearchStrategy[Extra] = st.one_of(
    st.tuples(st.integers(0, 2**50), st.builds(EpochRecord, U64, U40, st.text(), U40)),
    st.tuples(st.integers(0, 2**50), st.just(ScheduleRecord(3, 17, GROUP))),
    st.tuples(st.none(), st.just(TombstoneRecord(0, 9, "quota", [Evicted(1, 4, 3)], "b", 1, 2))),
    st.tuples(st.none(), st.builds(Undatable, st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))),
)


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    first = draw(st.integers(0, 2**40))
    a = first + draw(st.integers(0, 2**20))
    b = a + draw(st.integers(0, 300))
    offsets = tuple(sorted(draw(st.lists(st.integers(a, b - 1), max_size=20, unique=True)))) if b > a else ()
    parts = draw(st.integers(1, 9))
    extras = draw(st.booleans())
    return Body(
        UUID(int=draw(st.integers(0, 2**128 - 1))), draw(U64), first, a, b, draw(st.integers(0, 2**40)),
        draw(st.integers(0, 2**40)), draw(st.one_of(st.none(), U64)), draw(st.integers(0, 2**32 - 1)),
        draw(st.integers(0, parts - 1)), parts,
        NO_TABLE if extras else draw(st.binary(min_size=8, max_size=8).filter(lambda t: t != NO_TABLE)), offsets,
        tuple(draw(EXTRAS) for _ in offsets) if extras else (),
    )  # fmt: skip


@given(bodies())
def test_a_body_comes_back(body: Body) -> None:
    assert decode(body.encode()) == body


@given(bodies(), st.data())
def test_no_cut_or_flip_crashes_the_reader(body: Body, data: st.DataObject) -> None:
    raw = bytearray(body.encode())
    del raw[data.draw(st.integers(0, len(raw))) :]
    if raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(BodyError):
        decode(bytes(raw))


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read(noise: bytes) -> None:
    with contextlib.suppress(BodyError):
        decode(b"\x01" + noise)


def test_extras_that_are_no_text_or_too_deep_are_refused() -> None:
    good = Body(UUID(int=1), 2, 0, 0, 1, 0, 0, None, 0, 0, 1, NO_TABLE, (0,)).encode()
    for extra in (
        b"\x92\x01\x95\x01\x01\x01\xa1\xff\x01",
        b"\x92\x01\x95\x10\x01\x01\x01" + b"\x91" * 100_000 + b"\x01",
    ):
        with pytest.raises(BodyError, match="extras"):
            decode(good + extra)


def test_a_huge_count_is_refused_before_memory_is_taken() -> None:
    good = Body(UUID(int=1), 2, 0, 0, 2, 0, 0, None, 0, 0, 1, b"12345678", (0,)).encode()
    with pytest.raises(BodyError, match="more offsets"):
        decode(good[:-2] + b"\xff\xff\xff\xff\x7f")
