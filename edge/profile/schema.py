"""What a profile file may say (docs/profiles.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from edge.modbus.registers import NotAvailable, Order, Type
from edge.model.point import Domain
from edge.settings import Settings

Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=48)]
"""A name of ours: small letters, digits and underscores."""
Address = Annotated[int, Field(ge=0, le=0xFFFF)]
Function = Literal[1, 2, 3, 4]


def _is_int(value: Any) -> str:
    """Choose what a value was meant to be, so that a mistake in it is told once, not for each thing it is not."""
    return "int" if isinstance(value, int) else "other"


Nothing = Annotated[Annotated[int, Tag("int")] | Annotated[NotAvailable, Tag("other")], Discriminator(_is_int)]
"""Which integers mean "no value": one, or a convention."""
Addresses = Annotated[
    Annotated[Address, Tag("other")] | Annotated[dict[str, Address], Tag("dict")],
    Discriminator(lambda value: "dict" if isinstance(value, dict) else "other"),
]
"""Of the device, or by part."""
PARTS = ("phase", "lane", "direction", "class")
"""Tags by which a device's rows may be told apart; tags are few, and bounded."""


class PointTable(Settings):
    """One quantity; with a table of addresses, the same quantity of several parts."""

    name: Word
    kind: Literal["gauge", "counter", "delta", "state"] = "gauge"
    unit: str = ""
    address: Addresses
    part: str = ""
    type: Type | None = None
    function: Function | None = None
    byte_order: Order | None = None
    not_available: Nothing | None = None
    overlaps: bool = False
    scale: float = Field(default=1.0, gt=1e-12, lt=1e12)
    offset: float = Field(default=0.0, gt=-1e12, lt=1e12)
    average: bool = False
    resolution: int = Field(default=1, ge=1, lt=1 << 53)
    modulus: int = Field(default=0, ge=0, lt=1 << 63)
    max_rate: float = Field(default=0.0, ge=0, lt=1e18)
    low: float | None = Field(default=None, gt=-1e18, lt=1e18)
    high: float | None = Field(default=None, gt=-1e18, lt=1e18)
    weight: str = ""


class GroupTable(Settings):
    """Points that are read together, with one period."""

    name: Word
    period_s: float = Field(ge=0.1, le=86400)
    interval_start: str = ""
    interval_s: int = Field(default=0, ge=0, le=86400)
    point: tuple[PointTable, ...]


class ModbusTable(Settings):
    """How the device speaks, and what its points have in common."""

    function: Function = 3
    type: Type | None = None
    byte_order: Order = Order.ABCD
    not_available: Nothing = NotAvailable.NONE
    max_registers: int = Field(default=125, ge=1, le=125)
    max_hole: int = Field(default=0, ge=0, le=124)
    timeout_s: float = Field(default=1.0, gt=0, le=60)


class ProfileTable(Settings):
    """A whole profile file."""

    name: Word
    title: str = Field(min_length=1)
    manufacturer: str
    model: str
    domain: Domain
    source: str = Field(min_length=1)
    verified: bool = False
    notes: str = ""
    modbus: ModbusTable = ModbusTable()
    group: tuple[GroupTable, ...]
