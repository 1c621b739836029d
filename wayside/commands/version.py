"""`wayside version`: which program this is."""

from __future__ import annotations

from dataclasses import asdict

import click

from wayside.commands._output import json_option, say_json


@click.command("version")
@json_option
def command(*, as_json: bool) -> None:
    """Say which version this is, where it is installed, and with which extras."""
    from wayside.installed import installed  # noqa: PLC0415 -- imported late

    here = installed()
    if as_json:
        say_json({"ok": True, **asdict(here)})
        return
    extras = ", ".join(name for name, has in here.extras.items() if has) or "none"
    click.echo(f"wayside {here.version} · Python {here.python} · extras: {extras} · {here.place}")
