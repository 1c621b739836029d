"""Metric tables: which alias stands for which point of a device, and the table's hash (docs/wire.md §4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.errors import ProtocolError
from edge.model.point import Datatype, Group, Kind, Point
from edge.sparkplug.payload import DATATYPE_CODES, DOUBLE, INT32, INT64, OUTCOME_PREFIX, STRING
from edge.sparkplug.sparkplug_b_pb2 import Metric, Payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_BYTES: Final = 8
_BY_CODE: Final = {code: datatype for datatype, code in DATATYPE_CODES.items()}


class BirthError(ProtocolError):
    """A DBIRTH that does not follow docs/wire.md §4."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One alias: a point of a group, or (`point` None) the group's outcome."""

    alias: int
    group: str
    point: Point | None


@dataclass(frozen=True, slots=True)
class Table:
    """The metrics of one device in one session."""

    site: str
    device: str
    entries: tuple[Entry, ...]
    """In alias order."""
    hash: bytes

    @property
    def device_id(self) -> str:
        """The device as Sparkplug's topics name it."""
        return device_id(self.site, self.device)

    @property
    def next_alias(self) -> int:
        """The first alias after the table's own; aliases are unique in an edge node."""
        return self.entries[-1].alias + 1 if self.entries else 0


def device_id(site: str, device: str) -> str:
    """Name a device as Sparkplug's topics do."""
    return f"{site}:{device}"


def build(groups: Sequence[Group], first_alias: int) -> tuple[Table, list[Metric]]:
    """Make the table of one device, and the metrics of its DBIRTH (without timestamps, values null).

    Args:
        groups: the device's groups, in the order in which their schedules were declared; of several versions of
            a group the birth has the union of the points, the newest declaration of each.
        first_alias: where this device's aliases begin.

    Raises:
        ValueError: no groups, or groups of several devices.
    """
    if not groups or any(g.key[:2] != groups[0].key[:2] for g in groups):
        raise ValueError("a table is of one device")
    union: dict[str, tuple[Group, dict[str, Point]]] = {}
    for group in groups:
        points = union[group.group][1] if group.group in union else {}
        points.update((point.name, point) for point in group.points)
        union[group.group] = (group, points)
    entries: list[Entry] = []
    metrics: list[Metric] = []
    for name in sorted(union):
        group, points = union[name]
        for point in (None, *points.values()):
            alias = first_alias + len(entries)
            entries.append(Entry(alias, name, point))
            metrics.append(_metric(alias, group, point))
    table = Table(groups[0].site, groups[0].device, tuple(entries), table_hash(metrics))
    return table, metrics


def parse(payload: Payload) -> Table:
    """Read a device's table from its DBIRTH.

    Raises:
        BirthError: a metric without what §4 demands, or metrics of several devices.
    """
    entries = []
    owners = set()
    for metric in sorted(payload.metrics, key=lambda m: m.alias):
        text = _properties(metric)
        try:
            owners.add((text["site"], text["device"]))
            entries.append(Entry(metric.alias, text["group"], _point(metric, text)))
        except (KeyError, ValueError) as error:
            raise BirthError(f"metric {metric.name!r}: {error}") from error
    if len(owners) != 1:
        raise BirthError(f"metrics of {len(owners)} devices in one DBIRTH")
    ((site, device),) = owners
    return Table(site, device, tuple(entries), table_hash(payload.metrics))


def table_hash(metrics: Iterable[Metric]) -> bytes:
    """Name a table: 8 bytes of the SHA-256 of its metrics without timestamp and value, in alias order."""
    digest = hashlib.sha256()
    for metric in sorted(metrics, key=lambda m: m.alias):
        bare = Metric()
        bare.CopyFrom(metric)
        for field in ("timestamp", "is_null", "is_historical", "is_transient"):
            bare.ClearField(field)
        value = bare.WhichOneof("value")
        if value is not None:
            bare.ClearField(value)
        digest.update(bare.SerializeToString(deterministic=True))
    return digest.digest()[:HASH_BYTES]


def _metric(alias: int, group: Group, point: Point | None) -> Metric:
    if point is None:
        metric = Metric(name=OUTCOME_PREFIX + group.group, alias=alias, datatype=INT32, is_null=True)
    else:
        metric = Metric(name=point.name, alias=alias, datatype=DATATYPE_CODES[point.datatype], is_null=True)
    _text(metric, "group", group.group)
    _text(metric, "site", group.site)
    _text(metric, "device", group.device)
    _text(metric, "domain", group.domain)
    _text(metric, "profile", group.profile)
    _number(metric, "period_ms", group.period_ns // 1_000_000)
    if point is not None:
        _declare(metric, point)
    return metric


def _declare(metric: Metric, point: Point) -> None:
    _text(metric, "kind", point.kind)
    _text(metric, "engUnit", point.unit)
    if point.part:
        _text(metric, "part", ",".join(f"{key}={value}" for key, value in point.part))
    for name, default in (("resolution", 1), ("modulus", 0), ("interval_s", 0)):
        if getattr(point, name) != default:
            _number(metric, name, getattr(point, name))
    for name, none in (("max_rate", 0.0), ("low", None), ("high", None)):
        if getattr(point, name) != none:
            metric.properties.keys.append(name)
            metric.properties.values.add(type=DOUBLE, double_value=getattr(point, name))
    for name in ("interval_start", "weight"):
        if getattr(point, name):
            _text(metric, name, getattr(point, name))


def _text(metric: Metric, name: str, text: str) -> None:
    metric.properties.keys.append(name)
    metric.properties.values.add(type=STRING, string_value=str(text))


def _number(metric: Metric, name: str, number: int) -> None:
    metric.properties.keys.append(name)
    metric.properties.values.add(type=INT64, long_value=number)


def _properties(metric: Metric) -> dict[str, str]:
    found = {}
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=False):
        field = value.WhichOneof("value")
        if field is not None:
            found[key] = str(getattr(value, field))
    return found


def _point(metric: Metric, text: dict[str, str]) -> Point | None:
    if metric.name.startswith(OUTCOME_PREFIX):
        return None
    datatype: Datatype = _BY_CODE[metric.datatype]
    part = tuple(tuple(item.split("=", 1)) for item in text.get("part", "").split(",") if item)
    if any(len(pair) != 2 for pair in part):
        raise ValueError(f"part {text['part']!r}")
    return Point(
        name=metric.name,
        kind=Kind(text["kind"]),
        datatype=datatype,
        unit=text.get("engUnit", ""),
        part=tuple((pair[0], pair[1]) for pair in part),
        resolution=int(text.get("resolution", 1)),
        modulus=int(text.get("modulus", 0)),
        max_rate=float(text.get("max_rate", 0.0)),
        low=float(text["low"]) if "low" in text else None,
        high=float(text["high"]) if "high" in text else None,
        interval_start=text.get("interval_start", ""),
        interval_s=int(text.get("interval_s", 0)),
        weight=text.get("weight", ""),
    )
