"""Frames in disturbed bytes, each trap of pymodbus's framers by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.framing import BadFrame, RtuFraming, TcpFraming
from gateway.bus.request import Frame, Request
from tests.gateway.bus.terminal import with_crc

WANTED = Request(5, 4, 0x20, 3)
GOOD = with_crc(bytes((5, 4, 6)) + b"abcdef")
STALE = with_crc(bytes((5, 4, 4)) + b"wxyz")


def take_all(framing: RtuFraming, received: bytearray, *, at_rest: bool = False) -> list[Frame]:
    frames = []
    while (frame := framing.take(received, WANTED, at_rest=at_rest)) is not None:
        frames.append(frame)
    return frames


def test_rtu_request_is_what_the_standard_says() -> None:
    assert RtuFraming().encode(WANTED) == with_crc(bytes.fromhex("050400200003"))


@pytest.mark.parametrize("before", [b"", b"\x00", b"\x05\x04", b"\xff" * 7, GOOD[:-1] + b"\x00", STALE])
def test_rtu_good_frame_behind_noise_or_a_stale_frame(before: bytes) -> None:
    received = bytearray(before + GOOD)
    frames = take_all(RtuFraming(), received, at_rest=True)
    assert [frame for frame in frames if frame.answers(WANTED)] == [Frame(5, 4, b"abcdef")]


def test_rtu_echo_of_the_request_is_no_frame() -> None:
    framing = RtuFraming()
    received = bytearray(framing.encode(WANTED) + GOOD)
    assert take_all(framing, received) == [Frame(5, 4, b"abcdef")]
    assert framing.echoed == 1


def test_rtu_does_not_look_inside_an_answer_that_still_comes() -> None:
    inner = with_crc(bytes((5, 4, 6)) + b"INNER!")
    whole = with_crc(bytes((5, 4, 2 * 20)) + inner + bytes(40 - len(inner)))
    framing, wanted = RtuFraming(), Request(5, 4, 0, 20)
    received = bytearray()
    for byte in whole[:-1]:
        received.append(byte)
        assert framing.take(received, wanted, at_rest=False) is None
    received.append(whole[-1])
    frame = framing.take(received, wanted, at_rest=False)
    assert frame is not None
    assert frame.answers(wanted)


@given(st.binary(max_size=80), st.binary(max_size=40))
def test_rtu_never_fails_and_never_invents(before: bytes, after: bytes) -> None:
    framing = RtuFraming()
    received = bytearray(before + after)
    for frame in take_all(framing, received, at_rest=True):
        whole = bytes((frame.unit_id, frame.function)) + frame.data
        with_count = bytes((frame.unit_id, frame.function, len(frame.data))) + frame.data
        assert with_crc(whole) in before + after or with_crc(with_count) in before + after


@given(st.integers(0, len(GOOD) * 8 - 1))
def test_rtu_no_frame_with_a_flipped_bit(bit: int) -> None:
    damaged = bytearray(GOOD)
    damaged[bit // 8] ^= 1 << bit % 8
    assert take_all(RtuFraming(), damaged, at_rest=True) == []


def mbap(transaction: int, pdu: bytes, unit_id: int = 5, protocol: int = 0) -> bytes:
    return (
        (transaction.to_bytes(2, "big") + protocol.to_bytes(2, "big") + (len(pdu) + 1).to_bytes(2, "big"))
        + bytes((unit_id,))
        + pdu
    )


def test_tcp_counts_transactions_and_never_uses_0() -> None:
    framing = TcpFraming(0xFFFF)
    assert framing.encode(WANTED) == bytes.fromhex("ffff00000006050400200003")
    assert framing.encode(WANTED)[:2] == b"\x00\x01"


def test_tcp_frames_come_in_any_pieces() -> None:
    framing = TcpFraming()
    framing.encode(WANTED)
    received, frames = bytearray(), []
    for byte in mbap(7, b"\x04\x04late") + mbap(1, b"\x04\x06abcdef"):
        received.append(byte)
        if (frame := framing.take(received, WANTED, at_rest=False)) is not None:
            frames.append(frame)
    assert [(frame.transaction, frame.data) for frame in frames] == [(7, b"late"), (1, b"abcdef")]
    assert [framing.is_answer(frame) for frame in frames] == [False, True]


@pytest.mark.parametrize(
    ("transaction", "unit_id", "pdu"),
    [
        (0, 5, b"\x04\x06abcdef"),
        (1, 6, b"\x04\x06abcdef"),
        (1, 5, b"\x03\x06abcdef"),
        (1, 5, b"\x04\x04abcdef"),
        (1, 5, b"\x04\x06abcd"),
    ],
    ids=["transaction 0", "unit", "function", "byte count", "short"],
)
def test_tcp_what_framer_socket_lets_pass_answers_nothing(transaction: int, unit_id: int, pdu: bytes) -> None:
    framing = TcpFraming()
    framing.encode(WANTED)
    frame = framing.take(bytearray(mbap(transaction, pdu, unit_id)), WANTED, at_rest=False)
    assert frame is not None
    assert not (framing.is_answer(frame) and frame.answers(WANTED))


@pytest.mark.parametrize(
    "stream", [mbap(1, b"\x04\x02ab", protocol=1), b"\0\1\0\0\0\0\5\4", b"\0\1\0\0\xff\xff\5\4"], ids=str
)
def test_tcp_stream_without_frames_is_given_up(stream: bytes) -> None:
    with pytest.raises(BadFrame, match="no Modbus TCP header"):
        TcpFraming().take(bytearray(stream), None, at_rest=False)
