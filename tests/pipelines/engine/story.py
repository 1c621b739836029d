"""What happens to a few groups, as a list of calls that engine and twin both take."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import msgspec

from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.quality import Quality
from wayside.prove.group import Reading

S = 1_000_000_000
MS = 1_000_000
T0 = 1_790_000_100 * S  # 300 s before a multiple of 300 s, of 900 s and of 3600 s is not far
PERIODS = (1 * S, 2 * S, 5 * S, 7 * S, 10 * S, 30 * S, 45 * S, 60 * S, 90 * S, 300 * S, 600 * S, 1_500 * MS)
JOURNALS = ("j-1", "j-2")


@dataclass(frozen=True, slots=True)
class Declare:
    group: Group
    from_ns: int
    journal: str


@dataclass(frozen=True, slots=True)
class Poll:
    key: tuple[str, str, str]
    due_ns: int
    outcome: int
    readings: tuple[Reading, ...]
    receipt_ns: int


@dataclass(frozen=True, slots=True)
class Event:
    kind: str
    """`epoch`, `evicted`, `centre_restored`, `undatable`, `retire`."""
    of: Any


Step = Declare | Poll | Event


class Author:
    """Writes stories; every choice comes from one generator."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        self.r = random.Random(seed)
        self.calm = calm
        """Nothing but polls in order, all of them answered."""
        self.steps: list[Step] = []

    def story(self, polls: int, groups: int = 1) -> list[Step]:
        lives = [_Life(self, n) for n in range(groups)]
        for life in lives:
            life.declare()
        for _ in range(polls):
            self.r.choice(lives).step()
        if self.r.random() < 0.8:
            for life in lives:
                self.steps.append(Event("retire", ("device", f"{life.group.site}:{life.group.device}")))
        return self.steps

    def odds(self, p: float) -> bool:
        return not self.calm and self.r.random() < p


