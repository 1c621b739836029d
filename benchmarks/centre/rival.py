"""What most centres do: each message parsed by the protobuf library, each metric a turn of a Python loop.

It is spared what it would need besides: socket, client library, log, acceptance, watermarks, time-weighting, rows,
checkpoint. Its packets are whole and in order, its dictionaries are never emptied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.centre.city import Burst
from edge.sparkplug.sparkplug_b_pb2 import Payload

NAME = "protobuf + Python dicts"
Window = list[float]
"""n, sum, min, max, last."""
Windows = dict[tuple[str, str, int], Window]
"""(edge node, name of the point with its device, minute since 1970) → aggregates."""

_MINUTE_MS = 60_000
_OUTCOME = "poll/outcome"


Names = dict[str, dict[int, str]]
"""Edge node → alias → name of the point with its device."""


def carry(bursts: Sequence[Burst], names: Names) -> Windows:
    """Take every sample of the packets into its minute."""
    windows: Windows = {}
    for burst in bursts:
        for topic, payload in _payloads(burst.packets):
            _, _, kind, node, *_ = topic.split("/")
            if kind == "DDATA":
                _take(payload, node, names[node], windows)
    return windows


def names_of(births: bytes) -> Names:
    """Learn the points' names."""
    names: Names = {}
    for topic, payload in _payloads(births):
        _, _, kind, node, *device = topic.split("/")
        if kind == "DBIRTH":
            names.setdefault(node, {}).update(_declared(payload, device[0]))
    return names


def _take(payload: Payload, node: str, names: dict[int, str], windows: Windows) -> None:
    for metric in payload.metrics:
        name = names.get(metric.alias)
        if name is None:
            continue
        value = metric.float_value if metric.HasField("float_value") else metric.long_value
        key = (node, name, metric.timestamp // _MINUTE_MS)
        window = windows.get(key)
        if window is None:
            windows[key] = [1, value, value, value, value]
            continue
        window[0] += 1
        window[1] += value
        if value < window[2]:  # noqa: PLR1730 # min() takes twice as long
            window[2] = value
        if value > window[3]:  # noqa: PLR1730
            window[3] = value
        window[4] = value


def _declared(payload: Payload, device: str) -> dict[int, str]:
    return {m.alias: f"{device}/{m.name}" for m in payload.metrics if not m.name.startswith(_OUTCOME)}


def _payloads(packets: bytes) -> Iterator[tuple[str, Payload]]:
    for topic, data in _publishes(packets):
        payload = Payload()
        payload.ParseFromString(data)
        yield topic, payload


def _publishes(packets: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(packets):
        at += 1
        length = shift = 0
        while True:
            byte = packets[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        name_end = at + 2 + int.from_bytes(packets[at : at + 2], "big")
        yield packets[at + 2 : name_end].decode(), packets[name_end : at + length]
        at += length
