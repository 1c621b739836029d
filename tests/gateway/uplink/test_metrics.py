"""What is said of a poll is what was read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.model.point import Kind, Value
from edge.model.record import PollRecord
from edge.sparkplug.birth import build
from edge.sparkplug.payload import get_quality, parse
from gateway.uplink.metrics import encode, plan
from tests.gateway.uplink.material import POINTS, group
from tests.metrics import get_value

GROUP = group(points=tuple(point for point in POINTS if point.kind is not Kind.DELTA))
VALUES = (
    st.floats(width=32, allow_nan=False),
    st.floats(allow_nan=False),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.text(),
    st.integers(-(2**63), 2**63 - 1),
)


@given(st.tuples(*(value | st.none() for value in VALUES)), st.lists(st.integers(0, 2**13 - 1), min_size=6, max_size=6))
def test_every_value_and_quality_comes_back(values: tuple[Value, ...], quality: list[int]) -> None:
    record = PollRecord(1, 0, 0, 0, list(values), quality)
    table, _ = build([GROUP], 10)
    entries = {entry.alias: entry.point for entry in table.entries}
    said = {}
    for metric in parse(encode(plan(table, GROUP), record, 5, 7, historical=False)).metrics[1:]:
        point = entries[metric.alias]
        assert point is not None
        said[point.name] = get_value(metric, point.datatype), get_quality(metric)
    read = zip(GROUP.points, values, quality, strict=True)
    assert said == {point.name: (value, mark) for point, value, mark in read if value is not None or mark}
