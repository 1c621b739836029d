"""Rules of a Sparkplug session that are state, not format: seq, bdSeq, STATE."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edge.errors import ProtocolError


class Sequence:
    """The `seq` of an edge node's messages: 0 in its NBIRTH, then 1…255, 0, 1…."""

    def __init__(self) -> None:
        """Begin at the birth's 0."""
        self._next = 0

    def born(self) -> int:
        """Give the NBIRTH's number, which is always 0, and count on from there."""
        self._next = 1
        return 0

    def next(self) -> int:
        """Give the number of the next message that is no NBIRTH."""
        number = self._next
        self._next = (number + 1) % 256
        return number


def next_bd_seq(last: int | None) -> int:
    """Give the bdSeq of a new connection: 0…255, one more than the last, which must be persisted."""
    return 0 if last is None else (last + 1) % 256


class StateError(ProtocolError):
    """A STATE that is no JSON of Sparkplug 3.0."""


class _State(msgspec.Struct):
    online: bool
    timestamp: int


@dataclass(frozen=True, slots=True)
class HostState:
    """What a host application's STATE says. `t_ms`: ms since 1970, UTC."""

    online: bool
    t_ms: int

    def encode(self) -> bytes:
        """Make the JSON of Sparkplug 3.0, published retained at QoS 1."""
        return msgspec.json.encode(_State(self.online, self.t_ms))

    @classmethod
    def decode(cls, data: bytes) -> HostState:
        """Read a STATE.

        Raises:
            StateError: no such JSON.
        """
        try:
            state = msgspec.json.decode(data, type=_State)
        except msgspec.DecodeError as error:
            raise StateError(str(error)) from error
        return cls(state.online, state.timestamp)
