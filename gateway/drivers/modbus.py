"""One poll of one Modbus group: the requests of its plan, through the fence, to an outcome and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from edge.errors import RemoteError
from edge.model.point import Value
from edge.model.record import Outcome
from gateway.bus.framing import BadFrame
from gateway.bus.line import Bus, BusDown, Fenced, NoAnswer
from gateway.bus.request import BUSY, Request
from gateway.drivers.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.runtime.clock import Clock
    from gateway.drivers.patience import Patience

MOST_DETOURS = 3
"""Reads made in one poll only to lift the fence."""

BUSY_PAUSE_S = 0.05


class Read(Protocol):
    """One request of a plan, without the unit that it goes to."""

    @property
    def function(self) -> int:
        """1 to 4."""

    @property
    def address(self) -> int:
        """Zero-based wire address."""

    @property
    def count(self) -> int:
        """Registers, or bits."""


class Plan(Protocol):
    """What a profile says about reading one group."""

    @property
    def requests(self) -> Sequence[Read]:
        """In the order in which they are best asked."""

    def decode(self, answers: Sequence[bytes]) -> tuple[list[Value], list[int]]:
        """Turn the data of all answers, in the order of `requests`, into values and qualities of the points."""


class ModbusGroup:
    """A `Poll`: one group of one unit on one bus.

    A poll asks first what the fence allows; while only fenced requests are left, it makes detours that lift the fence.
    """

    def __init__(self, bus: Bus, unit_id: int, plan: Plan, patience: Patience, clock: Clock) -> None:
        """Share `patience` between all groups of the device."""
        self._bus, self._plan, self._patience, self._clock = bus, plan, patience, clock
        self._requests = [Request(unit_id, read.function, read.address, read.count) for read in plan.requests]

    async def __call__(self) -> Reading:
        """See `Poll`."""
        try:
            answers = await self._ask_all()
        except BusDown:
            return self._failed(Outcome.BUS_DOWN)
        except NoAnswer:
            self._patience.timed_out()
            return self._failed(Outcome.TIMEOUT)
        except RemoteError:
            return self._failed(Outcome.EXCEPTION)
        except (BadFrame, Fenced):
            self._patience.timed_out()  # an answer that had not wholly come looks like a damaged one
            return self._failed(Outcome.BAD_FRAME)
        taken_ns = self._clock.mono_ns()
        values, quality = self._plan.decode(answers)
        return Reading(Outcome.OK, taken_ns, values, quality if any(quality) else None)

    def _failed(self, outcome: Outcome) -> Reading:
        return Reading(outcome, self._clock.mono_ns())

    async def _ask_all(self) -> list[bytes]:
        answers: dict[int, bytes] = {}
        detours = 0
        while len(answers) < len(self._requests):
            left = [i for i in range(len(self._requests)) if i not in answers]
            free = next((i for i in left if self._bus.may_ask(self._requests[i])), None)
            try:
                if free is None:
                    detours += 1
                    await self._detour(self._requests[left[0]], last=detours >= MOST_DETOURS)
                else:
                    answers[free] = await self._ask(self._requests[free])
            except Fenced:  # something came in while the line fell silent
                detours += 1
                if detours >= MOST_DETOURS:
                    raise
        return [answers[i] for i in range(len(self._requests))]

    async def _ask(self, request: Request) -> bytes:
        try:
            answer = await self._bus.transact(request, self._patience.timeout_s)
        except RemoteError as error:
            if error.code != BUSY:
                raise
            await self._clock.sleep(BUSY_PAUSE_S)
            answer = await self._bus.transact(request, self._patience.timeout_s)
        self._patience.answered(answer.turnaround_s)
        return answer.data

    async def _detour(self, request: Request, *, last: bool) -> None:
        """Ask something else, to have the unit past its debts; that it refuses this may prove the same."""
        try:
            await self._bus.transact(self._bus.other(request), self._patience.timeout_s)
        except RemoteError:
            if last:
                raise
