"""How answers are said: JSON for programs, tables for people, and times as both write them."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from edge.errors import ConfigurationError

Command = TypeVar("Command", bound=Callable[..., Any])

_MOST_COLUMNS = 400
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def json_option(command: Command) -> Command:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Answer as JSON, for programs.")(command)


def config_option(default: str) -> Callable[[Command], Command]:
    """Add `-c FILE`."""
    return click.option(
        "-c",
        "--config",
        "config",
        type=click.Path(path_type=Path),
        default=default,
        show_default=True,
        help="Configuration file.",
    )


def say_json(value: object) -> None:
    """Write one JSON value on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()) -> None:
    """Write a table on stdout; columns named in `right` hold numbers."""
    from rich.console import Console  # noqa: PLC0415 -- a tenth of a second that `--json` need not pay
    from rich.table import Table  # noqa: PLC0415 -- same

    numbers = set(right)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", no_wrap=name in numbers)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console(width=_width(), highlight=False, soft_wrap=False, markup=False).print(table)


def table_fits(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bool:
    """Tell whether a table shows every cell whole, each row in one line."""
    widths = [len(name) for name in columns]
    for row in rows:
        widths = [max(width, len(str(cell))) for width, cell in zip(widths, row, strict=True)]
    return sum(width + 2 for width in widths) - 2 <= _width()


def _width() -> int:
    """The terminal's; where nobody looks at one, lines are not folded: another program cuts the columns."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _MOST_COLUMNS


def mistakes_json(error: ConfigurationError) -> list[dict[str, Any]]:
    """Give every mistake in the published form."""
    return [
        {"file": m.file, "path": m.path, "value": m.value, "expected": m.expected, "nearest": m.nearest}
        for m in error.mistakes
    ]


def answer_check(check: Callable[[], str], *, as_json: bool) -> None:
    """Run a check of files: `[]` or what it says if all is well, else every mistake and exit code 2."""
    try:
        fine = check()
    except ConfigurationError as error:
        if not as_json:
            raise
        say_json(mistakes_json(error))
        raise click.exceptions.Exit(error.exit_code) from error
    if as_json:
        say_json([])
    else:
        click.echo(fine)


def utc(t_ns: int) -> str:
    """Write an instant as people read it: UTC, to the second, with the fraction only where there is one."""
    seconds, rest = divmod(t_ns, 10**9)
    text = dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")
    return f"{text}.{rest:09d}".rstrip("0") if rest else text


def instant_ns(text: str, now_ns: int) -> int:
    """Read an instant: `2026-11-24`, `2026-11-24T08:00+01:00` (UTC if no offset), `now`, `-2h`, or nanoseconds.

    Raises:
        click.BadParameter: it is none of these.
    """
    if text == "now":
        return now_ns
    if found := re.fullmatch(r"-(\d+)([smhdw])", text):
        return now_ns - int(found[1]) * _UNITS_S[found[2]] * 10**9
    if re.fullmatch(r"\d{16,19}", text):
        return int(text)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time: write 2026-11-24T08:00, now, or -2h") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    whole = moment.replace(microsecond=0)
    return int(whole.timestamp()) * 10**9 + moment.microsecond * 1000


def number(value: float | None) -> str:
    """Write a number for a table: integers whole, floats to six digits."""
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
