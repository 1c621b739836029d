"""From a number in a register to a value in the point's unit, and back.

The value is raw · scale + offset, with scale and offset as the decimal fractions that a profile writes: 2301 · 0.1
is 230.1, not 230.10000000000002. Integers never pass through a float.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from edge.modbus.registers import Codec, Raw, Type
from edge.model.point import Datatype, Point, Value
from edge.model.quality import Quality

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Converted = tuple[Value, int]
"""A value and its `Quality`."""

GOOD: Final = 0
ABSENT: Final = int(Quality.BAD | Quality.NOT_AVAILABLE)
OUT_OF_RANGE: Final = int(Quality.BAD | Quality.OUT_OF_RANGE)
_INT64: Final = (-1 << 63, (1 << 63) - 1)


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
    least, most = _INT64 if source.point.datatype is Datatype.INT64 else (-math.inf, math.inf)

    def convert(raw: Raw) -> Converted:
        if first <= raw <= last or raw - raw != 0:  # NaN and infinities are no numbers to go on with
            return None, ABSENT
        value = value_of(raw)
        if low <= value <= high and least <= value <= most:
            return value, GOOD
        return (value if least <= value <= most and value - value == 0 else None), OUT_OF_RANGE

    return convert if source.codec.type is not Type.BIT else _boolean


def raw_of(source: Source, value: Value) -> Raw:
    """Give the raw number that stands for a value: the one that converts to it, else the nearest.

    Raises:
        ValueError: the register has no number for it.
    """
    if value is None or value != value:  # noqa: PLR0124 -- NaN of any type
        return source.codec.none()
    assert not isinstance(value, str)
    convert = converter(source)
    nearest: Raw | None = None
    for raw in _candidates(source, value):
        if source.codec.is_absent(raw):
            continue
        if convert(raw)[0] == value:
            return raw
        nearest = raw if nearest is None else nearest
    if nearest is None:
        raise ValueError(f"{value} of {source.point.name} does not fit {source.codec.type}")
    return nearest


def _boolean(raw: Raw) -> Converted:
    return bool(raw), GOOD


def _value_of(source: Source) -> Callable[[Raw], Raw]:
    scale, offset = source.scale, source.offset
    den = math.lcm(scale.denominator, offset.denominator)
    num, add = int(scale * den), int(offset * den)
    if source.point.datatype is Datatype.INT64:
        step = source.point.resolution
        if source.codec.type.is_float:
            return lambda raw: _rounded(raw * num / den + add / den, step)
        if den == step == 1:
            return lambda raw: raw * num + add
        whole = 2 * den * step
        return lambda raw: (2 * (raw * num + add) + whole // 2) // whole * step
    if scale == 1 and offset == 0:
        return float
    if source.codec.type.is_float:
        return lambda raw: raw * num / den + add / den
    return lambda raw: (raw * num + add) / den


def _rounded(value: float, step: int) -> Raw:
    return round(value / step) * step if math.isfinite(value) else value


def _candidates(source: Source, value: Raw) -> Iterator[Raw]:
    """Raw numbers near a value that the type can hold, nearest first."""
    exact = (Fraction(value) - source.offset) / source.scale
    if not source.codec.type.is_float:
        low, high = source.codec.type.limits
        whole = round(exact)
        yield from (raw for raw in (whole, whole - 1, whole + 1) if low <= raw <= high)
        return
    near = value if source.scale == 1 and source.offset == 0 else float(exact)
    yield from (near, math.nextafter(near, -math.inf), math.nextafter(near, math.inf))
