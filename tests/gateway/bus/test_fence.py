"""The fence: what a unit may be asked while it may still answer something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.fence import MOST_OWED, Fence
from gateway.bus.request import Frame, Request

requests = st.builds(
    lambda function, address, count: Request(9, function, min(address, 0x10000 - count), count),
    st.sampled_from([1, 2, 3, 4]),
    st.integers(0, 0xFFFF),
    st.integers(1, 125),
)


@given(st.lists(requests, max_size=2 * MOST_OWED), requests)
def test_there_is_always_something_else_to_ask(owed: list[Request], wanted: Request) -> None:
    fence = Fence()
    for request in owed:
        fence.owe(9, request.shape)
    other = fence.other(wanted)
    assert fence.may_ask(other)
    assert other.shape not in [request.shape for request in owed[-MOST_OWED:]]
    assert other.shape != wanted.shape
    fence.answered(9)
    assert all(fence.may_ask(request) for request in [*owed, wanted])


def test_other_asks_for_less_before_more_and_for_whole_values_first() -> None:
    fence = Fence()
    wanted = Request(1, 4, 100, 7)
    counts = []
    for _ in range(8):
        other = fence.other(wanted)
        assert other.address == 100
        assert other.function == 4
        counts.append(other.count)
        fence.owe(1, other.shape)
    assert counts == [4, 2, 6, 1, 3, 5, 8, 9]


def test_other_stays_inside_the_table_at_its_end() -> None:
    fence = Fence()
    last = Request(1, 3, 0xFFFF, 1)
    fence.owe(1, last.shape)
    assert fence.other(last) == Request(1, 3, 0xFFFE, 2)


def test_units_do_not_owe_for_each_other() -> None:
    fence = Fence()
    fence.owe(1, (4, 40))
    assert not fence.may_ask(Request(1, 4, 300, 20))
    assert fence.may_ask(Request(1, 3, 300, 20))
    assert fence.may_ask(Request(1, 4, 300, 21))
    assert fence.may_ask(Request(2, 4, 300, 20))


def test_an_exception_settles_the_oldest_debt_of_its_function_and_those_before() -> None:
    fence = Fence()
    for shape in [(3, 2), (4, 40), (4, 4)]:
        fence.owe(1, shape)
    assert fence.fits(Frame(1, 0x84, b"\x02"))
    fence.excepted(Frame(1, 0x84, b"\x02"))
    assert fence.may_ask(Request(1, 3, 0, 1))
    assert fence.may_ask(Request(1, 4, 0, 20))
    assert not fence.may_ask(Request(1, 4, 0, 2))
    assert not fence.fits(Frame(1, 0x83, b"\x02"))


@pytest.mark.parametrize(
    ("unit_id", "function", "address", "count"), [(1, 3, 0, 126), (1, 3, 0, 0), (1, 5, 0, 1), (256, 3, 0, 1)]
)
def test_no_request_that_modbus_can_not_say(unit_id: int, function: int, address: int, count: int) -> None:
    with pytest.raises(ValueError, match="no Modbus read"):
        Request(unit_id, function, address, count)
