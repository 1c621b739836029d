"""The `body` of a numbered payload: which records of which journal it carries (docs/wire.md §3.2)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from edge.errors import ProtocolError
from edge.model.record import Record

VERSION: Final = 1
_PREVIOUS: Final = 1
_FIXED = struct.Struct("<BB16sQ8sIHH")
_MAX_VARINT_BYTES: Final = 10
NO_TABLE: Final = bytes(8)


class Undatable(msgspec.Struct, frozen=True, array_like=True, tag=16):
    """Polls of one group whose boot ended without a date."""

    schedule: int
    polls: int
    ok: int


Extra = tuple[int | None, Record | Undatable]
"""`(date [ms] or None, record)`."""

_extras_decoder = msgspec.msgpack.Decoder(list[Extra])
_extra_encoder = msgspec.msgpack.Encoder()


class BodyError(ProtocolError):
    """A body that does not follow docs/wire.md §3.2."""


@dataclass(frozen=True, slots=True)
class Body:
    """One part of the batch [a, b) of an epoch."""

    journal: UUID
    epoch: int
    first: int
    a: int
    b: int
    oldest: int
    lost: int
    previous: int | None
    attempt: int
    part: int
    parts: int
    table: bytes
    offsets: tuple[int, ...]
    extras: tuple[Extra, ...] = ()

    def encode(self) -> bytes:
        """Make the bytes of the payload's `body`."""
        out = bytearray(
            _FIXED.pack(
                VERSION,
                0 if self.previous is None else _PREVIOUS,
                self.journal.bytes,
                self.epoch,
                self.table,
                self.attempt & 0xFFFFFFFF,
                self.part,
                self.parts,
            )
        )
        for value in (self.first, self.a - self.first, self.b - self.a, self.oldest, self.lost):
            _put(out, value)
        if self.previous is not None:
            out += self.previous.to_bytes(8, "little")
        _put(out, len(self.offsets))
        before = self.a
        for offset in self.offsets:
            _put(out, offset - before)
            before = offset
        for extra in self.extras:
            out += _extra_encoder.encode(extra)
        return bytes(out)


def decode(data: bytes) -> Body:
    """Read a body.

    Raises:
        BodyError: another version, cut short, or numbers that contradict each other.
    """
    if len(data) < _FIXED.size or data[0] != VERSION:
        raise BodyError(f"no body of version {VERSION}")
    _, flags, journal, epoch, table, attempt, part, parts = _FIXED.unpack_from(data)
    at = _FIXED.size
    first, at = _take(data, at)
    a_minus_first, at = _take(data, at)
    count, at = _take(data, at)
    oldest, at = _take(data, at)
    lost, at = _take(data, at)
    previous = None
    if flags & _PREVIOUS:
        if at + 8 > len(data):
            raise BodyError("cut short")
        previous = int.from_bytes(data[at : at + 8], "little")
        at += 8
    a = first + a_minus_first
    offsets, at = _offsets(data, at, a, a + count)
    if parts == 0 or part >= parts:
        raise BodyError("part outside its batch")
    return Body(
        UUID(bytes=journal), epoch, first, a, a + count, oldest, lost, previous, attempt, part, parts, table,
        offsets, _extras(data[at:], len(offsets) if table == NO_TABLE else 0),
    )  # fmt: skip


def _offsets(data: bytes, at: int, a: int, b: int) -> tuple[tuple[int, ...], int]:
    n, at = _take(data, at)
    if n > len(data) - at:
        raise BodyError("more offsets than bytes")
    offsets = []
    offset = a
    for _ in range(n):
        step, at = _take(data, at)
        offset += step
        offsets.append(offset)
    if offsets and offsets[-1] >= b:
        raise BodyError("offset outside the batch")
    return tuple(offsets), at


def _extras(data: bytes, n: int) -> tuple[Extra, ...]:
    if not n:
        if data:
            raise BodyError("bytes behind the offsets")
        return ()
    # n concatenated arrays are one array of n behind its header, which saves a streaming decoder.
    try:
        return tuple(_extras_decoder.decode(b"\xdd" + n.to_bytes(4, "big") + data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the decoder raises all three
        raise BodyError(f"extras: {error}") from error


def _put(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _take(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for i in range(_MAX_VARINT_BYTES):
        if at + i >= len(data):
            break
        byte = data[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise BodyError("bad number")
