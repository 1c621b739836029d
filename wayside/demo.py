"""The demo: a small city on this machine, with faults, and a proof of the result that trusts no program's own counts.

The last line comes from the gateways' journals, the simulator's truth and the store's rows (`wayside/prove`).
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from edge.model.record import Outcome, PollRecord
from edge.runtime.clock import RealClock
from pipelines.query.ledger import LedgerRow, ledger, totals
from pipelines.query.select import Selection, Store
from wayside.cast import cast
from wayside.city.app import TRUTH
from wayside.commands._output import say_json, say_table
from wayside.pictures import draw
from wayside.prove.compare import Verdict, prove
from wayside.prove.journals import Journals
from wayside.stage import INFLUX_DATABASE, Stage
from wayside.watch import View, Watcher, view

SCALE = 60
"""A minute of the city's time in a second."""
MINUTES = 0.4
_LOOK_S = 0.25
_BROKER_AT, _BROKER_FOR = 0.3, 0.15
_KILL_AT, _KILL_FOR_S = 0.6, 1.0
"""When the faults come, as shares of the run, and how long they last."""
_MOST_AWAY_S = 20.0
_BEFORE_S = 2
"""What was read so shortly before a fault may not have been acknowledged yet, and is at risk too."""


@dataclass(slots=True)
class Fault:
    """One thing done to the city."""

    kind: str
    target: str
    gateways: tuple[str, ...]
    """Whose records are at risk."""
    from_s: float
    to_s: float
    from_ns: int = 0
    to_ns: int = 0
    """On the event clock."""
    at_risk: int = 0

    def as_json(self, verdict: Verdict) -> dict[str, Any]:
        """Give the published form: what was lost, twice or wrong in its span."""
        lost, twice, wrong = verdict.within(self.from_ns, self.to_ns)
        return {
            "kind": self.kind,
            "target": self.target,
            "t_s": round(self.from_s, 2),
            "for_s": round(self.to_s - self.from_s, 2),
            "at_risk": self.at_risk,
            "lost": lost,
            "twice": twice,
            "wrong": wrong,
            "accounted": verdict.accounted,
        }


@dataclass(slots=True)
class Show:
    """One run of the demo."""

    stage: Stage
    clock: RealClock
    real_s: float
    out: View
    faults: list[Fault] = field(default_factory=list)
    began_s: float = 0.0

    @property
    def t_s(self) -> float:
        """Real time since the city began."""
        return self.clock.real_s() - self.began_s

    def play(self) -> None:
        """Let the city run, and do to it what is planned."""
        self.began_s = self.clock.real_s()
        watcher = Watcher(self.stage)
        away_s = min(_MOST_AWAY_S, _BROKER_FOR * self.real_s)
        victim = min(self.stage.gateways)
        plan: list[tuple[float, Callable[[], None]]] = [
            (_BROKER_AT * self.real_s, lambda: self._take_broker(away_s)),
            (_BROKER_AT * self.real_s + away_s, self._give_broker),
            (_KILL_AT * self.real_s, lambda: self._kill(victim)),
            (_KILL_AT * self.real_s + _KILL_FOR_S, self.stage.gateways[victim].start),
        ]
        while self.t_s < self.real_s or plan or self._is_away(victim):
            while plan and self.t_s >= plan[0][0]:
                plan.pop(0)[1]()
            if not plan and self._is_away(victim):
                self._greet(victim)
            self.out.show(watcher.look(self.t_s, self._phase()))
            time.sleep(_LOOK_S)

    def _phase(self) -> str:
        return next((fault.kind.replace("_", " ") for fault in self.faults if not fault.to_ns), "all well")

    def _take_broker(self, away_s: float) -> None:
        self.out.say(f"{self.t_s:5.1f} s  taking the broker away for {away_s:.0f} s: gateways keep what they read")
        self._begin("broker_killed", self.stage.broker.kind, tuple(self.stage.gateways))
        self.stage.broker.child.kill()

    def _give_broker(self) -> None:
        self.stage.broker.start()
        self._end()
        self.out.say(f"{self.t_s:5.1f} s  the broker is back, empty")

    def _kill(self, name: str) -> None:
        self.out.say(f"{self.t_s:5.1f} s  killing {name} with SIGKILL")
        self._begin("gateway_killed", name, (name,))
        self.stage.gateways[name].kill()

    def _greet(self, name: str) -> None:
        gateway = self.stage.gateways[name]
        if gateway.is_ready:
            self._end()
            self.out.say(f"{self.t_s:5.1f} s  {name} runs again on its journal")
        elif not gateway.is_running:
            gateway.await_ready(_LOOK_S)  # which tells why

    def _is_away(self, name: str) -> bool:
        return any(fault.target == name and not fault.to_ns for fault in self.faults)

    def _begin(self, kind: str, target: str, gateways: tuple[str, ...]) -> None:
        self.faults.append(Fault(kind, target, gateways, self.t_s, 0.0, self.clock.wall_ns()))

    def _end(self) -> None:
        self.faults[-1].to_s, self.faults[-1].to_ns = self.t_s, self.clock.wall_ns()


