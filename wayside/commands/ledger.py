"""`wayside ledger`: what each window expected, what arrived, and why the rest did not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.errors import WaysideError
from wayside.commands._options import Span, span_options
from wayside.commands._output import json_option, say_json, say_table, utc
from wayside.commands._places import CENTRAL_CONFIG, ask

if TYPE_CHECKING:
    from pipelines.query.ledger import LedgerRow


@click.command("ledger")
@click.option("--group", help="Only this group of points.")
@click.option("--incomplete", is_flag=True, help="Only windows in which something is missing or marked.")
@click.option("--incidents", is_flag=True, help="Instead: what happened besides, such as restored journals.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest rows.  [default: 50 in a table]")
@span_options
@json_option
def command(group: str | None, incomplete: bool, incidents: bool, limit: int | None, span: Span, as_json: bool) -> None:
    """Say what each window expected, what arrived, and why the rest did not.

    Zero is never missing: a window that has its samples says so here, and one that has not names the reason.
    The last line adds up all of the span, each group by its shortest window. Windows that are still open are
    listed with the gateway they wait for, where the centre runs.

    \b
    Examples:
      wayside ledger                                everything, the newest last
      wayside ledger --site port --device meter-1   drill down
      wayside ledger --incomplete --window 5m       only where something is missing
      wayside ledger --incidents --from -1d         restored journals, jumps, quarantined records

    \b
    JSON: [{"site","device","group","window_s","t_ns","expected","arrived",
            "missing":{reason:n},"marked":{point:{reason:n}}}], with --incidents [{"t_ns","kind",...}]
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    from pipelines.query.ledger import ledger  # noqa: PLC0415 -- imported late
    from pipelines.query.select import Store  # noqa: PLC0415 -- same

    with Store(span.store) as store:
        if incidents:
            _say_incidents(store.incidents(*span.times_ns()), limit, as_json=as_json)
            return
        rows = ledger(store, span.selection("ledger", {"group": group} if group else {}))
    chosen = [row for row in rows if not incomplete or row.missing or row.marked or row.arrived < row.expected]
    if as_json:
        say_json([row.as_json() for row in chosen[-(limit or len(chosen)) :]])
        return
    _say(chosen[-(limit or 50) :], len(chosen))
    _say_totals(rows)
    for line in open_windows(span.config):
        click.echo(line)


def open_windows(config: Path | None) -> list[str]:
    """Ask the running centre which windows wait for what; nothing where no centre runs."""
    place = config or Path(CENTRAL_CONFIG)
    if not place.exists():
        return []
    try:
        waiting = ask(place, "central", {"do": "status"}).get("waiting", [])
    except WaysideError:
        return []
    return [f"open: {_waits(each)}" for each in waiting]


def _waits(waiting: Any) -> str:
    if isinstance(waiting, dict):
        return ", ".join(f"{name} {utc(v) if name.endswith('_ns') else v}" for name, v in waiting.items())
    return str(waiting)


def _say(shown: list[LedgerRow], total: int) -> None:
    from pipelines.sinks.line import window_name  # noqa: PLC0415 -- imported late

    columns = ["start [UTC]", "window", "site", "device", "group", "expected", "arrived", "missing", "marked"]
    say_table(
        columns,
        (
            [
                utc(row.t_ns),
                window_name(row.window_s),
                row.site,
                row.device,
                row.group,
                row.expected,
                row.arrived,
                _counts(row.missing),
                "; ".join(f"{point}: {_counts(reasons)}" for point, reasons in row.marked.items()),
            ]
            for row in shown
        ),
        right=("expected", "arrived"),
    )
    if len(shown) < total:
        click.echo(f"the newest {len(shown)} of {total} rows; --limit N shows more", err=True)


def _say_incidents(found: list[dict[str, Any]], limit: int | None, *, as_json: bool) -> None:
    if as_json:
        say_json(found[-(limit or len(found)) :])
        return
    shown = found[-(limit or 50) :]
    for incident in shown:
        rest = {name: value for name, value in incident.items() if name not in {"t_ns", "kind"} and value is not None}
        click.echo(f"{utc(incident['t_ns'])}  {incident['kind']}: {', '.join(f'{n} {v}' for n, v in rest.items())}")
    if len(shown) < len(found):
        click.echo(f"the newest {len(shown)} of {len(found)} incidents; --limit N shows more", err=True)


def _say_totals(rows: list[LedgerRow]) -> None:
    from pipelines.query.ledger import totals  # noqa: PLC0415 -- imported late

    sums = totals(rows)
    pct = "nothing expected" if sums.completeness_pct is None else f"{sums.completeness_pct:.2f} % complete"
    missing = _counts(sums.missing) or "nothing"
    click.echo(f"total: {sums.expected} expected, {sums.arrived} arrived, {pct}; missing: {missing}")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in counts.items())
