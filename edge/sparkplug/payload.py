"""Sparkplug B payloads: metrics of samples and outcomes, births of a node, deaths, commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from edge.errors import ProtocolError
from edge.model.point import Datatype
from edge.model.quality import STATUS_MASK, Quality
from edge.sparkplug.sparkplug_b_pb2 import Metric, Payload

if TYPE_CHECKING:
    from collections.abc import Mapping

INT32: Final = 3
INT64: Final = 4
FLOAT: Final = 9
DOUBLE: Final = 10
BOOLEAN: Final = 11
STRING: Final = 12
"""Data type codes of Sparkplug 3.0, §6.4.16."""

DATATYPE_CODES: Final[Mapping[Datatype, int]] = {
    Datatype.FLOAT: FLOAT,
    Datatype.DOUBLE: DOUBLE,
    Datatype.INT64: INT64,
    Datatype.BOOLEAN: BOOLEAN,
    Datatype.STRING: STRING,
}

BDSEQ: Final = "bdSeq"
REBIRTH: Final = "Node Control/Rebirth"
OUTCOME_PREFIX: Final = "poll/outcome/"
_QUALITY_CODE: Final = {int(Quality.BAD): 0, int(Quality.UNCERTAIN): 500}


class PayloadError(ProtocolError):
    """Bytes that are no Sparkplug B payload."""


def parse(data: bytes) -> Payload:
    """Read a payload.

    Raises:
        PayloadError: the bytes are no payload.
    """
    try:
        return Payload.FromString(data)
    except DecodeError as error:
        raise PayloadError(str(error)) from error


def set_quality(metric: Metric, quality: int) -> None:
    """Add the two quality properties of docs/wire.md §3.1; nothing for a good sample."""
    if not quality:
        return
    properties = metric.properties
    properties.keys.extend(("Quality", "wayside_quality"))
    properties.values.add(type=INT32, int_value=_QUALITY_CODE.get(quality & STATUS_MASK, 192))
    properties.values.add(type=INT32, int_value=quality)


def get_quality(metric: Metric) -> int:
    """Read the quality of a metric of ours; 0 (good) where none is said."""
    if not metric.HasField("properties"):
        return 0
    for key, value in zip(metric.properties.keys, metric.properties.values, strict=False):
        if key == "wayside_quality":
            return value.int_value
    return 0


def node_birth(t_ms: int, bd_seq: int, texts: Mapping[str, str]) -> Payload:
    """Make an NBIRTH (its seq is 0): bdSeq, the rebirth command, and `texts` as String metrics."""
    payload = Payload(timestamp=t_ms, seq=0)
    payload.metrics.add(name=BDSEQ, timestamp=t_ms, datatype=INT64, long_value=bd_seq)
    payload.metrics.add(name=REBIRTH, timestamp=t_ms, datatype=BOOLEAN, boolean_value=False)
    for name, text in texts.items():
        payload.metrics.add(name=name, timestamp=t_ms, datatype=STRING, string_value=text)
    return payload


def node_death(bd_seq: int) -> Payload:
    """Make an NDEATH: bdSeq and nothing else, no seq."""
    payload = Payload()
    payload.metrics.add(name=BDSEQ, datatype=INT64, long_value=bd_seq)
    return payload


def rebirth_command(t_ms: int) -> Payload:
    """Make the NCMD that asks an edge node to send its births again."""
    payload = Payload(timestamp=t_ms)
    payload.metrics.add(name=REBIRTH, timestamp=t_ms, datatype=BOOLEAN, boolean_value=True)
    return payload


def asks_rebirth(payload: Payload) -> bool:
    """Tell whether an NCMD asks for a rebirth."""
    return any(metric.name == REBIRTH and metric.boolean_value for metric in payload.metrics)


def texts_of(payload: Payload) -> dict[str, str]:
    """Collect a birth's String metrics by name."""
    return {metric.name: metric.string_value for metric in payload.metrics if metric.HasField("string_value")}
