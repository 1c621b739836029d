"""Bytes of an MQTT connection, parted into what goes to the log and what the protocol's keeper must see.

A run of whole QoS 0 PUBLISH packets is copied at once; nothing is decoded. Incomplete input waits, up to the limit;
a larger packet is passed over and counted.
"""

from __future__ import annotations

from edge.errors import ProtocolError

PUBLISH_QOS0 = 0x30
_TYPE_AND_QOS = 0xF6
_MOST_LENGTH_BYTES = 4


class Splitter:
    """Parts one connection's input; `publishes` and `others` are taken and cleared by the caller."""

    def __init__(self, limit_bytes: int) -> None:
        """Pass over packets of more than `limit_bytes`."""
        self.publishes, self.others = bytearray(), bytearray()
        self.packets = 0
        """QoS 0 PUBLISH packets taken."""
        self.oversized = 0
        """Packets passed over."""
        self._limit_bytes = limit_bytes
        self._rest = bytearray()
        self._skip_bytes = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take what was received.

        Raises:
            ProtocolError: this is no MQTT; the connection is of no more use.
        """
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(data))
            self._skip_bytes -= skipped
            data = memoryview(data)[skipped:]
        if self._rest:
            self._rest += data
            data, self._rest = self._rest, bytearray()
        end = self._part(data)
        self._rest += memoryview(data)[end:]

    def _part(self, data: bytes | bytearray | memoryview) -> int:
        """Take the whole packets of `data`; return where the first incomplete one begins."""
        size, at, run, count = len(data), 0, 0, 0
        view = memoryview(data)
        while at + 1 < size:
            first, length = data[at], data[at + 1]
            body = at + 2
            if length >= 0x80:
                length, body = _length(data, at + 1, size)
                if body < 0:
                    break
            end = body + length
            if end - at > self._limit_bytes:
                self.publishes += view[run:at]
                self.oversized += 1
                self._skip_bytes = max(end - size, 0)
                at = run = min(end, size)
                continue
            if end > size:
                break
            if first & _TYPE_AND_QOS == PUBLISH_QOS0:
                count += 1
            else:
                self.publishes += view[run:at]
                self.others += view[at:end]
                run = end
            at = end
        self.publishes += view[run:at]
        self.packets += count
        return at


def _length(data: bytes | bytearray | memoryview, at: int, size: int) -> tuple[int, int]:
    """Read a packet's remaining length of more than one byte, and where its body begins; -1 = not all is there."""
    length = shift = 0
    for n in range(_MOST_LENGTH_BYTES):
        if at + n >= size:
            return 0, -1
        length |= (data[at + n] & 0x7F) << shift
        shift += 7
        if data[at + n] < 0x80:
            return length, at + n + 1
    raise ProtocolError("a packet's length of more than four bytes")
