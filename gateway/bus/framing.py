"""Requests to bytes and bytes to frames, for Modbus RTU and TCP; no input or output.

pymodbus builds each request once and checks frames; where a frame begins and ends is decided here, because its framers
go wrong on a disturbed line (3.16): FramerRTU swallows a good frame that stands behind a stale one or behind noise, and
FramerSocket accepts any protocol id by waiting forever, transaction id 0, a wrong function and a short byte count.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from pymodbus.framer import FramerRTU, FramerSocket
from pymodbus.pdu import DecodePDU, ModbusPDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, ReadDiscreteInputsRequest
from pymodbus.pdu.register_message import ReadHoldingRegistersRequest, ReadInputRegistersRequest

from edge.errors import ProtocolError
from gateway.bus.request import BITS, EXCEPTION_BIT, REGISTERS, Frame, Request

_REQUESTS: dict[int, type[ModbusPDU]] = {
    1: ReadCoilsRequest,
    2: ReadDiscreteInputsRequest,
    3: ReadHoldingRegistersRequest,
    4: ReadInputRegistersRequest,
}
_ECHOED_WRITES = frozenset({5, 6, 15, 16})
_LEAST_RTU_BYTES = 5
_MBAP_BYTES = 6
_MOST_MBAP_LENGTH = 254


class BadFrame(ProtocolError):
    """Bytes that are no frame, or a frame that is no answer."""


class Framing(Protocol):
    """One protocol's frames on one line."""

    overhead_bytes: int
    """What a good answer has besides its data."""
    echoed: int
    """Requests that the line gave back."""

    def encode(self, request: Request) -> bytes:
        """Make the bytes of `request`."""

    def take(self, received: bytearray, awaited: Request | None, *, at_rest: bool) -> Frame | None:
        """Remove the next whole frame from `received`, and what stands before it; None if there is none.

        Args:
            received: what came, in order.
            awaited: the request on its way, if any.
            at_rest: nothing more is coming: look for a frame inside what might have become a longer one.

        Raises:
            BadFrame: the stream has lost its frames for good; the connection must be closed.
        """

    def discard(self, received: bytearray) -> int:
        """Drop what can't become a frame any more, before a request; return how many bytes."""

    def is_answer(self, frame: Frame) -> bool:
        """Whether a transaction id, if the line has them, is the one of the latest request."""


class RtuFraming:
    """Modbus RTU: unit, function, data, CRC."""

    overhead_bytes = 5

    def __init__(self) -> None:
        """Remember the latest request, which some adapters echo."""
        self._framer = FramerRTU(DecodePDU(is_server=False))
        self._sent = b""
        self.echoed = 0

    def encode(self, request: Request) -> bytes:
        """See `Framing.encode`."""
        self._sent = _rtu_bytes(request)
        return self._sent

    def take(self, received: bytearray, awaited: Request | None, *, at_rest: bool) -> Frame | None:
        """See `Framing.take`."""
        if awaited is not None and not at_rest and self._still_coming(received, awaited):
            return None
        for at in range(len(received) - _LEAST_RTU_BYTES + 1):
            if (size := _rtu_size(received, at)) and (frame := self._frame(bytes(received[at : at + size]), size)):
                del received[: at + size]
                return frame
            if self._sent and awaited is not None and received.startswith(self._sent, at):
                del received[: at + len(self._sent)]
                self.echoed += 1
                return self.take(received, awaited, at_rest=at_rest)
        return None

    def discard(self, received: bytearray) -> int:
        """See `Framing.discard`: the line is silent, so nothing here is the head of anything."""
        n_bytes = len(received)
        received.clear()
        return n_bytes

    def is_answer(self, frame: Frame) -> bool:  # noqa: ARG002 # this line has no ids
        """See `Framing.is_answer`."""
        return True

    def _still_coming(self, received: bytearray, awaited: Request) -> bool:
        """Whether `received` is the head of the awaited answer: then its inside is data, and not searched."""
        head = bytes((awaited.unit_id, awaited.function, awaited.data_bytes))
        return len(received) < awaited.data_bytes + self.overhead_bytes and received.startswith(head)

    def _frame(self, whole: bytes, size: int) -> Frame | None:
        used, unit_id, _, pdu = self._framer.decode(whole)
        if used != size or len(pdu) != size - 3:
            return None
        function = pdu[0]
        return Frame(unit_id, function, pdu[1:] if function & EXCEPTION_BIT else pdu[2:])


class TcpFraming:
    """Modbus TCP: transaction id, protocol 0, length, unit, function, data."""

    overhead_bytes = 9

    def __init__(self, first_transaction: int = 1) -> None:
        """Begin counting transactions at `first_transaction`."""
        self._framer = FramerSocket(DecodePDU(is_server=False))
        self._transaction = first_transaction - 1
        self.echoed = 0

    def encode(self, request: Request) -> bytes:
        """See `Framing.encode`. An id comes back after 65,535 requests; 0 is what careless devices send."""
        self._transaction = self._transaction % 0xFFFF + 1
        return self._transaction.to_bytes(2, "big") + _tcp_bytes(request)[2:]

    def take(self, received: bytearray, awaited: Request | None, *, at_rest: bool) -> Frame | None:  # noqa: ARG002 # a stream has no gaps to look into
        """See `Framing.take`."""
        if len(received) < _MBAP_BYTES:
            return None
        length = int.from_bytes(received[4:6], "big")
        if received[2:4] != b"\0\0" or not 3 <= length <= _MOST_MBAP_LENGTH:
            raise BadFrame(f"no Modbus TCP header: {bytes(received[:_MBAP_BYTES]).hex()}")
        size = _MBAP_BYTES + length
        if len(received) < size:
            return None
        _, unit_id, transaction, pdu = self._framer.decode(bytes(received[:size]))
        del received[:size]
        return Frame(unit_id, pdu[0], _checked_data(pdu), transaction)

    def discard(self, received: bytearray) -> int:  # noqa: ARG002 # what is left is the head of a frame
        """See `Framing.discard`: a stream goes on where it stopped."""
        return 0

    def is_answer(self, frame: Frame) -> bool:
        """See `Framing.is_answer`."""
        return frame.transaction == self._transaction


def _checked_data(pdu: bytes) -> bytes:
    """The data behind the byte count; nothing, where byte count and length disagree: that fits no request."""
    function = pdu[0]
    if function & EXCEPTION_BIT or function not in REGISTERS | BITS:
        return pdu[1:]
    return pdu[2:] if pdu[1] == len(pdu) - 2 else b""


def _rtu_size(received: bytearray, at: int) -> int:
    """Size of the frame that may begin at `at`; 0 if none can, or it is not whole."""
    function = received[at + 1]
    if function & EXCEPTION_BIT:
        size = _LEAST_RTU_BYTES
    elif function in REGISTERS or function in BITS:
        size = _LEAST_RTU_BYTES + received[at + 2]
    else:
        size = 8 if function in _ECHOED_WRITES else 0
    return size if at + size <= len(received) else 0


def _pdu(request: Request) -> ModbusPDU:
    return _REQUESTS[request.function](address=request.address, count=request.count, dev_id=request.unit_id)


@lru_cache(maxsize=4096)
def _rtu_bytes(request: Request) -> bytes:
    return FramerRTU(DecodePDU(is_server=False)).buildFrame(_pdu(request))


@lru_cache(maxsize=4096)
def _tcp_bytes(request: Request) -> bytes:
    return FramerSocket(DecodePDU(is_server=False)).buildFrame(_pdu(request))
