"""Numbers in 16-bit registers: every width, every order of bytes, and the values that mean "not available".

`A` is the most significant byte. The order of 64-bit numbers follows the same two rules as that of 32-bit ones:
whether the low word comes first, and whether the bytes in a word are swapped.
"""

from __future__ import annotations

import enum
import functools
import math
import struct
from dataclasses import dataclass
from typing import Final

Raw = int | float
"""A number as a register holds it, before scale and offset."""


class Type(enum.StrEnum):
    """What stands at an address: a coil or discrete input, or a number in registers."""

    BIT = "bit"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def size(self) -> int:
        """Registers that one number takes, or bits."""
        return 1 if self is Type.BIT else struct.calcsize(_CODES[self]) // 2

    @property
    def is_float(self) -> bool:
        """Tell whether registers of this type hold fractions."""
        return self in {Type.FLOAT32, Type.FLOAT64}

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest number of an integer type."""
        if self is Type.BIT:
            return 0, 1
        bits = 16 * self.size
        return (0, (1 << bits) - 1) if _CODES[self].isupper() else (-1 << (bits - 1), (1 << (bits - 1)) - 1)


_CODES: Final = {
    Type.INT16: "h",
    Type.UINT16: "H",
    Type.INT32: "i",
    Type.UINT32: "I",
    Type.INT64: "q",
    Type.UINT64: "Q",
    Type.FLOAT32: "f",
    Type.FLOAT64: "d",
}


class Order(enum.StrEnum):
    """In which order the bytes of a 32-bit number stand on the wire."""

    ABCD = "ABCD"
    """The standard's own: most significant byte first."""
    CDAB = "CDAB"
    """Low word first."""
    BADC = "BADC"
    """High word first, bytes swapped in each word."""
    DCBA = "DCBA"
    """Least significant byte first."""


class NotAvailable(enum.StrEnum):
    """Which integers mean that there is no value. In a float every NaN and infinity does, whatever stands here."""

    NONE = "none"
    LOWEST = "lowest"
    """Signed 8000…, unsigned FFFF… (Schneider, SunSpec)."""
    HIGHEST = "highest"
    """Signed 7FFF…, unsigned FFFF… (ABB)."""
    OVERFLOW = "overflow"
    """7FFF in the high word (Carlo Gavazzi)."""


_NOTHING: Final = (1, 0)
_NAN: Final = math.copysign(math.nan, -1.0)  # FFC00000, as meters send it


@dataclass(frozen=True, slots=True)
class Codec:
    """One representation of a number: how it is packed, and which of its values mean none."""

    type: Type
    order: Order = Order.ABCD
    not_available: NotAvailable | int = NotAvailable.NONE
    """A convention, or the one number that means it."""

    @property
    def is_swapped(self) -> bool:
        """Tell whether `struct` expects the two bytes of each word the other way round than they were sent."""
        return self.type is not Type.BIT and self.order in {Order.CDAB, Order.BADC}

    @property
    def struct(self) -> struct.Struct:
        """How to unpack a number of registers, after `swapped` where `is_swapped`."""
        return _compiled(("<" if self.order in {Order.CDAB, Order.DCBA} else ">") + _CODES[self.type])

    @property
    def absent(self) -> tuple[int, int]:
        """First and last number that mean none; empty (first > last) if none does."""
        if isinstance(self.not_available, int):
            return self.not_available, self.not_available
        if self.not_available is NotAvailable.NONE or self.type.is_float or self.type is Type.BIT:
            return _NOTHING
        low, high = self.type.limits
        if self.not_available is NotAvailable.OVERFLOW:
            rest = 16 * (self.type.size - 1)
            return 0x7FFF << rest, (0x8000 << rest) - 1
        none = low if self.not_available is NotAvailable.LOWEST and low < 0 else high
        return none, none

    def none(self) -> Raw:
        """Give the number that says that there is none.

        Raises:
            ValueError: this representation has no such number.
        """
        first, last = self.absent
        if first <= last:
            return last
        if self.type.is_float:
            return _NAN
        raise ValueError(f"{self.type} has no number for 'not available' here")

    def pack(self, raw: Raw) -> tuple[int, ...]:
        """Give the registers (or the bit) that hold a number.

        Raises:
            ValueError: it does not fit the type.
        """
        if self.type is Type.BIT:
            return (int(raw),)
        try:
            data = self.struct.pack(raw)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{raw} does not fit {self.type}") from error
        return struct.unpack(f">{self.type.size}H", swapped(data) if self.is_swapped else data)


def swapped(data: bytes) -> bytes:
    """Change places of the two bytes of each word; an odd byte, the last of bits, stays."""
    out = bytearray(data)
    words = len(data) & ~1
    out[0:words:2], out[1:words:2] = data[1:words:2], data[0:words:2]
    return bytes(out)


def bit(data: bytes, at: int) -> tuple[int]:
    """Read one bit of an answer to function 1 or 2 (the first bit is the lowest of the first byte)."""
    return (data[at >> 3] >> (at & 7) & 1,)


@functools.cache
def _compiled(form: str) -> struct.Struct:
    return struct.Struct(form)
