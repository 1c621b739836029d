"""Every width, every order, every way to say that there is no value."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.modbus.registers import Codec, NotAvailable, Order, Type, bit, swapped
from edge.modbus.scaling import ABSENT, Source, converter
from edge.model.point import Datatype, Kind, Point
from tests.edge.modbus import naive
from tests.examples import examples

NUMBERS = [t for t in Type if t is not Type.BIT]


def unpack(codec: Codec, words: tuple[int, ...]) -> int | float:
    data = b"".join(word.to_bytes(2, "big") for word in words)
    return codec.struct.unpack(swapped(data) if codec.is_swapped else data)[0]  # type: ignore[no-any-return]


def means_none(codec: Codec, raw: float) -> bool:
    value, quality = converter(Source(Point("p", Kind.GAUGE, Datatype.DOUBLE), 3, 0, codec))(raw)
    return value is None and quality == ABSENT


@pytest.mark.parametrize(
    ("order", "words16", "words32", "words64"),
    [
        ("ABCD", (0x0102,), (0x0102, 0x0304), (0x0102, 0x0304, 0x0506, 0x0708)),
        ("CDAB", (0x0102,), (0x0304, 0x0102), (0x0708, 0x0506, 0x0304, 0x0102)),
        ("BADC", (0x0201,), (0x0201, 0x0403), (0x0201, 0x0403, 0x0605, 0x0807)),
        ("DCBA", (0x0201,), (0x0403, 0x0201), (0x0807, 0x0605, 0x0403, 0x0201)),
    ],
)
def test_the_orders(order: str, words16: tuple[int], words32: tuple[int, int], words64: tuple[int, ...]) -> None:
    for type_, value, words in (
        (Type.UINT16, 0x0102, words16),
        (Type.INT32, 0x01020304, words32),
        (Type.UINT64, 0x0102030405060708, words64),
    ):
        codec = Codec(type_, Order(order))
        assert codec.pack(value) == words
        assert unpack(codec, words) == value


def test_known_floats() -> None:
    assert Codec(Type.FLOAT32).pack(230.0) == (0x4366, 0x0000)
    assert Codec(Type.FLOAT32, Order.CDAB).pack(230.0) == (0x0000, 0x4366)
    assert Codec(Type.FLOAT64).pack(1.0) == (0x3FF0, 0, 0, 0)


@given(type_=st.sampled_from(NUMBERS), order=naive.orders, data=st.data())
def test_unpacking_is_the_naive_reading(type_: Type, order: Order, data: st.DataObject) -> None:
    words = tuple(data.draw(st.lists(naive.words, min_size=type_.size, max_size=type_.size)))
    codec = Codec(type_, order)
    raw, said = unpack(codec, words), naive.number(list(words), type_, order)
    assert struct.pack(">d", raw) == struct.pack(">d", said) if type_.is_float else raw == said
    if not math.isnan(raw):
        assert codec.pack(raw) == words


@pytest.mark.parametrize(
    ("absent", "type_", "words"),
    [
        ("lowest", Type.INT16, (0x8000,)),
        ("lowest", Type.UINT16, (0xFFFF,)),
        ("lowest", Type.INT32, (0x8000, 0)),
        ("lowest", Type.UINT32, (0xFFFF, 0xFFFF)),
        ("lowest", Type.INT64, (0x8000, 0, 0, 0)),
        ("lowest", Type.UINT64, (0xFFFF,) * 4),
        ("highest", Type.INT16, (0x7FFF,)),
        ("highest", Type.UINT32, (0xFFFF, 0xFFFF)),
        ("highest", Type.INT64, (0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF)),
        ("overflow", Type.INT16, (0x7FFF,)),
        ("overflow", Type.INT32, (0x7FFF, 0)),
        ("overflow", Type.INT32, (0x7FFF, 0xFFFF)),
        ("overflow", Type.UINT64, (0x7FFF, 1, 2, 3)),
        ("none", Type.FLOAT32, (0xFFC0, 0)),
        ("none", Type.FLOAT32, (0x7F80, 0)),
        ("none", Type.FLOAT64, (0xFFF0, 0, 0, 0)),
    ],
)
def test_what_means_none(absent: str, type_: Type, words: tuple[int, ...]) -> None:
    codec = Codec(type_, Order.ABCD, NotAvailable(absent))
    assert means_none(codec, unpack(codec, words))
    assert means_none(codec, unpack(codec, codec.pack(codec.none())))


@pytest.mark.parametrize("type_", [Type.INT16, Type.UINT16, Type.INT64, Type.UINT64])
@pytest.mark.parametrize("absent", list(NotAvailable))
def test_neighbours_of_none_are_values(type_: Type, absent: NotAvailable) -> None:
    codec = Codec(type_, Order.ABCD, absent)
    first, last = codec.absent
    low, high = type_.limits
    assert not any(
        means_none(codec, raw) for raw in (0, first - 1, last + 1) if low <= raw <= high and absent != "none"
    )
    if absent is NotAvailable.NONE:
        assert not any(means_none(codec, raw) for raw in (low, high))
        with pytest.raises(ValueError, match="no number"):
            codec.none()


def test_one_number_may_mean_none() -> None:
    assert means_none(Codec(Type.INT16, Order.ABCD, -999), -999)
    assert means_none(Codec(Type.FLOAT32, Order.ABCD, -999), -999.0)
    assert Codec(Type.FLOAT32, Order.ABCD, -999).pack(Codec(Type.FLOAT32, Order.ABCD, -999).none()) == (0xC479, 0xC000)


@pytest.mark.parametrize(("type_", "raw"), [(Type.INT16, 40000), (Type.UINT32, -1), (Type.FLOAT32, 1e39)])
def test_what_does_not_fit_is_refused(type_: Type, raw: float) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Codec(type_).pack(raw)


@given(st.lists(st.booleans(), min_size=1, max_size=2000))
@examples(30, 300)
def test_bits_stand_lowest_first(bits: list[bool]) -> None:
    data = bytes(sum(b << i for i, b in enumerate(bits[at : at + 8])) for at in range(0, len(bits), 8))
    assert [bool(bit(data, at)[0]) for at in range(len(bits))] == bits
