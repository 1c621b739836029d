"""How many samples per CPU second does the centre carry, from the frames of its log to final rows?"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks.centre import city as cities
from benchmarks.centre import ours, rival, truth
from benchmarks.centre.city import POINTS_PER_PART, City, Shape
from benchmarks.claim import Benchmark, Claim, Goal, Row
from benchmarks.measure import Parts, machine, progress
from pipelines.engine.reader import warm

NAME = "centre"
QUESTION = (
    "How many samples per CPU second does the centre carry from the frames of its log (durable, read back) through "
    "acceptance, decoding and windows to final rows in the checkpoint?"
)
SEED = 20_260_101
ROUNDS, QUICK_ROUNDS = 5, 3
FULL = (
    Shape("10 metrics a message", 10, gateways=8, devices=20, parts=1, polls=1, minutes=5),
    Shape("100 metrics a message", 100, gateways=8, devices=3, parts=11, polls=1, minutes=5),
    Shape("1,000 metrics a message", 1000, gateways=8, devices=3, parts=11, polls=10, minutes=5),
)
QUICK = (
    Shape("10 metrics a message", 10, gateways=2, devices=20, parts=1, polls=1, minutes=5),
    Shape("100 metrics a message", 100, gateways=2, devices=3, parts=11, polls=1, minutes=5),
    Shape("1,000 metrics a message", 1000, gateways=2, devices=3, parts=11, polls=10, minutes=5),
)
GOAL_TIMES = 20.0
GOAL_PER_S = 4e6
"""A prototype of this path, with 1-minute windows alone, carried 4.5 million and more."""
_GOAL_METRICS = 100
_UNIT = "samples per CPU s"


@dataclass(slots=True)
class _Rounds:
    city: City
    spent_s: list[dict[str, float]] = field(default_factory=list)
    rival_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """Give the case's rows: the whole, then its parts."""
        case, samples, n = self.city.shape.case, self.city.samples, len(self.spent_s)
        ours_per_s, rival_per_s = samples / median(self._whole_s()), samples / median(self.rival_s)
        rows = [Row(case, _UNIT, ours_per_s, n, rival_per_s, rival.NAME, self._times())]
        rows += [
            Row(f"{case}: {part}", "CPU ns per sample", self._median_s(part) / samples * 1e9, n) for part in ours.PARTS
        ]
        points = len(self.city.devices) * self.city.shape.parts * POINTS_PER_PART
        rows.append(Row(f"{case}: births", "CPU us per point", self._median_s(ours.BIRTHS) / points * 1e6, n))
        return rows

    def goals(self) -> list[Goal]:
        """Give the goals of the case that has any."""
        if self.city.shape.metrics != _GOAL_METRICS:
            return []
        case, per_s = self.city.shape.case, self.city.samples / median(self._whole_s())
        return [
            Goal(f"times the rival's samples per CPU s, {case}", self._times(), GOAL_TIMES),
            Goal(f"samples per CPU s, {case}", per_s, GOAL_PER_S),
        ]

    def _times(self) -> float:
        return median(theirs / own for theirs, own in zip(self.rival_s, self._whole_s(), strict=True))

    def _whole_s(self) -> list[float]:
        return [sum(spent[part] for part in ours.PARTS) for spent in self.spent_s]

    def _median_s(self, part: str) -> float:
        return median(spent[part] for spent in self.spent_s)


def run(quick: bool) -> Claim:
    """Make the claim."""
    return measure(QUICK if quick else FULL, QUICK_ROUNDS if quick else ROUNDS)


def measure(shapes: Sequence[Shape], rounds: int) -> Claim:
    """Verify and time each case; nothing is timed when an answer is wrong."""
    progress("compiling")
    warm()
    rows: list[Row] = []
    goals: list[Goal] = []
    for shape in shapes:
        with tempfile.TemporaryDirectory(prefix="wayside-bench-") as name:
            progress(f"{shape.case}: making its data")
            city = cities.make(shape, SEED, Path(name))
            wrong, digest = verify(city, Path(name) / "verified")
            found = _timed(city, digest, Path(name), 0 if wrong else rounds)
        if wrong or found.wrong:
            return Claim(NAME, QUESTION, machine(), verified=False, wrong=(*wrong, *found.wrong))
        rows += found.rows()
        goals += found.goals()
    return Claim(NAME, QUESTION, machine(), verified=True, rows=tuple(rows), goals=tuple(goals))


def verify(city: City, directory: Path) -> tuple[list[str], str]:
    """Compare both answers with the values that were generated; what is wrong, and the digest of our rows."""
    progress(f"{city.shape.case}: verifying {city.samples:,} samples in {city.messages:,} messages")
    passage = ours.carry(city, directory)
    wrong = truth.differences(city, passage.blocks)
    if passage.counters["samples"] != city.samples:
        wrong.append(f"{passage.counters['samples']} samples taken, and {city.samples} were sent")
    wrong += truth.rival_differences(city, rival.carry(city.bursts, rival.names_of(city.births)))
    return wrong, passage.digest


def _timed(city: City, digest: str, directory: Path, rounds: int) -> _Rounds:
    """Time both in turn; every round must give the rows that were verified."""
    found, names = _Rounds(city), rival.names_of(city.births)
    for n in range(rounds):
        progress(f"{city.shape.case}: round {n + 1} of {rounds}")
        gc.collect()
        passage = ours.carry(city, directory / f"round-{n}")
        if passage.digest != digest:
            found.wrong.append(f"{city.shape.case}: round {n + 1} gave other rows of the same packets")
        found.spent_s.append(passage.spent_s)
        parts = Parts()
        gc.collect()
        with parts.spend(rival.NAME):
            rival.carry(city.bursts, names)
        found.rival_s.append(parts.spent_s[rival.NAME])
    return found


BENCHMARK = Benchmark(NAME, QUESTION, run)
