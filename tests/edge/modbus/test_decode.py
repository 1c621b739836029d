"""Plans against the naive reading: random types, orders, addresses, scales and registers."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from edge.modbus.decode import Block, Limits, Plan, answers
from edge.modbus.registers import Codec, NotAvailable, Order, Type
from edge.modbus.scaling import ABSENT, OUT_OF_RANGE, Source
from edge.model.point import Datatype, Kind, Point
from edge.model.quality import reason_names
from tests.edge.modbus import naive
from tests.examples import examples

limits = st.builds(Limits, st.integers(4, 125), st.integers(0, 20))
some_sources = st.lists(naive.sources(), min_size=1, max_size=12)


def fill(plan: Plan, data: st.DataObject) -> naive.Registers:
    """Whatever may stand in every register that is read, holes included."""
    return {
        (block.function, at): data.draw(naive.words) if block.function > 2 else data.draw(st.integers(0, 1))
        for block in plan.requests
        for at in range(block.address, block.end)
    }


def source(type_: Type, datatype: Datatype, scale: str = "1", absent: NotAvailable | int = NotAvailable.NONE) -> Source:
    point = Point("p", Kind.GAUGE, datatype)
    return Source(point, 3, 0, Codec(type_, Order.ABCD, absent), Fraction(scale))


def words(function: int, *values: int) -> dict[tuple[int, int], int]:
    return {(function, at): value for at, value in enumerate(values)}


def same(made: object, said: object) -> bool:
    """Integers exactly; floats to the last bits, since those from float registers are scaled in two steps."""
    if isinstance(made, float) and isinstance(said, float):
        return math.isclose(made, said, rel_tol=1e-15, abs_tol=1e-12)
    return type(made) is type(said) and made == said


@given(some_sources, limits, st.data())
@examples(100, 2000)
def test_a_plan_decodes_as_the_naive_reading_does(some: list[Source], limit: Limits, data: st.DataObject) -> None:
    plan = Plan(some, limit)
    held = fill(plan, data)
    values, quality = plan.decode(answers(plan.requests, held))
    for one, made, mark in zip(some, values, quality, strict=True):
        said, reason = naive.value(one, held)
        if one.codec.type.is_float and one.point.datatype is Datatype.INT64:
            nearly_equal(one, made, said)
        elif one.codec.type.is_float:
            huge = any(isinstance(v, float) and abs(v) > 1e300 for v in (made, said))
            assert same(made, said) or huge  # the range of a double may end a little earlier
        else:
            assert (made, type(made), reason_names(mark)) == (said, type(said), (reason,) if reason else ())


def nearly_equal(one: Source, made: object, said: object) -> None:
    """A float register's integer may fall to the other side of a half, or of the range of an int64."""
    if isinstance(made, int) and isinstance(said, int):
        assert abs(made - said) <= max(one.point.resolution, abs(said) * 1e-15)
        assert made % one.point.resolution == 0
    else:
        assert made is None or abs(int(str(made))) > 2**62
        assert said is None or abs(int(str(said))) > 2**62


@given(some_sources, limits, st.data())
@examples(100, 2000)
def test_decode_is_undone_by_encode(some: list[Source], limit: Limits, data: st.DataObject) -> None:
    for one in some:
        plan = Plan([one], limit)
        decoded = plan.decode(answers(plan.requests, fill(plan, data)))
        ((value,), (mark,)) = decoded
        if value is None and mark == OUT_OF_RANGE:
            continue  # the value is gone
        assert plan.decode(answers(plan.requests, plan.encode([value]))) == decoded


@given(some_sources, limits)
def test_reads_keep_the_limits_and_split_no_value(some: list[Source], limit: Limits) -> None:
    requests = Plan(some, limit).requests
    used = {(one.function, at) for one in some for at in range(one.address, one.end)}
    for block in requests:
        assert 0 < block.count <= limit.most(block.function)
        assert block.end <= 0x10000
        holes = "".join(" x"[(block.function, at) in used] for at in range(block.address, block.end)).split("x")
        assert max(map(len, holes)) <= limit.max_hole
    for one in some:
        assert any(b.function == one.function and b.address <= one.address and one.end <= b.end for b in requests)


@given(st.integers(1, 60), st.integers(0, 5), st.lists(st.integers(0, 300), min_size=1, unique=True))
def test_no_fewer_reads_would_do(most: int, hole: int, addresses: list[int]) -> None:
    point = Point("p", Kind.GAUGE, Datatype.DOUBLE)
    plan = Plan([Source(point, 3, at, Codec(Type.INT16)) for at in addresses], Limits(most, hole))
    for before, after in zip(plan.requests, plan.requests[1:], strict=False):
        assert after.address > before.end + hole or after.address - before.address >= most


def test_a_value_longer_than_a_read_is_refused() -> None:
    with pytest.raises(ValueError, match="more than one read"):
        Plan([source(Type.FLOAT64, Datatype.DOUBLE)], Limits(max_registers=3))


def test_neighbours_share_a_read_up_to_the_limit() -> None:
    point = Point("p", Kind.GAUGE, Datatype.DOUBLE)
    some = [Source(point, 4, at, Codec(Type.INT32)) for at in (0, 2, 4, 6, 8, 10, 14)]
    assert Plan(some, Limits(11)).requests == (Block(4, 0, 10), Block(4, 10, 2), Block(4, 14, 2))
    assert Plan(some, Limits(11, 2)).requests == (Block(4, 0, 10), Block(4, 10, 6))


