"""A simulated device: its profile's groups as registers, answered from snapshots that are never torn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.modbus.decode import Block, Plan, answers
from edge.model.point import Kind, Point, Value
from edge.runtime.clock import Clock
from wayside.city.sources import Counter
from wayside.city.truth import Truth

LATCH_S = 0.5
"""The requests of one read of a group get one snapshot, if they come within this. [s, real]"""

BITS = frozenset({1, 2})
REGISTERS = frozenset({3, 4})
MOST_BITS, MOST_REGISTERS = 2000, 125

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, NO_ANSWER_BEHIND_GATEWAY = 1, 2, 3, 11
_READ_BYTES = 5
_SOME_MOMENT_NS = 1_790_000_000 * 1_000_000_000


class Image:
    """One group of a device: its registers at one instant.

    A snapshot serves each register once. What is asked again, or asked late, is a new read, and gets a new snapshot:
    so the parts of one read belong together, and no two reads share one.
    """

    def __init__(
        self, device: str, plan: Plan, points: Sequence[Point], sources: Sequence[Callable[[int], Value]]
    ) -> None:
        """Compile which request carries which counter."""
        self._device, self._plan, self._points, self._sources = device, plan, points, sources
        self._counters = self._placed()
        self._always_there = {n for n in range(len(points)) if self._is_always_there(n)}
        self._registers: dict[tuple[int, int], int] = {}
        self._t_ns, self._until_s = 0, 0.0
        self._served: list[Block] = []
        self._latest_start: dict[str, Value] = {}

    def holds(self, asked: Block) -> bool:
        """Whether one of the group's reads covers all of `asked`."""
        return any(_covers(block, asked) for block in self._plan.requests)

    def read(self, asked: Block, clock: Clock, truth: Truth) -> dict[tuple[int, int], int]:
        """Give the registers for an answer that covers `asked`, and note the truth of it."""
        now_s = clock.real_s()
        if now_s >= self._until_s or any(_overlap(block, asked) for block in self._served):
            self._until_s = now_s + LATCH_S
            self._take(clock.wall_ns(), truth)
        self._served.append(asked)
        for counter, (function, address) in self._counters:
            if function == asked.function and asked.address <= address < asked.end:
                truth.say(self._device, counter.point.name, self._t_ns, counter.unrolled(self._t_ns))
        return self._registers

    def not_shown(self, t_ns: int) -> list[tuple[str, Value]]:
        """Name the counters whose value at an instant their registers can't show exactly."""
        lost: list[tuple[str, Value]] = []
        for counter, _ in self._counters:
            value, n = counter(t_ns), self._points.index(counter.point)
            try:
                registers = self._plan.encode(self._alone(n, value))
            except ValueError:
                lost.append((counter.point.name, value))
                continue
            if self._plan.decode(answers(self._plan.requests, registers))[0][n] != value:
                lost.append((counter.point.name, value))
        return lost

    def _take(self, t_ns: int, truth: Truth) -> None:
        values = [source(t_ns) for source in self._sources]
        shown = [0 if value is None and n in self._always_there else value for n, value in enumerate(values)]
        self._t_ns, self._registers = t_ns, self._plan.encode(shown)
        self._served.clear()
        self._say_intervals(truth)

    def _say_intervals(self, truth: Truth) -> None:
        """Note each interval the first time it is served, as its registers say it."""
        if not (new := [point for point in self._points if self._is_new(point)]):
            return
        shown, _ = self._plan.decode(answers(self._plan.requests, self._registers))
        said = dict(zip((point.name for point in self._points), shown, strict=True))
        for point in new:
            start_s = said[point.interval_start]
            assert isinstance(start_s, int)
            self._latest_start[point.name] = self._start_of(point)
            truth.say(self._device, point.name, start_s * 1_000_000_000, said[point.name])

    def _is_new(self, point: Point) -> bool:
        return point.kind is Kind.DELTA and self._latest_start.get(point.name) != self._start_of(point)

    def _start_of(self, point: Point) -> Value:
        return self._t_ns // (point.interval_s * 1_000_000_000)

    def _placed(self) -> list[tuple[Counter, tuple[int, int]]]:
        """Find a register of each counter: one that changes with its value; no value is split over two reads."""
        placed: list[tuple[Counter, tuple[int, int]]] = []
        for n, source in enumerate(self._sources):
            if isinstance(source, Counter):
                zero, one = (self._plan.encode(self._alone(n, value)) for value in (0, source.point.resolution))
                placed.append((source, next(at for at, word in zero.items() if one[at] != word)))
        return placed

    def _alone(self, n: int, value: Value) -> list[Value]:
        """Give the values of some moment, but for point `n`: 0 is not a number that every gauge has."""
        some = [0 if isinstance(source, Counter) else source(_SOME_MOMENT_NS) or 0 for source in self._sources]
        return [*some[:n], value, *some[n + 1 :]]

    def _is_always_there(self, n: int) -> bool:
        """Whether a register has no way to say that there is no value: then it says 0, as such devices do."""
        try:
            self._plan.encode(self._alone(n, None))
        except ValueError:
            return True
        return False


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
        image = next((each for each in self._images if each.holds(asked)), None)
        if image is not None:
            registers = image.read(asked, self._clock, self._truth)
        elif (parts := self._parts(asked)) is None:
            return None
        else:
            registers = {
                at: word for each, one in parts for at, word in each.read(one, self._clock, self._truth).items()
            }
        return answers([asked], registers)[0]

    def _parts(self, asked: Block) -> list[tuple[Image, Block]] | None:
        """Take a read that no group makes apart into single registers; None where nothing stands."""
        found: list[tuple[Image, Block]] = []
        for address in range(asked.address, asked.end):
            one = Block(asked.function, address, 1)
            image = next((each for each in self._images if each.holds(one)), None)
            if image is None:
                return None
            found.append((image, one))
        return found


def refusal(function: int, code: int) -> bytes:
    """Make an exception."""
    return bytes((function | 0x80, code))


def _covers(block: Block, asked: Block) -> bool:
    return block.function == asked.function and block.address <= asked.address and asked.end <= block.end


def _overlap(a: Block, b: Block) -> bool:
    return a.function == b.function and a.address < b.end and b.address < a.end
