"""A metric's value, written and read from docs/wire.md §3.1 and not from the code."""

from __future__ import annotations

from edge.model.point import Datatype, Value
from edge.sparkplug.sparkplug_b_pb2 import Metric

_FIELD = {
    Datatype.INT64: "long_value",
    Datatype.FLOAT: "float_value",
    Datatype.DOUBLE: "double_value",
    Datatype.BOOLEAN: "boolean_value",
    Datatype.STRING: "string_value",
}


def set_value(metric: Metric, datatype: Datatype, value: Value) -> None:
    """Put `value` into `metric`; None becomes `is_null`."""
    if value is None:
        metric.is_null = True
    elif datatype is Datatype.INT64:
        metric.long_value = int(value) % 2**64
    else:
        setattr(metric, _FIELD[datatype], value)


def get_value(metric: Metric, datatype: Datatype) -> Value:
    """Read a value; it must stand where its datatype says."""
    if metric.is_null:
        assert metric.WhichOneof("value") is None
        return None
    assert metric.WhichOneof("value") == _FIELD[datatype]
    value: Value = getattr(metric, _FIELD[datatype])
    return value - 2**64 if isinstance(value, int) and not isinstance(value, bool) and value >= 2**63 else value
