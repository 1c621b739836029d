"""The only way to a wire: a bus has one owner and one call, `transact`, which never takes one answer for another.

A transaction is: open the line if need be; keep quiet while a unit that timed out may still be sending, and until the
line has been silent; drain; check the fence; send; wait for the answer, the deadline or the end of the line. An answer
counts if unit, function, byte count and (on TCP) transaction id are those of the request. Everything else is counted
by what it is, and thrown away. Whatever ends otherwise than by an answer leaves a debt in the fence (`fence`).
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.errors import PeerUnreachable, ProtocolError, Refused, RemoteError
from edge.runtime.supervisor import Backoff
from gateway.bus.fence import Fence
from gateway.bus.framing import BadFrame, Framing
from gateway.bus.request import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.runtime.clock import Clock
    from gateway.bus.request import Frame

REOPEN_LEAST_S = 0.1
REOPEN_MOST_S = 3.0
"""Longest pause between two attempts to open a line: a replugged adapter polls again within 5 s."""
BABBLE_S = 0.5
"""Longest wait for a line to fall silent; a unit that never stops sending does not stop the others' polls."""
NO_TARGET = 11
"""Exception code of a gateway whose serial side stayed silent: a time-out, and the answer may come yet."""
RECONNECT_AFTER = 3
"""Time-outs in a row, without a byte between, after which a stream is opened anew: the peer may have lost its end."""
REST_S = 0.05
"""Silence after which a line that yielded enough bytes yields no better answer; USB adapters pause for 16 ms."""


class BusDown(PeerUnreachable):
    """There is no port or no connection."""


class NoAnswer(PeerUnreachable):
    """The unit was silent until the deadline."""


class Fenced(Refused):
    """The unit may still send an answer that this request's could be mistaken for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The data of a good answer, and how long the unit took beyond the bytes' own time on the wire."""

    data: bytes
    turnaround_s: float


@dataclass(slots=True)
class Counters:
    """What a bus has seen, since the process began."""

    requests: int = 0
    answers: int = 0
    exceptions: int = 0
    timeouts: int = 0
    late: int = 0
    """Answers to earlier requests."""
    foreign: int = 0
    """Good frames that nobody asked for."""
    damaged: int = 0
    """Transactions or pauses in which bytes came that are no frame."""
    echoed: int = 0
    opened: int = 0
    lost: int = 0


class Line(Protocol):
    """Bytes out and in: a serial port or a socket, opened by its configured name each time."""

    name: str
    silence_s: float
    """Silence that must stand before a request; 0 on a stream."""
    byte_s: float
    """Time one byte takes on the wire; 0 if that is nothing."""
    received: bytearray
    """What came and is not yet taken; bounded."""
    last_received_s: float
    """When something last came, on the clock's real time."""
    lost: str | None
    """Why the line is closed, or was; None while it is open."""

    async def open(self) -> None:
        """Open anew.

        Raises:
            OSError: not now.
        """

    def close(self) -> None:
        """Let go of the descriptor; closing twice is closing once."""

    def send(self, data: bytes) -> None:
        """Send, as fast as the line takes it."""

    def read_now(self) -> None:
        """Move what has come into `received`."""

    async def wait(self, until_s: float) -> None:
        """Wait until something came, the line is lost, or the real time `until_s`."""


