"""From a number in a register to a value in the point's unit, and back.

The value is raw · scale + offset, with scale and offset as the decimal fractions that a profile writes: 2301 · 0.1
is 230.1, not 230.10000000000002. Integers never pass through a float.
"""

from __future__ import annotations

import math
import struct
import sys
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from edge.modbus.registers import Codec, Raw, Type
from edge.model.point import Datatype, Point, Value
from edge.model.quality import Quality

if TYPE_CHECKING:
    from collections.abc import Callable

Converted = tuple[Value, int]
"""A value and its `Quality`."""

GOOD: Final = 0
ABSENT: Final = int(Quality.BAD | Quality.NOT_AVAILABLE)
OUT_OF_RANGE: Final = int(Quality.BAD | Quality.OUT_OF_RANGE)
_INT64: Final = (-1 << 63, (1 << 63) - 1)
_SINGLE: Final = struct.Struct(">f")
_SINGLE_STEP, _LEAST_SINGLE = 2.0**-23, 2.0**-149
"""A number changed by this part of itself, or by the least number there is, is another one in 32 bits."""
_FINITE: Final = (-sys.float_info.max, sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a point's value stands in a device, and in which form."""

    point: Point
    function: int
    address: int
    codec: Codec
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)

    @property
    def end(self) -> int:
        """The address behind the last register, or bit."""
        return self.address + self.codec.type.size


def converter(source: Source) -> Callable[[Raw], Converted]:
    """Compile what turns a raw number into a value and its quality.

    A value outside the plausible range is kept and marked; one that its datatype can't hold is not.
    """
    first, last = source.codec.absent
    value_of = _value_of(source)
    low = -math.inf if source.point.low is None else source.point.low
    high = math.inf if source.point.high is None else source.point.high
    least, most = _INT64 if source.point.datatype is Datatype.INT64 else _FINITE

    def convert(raw: Raw) -> Converted:
        if first <= raw <= last or raw - raw != 0:  # NaN and infinities are no numbers to go on with
            return None, ABSENT
        value = value_of(raw)
        if low <= value <= high and least <= value <= most:
            return value, GOOD
        return (value if least <= value <= most else None), OUT_OF_RANGE

    return convert if source.codec.type is not Type.BIT else _boolean


def inverter(source: Source) -> Callable[[Value], Raw]:
    """Compile what gives the raw number that stands for a value: one that converts to it, else the nearest.

    It raises ValueError where the register has no number for a value.
    """
    convert, nearest, codec = converter(source), _nearest(source), source.codec
    first, last = codec.absent
    low, high = (-math.inf, math.inf) if codec.type.is_float else codec.type.limits

    def holds(raw: Raw) -> bool:
        return low <= raw <= high and not first <= raw <= last and math.isfinite(raw)

    def invert(value: Value) -> Raw:
        assert not isinstance(value, str)
        if value is None or not math.isfinite(value):
            return codec.none()
        near = nearest(value)
        if holds(near) and convert(near)[0] == value:
            return near
        for raw in _others(codec, near):
            if holds(raw) and convert(raw)[0] == value:
                return raw
        if not holds(near):
            raise ValueError(f"{value} of {source.point.name} does not fit {codec.type}")
        return near

    return invert


def _nearest(source: Source) -> Callable[[Raw], Raw]:
    """Compile what divides by the scale: in floats as long as they can't be wrong by one."""
    scale, offset = source.scale, source.offset
    inexact = 1 << 50
    if source.codec.type.is_float:
        held = _held(source.codec.type)
        if scale == 1 and offset == 0:
            return held
        added = Fraction(float(offset))  # what the conversion adds, or values near the offset don't come back
        return lambda value: held(_float((Fraction(value) - added) / scale))
    by, less = float(1 / scale), float(offset)
    least = inexact / max(1.0, by)

    def nearest(value: Raw) -> Raw:
        if -least < value < least:
            return round((value - less) * by)
        return round((Fraction(value) - offset) / scale)

    return nearest


def _others(codec: Codec, near: Raw) -> tuple[Raw, ...]:
    """Raw numbers that may convert to a value where the nearest does not, or means none."""
    if codec.type is Type.FLOAT32:
        held, step = _held(codec.type), max(abs(near) * _SINGLE_STEP, _LEAST_SINGLE)
        return held(near - step), held(near + step)
    if codec.type is Type.FLOAT64:  # the product's and the quotient's rounding may be one step together
        return math.nextafter(near, -math.inf), math.nextafter(near, math.inf)
    assert isinstance(near, int)
    first, last = codec.absent
    return near - 1, near + 1, first - 1, last + 1, *codec.type.limits


def _held(type_: Type) -> Callable[[Raw], Raw]:
    """Compile what rounds to a number that registers of a float type can hold."""
    return _single if type_ is Type.FLOAT32 else float


def _single(value: Raw) -> Raw:
    try:
        return float(_SINGLE.unpack(_SINGLE.pack(value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _boolean(raw: Raw) -> Converted:
    return bool(raw), GOOD


def _value_of(source: Source) -> Callable[[Raw], Raw]:
    if source.codec.type.is_float:
        return _of_float(source)
    scale, offset = source.scale, source.offset
    den = math.lcm(scale.denominator, offset.denominator)
    num, add = int(scale * den), int(offset * den)
    if source.point.datatype is not Datatype.INT64:
        return lambda raw: (raw * num + add) / den
    step = source.point.resolution
    if den == step == 1:
        return lambda raw: raw * num + add
    whole = 2 * den * step
    return lambda raw: (2 * (raw * num + add) + whole // 2) // whole * step


def _of_float(source: Source) -> Callable[[Raw], Raw]:
    num, den, add = source.scale.numerator, source.scale.denominator, float(source.offset)
    if source.point.datatype is Datatype.INT64:
        step = source.point.resolution
        return lambda raw: _rounded(raw * num / den + add, step)
    return lambda raw: raw * num / den + add


def _rounded(value: float, step: int) -> Raw:
    return round(value / step) * step if math.isfinite(value) else value


def _float(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.copysign(math.inf, exact)
