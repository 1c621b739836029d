"""From the tables of a profile file to points and their sources: defaults filled in, parts spelt out."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from edge.modbus.decode import BIT_FUNCTIONS
from edge.modbus.registers import Codec, Type
from edge.modbus.scaling import Source
from edge.model.point import Datatype, Kind, Point

if TYPE_CHECKING:
    from edge.profile.schema import GroupTable, ModbusTable, PointTable


def sources(group: GroupTable, modbus: ModbusTable) -> list[Source]:
    """Give every point of a group, in the file's order, parts in the order of their addresses' table."""
    names = {name for table in group.point for name in names_of(table)}
    return [_source(table, part, group, modbus, names) for table in group.point for part in parts(table)]


def parts(table: PointTable) -> list[str]:
    """Give the parts a point's table stands for; "" for the device as a whole."""
    return list(table.address) if isinstance(table.address, dict) else [""]


def names_of(table: PointTable) -> list[str]:
    """Give the names of the points that a table stands for."""
    return [full_name(table.name, part) for part in parts(table)]


def full_name(field: str, part: str) -> str:
    """Name a point: `field`, or `field/part`."""
    return f"{field}/{part}" if part else field


def split(text: str) -> list[str]:
    """Take apart the tags of `part`, or the values of one part: "lane,class", "1,car"."""
    return text.split(",") if text else []


def resolve(field: str, part: str, names: set[str]) -> str:
    """Find the point that another one of the group means by `field`: the one of its own part, else the device's."""
    own = full_name(field, part)
    return own if own in names else field


def function_of(table: PointTable, modbus: ModbusTable) -> int:
    """Give the function that reads a point."""
    return table.function or modbus.function


def type_of(table: PointTable, modbus: ModbusTable) -> Type | None:
    """Give what stands at a point's address; functions 1 and 2 read bits."""
    if function_of(table, modbus) in BIT_FUNCTIONS:
        return table.type or Type.BIT
    return table.type or modbus.type


def datatype_of(table: PointTable, register: Type) -> Datatype:
    """Choose how a value is carried.

    Counters, states and volumes are integers. What is averaged is a float as the register has it, and a double
    as soon as a scale is applied, since a float can't hold 230.1.
    """
    if register is Type.BIT:
        return Datatype.BOOLEAN
    plain = table.scale == 1 and table.offset == 0
    summed = table.kind == "delta" and not table.weight and not table.average
    if table.kind in {"counter", "state"} or summed:
        return Datatype.INT64
    return Datatype.FLOAT if register is Type.FLOAT32 and plain else Datatype.DOUBLE


def fraction(number: float) -> Fraction:
    """Take a number as the decimal fraction that stands in the file."""
    return Fraction(Decimal(repr(number)))


def _source(table: PointTable, part: str, group: GroupTable, modbus: ModbusTable, names: set[str]) -> Source:
    register = type_of(table, modbus)
    assert register is not None
    absent = modbus.not_available if table.not_available is None else table.not_available
    return Source(
        _point(table, part, group, register, names),
        function_of(table, modbus),
        table.address[part] if isinstance(table.address, dict) else table.address,
        Codec(register, table.byte_order or modbus.byte_order, absent),
        fraction(table.scale),
        fraction(table.offset),
    )


def _point(table: PointTable, part: str, group: GroupTable, register: Type, names: set[str]) -> Point:
    is_delta = table.kind == "delta"
    return Point(
        name=full_name(table.name, part),
        kind=Kind(table.kind),
        datatype=datatype_of(table, register),
        unit=table.unit,
        part=tuple(zip(split(table.part), split(part), strict=True)),
        resolution=table.resolution,
        modulus=table.modulus,
        max_rate=table.max_rate,
        low=table.low,
        high=table.high,
        interval_start=resolve(group.interval_start, part, names) if is_delta else "",
        interval_s=group.interval_s if is_delta else 0,
        weight=resolve(table.weight, part, names) if table.weight else "",
    )
