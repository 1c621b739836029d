"""The slow, obvious reading of registers: byte by byte, from the definition of each order; and sources to try it on."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

from hypothesis import strategies as st

from edge.modbus.registers import Codec, NotAvailable, Order, Type
from edge.modbus.scaling import Source
from edge.model.point import Datatype, Kind, Point, Value

BITS = {"bit": 1, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64, "uint64": 64}
Registers = dict[tuple[int, int], int]


def number(words: list[int], type_: Type, order: Order) -> int | float:
    high_first = reversed(words) if order in {Order.CDAB, Order.DCBA} else words
    pairs = [divmod(word, 256) for word in high_first]
    data = bytes(b for high, low in pairs for b in ((low, high) if order in {Order.BADC, Order.DCBA} else (high, low)))
    if type_ is Type.FLOAT32:
        return float(struct.unpack(">f", data)[0])
    if type_ is Type.FLOAT64:
        return float(struct.unpack(">d", data)[0])
    return int.from_bytes(data, "big", signed=type_.value.startswith("int"))


def means_none(raw: float, codec: Codec) -> bool:
    if isinstance(codec.not_available, int):
        return raw == codec.not_available or not math.isfinite(raw)
    if codec.type in {Type.FLOAT32, Type.FLOAT64}:
        return not math.isfinite(raw)
    bits = BITS[codec.type]
    pattern = int(raw) % 2**bits
    signed = codec.type.value.startswith("int")
    patterns: dict[NotAvailable, bool] = {
        NotAvailable.NONE: False,
        NotAvailable.LOWEST: pattern == (2 ** (bits - 1) if signed else 2**bits - 1),
        NotAvailable.HIGHEST: pattern == (2 ** (bits - 1) - 1 if signed else 2**bits - 1),
        NotAvailable.OVERFLOW: pattern >> (bits - 16) == 0x7FFF,
    }
    return patterns[codec.not_available]


def value(source: Source, held: Registers) -> tuple[Value, str]:
    """The value and why it is not good, or ""."""
    words = [held[source.function, at] for at in range(source.address, source.end)]
    if source.codec.type is Type.BIT:
        return bool(words[0]), ""
    raw = number(words, source.codec.type, source.codec.order)
    if means_none(raw, source.codec):
        return None, "not_available"
    exact = Fraction(raw) * source.scale + source.offset
    made: int | float
    if source.point.datatype is Datatype.INT64:
        made = rounded(exact, source.point.resolution)
        if not -(2**63) <= made < 2**63:
            return None, "out_of_range"
    else:
        try:
            made = float(exact)
        except OverflowError:
            return None, "out_of_range"
    low, high = source.point.low, source.point.high
    fits = (low is None or made >= low) and (high is None or made <= high)
    return made, "" if fits else "out_of_range"


def rounded(exact: Fraction, step: int) -> int:
    """To the nearest multiple of `step`, halves up."""
    return math.floor(exact / step + Fraction(1, 2)) * step


orders = st.sampled_from(Order)
types = st.sampled_from([t for t in Type if t is not Type.BIT])
scales = st.sampled_from(["1", "0.1", "0.01", "0.001", "10", "100", "1000", "0.25", "3", "0.3", "1.8"]).map(Fraction)
offsets = st.sampled_from(["0", "0", "-40", "0.5", "-273.15"]).map(Fraction)
words = st.one_of(
    st.integers(0, 0xFFFF), st.sampled_from([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FF0, 0x7F80, 0xFFC0, 0x0080, 0xFF7F])
)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    function = draw(st.sampled_from([1, 2, 3, 4]))
    type_ = draw(types) if function > 2 else Type.BIT
    signed_limits = type_.limits if not type_.is_float and type_ is not Type.BIT else (-1000, 1000)
    absent = st.one_of(st.sampled_from(NotAvailable), st.integers(*signed_limits))
    codec = Codec(type_, draw(orders), draw(absent) if type_ is not Type.BIT else NotAvailable.NONE)
    datatype = Datatype.BOOLEAN if type_ is Type.BIT else draw(st.sampled_from([Datatype.INT64, Datatype.DOUBLE]))
    step = draw(st.sampled_from([1, 1, 10, 100, 7])) if datatype is Datatype.INT64 else 1
    low, high = draw(st.sampled_from([(None, None), (0.0, 1000.0), (-5.5, None), (None, 4e9)]))
    kind = {Datatype.BOOLEAN: Kind.STATE, Datatype.INT64: Kind.COUNTER}.get(datatype, Kind.GAUGE)
    point = Point("p", kind, datatype, resolution=step, low=low, high=high)
    scale, offset = (draw(scales), draw(offsets)) if type_ is not Type.BIT else (Fraction(1), Fraction(0))
    address = draw(st.one_of(st.integers(0, 60), st.integers(0, 0x10000 - type_.size)))
    return Source(point, function, address, codec, scale, offset)