class Bus:
    """One line with one owner; see the module's text.

    Args:
        line: where the bytes go.
        framing: how requests and answers are said on it.
        clock: real time.
        late_s: how long a unit that let a request time out may still be sending: the whole line keeps quiet then. 0 on
            a stream, where late answers hurt nobody.
    """

    def __init__(self, line: Line, framing: Framing, clock: Clock, late_s: float = 0.0) -> None:
        """Touch nothing yet: the line opens with the first transaction."""
        self._line, self._framing, self._clock, self._late_s = line, framing, clock, late_s
        self._fence = Fence()
        self._backoff = Backoff(REOPEN_LEAST_S, REOPEN_MOST_S)
        self._open_again_s = self._quiet_until_s = 0.0
        self._last: Request | None = None
        self._timeouts_in_a_row = 0
        self._owned = self._was_open = False
        self.is_down = False
        """Whether the line was last lost, or could not be opened."""
        self.counters = Counters()

    @property
    def name(self) -> str:
        """The configured name of the line."""
        return self._line.name

    @property
    def is_open(self) -> bool:
        """Whether the line is open, as far as is known."""
        return self._line.lost is None

    @property
    def quiet_until_s(self) -> float:
        """Until when the line keeps quiet for a unit that may be late, on the clock's real time."""
        return self._quiet_until_s

    def may_ask(self, request: Request) -> bool:
        """Whether no late answer can be taken for the answer to `request`."""
        return self._fence.may_ask(request)

    def other(self, request: Request) -> Request:
        """Make a read that `may_ask` allows; a good answer to it allows `request` again."""
        return self._fence.other(request)

    async def transact(self, request: Request, timeout_s: float) -> Answer:
        """Ask, and wait for the answer `timeout_s` beyond the bytes' own time on the wire.

        Raises:
            BusDown: there is no line; the next attempt to open it has its own time.
            NoAnswer: nothing came that answers.
            BadFrame: bytes came, and no good answer.
            RemoteError: the unit answered with an exception.
            Fenced: a late answer might be taken for this one's; nothing was sent.
        """
        with self._one_owner():
            await self._open()
            await self._fall_silent()
            if not self._fence.may_ask(request):
                raise Fenced(f"{self.name}: a late answer may fit {request}; ask `other` first")
            return await self._exchange(request, timeout_s)

    def close(self) -> None:
        """Let go of the line; a later transaction opens it again."""
        self._line.close()
        self._was_open = False

    @contextmanager
    def _one_owner(self) -> Iterator[None]:
        if self._owned:
            raise RuntimeError(f"{self.name}: a bus has one owner")
        self._owned = True
        try:
            yield
        finally:
            self._owned = False

    async def _open(self) -> None:
        self._line.read_now()
        if self._line.lost is None:
            return
        if self._was_open:  # closed by the peer while nothing was asked: no reason to wait
            self._drop()
        if self._clock.real_s() < self._open_again_s:
            raise BusDown(self.name, self._line.lost)
        try:
            await self._line.open()
        except OSError as error:
            self.is_down = True
            self._open_again_s = self._clock.real_s() + self._backoff.pause_s()
            raise BusDown(self.name, str(error)) from error
        self._was_open, self.is_down = True, False
        self.counters.opened += 1

    def _drop(self) -> None:
        self._line.close()
        self._was_open = False
        self.counters.lost += 1

    def _check_line(self) -> None:
        if (why := self._line.lost) is None:
            return
        self._drop()
        self.is_down = True
        self._open_again_s = self._clock.real_s() + self._backoff.pause_s()
        raise BusDown(self.name, why)

    async def _fall_silent(self) -> None:
        """Wait out quiet time and silence, and drain."""
        give_up_s = max(self._quiet_until_s, self._clock.real_s()) + BABBLE_S
        self._drain()
        while (until_s := min(self._silent_at_s(), give_up_s)) > self._clock.real_s():
            await self._line.wait(until_s)
            self._drain()
        if self._framing.discard(self._line.received):
            self.counters.damaged += 1
        self._check_line()

    def _silent_at_s(self) -> float:
        return max(self._quiet_until_s, self._line.last_received_s + self._line.silence_s)

    def _drain(self) -> None:
        self._line.read_now()
        while (frame := self._take(None, at_rest=False)) is not None:
            self._put_aside(frame)
            if self._last is not None and (frame.answers(self._last) or frame.refuses(self._last)):
                self._quiet_until_s = 0.0  # what the line kept quiet for has come

    def _take(self, awaited: Request | None, *, at_rest: bool) -> Frame | None:
        try:
            return self._framing.take(self._line.received, awaited, at_rest=at_rest)
        except BadFrame:
            self.counters.damaged += 1
            self._drop()
            raise

    def _put_aside(self, frame: Frame) -> None:
        """Count a frame that answers nothing, and expect its like again."""
        self._timeouts_in_a_row = 0
        if self._fence.fits(frame) or not self._framing.is_answer(frame):
            self.counters.late += 1
        else:
            self.counters.foreign += 1
        if not frame.is_exception:
            self._fence.owe(frame.unit_id, frame.shape)

    async def _exchange(self, request: Request, timeout_s: float) -> Answer:
        self.counters.requests += 1
        self._last = request
        sent = self._framing.encode(request)
        sent_s = self._clock.real_s()
        wire_s = self._line.byte_s * (len(sent) + request.data_bytes + self._framing.overhead_bytes)
        try:
            self._line.send(sent)
            frame = await self._answer(request, sent_s + wire_s + timeout_s)
        except BaseException as error:  # whatever ended the wait, a stop too: the unit has been asked
            self._fence.owe(request.unit_id, request.shape)
            if not isinstance(error, BadFrame):
                self._quiet_until_s = self._clock.real_s() + self._late_s
            raise
        finally:
            self.counters.echoed = self._framing.echoed
        self._backoff.reset()
        self._timeouts_in_a_row = 0
        return self._judge(request, frame, max(0.0, self._clock.real_s() - sent_s - wire_s))

    def _judge(self, request: Request, frame: Frame, turnaround_s: float) -> Answer:
        self._fence.answered(request.unit_id)
        if not frame.is_exception:
            self.counters.answers += 1
            return Answer(frame.data, turnaround_s)
        raise self._refusal(request, frame)

    def _refusal(self, request: Request, frame: Frame) -> RemoteError:
        self.counters.exceptions += 1
        return RemoteError(frame.data[0], f"{self.name}: unit {request.unit_id} refuses {request}")

    async def _answer(self, request: Request, deadline_s: float) -> Frame:
        """Wait for the frame that answers: a good one, or an exception that is this request's."""
        refusal: Frame | None = None
        while True:
            rested = self._rested_at_s(request, deadline_s) <= self._clock.real_s()
            while (frame := self._take(request, at_rest=rested)) is not None:
                if self._answers(request, frame):
                    return frame
                refusal = self._maybe_refusal(request, frame) or refusal
            self._check_line()
            if rested:
                raise self._failure(request, refusal)
            await self._line.wait(self._rested_at_s(request, deadline_s))

    def _rested_at_s(self, request: Request, deadline_s: float) -> float:
        """When to stop waiting: at the deadline, or before, if enough came and then nothing more."""
        enough = len(self._line.received) >= request.data_bytes + self._framing.overhead_bytes
        if not enough or not self._line.silence_s:
            return deadline_s
        return min(deadline_s, self._line.last_received_s + max(REST_S, self._line.silence_s))

    def _answers(self, request: Request, frame: Frame) -> bool:
        if not self._framing.is_answer(frame):
            return False
        if frame.refuses(request):
            if frame.data[0] == NO_TARGET:
                raise self._timed_out(request, "the gateway had no answer")
            return frame.transaction is not None or not self._fence.fits(frame)
        if frame.answers(request):
            return True
        if frame.transaction is not None and not self._fence.fits(frame):
            self.counters.damaged += 1
            raise BadFrame(f"{self.name}: {frame} answers {request}")
        return False

    def _maybe_refusal(self, request: Request, frame: Frame) -> Frame | None:
        """Deal with a frame that may not be taken; return it if it may yet be this request's exception."""
        if self._framing.is_answer(frame) and frame.refuses(request):
            self._fence.excepted(frame)
            return frame
        self._put_aside(frame)
        return None

    def _failure(self, request: Request, refusal: Frame | None) -> PeerUnreachable | ProtocolError:
        if refusal is not None:
            return self._refusal(request, refusal)
        if self._line.received:
            self.counters.damaged += 1
            return BadFrame(f"{self.name}: {len(self._line.received)} bytes, and no answer to {request}")
        self._timeouts_in_a_row += 1
        if self._timeouts_in_a_row >= RECONNECT_AFTER and not self._line.silence_s:
            self._timeouts_in_a_row = 0
            self._drop()
        return self._timed_out(request, "no answer")

    def _timed_out(self, request: Request, why: str) -> NoAnswer:
        self.counters.timeouts += 1
        return NoAnswer(f"{self.name}, unit {request.unit_id}", why)
