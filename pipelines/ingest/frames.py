"""A row of the log as frames: where topics, payloads and bodies lie in a blob of PUBLISH packets."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import ProtocolError
from edge.sparkplug import payload as pl
from pipelines.kernels import wire
from pipelines.kernels.layout import Ints

MQTT_3: Final = 4
MQTT_5: Final = 5
_AT_ONCE: Final = 4096


class FrameError(ProtocolError):
    """A row that does not begin with a protocol version."""


class Frames(NamedTuple):
    """The packets of one row."""

    data: bytes
    where: Ints
    """(n, wire.FRAME_WORDS)."""
    rest: int
    """Bytes behind the last packet that are none. [bytes]"""


class Outline(NamedTuple):
    """What stands at the top of a payload."""

    body: bytes | None
    metrics: int


def split(data: bytes) -> Frames:
    """Take a FRAMES row apart; what follows a packet that is broken off or no PUBLISH is `rest`.

    Raises:
        FrameError: the row begins with no version that the centre speaks.
    """
    if not data or data[0] not in (MQTT_3, MQTT_5):
        raise FrameError(f"protocol version {data[:1].hex() or 'missing'}")
    blob = np.frombuffer(data, np.uint8)
    pages: list[Ints] = []
    at = 1
    while True:
        page = np.empty((_AT_ONCE, wire.FRAME_WORDS), np.int64)
        n, at = wire.scan(blob, at, data[0] == MQTT_5, page)
        pages.append(page[:n])
        if n < _AT_ONCE:
            break
    return Frames(data, pages[0] if len(pages) == 1 else np.concatenate(pages), len(data) - at)


def outline(payload: bytes) -> Outline:
    """Find the body of a payload.

    Raises:
        PayloadError: the bytes are no payload.
    """
    frame: NDArray[np.int64] = np.zeros(wire.FRAME_WORDS, np.int64)
    wire.outline(np.frombuffer(payload, np.uint8), 0, len(payload), frame)
    body, end, metrics = (int(n) for n in frame[[wire.BODY, wire.BODY_END, wire.METRICS]])
    if body == wire.UNCOVERED_PAYLOAD:
        parsed = pl.parse(payload)
        return Outline(parsed.body if parsed.HasField("body") else None, len(parsed.metrics))
    return Outline(None if body < 0 else payload[body:end], metrics)
