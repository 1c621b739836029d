"""A journal on a manual clock, as a gateway opens and reopens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edge.durable.export import export
from edge.durable.journal import Journal
from edge.model.point import Datatype, Domain, Group, Kind, Point
from edge.model.record import Outcome
from edge.runtime.clock import ManualClock
from gateway.recording.recorder import Recorder, Tally
from gateway.recording.timebase import Timebase

S = 1_000_000_000
H = 3600 * S
NOW_NS = 1_790_000_000 * S
GROUP = Group("s", "d", "g", Domain.ENERGY, "p@0", S, (Point("p", Kind.GAUGE, Datatype.DOUBLE),))


@dataclass
class Source:
    """Vouches when it is told to."""

    name: str = "host"
    vouches: bool = True

    def error_ns(self) -> int | None:
        return 1_000_000 if self.vouches else None


def unexpected(error: Exception) -> None:
    raise AssertionError(error)


@dataclass
class Run:
    """One run of the process: a journal, a timebase, a recorder."""

    directory: Path
    clock: ManualClock
    source: Source = field(default_factory=Source)
    progress: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self.journal = Journal.open(
            self.directory / "journal",
            ("g", "n"),
            boot=self.clock.boot,
            mono_ns=self.clock.mono_ns(),
            commit_s=30.0,
            progress=self.progress,
        )
        self.timebase = Timebase(self.journal, self.clock, [self.source])
        self.recorder = Recorder(self.journal, unexpected)
        self.schedule = self.journal.declare(GROUP, self.clock.mono_ns())
        self.recorder.watch(self.schedule, Tally())

    def poll(self) -> None:
        now_ns = self.clock.mono_ns()
        self.recorder.poll(self.schedule, now_ns, now_ns, Outcome.OK, [float(now_ns)], None)

    def committed(self) -> None:
        assert self.journal.wait(self.journal.flush(), 10)

    def is_ready(self) -> bool:
        self.committed()
        return self.timebase.ready_at is not None and self.journal.committed >= self.timebase.ready_at

    def close(self) -> None:
        self.journal.close()

    def dates(self) -> list[int | None]:
        """Dates of the polls, in the journal's order."""
        return [record["t_ns"] for record in export(self.directory / "journal") if record["kind"] == "poll"]
