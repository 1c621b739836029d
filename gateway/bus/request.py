"""One Modbus read, the shape of its answer, and the frames that a peer may send."""

from __future__ import annotations

from dataclasses import dataclass

REGISTERS = frozenset({3, 4})
BITS = frozenset({1, 2})
EXCEPTION_BIT = 0x80
BUSY = 6
"""Exception code of a device that asks to be asked again."""

MOST_REGISTERS = 125
MOST_BITS = 2000

Shape = tuple[int, int]
"""(function, bytes of data): all that tells one good answer of a unit from another."""


@dataclass(frozen=True, slots=True)
class Request:
    """A read of `count` registers or bits from the zero-based wire address `address`."""

    unit_id: int
    function: int
    address: int
    count: int

    def __post_init__(self) -> None:
        """Refuse what no Modbus frame can say."""
        most = MOST_REGISTERS if self.function in REGISTERS else MOST_BITS if self.function in BITS else 0
        if not (0 <= self.unit_id <= 255 and 1 <= self.count <= most and 0 <= self.address <= 0x10000 - self.count):
            raise ValueError(f"no Modbus read: {self}")

    @property
    def data_bytes(self) -> int:
        """Length of a good answer's data."""
        return 2 * self.count if self.function in REGISTERS else (self.count + 7) // 8

    @property
    def shape(self) -> Shape:
        """What a good answer to this looks like."""
        return self.function, self.data_bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame with a good checksum or header: `data` is what follows the byte count, or the exception code."""

    unit_id: int
    function: int
    data: bytes
    transaction: int | None = None
    """None on a line that has no transaction ids."""

    @property
    def is_exception(self) -> bool:
        """Whether the peer says no."""
        return bool(self.function & EXCEPTION_BIT)

    @property
    def shape(self) -> Shape:
        """What the fence compares."""
        return self.function, len(self.data)

    def answers(self, request: Request) -> bool:
        """Whether this has the unit, function and length of a good answer to `request`."""
        return self.unit_id == request.unit_id and self.shape == request.shape

    def refuses(self, request: Request) -> bool:
        """Whether this is an exception that `request` may have met."""
        return self.unit_id == request.unit_id and self.function == request.function | EXCEPTION_BIT