class _Life:
    """One group as it is polled."""

    def __init__(self, author: Author, n: int) -> None:
        self.a, self.r = author, author.r
        self.period = self.r.choice(PERIODS)
        self.journal = self.r.choice(JOURNALS)
        self.points = self._points()
        self.group = Group(f"site-{n}", "device", "main", Domain.TRAFFIC, "p@0", self.period, self.points)
        self.now = T0 + self.r.choice((0, -1, 1, self.r.randrange(600 * S))) // MS * MS
        self.receipt = self.now
        self.slot = self.now // self.period + 1
        self.registers: dict[str, int] = {}
        self.start = self.now // S
        self.noise = self.r.choice((0.0, 0.02, 0.2))
        self.delay = self.r.choice((0, 10 * MS, 900 * MS, self.period))

    def declare(self) -> None:
        self.a.steps.append(Declare(self.group, self.now, self.journal))

    def step(self) -> None:
        a = self.a
        if a.odds(0.03):
            self._event()
        if a.odds(0.02):
            self._change()
        if a.odds(0.004):
            self._retire()
        if a.odds(0.04):
            self.slot += self.r.choice((1, 2, 3, 10, 100, self.r.randrange(1, 2000)))
        if a.odds(0.02):
            self.slot -= self.r.choice((1, 2, 5, 30))
        self._poll()
        if not a.odds(0.04):
            self.slot += 1

    def _event(self) -> None:
        kind = self.r.choice(("epoch", "evicted", "centre_restored", "undatable"))
        of = self.group.key if kind == "undatable" else self.r.choice(JOURNALS)
        self.a.steps.append(Event(kind, of))

    def _retire(self) -> None:
        """It is given up, and comes back: at once, later, or with a new declaration."""
        scope, name = self.r.choice((("device", f"{self.group.site}:{self.group.device}"), ("journal", self.journal)))
        self.a.steps.append(Event("retire", (scope, name)))
        self.slot += self.r.choice((0, 1, 10, 300 * S // self.period, 900 * S // self.period))
        if self.r.random() < 0.7:
            self.now = self.slot * self.period
            self.declare()

    def _change(self) -> None:
        what = self.r.choice(("period", "points", "again", "end", "journal", "period and points"))
        was, self.now = self.period, self.slot * self.period + self.r.choice((0, 1, -self.period, self.period // 3))
        if "period" in what:
            self.period = self.r.choice(PERIODS)
        if "points" in what:
            kept = [p for p in self.points if self.r.random() < 0.7]
            new = [p for p in self._points() if p.name not in {each.name for each in self.points}]
            back = [p for p in self.group.points if p not in kept and self.r.random() < 0.5]
            self.points = tuple(sorted({p.name: p for p in (*kept, *new, *back)}.values(), key=_weights_first))
        if what == "journal":
            self.journal = self.r.choice(JOURNALS)
        if what == "end":
            ended = msgspec.structs.replace(self.group, period_ns=0)
            self.a.steps.append(Declare(ended, self.now, self.journal))
            return
        self.group = msgspec.structs.replace(self.group, period_ns=self.period, points=self.points)
        self.declare()
        self.slot = -(-self.slot * was // self.period)

    def _poll(self) -> None:
        due = self.slot * self.period
        if self.a.odds(self.noise):
            due += self.r.choice((1, -1, self.period // 2, -self.period // 2, self.r.randrange(self.period)))
        taken = (due + self.r.choice((0, self.delay, self.delay // 2))) // MS * MS
        taken = max(taken, due)
        if self.a.odds(0.01):
            taken = due + self.r.choice((300 * S, 300 * S + 1, 299 * S, 61 * S))
        receipt = due + self.r.choice((0, S, 100 * S))
        if self.a.odds(0.01):
            receipt = due - self.r.choice((300 * S, 300 * S + 1, 4000 * S))
        outcome = self.r.choice((1, 2, 3, 4, 5, 6, 9)) if self.a.odds(0.1) else 0
        readings = () if outcome else self._readings(taken)
        self.a.steps.append(Poll(self.group.key, due, outcome, readings, receipt))

    def _readings(self, taken: int) -> tuple[Reading, ...]:
        self._advance_interval(taken)
        found = []
        for point in self.points:
            t = self.start * S if point.kind is Kind.DELTA else taken
            value, quality = self._value(point), 0
            if self.a.odds(self.noise):
                quality = int(self.r.choice(tuple(Quality))) | self.r.choice((0, 1, 2, 2 | 1 << 9 | 1 << 4))
            if self.a.odds(self.noise):
                value = None
            if value is not None or quality:
                found.append(Reading(point.name, t, value, quality))
        return tuple(found)

    def _advance_interval(self, taken: int) -> None:
        length = next((p.interval_s for p in self.points if p.interval_s), 0)
        if not length:
            return
        latest = taken // S // length * length - length
        if self.start < latest or self.a.odds(0.02):
            self.start = latest + self.r.choice((0, 0, 0, length // 3)) * (not self.a.calm)
        if self.a.odds(0.03):
            self.start -= self.r.choice((length, 1, 3 * length))

    def _value(self, point: Point) -> Value:
        if point.kind is Kind.COUNTER:
            return self._register(point)
        if point.datatype is Datatype.BOOLEAN:
            return self.r.random() < 0.5
        if point.datatype is Datatype.INT64:
            return self.r.randrange(40)
        if point.datatype is Datatype.STRING:
            return "text"
        if self.a.odds(self.noise * 0.3):
            return self.r.choice((float("nan"), float("inf"), -float("inf"), -0.0, 1e308, -1e308))
        return self.r.gauss(230.0, 10.0)

    def _register(self, point: Point) -> int:
        seen = self.registers.get(point.name, self.r.choice((0, 990, 10**12)))
        seen += self.r.choice((0, 1, 7, 100)) * point.resolution
        if self.a.odds(0.03):
            seen = self.r.choice((0, seen + 10**9, seen // 2, seen + 10**15))
        if point.modulus:
            seen %= point.modulus
        self.registers[point.name] = seen
        return seen

    def _points(self) -> tuple[Point, ...]:
        r = self.r
        length = r.choice((1, 10, 30, 60, 77, 300))
        every = [
            Point("power", Kind.GAUGE, Datatype.DOUBLE),
            Point("volt/L1", Kind.GAUGE, Datatype.FLOAT, part=(("phase", "L1"),)),
            Point("volt/L2", Kind.GAUGE, Datatype.INT64, part=(("phase", "L2"),)),
            Point("open", Kind.GAUGE, Datatype.BOOLEAN),
            Point("energy", Kind.COUNTER, Datatype.INT64, resolution=r.choice((1, 10)), max_rate=r.choice((0.0, 50.0))),
            Point(
                "count",
                Kind.COUNTER,
                Datatype.INT64,
                modulus=r.choice((1000, 65536)),
                max_rate=r.choice((0.0, 1.0, 10.0)),
                part=(("lane", "1"),),
            ),
            Point("began", Kind.STATE, Datatype.INT64),
            Point(
                "volume", Kind.DELTA, Datatype.INT64, interval_start="began", interval_s=length, part=(("lane", "1"),)
            ),
            Point("occupancy", Kind.DELTA, Datatype.FLOAT, interval_start="began", interval_s=length),
            Point(
                "speed",
                Kind.DELTA,
                Datatype.DOUBLE,
                interval_start="began",
                interval_s=length,
                weight="volume",
                part=(("lane", "1"),),
            ),
            Point("name", Kind.TEXT, Datatype.STRING),
        ]
        return tuple(r.sample(every, r.randrange(1, len(every) + 1))) if r.random() < 0.2 else self._some(every)

    def _some(self, every: list[Point]) -> tuple[Point, ...]:
        wanted = self.r.random()
        return tuple(point for point in every if self.r.random() < wanted) or tuple(every[:1])


def _weights_first(point: Point) -> bool:
    return bool(point.weight)
