"""A simulated device: its profile's groups as registers, answered from snapshots that are never torn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.modbus.decode import Block, Limits, Plan, answers
from edge.model.point import Kind, Point, Value
from edge.runtime.clock import Clock
from wayside.city.sources import Counter
from wayside.city.truth import Truth

LATCH_S = 1.5
"""The requests of one read of a group come no further apart than this, besides what line and device take; a client's
time-out is less. [s, real]"""
MOST_RETRIES = 3
"""How often a client asks again for an answer that was lost."""

BITS = frozenset({1, 2})
REGISTERS = frozenset({3, 4})
MOST_BITS, MOST_REGISTERS = 2000, 125

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, NO_ANSWER_BEHIND_GATEWAY = 1, 2, 3, 11
_READ_BYTES = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A group at one instant."""

    t_ns: int
    registers: dict[tuple[int, int], int]
    """By (function, address)."""
    shown: dict[str, Value]
    """What a reader makes of the registers, by point; nothing where a group has no counter and no interval."""


class Image:
    """One group of a device, as registers.

    A snapshot serves each of the group's requests once; what is asked again, or asked late, begins the next read, with
    a snapshot of its own. So the parts of one read belong together, and no two reads share one. Only the last request
    of several, asked again at once, is served again: its answer was lost, and the client has the other parts already.
    A read that is none of the group's requests is answered apart, and disturbs nothing.
    """

    def __init__(
        self,
        device: str,
        plan: Plan,
        points: Sequence[Point],
        sources: Sequence[Callable[[int], Value]],
        latch_s: float = LATCH_S,
    ) -> None:
        """Compile which registers carry which counter."""
        self._device, self._plan, self._points, self._sources = device, plan, points, sources
        self._each = [Plan([source], Limits()) for source in plan.sources]
        self._counters = [
            (source, frozenset(each.registers))
            for source, each in zip(sources, self._each, strict=True)
            if isinstance(source, Counter)
        ]
        self._is_told = any(point.kind in {Kind.COUNTER, Kind.DELTA} for point in points)
        self._told = {block: self._counters_in(block) for block in plan.requests}
        self.addresses = frozenset(at for block in plan.requests for at in _addresses(block))
        """(function, address) of all that it answers for, the holes in its requests too."""
        self._latch_s = latch_s
        self._latched = Snapshot(0, {}, {})
        self._served: list[Block] = []
        self._until_s = 0.0
        self._latest_start: dict[str, int] = {}

    def asks(self, asked: Block) -> bool:
        """Whether this is one of the group's own requests."""
        return asked in self._plan.requests

    def read(self, asked: Block, clock: Clock, truth: Truth) -> Snapshot:
        """Give the snapshot that answers one of the group's requests, and note the truth of it."""
        now_s = clock.real_s()
        if now_s >= self._until_s or self._is_asked_anew(asked):
            self._latched = self.snapshot(clock.wall_ns(), truth)
            self._served.clear()
        self._served.append(asked)
        self._until_s = now_s + self._latch_s
        self.tell(self._latched, asked, truth)
        return self._latched

    def snapshot(self, t_ns: int, truth: Truth) -> Snapshot:
        """See all points at an instant; note each interval the first time."""
        registers = self._encode([source(t_ns) for source in self._sources])
        shown: dict[str, Value] = {}
        if self._is_told:
            values, _ = self._plan.decode(answers(self._plan.requests, registers))
            shown = dict(zip((point.name for point in self._points), values, strict=True))
        snapshot = Snapshot(t_ns, registers, shown)
        self._tell_intervals(snapshot, truth)
        return snapshot

    def tell(self, snapshot: Snapshot, asked: Block, truth: Truth) -> None:
        """Note what each counter in an answer would say if its register had no end."""
        for counter in self._told[asked] if asked in self._told else self._counters_in(asked):
            shown = snapshot.shown[counter.point.name]
            if isinstance(shown, int):
                truth.say(self._device, counter.point.name, snapshot.t_ns, shown + counter.rolled(snapshot.t_ns))

    def _counters_in(self, asked: Block) -> list[Counter]:
        wanted = _addresses(asked)
        return [counter for counter, registers in self._counters if not registers.isdisjoint(wanted)]

    def _is_asked_anew(self, asked: Block) -> bool:
        if asked not in self._served:
            return False
        is_retry = asked == self._served[-1] and self._served.count(asked) <= MOST_RETRIES
        return not is_retry or len(self._plan.requests) == 1

    def _encode(self, values: Sequence[Value]) -> dict[tuple[int, int], int]:
        try:
            return self._plan.encode(values)
        except ValueError:
            alone = [self._alone(n, value) for n, value in enumerate(values)]
            return {at: word for registers in alone for at, word in registers.items()}

    def _alone(self, n: int, value: Value) -> dict[tuple[int, int], int]:
        """Encode one point: what its register has no number for is "not available", or 0 where it can't say that."""
        for said in (value, None):
            try:
                return self._each[n].encode([said])
            except ValueError:
                continue
        return {}

    def _tell_intervals(self, snapshot: Snapshot, truth: Truth) -> None:
        for point in self._points:
            start_s = snapshot.shown[point.interval_start] if point.kind is Kind.DELTA else None
            if isinstance(start_s, int) and self._latest_start.get(point.name) != start_s:
                self._latest_start[point.name] = start_s
                truth.say(self._device, point.name, start_s * 1_000_000_000, snapshot.shown[point.name])


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a device fails to be prompt."""

    latency_s: float = 0.0
    dead: bool = False
    silent_from_s: float = 0.0
    silent_for_s: float = 0.0
    """Since the city began. [s, real]"""

    def is_silent(self, since_s: float) -> bool:
        """Whether the device says nothing, this long after the city began."""
        return self.dead or self.silent_from_s <= since_s < self.silent_from_s + self.silent_for_s


class Unit:
    """One device behind a unit id: requests in, answers out, both without unit id and checksum."""

    def __init__(self, images: Sequence[Image], behaviour: Behaviour, clock: Clock, truth: Truth) -> None:
        """Begin now, as far as outages go."""
        self._images, self._behaviour = images, behaviour
        self._clock, self._truth = clock, truth
        self._began_s = clock.real_s()
        self.latency_s = behaviour.latency_s

    def answer(self, pdu: bytes) -> bytes | None:
        """Answer one request, with values of this very instant; None is silence."""
        if self._behaviour.is_silent(self._clock.real_s() - self._began_s):
            return None
        function = pdu[0]
        if function not in BITS | REGISTERS:
            return refusal(function, ILLEGAL_FUNCTION)
        if len(pdu) != _READ_BYTES:
            return refusal(function, ILLEGAL_VALUE)
        asked = Block(function, int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big"))
        if not 1 <= asked.count <= (MOST_BITS if function in BITS else MOST_REGISTERS):
            return refusal(function, ILLEGAL_VALUE)
        if (data := self._read(asked)) is None:
            return refusal(function, ILLEGAL_ADDRESS)
        return bytes((function, len(data))) + data

    def _read(self, asked: Block) -> bytes | None:
        if (image := next((each for each in self._images if each.asks(asked)), None)) is not None:
            registers = image.read(asked, self._clock, self._truth).registers
        elif (taken := self._taken(asked)) is None:
            return None
        else:
            registers = taken
        return answers([asked], registers)[0]

    def _taken(self, asked: Block) -> dict[tuple[int, int], int] | None:
        """Answer a read that no group makes, of all groups at one instant; None where something is in no group."""
        wanted = set(_addresses(asked))
        images = [image for image in self._images if not wanted.isdisjoint(image.addresses)]
        if not wanted.issubset(at for image in images for at in image.addresses):
            return None
        t_ns = self._clock.wall_ns()
        registers: dict[tuple[int, int], int] = {}
        for image in images:
            snapshot = image.snapshot(t_ns, self._truth)
            image.tell(snapshot, asked, self._truth)
            registers |= snapshot.registers
        return registers


def refusal(function: int, code: int) -> bytes:
    """Make an exception."""
    return bytes((function | 0x80, code))


def _addresses(block: Block) -> list[tuple[int, int]]:
    return [(block.function, address) for address in range(block.address, block.end)]
