"""The acknowledgement: a statement of position, with a grant (docs/wire.md §5)."""

from __future__ import annotations

from uuid import UUID

import msgspec

from edge.errors import ProtocolError


class AcknowledgementError(ProtocolError):
    """Bytes on an acknowledgement topic that are no acknowledgement."""


class Acknowledgement(msgspec.Struct, frozen=True):
    """What the centre has of one journal, and how much it will take at once."""

    session: str
    """Drawn at each start of the centre, 16 hex digits."""
    n: int
    """Counts in the session; an older one is ignored."""
    journal: UUID
    positions: dict[str, int]
    """Epoch (16 hex digits) → offset up to which the centre has everything."""
    grant: int
    """Bytes the sender may have in flight beyond its position."""
    gap: bool = False
    """Something behind the position was discarded: go back to it."""
    attempt: int = 0
    """The attempt of what was discarded."""
    t_ms: int = 0
    """The centre's time. [ms since 1970, UTC]"""
    v: int = 1


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Acknowledgement)


def encode(acknowledgement: Acknowledgement) -> bytes:
    """Make the JSON that travels."""
    return _encoder.encode(acknowledgement)


def decode(data: bytes) -> Acknowledgement:
    """Read an acknowledgement.

    Raises:
        AcknowledgementError: no JSON of this form, or of another version.
    """
    try:
        acknowledgement = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise AcknowledgementError(str(error)) from error
    if acknowledgement.v != 1:
        raise AcknowledgementError(f"version {acknowledgement.v}")
    return acknowledgement


def epoch_key(epoch: int) -> str:
    """Write an epoch as acknowledgements and births do."""
    return f"{epoch:016x}"
