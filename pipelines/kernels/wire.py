"""MQTT frames and Sparkplug payloads, read where they lie: bytes in, arrays out, no Python object a metric.

Reading is by the wire's rules and within bounds: every length is checked against what encloses it. What these kernels
do not cover (metrics by name, another vendor's types, groups, a known field in another wire type) they say so of,
instead of guessing; `pipelines.ingest.columns` then asks the protobuf library, and both agree where both answer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.kernels._jit import jit
from pipelines.kernels.layout import Ints, Words

# frames
TOPIC, TOPIC_END, PAYLOAD, PAYLOAD_END, BODY, BODY_END, METRICS = 0, 1, 2, 3, 4, 5, 6
FRAME_WORDS = 7
NO_BODY, UNCOVERED_PAYLOAD = -1, -2
"""In BODY: the payload has none; only the protobuf library can tell."""

# parts
START, END, SKIP, RECORDS, PLACE, FIRST_ALIAS, ALIASES, STATUS, LOST_POLLS, LOST_OK = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
PART_WORDS = 10

# aliases
LOCAL, GROUP, KIND, SERIES = 0, 1, 2, 3
ALIAS_WORDS = 4
HOLE, OUTCOME, FLOAT, DOUBLE, INT64, BOOLEAN, STRING = 0, 1, 2, 3, 4, 5, 6

# what `decode` says of a part
TAKEN, UNCOVERED, MALFORMED = 0, 1, 2

ALIAS_TAG, TIMESTAMP_TAG, LONG_TAG, FLOAT_TAG = 2 << 3, 3 << 3, 11 << 3, 12 << 3 | 5

LATEST_MS = 4_611_686_018_427
"""Dates beyond, in the year 2116, are taken for this one: nanoseconds must fit. [ms]"""
OTHER_OUTCOME = 32_767
"""An outcome that is absent, or no number of ours."""
QUALITY_MASK = 0x7FFFFFFF
_MS_NS = 1_000_000
_VARINT, _I64, _BYTES, _I32 = 0, 1, 2, 5
_KEY = np.frombuffer(b"wayside_quality", np.uint8)


@jit
def _signed(number: Any) -> int:
    """Count in int64 from here on: a mix of signed and unsigned would become a double."""
    return np.int64(number)  # type: ignore[return-value] # for the compiler they are one


@jit
def varint(data: Words, at: int, end: int) -> tuple[int, int]:
    """Read a number of at most 64 bits in its two's complement; gives it and where it ends, -1 if there is none."""
    value = 0
    shift = 0
    while at < end:
        byte = _signed(data[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at if shift < 63 or byte <= 1 else -1
        shift += 7
        if shift > 63:
            break
    return 0, -1


@jit
def field(data: Words, at: int, end: int) -> tuple[int, int, int, int]:
    """Read one field: its tag, its number or where its bytes begin, where these end, where the next field begins.

    The last is -1 if there is no whole field here, or one of a kind that is not covered. Fixed numbers lie in
    [value, bytes end).
    """
    tag, at = varint(data, at, end)
    if at < 0 or tag < 8 or tag >= 1 << 32:
        return 0, 0, 0, -1
    kind = tag & 7
    if kind == _VARINT:
        value, at = varint(data, at, end)
        return tag, value, at, at
    if kind == _BYTES:
        size, at = varint(data, at, end)
        if at < 0 or size < 0 or size > end - at:
            return 0, 0, 0, -1
        return tag, at, at + size, at + size
    size = 8 if kind == _I64 else 4
    if kind not in (_I64, _I32) or size > end - at:
        return 0, 0, 0, -1
    return tag, at, at + size, at + size


@jit
def outline(data: Words, start: int, end: int, frame: Ints) -> None:
    """Find the body of the payload in [start, end), and count its metrics."""
    frame[BODY], frame[BODY_END], frame[METRICS] = NO_BODY, NO_BODY, 0
    at = start
    while at < end:
        tag, value, stop, at = field(data, at, end)
        if at < 0:
            frame[BODY] = UNCOVERED_PAYLOAD
            return
        if tag == 2 << 3 | _BYTES:
            frame[METRICS] += 1
        elif tag == 5 << 3 | _BYTES:
            frame[BODY], frame[BODY_END] = value, stop


@jit
def scan(blob: Words, at: int, with_properties: bool, frames: Ints) -> tuple[int, int]:
    """Take PUBLISH packets of QoS 0 apart from `at` on, until `frames` is full or a packet is none.

    Args:
        blob: (n,) uint8, packets one after the other.
        at: where the next one begins.
        with_properties: as in MQTT 5.
        frames: (m, FRAME_WORDS), written.

    Returns:
        how many packets, and where what follows them begins.
    """
    n = 0
    size = blob.shape[0]
    while n < frames.shape[0] and at < size:
        if blob[at] & 0xF6 != 0x30:
            break
        length, begin = varint(blob, at + 1, min(size, at + 5))
        if begin < 0 or length > size - begin or length < 2:
            break
        end = begin + length
        topic = begin + 2
        payload = topic + (_signed(blob[begin]) << 8 | _signed(blob[begin + 1]))
        if with_properties and payload <= end:
            properties, payload = varint(blob, payload, end)
            if payload < 0:
                break
            payload += properties
        if payload > end:
            break
        frames[n, TOPIC] = topic
        frames[n, TOPIC_END] = topic + (_signed(blob[begin]) << 8 | _signed(blob[begin + 1]))
        frames[n, PAYLOAD], frames[n, PAYLOAD_END] = payload, end
        outline(blob, payload, end, frames[n])
        at = end
        n += 1
    return n, at


@jit
def _properties(data: Words, start: int, end: int, key: Words) -> int:
    """Read `wayside_quality` from a PropertySet; 0 where it is not said, -1 where this is not covered."""
    keys, wanted, values, quality = 0, -1, 0, 0
    at = start
    while at < end:
        tag, value, stop, at = field(data, at, end)
        if at < 0:
            return -1
        if tag == 1 << 3 | _BYTES:
            if values:
                return -1
            if wanted < 0 and stop - value == key.shape[0]:
                same = True
                for i in range(key.shape[0]):
                    same &= data[value + i] == key[i]
                if same:
                    wanted = keys
            keys += 1
        elif tag == 2 << 3 | _BYTES:
            inner = value
            while inner < stop:
                what, number, _, inner = field(data, inner, stop)
                if inner < 0 or (what >> 3 in (1, 2, 3) and what & 7 != _VARINT) or 4 <= what >> 3 <= 10:
                    return -1
                if what == 3 << 3 | _VARINT and values == wanted:
                    quality = number & QUALITY_MASK
            values += 1
        elif tag >> 3 in (1, 2):
            return -1
    return quality


@jit
def decode(
    data: Words,
    parts: Ints,
    aliases: Ints,
    key: Words,
    from_part: int,
    record_group: Words,
    record_due_ns: Ints,
    record_outcome: Words,
    record_end: Ints,
    series: Words,
    t_ns: Ints,
    value: Words,
    integer: Ints,
    has_value: Words,
    quality: Words,
    used: Ints,
) -> int:
    """Take parts from `from_part` on; gives the number of the first that was not TAKEN whole, or how many there are.

    Args:
        data: (n,) uint8, the payloads.
        parts: (m, PART_WORDS) where each stands, the records it declares, how many of them were taken before, and the
            place of its aliases; STATUS and LOST are written.
        aliases: (k, ALIAS_WORDS) what each alias means.
        key: the name of the quality property.
        from_part: the part to begin with.
        record_group: with the next three, the records; written.
        record_due_ns: [ns]
        record_outcome: as `Outcome`.
        record_end: where the record's samples end.
        series: with the next five, the samples; written.
        t_ns: [ns]
        value: NaN where there is none.
        integer: 0 where there is none.
        has_value: whether there is one.
        quality: as `Quality`.
        used: (2,) how many records and samples have been written, moved on.
    """
    bits4 = np.zeros(1, np.uint32)
    bits8 = np.zeros(1, np.uint64)
    float4 = bits4.view(np.float32)
    float8 = bits8.view(np.float64)
    for p in range(from_part, parts.shape[0]):
        r, n = used[0], used[1]
        records = 0
        local = -1
        keep = False
        lost = lost_ok = 0
        status = TAKEN
        end = parts[p, END]
        at = parts[p, START]
        while at < end and status == TAKEN:
            tag, begin, stop, at = field(data, at, end)
            if at < 0 or tag == 4 << 3 | _BYTES:
                status = UNCOVERED
                break
            if tag != 2 << 3 | _BYTES:
                if tag >> 3 == 2:
                    status = UNCOVERED
                continue
            alias = -1
            t_ms = 0
            null = False
            held = 0
            number = 0
            mark = 0
            properties = 0
            inner = begin
            while inner < stop:
                first = data[inner]
                # What a gateway of ours sends, first: half the time is saved by not asking `field`.
                if first in (ALIAS_TAG, TIMESTAMP_TAG, LONG_TAG):
                    got, inner = varint(data, inner + 1, stop)
                    if inner < 0 or (first == ALIAS_TAG and got < 0):
                        status = UNCOVERED
                        break
                    if first == ALIAS_TAG:
                        alias = got
                    elif first == TIMESTAMP_TAG:
                        t_ms = LATEST_MS if got < 0 or got > LATEST_MS else got
                    else:
                        held = 11
                        number = got
                    continue
                if first == FLOAT_TAG and stop - inner > 4:
                    held = 12
                    number = (
                        _signed(data[inner + 1])
                        | _signed(data[inner + 2]) << 8
                        | _signed(data[inner + 3]) << 16
                        | _signed(data[inner + 4]) << 24
                    )
                    inner += 5
                    continue
                what, got, got_end, inner = field(data, inner, stop)
                if inner < 0:
                    status = UNCOVERED
                    break
                name, kind = what >> 3, what & 7
                if name > 18 or (4 <= name <= 6 and kind == _VARINT):
                    continue
                if name == 2 and kind == _VARINT:
                    alias = got
                    if alias < 0:
                        status = UNCOVERED
                elif name == 3 and kind == _VARINT:
                    t_ms = LATEST_MS if got < 0 or got > LATEST_MS else got
                elif name == 7 and kind == _VARINT:
                    null = got != 0
                elif name == 9 and kind == _BYTES and properties == 0:
                    properties = 1
                    mark = _properties(data, got, got_end, key)
                    if mark < 0:
                        status = UNCOVERED
                elif name in (10, 11, 14) and kind == _VARINT:
                    held = name
                    number = got
                elif (name == 12 and kind == _I32) or (name == 13 and kind == _I64):
                    held = name
                    number = 0
                    for i in range(got_end - got):
                        number |= _signed(data[got + i]) << (8 * i)
                elif name == 15 and kind == _BYTES:
                    held = name
                else:
                    status = UNCOVERED
            if status != TAKEN:
                break
            if alias < 0:
                status = UNCOVERED
                break
            place = alias - parts[p, FIRST_ALIAS]
            if place < 0 or place >= parts[p, ALIASES] or aliases[parts[p, PLACE] + place, KIND] == HOLE:
                status = MALFORMED
                break
            place += parts[p, PLACE]
            means = aliases[place, KIND]
            if means == OUTCOME:
                if keep:
                    record_end[r - 1] = n
                local = aliases[place, LOCAL]
                outcome = number & 0xFFFFFFFF
                if held != 10 or null or outcome > OTHER_OUTCOME:
                    outcome = OTHER_OUTCOME
                keep = records >= parts[p, SKIP]
                records += 1
                if records > parts[p, RECORDS]:
                    status = MALFORMED
                    break
                if keep and aliases[place, GROUP] < 0:
                    keep = False
                    lost += 1
                    lost_ok += outcome == 0
                if keep:
                    record_group[r] = aliases[place, GROUP]
                    record_due_ns[r] = t_ms * _MS_NS
                    record_outcome[r] = outcome
                    record_end[r] = n
                    r += 1
                continue
            if local != aliases[place, LOCAL]:
                status = MALFORMED
                break
            if not keep or aliases[place, SERIES] < 0:
                continue
            series[n] = aliases[place, SERIES]
            t_ns[n] = t_ms * _MS_NS
            value[n] = np.nan
            integer[n] = 0
            has_value[n] = False
            quality[n] = mark
            if not null:
                if means == FLOAT and held == 12:
                    bits4[0] = np.uint32(number)
                    value[n] = np.float64(float4[0])
                    has_value[n] = True
                elif means == DOUBLE and held == 13:
                    bits8[0] = np.uint64(number)
                    value[n] = float8[0]
                    has_value[n] = True
                elif (means == INT64 and held == 11) or (means == BOOLEAN and held == 14):
                    integer[n] = number if means == INT64 else _signed(number != 0)
                    value[n] = float(integer[n])
                    has_value[n] = True
            n += 1
        if status == TAKEN and records != parts[p, RECORDS]:
            status = MALFORMED
        parts[p, STATUS] = status
        if status != TAKEN:
            return p
        if keep:
            record_end[r - 1] = n
        parts[p, LOST_POLLS], parts[p, LOST_OK] = lost, lost_ok
        used[0], used[1] = r, n
        if lost > 0:
            return p
    return len(parts)


def key() -> Words:
    """Give the name of the quality property, as `decode` wants it."""
    return _KEY
