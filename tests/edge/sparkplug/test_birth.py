"""Births: a table and its points come back from a DBIRTH, and the hash names what matters and nothing else."""

from __future__ import annotations

import msgspec
import pytest

from edge.model.point import Datatype, Domain, Group, Kind, Point
from edge.sparkplug.birth import BirthError, build, parse
from edge.sparkplug.sparkplug_b_pb2 import Payload

POINTS = (
    Point("import_energy_wh", Kind.COUNTER, Datatype.INT64, "Wh", resolution=10, modulus=10**9, max_rate=5.5),
    Point("active_power_w/L1", Kind.GAUGE, Datatype.FLOAT, "W", (("phase", "L1"),), low=-1e5, high=0.0),
    Point("volume/1", Kind.DELTA, Datatype.INT64, "veh", (("lane", "1"), ("direction", "N")), interval_start="start",
          interval_s=30),
    Point("speed_kmh/1", Kind.DELTA, Datatype.DOUBLE, "km/h", (("lane", "1"),), interval_start="start", interval_s=30,
          weight="volume/1"),
)  # fmt: skip
GROUP = Group("market-street", "meter-1", "fast", Domain.ENERGY, "x@1", 10_000_000_000, POINTS)


def payload_of(*groups: Group, first_alias: int = 7) -> Payload:
    payload = Payload(timestamp=1, seq=1)
    payload.metrics.extend(build(groups, first_alias)[1])
    return payload


def test_points_come_back_from_a_birth() -> None:
    table, _ = build([GROUP], 7)
    read = parse(payload_of(GROUP))
    assert read == table
    assert [entry.point for entry in read.entries] == [None, *POINTS]
    assert [entry.alias for entry in read.entries] == [7, 8, 9, 10, 11]
    assert read.device_id == "market-street:meter-1"


def test_the_hash_ignores_values_and_times_and_the_order_of_metrics() -> None:
    payload = payload_of(GROUP)
    before = parse(payload).hash
    for metric in payload.metrics:
        metric.timestamp = 99
    payload.metrics[1].is_null = False
    payload.metrics[1].long_value = 4
    shuffled = Payload(timestamp=5)
    shuffled.metrics.extend(reversed(payload.metrics))
    assert parse(shuffled).hash == before


@pytest.mark.parametrize("change", [{"unit": "kWh"}, {"resolution": 100}, {"kind": Kind.GAUGE}, {"name": "other"}])
def test_the_hash_tells_tables_apart(change: dict[str, object]) -> None:
    other = msgspec.structs.replace(GROUP, points=(msgspec.structs.replace(POINTS[0], **change), *POINTS[1:]))
    assert build([other], 7)[0].hash != build([GROUP], 7)[0].hash
    assert build([GROUP], 8)[0].hash != build([GROUP], 7)[0].hash


def test_a_birth_lists_the_union_of_versions() -> None:
    newer = msgspec.structs.replace(GROUP, profile="x@2", points=(POINTS[0],))
    names = [entry.point.name for entry in build([GROUP, newer], 0)[0].entries if entry.point]
    assert names == [point.name for point in POINTS]


def test_a_birth_of_another_vendor_is_refused_by_name() -> None:
    payload = Payload()
    payload.metrics.add(name="temp", alias=1, datatype=10)
    with pytest.raises(BirthError, match="temp"):
        parse(payload)
