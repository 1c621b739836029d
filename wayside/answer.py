"""What a demo answers: the ledger, what each fault cost, the picture, and the line that everything comes down to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edge.model.record import Outcome, PollRecord
from pipelines.query.ledger import LedgerRow, ledger, totals
from pipelines.query.select import Selection, Store
from wayside.city.app import TRUTH
from wayside.commands._output import say_json, say_table
from wayside.drawing import Mark
from wayside.pictures import draw
from wayside.prove.compare import Verdict, prove
from wayside.prove.journals import Entry, Journals
from wayside.prove.reference import jumps_of
from wayside.stage import INFLUX_DATABASE, Stage

_BEFORE_S = 2
"""What was read so shortly before a fault may not have been acknowledged yet, and is at risk too. [s, real]"""


@dataclass(slots=True)
class Fault:
    """One thing done to a city."""

    kind: str
    target: str
    gateways: tuple[str, ...]
    """Whose records are at risk."""
    from_s: float
    from_ns: int
    """On the event clock."""
    to_s: float = 0.0
    to_ns: int = 0
    """0 while it lasts."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a fault put at risk, and what became of it; all from journals and stored rows."""

    fault: Fault
    at_risk: int
    """Good polls committed shortly before it and while it lasted."""
    lost: int
    twice: int
    wrong: int
    """Rows of that time that differ from the twin's."""
    accounted: int
    """Of those at risk, polls that the centre names as missing for good."""

    def as_json(self) -> dict[str, Any]:
        """Give the published form."""
        return {
            "kind": self.fault.kind,
            "target": self.fault.target,
            "t_s": round(self.fault.from_s, 2),
            "for_s": round(self.fault.to_s - self.fault.from_s, 2),
            **{name: getattr(self, name) for name in ("at_risk", "lost", "twice", "wrong", "accounted")},
        }


def judge(stage: Stage, copies: Sequence[Path] = ()) -> Verdict:
    """Prove what a settled stage has stored; `copies` are of journals that were replaced or evicted since."""
    with Store(stage.store) as store:
        rows, incidents = store.rows(Selection()), store.incidents()
    journals = [*copies, *(stage.journal(name) for name in stage.gateways)]
    return prove(journals, rows, incidents, stage.city_dir / TRUTH)


def answer(stage: Stage, faults: Sequence[Fault], *, as_json: bool) -> bool:
    """Prove, draw, and print the answer; True if everything agrees."""
    verdict = judge(stage)
    with Store(stage.store) as store:
        windows, incidents = ledger(store, Selection()), store.incidents()
    costs = _costs(stage, faults, verdict, incidents)
    note = f"Seed {stage.cast.seed}. {verdict.last_line()}."
    marks = [Mark(f"{fault.kind.replace('_', ' ')} ({fault.target})", fault.from_ns, fault.to_ns) for fault in faults]
    page = draw(stage.store, stage.directory / "page.html", title="A small city", note=note, marks=marks)
    if as_json:
        said = [cost.as_json() for cost in costs]
        say_json({"seed": stage.cast.seed, **verdict.as_json(), "faults": said, "pages": [str(page)]})
        return verdict.ok
    _say_ledger(windows)
    _say_costs(costs)
    for difference in verdict.differences:
        click.echo(f"differs: {difference}")
    _say_what_next(stage, page)
    click.echo("good polls; accounted for = committed, not stored, and named in the ledger with the reason:")
    click.echo(verdict.last_line())
    return verdict.ok


def _costs(
    stage: Stage, faults: Sequence[Fault], verdict: Verdict, incidents: Iterable[Mapping[str, Any]]
) -> list[Cost]:
    journals = {name: Journals([stage.journal(name)]) for name in stage.gateways}
    jumps = jumps_of(incidents)
    costs = []
    for fault in faults:
        from_ns = fault.from_ns - _BEFORE_S * stage.scale * 10**9
        polls = [entry for name in fault.gateways for entry in _good_polls(journals[name], from_ns, fault.to_ns)]
        named = sum(any(jump.names(e.journal, e.epoch, e.offset) for jump in jumps) for e in polls)
        costs.append(Cost(fault, len(polls), *verdict.within(from_ns, fault.to_ns), named))
    return costs


def _good_polls(journals: Journals, from_ns: int, to_ns: int) -> list[Entry]:
    """Find the polls with outcome ok that were due in a span."""
    found = []
    for entry in journals.entries():
        if isinstance(entry.record, PollRecord) and entry.record.outcome == Outcome.OK:
            t_ns = journals.date_ns(entry, entry.record.due_ns)
            if t_ns is not None and from_ns <= t_ns < to_ns:
                found.append(entry)
    return found


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


def _say_costs(costs: Sequence[Cost]) -> None:
    names = ["lost", "twice", "wrong", "accounted"]
    rows = []
    for cost in costs:
        said = cost.as_json()
        times = [f"{said['t_s']:.1f} s", f"{said['for_s']:.1f} s"]
        rows.append([said["kind"], said["target"], *times, cost.at_risk, *(said[name] for name in names)])
    columns = ["fault", "target", "after", "for", "polls at risk", *names]
    click.echo()
    say_table(columns, rows, right=columns[2:])


def _say_what_next(stage: Stage, page: Path) -> None:
    if stage.influx:
        click.echo(f"\nInfluxDB {stage.influx} has every row, in the database {INFLUX_DATABASE}")
    program, store = _program(), _short(stage.store)
    click.echo(
        f"\npicture:  {_short(page)}\n"
        f"rows:     {program} query traffic --window 5m -f 'volume_*' --store {store}\n"
        f"ledger:   {program} ledger --incomplete --store {store}\n"
        f"an hour:  {program} demo --minutes 60      keeps the city running\n"
    )


def _program() -> str:
    """How a person types `wayside` here."""
    return "wayside" if shutil.which("wayside") else _short(Path(sys.executable).with_name("wayside"))


def _short(path: Path) -> str:
    """A path from where the person stands, if that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
