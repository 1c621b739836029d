"""How a running process's status is shown: as JSON, or as an outline for people."""

from __future__ import annotations

from typing import Any

import click

from wayside.commands._output import say_json


def say_status(status: dict[str, Any], *, as_json: bool) -> None:
    """Show a status; the keys are the process's own, so that what it adds is seen without a change here."""
    if as_json:
        say_json({"ok": True, **status})
        return
    for name, value in status.items():
        if name != "ok":
            _say(name, value, "")


def _say(name: str, value: object, indent: str) -> None:
    if isinstance(value, dict) and value:
        click.echo(f"{indent}{name}:")
        for key, below in value.items():
            _say(str(key), below, indent + "  ")
    elif isinstance(value, list) and value:
        click.echo(f"{indent}{name}:")
        for item in value:
            click.echo(f"{indent}  - {_inline(item)}")
    else:
        click.echo(f"{indent}{name}: {_inline(value)}")


def _inline(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_inline(below)}" for key, below in value.items())
    if value is None or value in ([], {}):
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
