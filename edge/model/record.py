"""The records of a journal, as msgpack arrays: `[tag, field, field, …]`.

Instants are (boot, monotonic) until a dating turns them into dates (docs/wire.md §2).
Fields are only ever added at the end, with a default: an older reader skips them, a newer
one reads old files. A record is never changed once committed.
"""

from __future__ import annotations

import enum

import msgspec

from edge.model.point import Group, Value


class Outcome(enum.IntEnum):
    """What became of one poll of one group; everything but OK is a reason for missing."""

    OK = 0
    TIMEOUT = 1
    EXCEPTION = 2
    BAD_FRAME = 3
    BUS_DOWN = 4
    STRETCHED = 5
    REFUSED = 6


class PollRecord(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """One poll of one group: its outcome, and the samples when there are any."""

    schedule: int
    due_ns: int
    """When the poll was due. [ns, monotonic of the epoch's boot]"""
    taken_ns: int
    """When the answer was complete, or the attempt given up. [ns, monotonic], never before `due_ns`."""
    outcome: int = 0
    values: list[Value] | None = None
    """One per point of the schedule's group, in its order; None when the outcome is not OK."""
    quality: list[int] | None = None
    """One `Quality` per point; None when all are good."""


class EpochRecord(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """One opening of the journal; written first by each opening, repeated at the head of each file."""

    epoch: int
    """64 random bits."""
    first: int
    """Offset of the epoch's first record (this one, where it was first written)."""
    boot: str
    mono_ns: int
    previous: int | None = None
    """Epoch before this one in the same journal; None for the first."""
    previous_boot: str | None = None
    previous_last_ns: int | None = None
    """Last instant recorded in the epoch before. [ns, monotonic of `previous_boot`]"""


class AnchorRecord(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A moment known on both clocks."""

    boot: str
    wall_ns: int
    mono_ns: int
    source: str
    error_ns: int


class DatingRecord(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """From offset `from_offset` on, instants of `boot` are dated by this anchor."""

    boot: str
    from_offset: int
    wall_ns: int
    mono_ns: int
    source: str
    error_ns: int


class ScheduleRecord(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """What is expected of a group from `mono_ns` on; `group.period_ns` 0 ends it.

    Repeated unchanged at the head of each file, so that a new centre understands what is left.
    """

    schedule: int
    mono_ns: int
    group: Group


class Evicted(msgspec.Struct, frozen=True, array_like=True):
    """What one group lost by an eviction."""

    schedule: int
    polls: int
    ok: int


class TombstoneRecord(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Records [first, end) went before they were known to be acknowledged (docs/wire.md §5.1)."""

    first: int
    end: int
    reason: str
    groups: list[Evicted]
    boot: str
    from_ns: int
    to_ns: int
    """Span of the lost records. [ns, monotonic of `boot`]"""
    epoch: int | None = None
    """Epoch of the lost records; None = of more than one, or not said."""
    good: bytes = b""
    """Which of them were good polls: zlib of a bit for each offset from `first` on, the least significant bit first.
    It may stop before `end`."""


Record = PollRecord | EpochRecord | AnchorRecord | DatingRecord | ScheduleRecord | TombstoneRecord

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """Make the bytes that a journal keeps of `record`."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """Read a record back.

    Raises:
        msgspec.DecodeError: the bytes are no record.
    """
    return _decoder.decode(data)
