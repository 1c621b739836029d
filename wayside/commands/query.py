"""`wayside query`: final rows as a table or JSON, or one number for each series beside its completeness."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from wayside.commands._options import Span, span_options
from wayside.commands._output import json_option, number, say_json, say_table, table_fits, utc

if TYPE_CHECKING:
    from pipelines.query.aggregate import Aggregate
    from pipelines.query.select import Row


@click.command("query")
@click.argument("measurement", required=False)
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Only rows with this tag; repeatable.")
@click.option("-f", "--field", "fields", multiple=True, metavar="NAME", help="Only this field; may hold `*`.")
@click.option(
    "--aggregate",
    "function",
    type=click.Choice(["sum", "mean", "min", "max", "count", "last"]),
    help="One number for each series over the span, beside the completeness of its device.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest rows.  [default: 50 in a table]")
@span_options
@json_option
def command(
    measurement: str | None,
    tags: tuple[str, ...],
    fields: tuple[str, ...],
    function: str | None,
    limit: int | None,
    span: Span,
    as_json: bool,
) -> None:
    """Read final rows of MEASUREMENT: traffic, energy, environment or ledger.

    \b
    Examples:
      wayside query                                        what measurements there are
      wayside query traffic --window 5m --from -2h
      wayside query energy --site port -f 'active_power_w_*'
      wayside query traffic -f volume_sum --aggregate sum --from 2026-11-24 --json

    \b
    JSON: [{"measurement","tags","window_s","t_ns","fields"}], and with --aggregate
    also "completeness":{"expected","arrived","missing","completeness_pct"} in each.
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    from pipelines.query.aggregate import aggregate  # noqa: PLC0415 -- imported late: numpy
    from pipelines.query.select import Store  # noqa: PLC0415 -- same

    selection = span.selection(measurement, _tags(tags), fields)
    with Store(span.store) as store:
        if measurement is not None:
            _check_known(measurement, store.measurements())
        rows = [] if measurement is None and not as_json else store.rows(selection)
        if measurement is None and not as_json:
            say_table(["measurement", "windows"], _overview(store.measurements(), store.windows))
        elif function is not None:
            _say_aggregates(aggregate(store, selection, function, rows), as_json=as_json)
        else:
            _say_rows(rows, limit, as_json=as_json)


def _tags(pairs: Iterable[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark:
            raise click.BadParameter(f"{pair!r}: write NAME=VALUE, for example lane=1", param_hint="--tag")
        found[name] = value
    return found


def _check_known(measurement: str, stored: list[str]) -> None:
    """A measurement without rows is an empty answer if it is one of ours, else a slip of the pen."""
    from edge.model.point import Domain  # noqa: PLC0415 -- imported late
    from edge.settings import nearest  # noqa: PLC0415 -- same

    known = sorted({*stored, *(domain.value for domain in Domain), "ledger"})
    if measurement in known:
        return
    near = nearest(measurement, known)
    hint = f"Did you mean {near!r}?" if near else f"There are: {', '.join(known)}."
    raise click.BadParameter(f"no rows of {measurement!r}. {hint}", param_hint="MEASUREMENT")


def _overview(measurements: list[str], windows: object) -> list[tuple[str, str]]:
    from pipelines.sinks.line import window_name  # noqa: PLC0415 -- imported late

    assert callable(windows)
    return [(name, ", ".join(window_name(length) for length in windows(name))) for name in measurements]


def _say_rows(rows: list[Row], limit: int | None, *, as_json: bool) -> None:
    if as_json:
        say_json([row.as_json() for row in rows[-(limit or len(rows)) :]])
        return
    shown = rows[-(limit or 50) :]
    if not shown:
        click.echo("no rows in this span", err=True)
        return
    _say(shown, [{} for _ in shown])
    if len(shown) < len(rows):
        click.echo(f"the newest {len(shown)} of {len(rows)} rows; --limit N shows more", err=True)


def _say_aggregates(found: list[Aggregate], *, as_json: bool) -> None:
    if as_json:
        say_json([each.as_json() for each in found])
        return
    _say([each.row for each in found], [_completeness(each) for each in found])


def _completeness(found: Aggregate) -> dict[str, str]:
    pct = found.completeness.completeness_pct
    missing = ", ".join(f"{n} {reason}" for reason, n in found.completeness.missing.items())
    return {"complete": "unknown" if pct is None else f"{pct:.1f} %", "missing": missing}


def _say(rows: list[Row], beside: list[dict[str, str]]) -> None:
    from pipelines.sinks.line import window_name  # noqa: PLC0415 -- imported late

    tags = sorted({name for row in rows for name in row.tags})
    fields = sorted({name for row in rows for name in row.fields})
    more = list(beside[0]) if beside else []
    keys = [[utc(row.t_ns), window_name(row.window_s), *(row.tags.get(name, "") for name in tags)] for row in rows]
    heads = ["start [UTC]", "window", *tags]
    wide = [
        [*key, *(number(row.fields.get(name)) for name in fields), *extra.values()]
        for key, row, extra in zip(keys, rows, beside, strict=True)
    ]
    if table_fits([*heads, *fields, *more], wide):
        say_table([*heads, *fields, *more], wide, right=fields)
        return
    long = (
        [*key, name, number(row.fields[name]), *extra.values()]
        for key, row, extra in zip(keys, rows, beside, strict=True)
        for name in sorted(row.fields)
    )
    say_table([*heads, "field", "value", *more], long, right=("value",))