def run(*, seed: int, minutes: float | None, directory: Path, influx: str | None, as_json: bool) -> bool:
    """Run the demo and tell the result; True if everything agrees.

    Raises:
        WaysideError: it could not be run.
    """
    origin_s = RealClock().wall_ns() // 10**9
    stage = Stage(directory.absolute(), cast(seed), SCALE, origin_s, influx)
    with view() as out, stage:
        out.say(
            f"starting {len(stage.cast.devices)} devices, {len(stage.gateways)} gateways, a centre and a broker "
            f"({stage.broker.kind}); {SCALE} s of their time pass in one of ours"
        )
        stage.start()
        show = Show(stage, RealClock(SCALE, origin_s), 60 * (minutes or MINUTES), out)
        show.play()
        out.say("stopping the gateways; what they have committed is delivered, and every window closed")
        stage.settle()
        out.say("comparing the journals, the simulator's truth and the stored rows")
        return _tell(show, as_json=as_json)


def judge(stage: Stage, copies: Sequence[Path] = ()) -> Verdict:
    """Prove what a settled stage has stored; `copies` are of journals that were replaced or evicted since."""
    with Store(stage.store) as store:
        rows, incidents = store.rows(Selection()), store.incidents()
    journals = [*copies, *(stage.journal(name) for name in stage.gateways)]
    return prove(journals, rows, incidents, stage.city_dir / TRUTH)


def _tell(show: Show, *, as_json: bool) -> bool:
    """Prove, draw, and print the answer."""
    stage = show.stage
    journals = {name: Journals([stage.journal(name)]) for name in stage.gateways}
    for fault in show.faults:
        from_ns = fault.from_ns - _BEFORE_S * SCALE * 10**9
        fault.at_risk = sum(_good_polls(journals[name], from_ns, fault.to_ns) for name in fault.gateways)
    verdict = judge(stage)
    with Store(stage.store) as store:
        windows = ledger(store, Selection())
    note = f"Seed {stage.cast.seed}. {verdict.last_line()}."
    page = draw(stage.store, stage.directory / "page.html", title="A small city", note=note)
    if as_json:
        faults = [fault.as_json(verdict) for fault in show.faults]
        say_json({"seed": stage.cast.seed, **verdict.as_json(), "faults": faults, "pages": [str(page)]})
        return verdict.ok
    _say_ledger(windows)
    _say_faults(show.faults, verdict)
    for difference in verdict.differences:
        click.echo(f"differs: {difference}")
    program = _program()
    if stage.influx:
        click.echo(f"\nInfluxDB {stage.influx} has every row, in the database {INFLUX_DATABASE}")
    click.echo(
        f"\npicture:  {_short(page)}\n"
        f"rows:     {program} query traffic --window 5m --store {_short(stage.store)}\n"
        f"ledger:   {program} ledger --incomplete --store {_short(stage.store)}\n"
        f"an hour:  {program} demo --minutes 60      keeps the city running\n"
    )
    click.echo(verdict.last_line())
    return verdict.ok


def _good_polls(journals: Journals, from_ns: int, to_ns: int) -> int:
    """Count the polls with outcome ok that were due in a span."""
    dates = (
        journals.date_ns(entry, entry.record.due_ns)
        for entry in journals.entries()
        if isinstance(entry.record, PollRecord) and entry.record.outcome == Outcome.OK
    )
    return sum(t_ns is not None and from_ns <= t_ns < to_ns for t_ns in dates)


def _say_ledger(windows: Sequence[LedgerRow]) -> None:
    """Print the ledger: each group's polls, added up."""
    groups: dict[tuple[str, str, str], list[LedgerRow]] = {}
    for row in windows:
        groups.setdefault((row.site, row.device, row.group), []).append(row)
    lines = []
    for key, of in sorted(groups.items()):
        sums = totals(of)
        missing = ", ".join(f"{n} {reason}" for reason, n in sums.missing.items())
        pct = "" if sums.completeness_pct is None else f"{sums.completeness_pct:.1f} %"
        lines.append([*key, sums.expected, sums.arrived, pct, missing])
    columns = ["site", "device", "group", "expected", "arrived", "complete", "missing"]
    say_table(columns, lines, right=("expected", "arrived", "complete"))


def _say_faults(faults: Sequence[Fault], verdict: Verdict) -> None:
    columns = ["fault", "target", "after", "for", "polls at risk", "lost", "twice", "wrong"]
    rows = []
    for fault in faults:
        said = fault.as_json(verdict)
        times = [f"{said['t_s']:.1f} s", f"{said['for_s']:.1f} s"]
        rows.append([fault.kind, fault.target, *times, fault.at_risk, said["lost"], said["twice"], said["wrong"]])
    click.echo()
    say_table(columns, rows, right=columns[2:])


def _program() -> str:
    """How a person types `wayside` here."""
    return "wayside" if shutil.which("wayside") else _short(Path(sys.executable).with_name("wayside"))


def _short(path: Path) -> str:
    """A path from where the person stands, if that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