def test_the_order_of_values_is_the_groups_not_the_addresses() -> None:
    point = Point("p", Kind.GAUGE, Datatype.DOUBLE)
    plan = Plan([Source(point, f, at, Codec(Type.INT16)) for f, at in ((4, 9), (3, 5), (4, 1))], Limits())
    held = {(4, 9): 1, (3, 5): 2, (4, 1): 3}
    assert plan.decode(answers(plan.requests, held)) == ([1.0, 2.0, 3.0], [0, 0, 0])


def test_a_scale_is_the_decimal_number_that_was_written() -> None:
    plan = Plan([source(Type.INT16, Datatype.DOUBLE, "0.1")], Limits())
    assert all(plan.decode([raw.to_bytes(2, "big")])[0] == [float(f"{raw}e-1")] for raw in range(0x8000))


@pytest.mark.parametrize("raw", [0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1])
def test_a_64_bit_counter_is_exact(raw: int) -> None:
    plan = Plan([source(Type.INT64, Datatype.INT64)], Limits())
    assert plan.decode([raw.to_bytes(8, "big", signed=True)]) == ([raw], [0])


def test_what_no_int64_holds_has_no_value() -> None:
    plan = Plan([source(Type.UINT64, Datatype.INT64)], Limits())
    assert plan.decode([(2**63).to_bytes(8, "big")]) == ([None], [OUT_OF_RANGE])
    assert plan.decode([(2**63 - 1).to_bytes(8, "big")]) == ([2**63 - 1], [0])


def test_what_no_double_holds_has_no_value() -> None:
    plan = Plan([source(Type.FLOAT64, Datatype.DOUBLE, "1000")], Limits())
    assert plan.decode([struct.pack(">d", 1e306)]) == ([None], [OUT_OF_RANGE])
    assert plan.decode([struct.pack(">d", -1e306)]) == ([None], [OUT_OF_RANGE])


def test_zero_is_a_value_and_none_is_none() -> None:
    plan = Plan([source(Type.UINT16, Datatype.DOUBLE, "0.1", NotAvailable.LOWEST)], Limits())
    assert plan.decode([b"\0\0"]) == ([0.0], [0])
    assert plan.decode([b"\xff\xff"]) == ([None], [ABSENT])
    assert plan.encode([None]) == words(3, 0xFFFF)
    assert plan.encode([math.nan]) == plan.encode([math.inf]) == words(3, 0xFFFF)


def test_a_value_that_would_read_as_none_is_not_encoded() -> None:
    plan = Plan([source(Type.UINT16, Datatype.DOUBLE, "0.1", NotAvailable.LOWEST)], Limits())
    assert plan.encode([6553.4]) == words(3, 0xFFFE)
    for value in (6553.5, 7000.0, -0.1):
        with pytest.raises(ValueError, match="does not fit"):
            plan.encode([value])


def test_what_a_float_register_rounds_to_the_mark_for_none_is_not_encoded() -> None:
    plan = Plan([source(Type.FLOAT32, Datatype.DOUBLE, "0.1", 7)], Limits())
    for value in (0.7, math.nextafter(0.7, 0), math.nextafter(0.7, 1)):
        with pytest.raises(ValueError, match="does not fit"):
            plan.encode([value])
    whole = Plan([source(Type.FLOAT32, Datatype.INT64, absent=7)], Limits())
    ((made,), _) = whole.decode(answers(whole.requests, whole.encode([7])))  # said by a neighbour of 7.0
    assert made == 7


def test_bits_and_swapped_words_in_one_group() -> None:
    flag = Source(Point("f", Kind.STATE, Datatype.BOOLEAN), 2, 9, Codec(Type.BIT, Order.CDAB))
    level = Source(Point("l", Kind.GAUGE, Datatype.DOUBLE), 4, 0, Codec(Type.INT32, Order.CDAB))
    plan = Plan([level, flag], Limits())
    held = {(2, 9): 1, (4, 0): 0x0304, (4, 1): 0x0102}
    assert plan.decode(answers(plan.requests, held)) == ([float(0x01020304), True], [0, 0])
    assert plan.encode([float(0x01020304), True]) == held


def test_none_without_a_number_for_it_is_refused() -> None:
    with pytest.raises(ValueError, match="not available"):
        Plan([source(Type.UINT16, Datatype.DOUBLE)], Limits()).encode([None])


@given(st.floats(-3000, 3000))
@example(0.05)
def test_a_value_between_two_numbers_takes_the_nearer(value: float) -> None:
    plan = Plan([source(Type.INT16, Datatype.DOUBLE, "0.1")], Limits())
    ((made,), _) = plan.decode(answers(plan.requests, plan.encode([value])))
    assert isinstance(made, float)
    assert abs(made - value) <= 0.05 + 1e-9


@given(st.floats(0, 2**24, width=32))
@examples(200, 5000)
def test_a_float_kwh_is_its_wh_to_the_resolution(kwh: float) -> None:
    one = source(Type.FLOAT32, Datatype.INT64, "1000")
    one = Source(Point("p", Kind.COUNTER, Datatype.INT64, resolution=10), 3, 0, one.codec, one.scale)
    plan = Plan([one], Limits())
    assume(math.isfinite(kwh))
    held = answers(plan.requests, {(3, n): word for n, word in enumerate(one.codec.pack(kwh))})
    ((wh,), _) = plan.decode(held)
    assert isinstance(wh, int)
    assert wh % 10 == 0
    assert abs(Fraction(wh) - Fraction(kwh) * 1000) <= 5
