"""Whatever the cuts, every packet goes where it belongs, once and whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ProtocolError
from pipelines.ingest.packets import Splitter

LIMIT = 20_000


def packet(first: int, body: bytes) -> bytes:
    length, head = len(body), bytearray([first])
    while True:
        head.append(length % 128 | (0x80 if length > 127 else 0))
        length //= 128
        if not length:
            return bytes(head) + body


packets = st.lists(
    st.tuples(
        st.sampled_from([0x30, 0x31, 0x38, 0x32, 0x34, 0x20, 0x90, 0xD0]),
        st.sampled_from([0, 1, 2, 126, 127, 128, 129, 300, 16_383, 16_384, LIMIT - 4, LIMIT - 3, LIMIT, 3 * LIMIT]),
    ),
    max_size=12,
)


@given(packets, st.lists(st.integers(1, 9000), min_size=1, max_size=20))
def test_packets_are_parted_whatever_the_cuts(made: list[tuple[int, int]], cuts: list[int]) -> None:
    split = Splitter(LIMIT)
    whole = [packet(first, bytes([n]) * size) for n, (first, size) in enumerate(made)]
    stream, at = b"".join(whole), 0
    while at < len(stream):
        for cut in cuts:
            split.feed(memoryview(stream)[at : at + cut])
            at += cut
    fitting = [each for each in whole if len(each) <= LIMIT]
    ours = [each for each in fitting if each[0] in {0x30, 0x31, 0x38}]
    assert bytes(split.publishes) == b"".join(ours)
    assert bytes(split.others) == b"".join(each for each in fitting if each not in ours)
    assert (split.packets, split.oversized) == (len(ours), len(whole) - len(fitting))


def test_what_is_no_mqtt_is_told() -> None:
    with pytest.raises(ProtocolError):
        Splitter(LIMIT).feed(b"\x30\xff\xff\xff\xff\x01")
