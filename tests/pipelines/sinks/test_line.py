"""Line protocol says rows exactly: floats bit for bit, absent fields absent, names escaped."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.blocks import RowShape
from pipelines.sinks.line import encode, encode_incident, window_name, window_seconds
from tests.pipelines.sinks.rows import T0_NS, block, incident, meter_block

SHAPE = RowShape("traffic", ("speed_kmh_mean",), ("volume_sum", "volume_n"))
TAGS = (("device", "counter"), ("lane", "1"), ("site", "harbour"))


def test_a_row_is_one_line_with_tags_in_order_and_integers_marked() -> None:
    fields: dict[str, float | int] = {"speed_kmh_mean": 48.25, "volume_sum": 12, "volume_n": 2}
    (line,) = encode(block(SHAPE, [(TAGS, 300, T0_NS, fields)]))
    assert line == (
        b"traffic,device=counter,lane=1,site=harbour,window=5m "
        b"speed_kmh_mean=48.25,volume_sum=12i,volume_n=2i " + str(T0_NS).encode()
    )


def test_absent_fields_are_left_out_and_a_row_without_fields_gives_no_line() -> None:
    rows = [(TAGS, 60, T0_NS, {"volume_n": 0}), (TAGS, 60, T0_NS + 60, {})]
    (line,) = encode(block(SHAPE, rows))  # type: ignore[arg-type] # dict of int is one of float | int here
    assert line.split(b" ")[1] == b"volume_n=0i"


def test_names_and_values_are_escaped() -> None:
    shape = RowShape("air, city", ("p m=2",), ())
    tags = (("a b", "c,d=e"), ("empty", ""), ("tail", "x\\"), ("newline", "x\ny"))
    (line,) = encode(block(shape, [(tags, 60, 1, {"p m=2": 1.0})]))
    assert line == rb"air\,\ city,a\ b=c\,d\=e,newline=x_y,tail=x_,window=1m p\ m\=2=1.0 1"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_come_back_bit_for_bit(value: float) -> None:
    (line,) = encode(block(SHAPE, [(TAGS, 60, 0, {"speed_kmh_mean": value})]))
    said = float(line.split(b" ")[1].removeprefix(b"speed_kmh_mean="))
    assert struct.pack("<d", said) == struct.pack("<d", value)


def test_equal_rows_give_equal_bytes() -> None:
    assert encode(meter_block(7)) == encode(meter_block(7)) != encode(meter_block(8))


def test_incidents_of_one_millisecond_stay_apart() -> None:
    first, second = encode_incident(1, incident(5)), encode_incident(2, incident(5))
    assert first.startswith(rb'incident,kind=reconnected,site=port seq=1i,count=5i,detail="say \"no\"" ')
    assert first.split(b" ")[-1] != second.split(b" ")[-1]


@pytest.mark.parametrize(("window_s", "name"), [(60, "1m"), (300, "5m"), (3600, "60m"), (90, "90s")])
def test_window_names_go_both_ways(window_s: int, name: str) -> None:
    assert (window_name(window_s), window_seconds(name)) == (name, window_s)


@pytest.mark.parametrize("name", ["", "m", "0m", "5", "1.5m", "-1m"])
def test_a_name_that_is_no_window_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no window"):
        window_seconds(name)


def test_hours_and_days_are_understood() -> None:
    assert (window_seconds("1h"), window_seconds("1d")) == (3600, 86400)
