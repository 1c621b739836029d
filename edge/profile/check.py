"""What must hold between the keys of a profile; every mistake is found, not the first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edge.errors import Mistake
from edge.modbus.decode import BIT_FUNCTIONS, Limits
from edge.modbus.registers import NotAvailable, Type
from edge.profile import expand
from edge.profile.schema import PARTS, GroupTable, ModbusTable, PointTable, ProfileTable
from edge.profile.units import SUFFIXES
from edge.settings import nearest

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Found = Iterator[Mistake]


@dataclass(frozen=True, slots=True)
class _Place:
    """A table of the file, to which mistakes are pinned."""

    file: str
    path: str

    def mistake(self, key: str, value: Any, expected: str, near: str | None = None) -> Mistake:
        return Mistake(self.file, f"{self.path}.{key}", value, expected, near)


def mistakes(profile: ProfileTable, file: str) -> Found:
    """Find what is wrong in a profile whose keys and types are right."""
    groups: set[str] = set()
    points: set[str] = set()
    if not profile.group:
        yield Mistake(file, "group", None, "at least one group")
    for number, group in enumerate(profile.group):
        place = _Place(file, f"group[{number}]")
        if group.name in groups:
            yield place.mistake("name", group.name, "a name that no other group has")
        groups.add(group.name)
        yield from _group(place, group)
        yield from _points(place, group, profile.modbus, points)
    yield from _overlaps(profile, file)


def _group(place: _Place, group: GroupTable) -> Found:
    if round(group.period_s * 1000) != group.period_s * 1000:
        yield place.mistake("period_s", group.period_s, "whole milliseconds")
    if not group.point:
        yield place.mistake("point", None, "at least one point")
    if not any(table.kind == "delta" for table in group.point):
        if group.interval_start or group.interval_s:
            key = "interval_start" if group.interval_start else "interval_s"
            yield place.mistake(key, getattr(group, key), "no interval (the group has no delta)")
        return
    if group.interval_s == 0:
        yield place.mistake("interval_s", group.interval_s, "the length of the interval that the deltas count over [s]")
    elif group.period_s > group.interval_s:
        yield place.mistake(
            "period_s", group.period_s, f"at most interval_s ({group.interval_s}), or intervals are lost"
        )
    states = {table.name: table for table in group.point if table.kind == "state"}
    if group.interval_start not in states:
        expected = "the name of a state in this group: the register with the interval's start [s since 1970, UTC]"
        yield place.mistake("interval_start", group.interval_start, expected, nearest(group.interval_start, states))
        return
    start = states[group.interval_start]
    if start.unit != "s":
        yield place.mistake("interval_start", group.interval_start, 'a state with unit = "s"')
    deltas = (table for table in group.point if table.kind == "delta")
    lacking = [part for table in deltas for part in _unresolved(start, table)]
    if lacking:
        expected = f"a state of the device, or one of each part; {', '.join(lacking)} has none"
        yield place.mistake("interval_start", group.interval_start, expected)


def _points(place: _Place, group: GroupTable, modbus: ModbusTable, known: set[str]) -> Found:
    before: list[PointTable] = []
    for number, table in enumerate(group.point):
        here = _Place(place.file, f"{place.path}.point[{number}]")
        for name in expand.names_of(table):
            if name in known:
                yield here.mistake("name", name, "a name that no other point of the device has")
            known.add(name)
        yield from _name(here, table)
        yield from _parts(here, table)
        yield from _register(here, table, modbus)
        yield from _kind(here, table)
        yield from _weight(here, table, before)
        before.append(table)


def _name(place: _Place, table: PointTable) -> Found:
    suffix = SUFFIXES.get(table.unit)
    if suffix is None:
        expected = f"one of {', '.join(unit for unit in SUFFIXES if unit)}"
        yield place.mistake("unit", table.unit, expected, nearest(table.unit, SUFFIXES))
    elif not table.name.endswith(suffix):
        yield place.mistake("name", table.name, f"a name that ends with its unit, {suffix}", table.name + suffix)


def _parts(place: _Place, table: PointTable) -> Found:
    tags = expand.split(table.part)
    for tag in tags:
        if tag not in PARTS:
            yield place.mistake("part", table.part, f"one of {', '.join(PARTS)}", nearest(tag, PARTS))
    if len(set(tags)) < len(tags):
        yield place.mistake("part", table.part, "each tag once")
    if not isinstance(table.address, dict):
        if tags:
            yield place.mistake("part", table.part, "no part (there is one address)")
        return
    if not tags or not table.address:
        yield place.mistake("part" if not tags else "address", None, "a tag, and an address for each of its values")
    for key in table.address:
        values = expand.split(key)
        if tags and (len(values) != len(tags) or not all(map(_PART.fullmatch, values))):
            yield place.mistake(f"address.{key}", key, f"one value for each tag of part ({table.part})")


def _register(place: _Place, table: PointTable, modbus: ModbusTable) -> Found:
    register = expand.type_of(table, modbus)
    function = expand.function_of(table, modbus)
    if register is None:
        yield place.mistake("type", None, f"one of {', '.join(Type)}, here or in [modbus]")
        return
    if (register is Type.BIT) != (function in BIT_FUNCTIONS):
        yield place.mistake("type", str(register), "bit with function 1 or 2, a number with 3 or 4")
        return
    if register is Type.BIT:
        yield from _bit(place, table)
    limits = Limits(modbus.max_registers)
    if register.size > limits.most(function):
        yield place.mistake(
            "type", str(register), f"a value that fits one read (max_registers = {modbus.max_registers})"
        )
    addresses = table.address if isinstance(table.address, dict) else {"": table.address}
    for part, address in addresses.items():
        if address + register.size > 1 << 16:
            key = f"address.{part}" if part else "address"
            yield place.mistake(key, address, f"room for a {register} before the end of the addresses, 0xFFFF")
    yield from _nothing(place, table, register)


def _bit(place: _Place, table: PointTable) -> Found:
    if table.kind != "state":
        yield place.mistake("kind", table.kind, "state (a bit is nothing else)", "state")
    for key, default in (("scale", 1), ("offset", 0), ("low", None), ("high", None), ("not_available", None)):
        if getattr(table, key) != default:
            yield place.mistake(key, getattr(table, key), "nothing (a bit is true or false)")


def _nothing(place: _Place, table: PointTable, register: Type) -> Found:
    absent = table.not_available
    if absent is None or register is Type.BIT:
        return
    if register.is_float:
        if isinstance(absent, NotAvailable):
            yield place.mistake("not_available", absent.value, "a number (NaN and infinity always mean it in a float)")
    elif isinstance(absent, int) and not register.limits[0] <= absent <= register.limits[1]:
        yield place.mistake("not_available", absent, f"a number that fits {register}")


def _kind(place: _Place, table: PointTable) -> Found:
    counter, delta = table.kind == "counter", table.kind == "delta"
    for key, default in (("resolution", 1), ("modulus", 0), ("max_rate", 0.0)):
        value = getattr(table, key)
        if value != default and not counter:
            yield place.mistake(key, value, "nothing (only a counter has it)")
    for key in ("weight", "average"):
        if getattr(table, key) and not delta:
            yield place.mistake(key, getattr(table, key), "nothing (only a delta has it)")
    if table.average and table.weight:
        yield place.mistake("average", table.average, "nothing (weight averages already)")
    if table.modulus % table.resolution:
        yield place.mistake("modulus", table.modulus, f"a multiple of the resolution, {table.resolution}")
    if table.low is not None and table.high is not None and table.low > table.high:
        yield place.mistake("low", table.low, f"at most high, {table.high}")


def _weight(place: _Place, table: PointTable, before: list[PointTable]) -> Found:
    if not table.weight or table.kind != "delta":
        return
    volumes = {t.name: t for t in before if t.kind == "delta" and not t.weight and not t.average}
    weight = volumes.get(table.weight)
    if weight is None:
        expected = "the name of a delta that is summed, earlier in this group"
        yield place.mistake("weight", table.weight, expected, nearest(table.weight, volumes))
        return
    for part in _unresolved(weight, table):
        yield place.mistake("weight", table.weight, f"a delta that has the part {part!r}, too")


def _unresolved(meant: PointTable, table: PointTable) -> list[str]:
    """Give the parts of a point for which `meant` has no point."""
    names = set(expand.names_of(meant))
    return [part for part in expand.parts(table) if expand.resolve(meant.name, part, names) not in names]


def _overlaps(profile: ProfileTable, file: str) -> Found:
    taken: dict[tuple[int, int], str] = {}
    for g, group in enumerate(profile.group):
        for p, table in enumerate(group.point):
            register = expand.type_of(table, profile.modbus)
            if register is None:
                continue
            function = expand.function_of(table, profile.modbus)
            place = _Place(file, f"group[{g}].point[{p}]")
            addresses = table.address if isinstance(table.address, dict) else {"": table.address}
            for part, address in addresses.items():
                span = [(function, at) for at in range(address, address + register.size)]
                other = next((taken[at] for at in span if at in taken), None)
                if other and not table.overlaps:
                    key = f"address.{part}" if part else "address"
                    expected = f"registers that {other} does not use (overlaps = true if this is meant)"
                    yield place.mistake(key, address, expected)
                taken.update(dict.fromkeys(span, expand.full_name(table.name, part)))
