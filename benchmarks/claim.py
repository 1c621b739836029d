"""What a benchmark says: a question, a checked answer, numbers beside a named alternative, and goals met or missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement; a median of `n` rounds."""

    case: str
    unit: str
    ours: float
    n: int
    rival: float | None = None
    """The same by the alternative, on the same input in the same rounds; None where it has no such part."""
    rival_name: str | None = None
    times: float | None = None
    """Ours by the rival's: the median of the rounds' ratios, which a busy neighbour disturbs less than either."""

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {field: getattr(self, field) for field in ("case", "unit", "ours", "rival", "rival_name", "n")}


@dataclass(frozen=True, slots=True)
class Goal:
    """What was aimed at, and what came of it."""

    name: str
    value: float
    goal: float

    @property
    def met(self) -> bool:
        """Whether the value is as large as was aimed at."""
        return self.value >= self.goal


@dataclass(frozen=True, slots=True)
class Claim:
    """What one run of a benchmark found."""

    name: str
    question: str
    machine: str
    verified: bool
    """The answer was compared with an independent one, and is right; nothing was timed otherwise."""
    wrong: tuple[str, ...] = ()
    """What was not right; the first few."""
    rows: tuple[Row, ...] = ()
    goals: tuple[Goal, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Give the published form (docs/benchmarks.md)."""
        return {
            "name": self.name,
            "question": self.question,
            "machine": self.machine,
            "verified": self.verified,
            "rows": [row.as_json() for row in self.rows],
            "goals": [asdict(goal) | {"met": goal.met} for goal in self.goals],
        }


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A claim that can be made: `run(quick)`."""

    name: str
    question: str
    run: Callable[[bool], Claim]
