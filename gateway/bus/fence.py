"""The fence against late answers: pure state, no input or output.

A unit that let a request time out may still *owe* its answer, and a Modbus RTU answer does not say what it answers.
While something is owed, the unit is asked only what no owed answer can fit: another function, or another number of
data bytes. So a late answer is known by its shape, and thrown away.

What lifts the fence: a good answer to such a request. A unit answers in the order in which it was asked, so what it
owed before is either past or lost. The late answer itself does not lift it: a unit that sends late may send twice.
Exceptions look alike for all requests with one function. One that may be either an owed request's or the current
one's is therefore nobody's answer; but it uses up one debt: the oldest with that function, and those before it.
Whatever a unit sends unasked, it may send again: that is owed as well.

Where every request of a plan has an owed shape, `other` gives a read from the same address with another count, or
with the other function if no count is left: its answer is thrown away, and proves that the unit is past its debts.
On TCP the transaction id tells a late answer already; the fence stands there too, because cheap serial gateways put
the newest id on whatever their serial side yields.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from gateway.bus.request import EXCEPTION_BIT, MOST_BITS, MOST_REGISTERS, REGISTERS, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.bus.request import Frame, Shape

MOST_OWED = 32
"""Debts remembered per unit. A unit silent for so many different requests was off: the oldest is forgotten."""

_OTHER_FUNCTION = {1: 2, 2: 1, 3: 4, 4: 3}


class Fence:
    """What each unit of one bus may still answer."""

    def __init__(self) -> None:
        """Begin with nothing owed."""
        self._owed: dict[int, list[Shape]] = {}

    def owe(self, unit_id: int, shape: Shape) -> None:
        """Remember an answer that may still come."""
        owed = self._owed.setdefault(unit_id, [])
        if shape in owed:
            owed.remove(shape)
        owed.append(shape)
        del owed[:-MOST_OWED]

    def fits(self, frame: Frame) -> bool:
        """Whether an owed answer can look like `frame`."""
        owed = self._owed.get(frame.unit_id, [])
        if frame.is_exception:
            return any(function | EXCEPTION_BIT == frame.function for function, _ in owed)
        return frame.shape in owed

    def may_ask(self, request: Request) -> bool:
        """Whether no owed answer can be taken for a good answer to `request`."""
        return request.shape not in self._owed.get(request.unit_id, [])

    def answered(self, unit_id: int) -> None:
        """Lift the fence: the unit has answered a request that no debt fits."""
        self._owed.pop(unit_id, None)

    def excepted(self, frame: Frame) -> None:
        """Settle what an exception that fits a debt proves: the oldest debt with its function, and those before."""
        owed = self._owed[frame.unit_id]
        first = next(i for i, (function, _) in enumerate(owed) if function | EXCEPTION_BIT == frame.function)
        del owed[: first + 1]
        if not owed:
            del self._owed[frame.unit_id]

    def other(self, request: Request) -> Request:
        """Make a read, like `request`, that no owed answer fits.

        Fewer registers are asked for before more, and whole 64- or 32-bit values before parts of them: some devices
        refuse to read part of a value, or beyond their table.
        """
        return next(other for other in _variants(request) if other.shape != request.shape and self.may_ask(other))


def _variants(request: Request) -> Iterator[Request]:
    step, most = (2, MOST_REGISTERS) if request.function in REGISTERS else (8, MOST_BITS)
    fewer = (n for divisor in (2 * step, step, 1) for n in range(divisor, request.count, divisor))
    for count in chain(fewer, range(request.count + 1, most + 1)):
        yield _like(request, request.function, count)
    for count in range(1, most + 1):
        yield _like(request, _OTHER_FUNCTION[request.function], count)


def _like(request: Request, function: int, count: int) -> Request:
    return Request(request.unit_id, function, min(request.address, 0x10000 - count), count)
