"""`wayside retire`: closes what will never come."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge.errors import ExitCode
from wayside.commands._output import config_option, json_option, say_json
from wayside.commands._places import CENTRAL_CONFIG, ask


@click.command("retire")
@click.argument("scope", type=click.Choice(["journal", "gateway", "device"]))
@click.argument("name")
@config_option(CENTRAL_CONFIG)
@click.option("--yes", is_flag=True, help="Do not ask; needed without a terminal, and with --json.")
@json_option
def command(scope: str, name: str, config: Path, yes: bool, as_json: bool) -> None:
    """Declare that a journal, gateway or device will never speak again, so that its open windows close.

    The running centre writes it into its log. NAME is a journal's UUID, a gateway as GROUP/NODE, or a device as
    SITE:DEVICE. Records of it that still come are named in the incidents and change no closed window.

    \b
    Examples:
      wayside retire device port:meter-7
      wayside retire gateway city/node-3 --yes
      wayside retire device port:meter-7 --yes --json
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    if not yes:
        _confirm(f"Close every open window of {scope} {name}? It can't be taken back.", asks=not as_json)
    answer = ask(config, "central", {"do": "retire", "scope": scope, "name": name})
    if as_json:
        say_json(answer)
    elif answer.get("ok", True):
        click.echo(f"{scope} {name} is retired; its open windows close")
    if not answer.get("ok", True):
        raise click.exceptions.Exit(ExitCode.ANSWER_IS_NO)


def _confirm(question: str, *, asks: bool) -> None:
    """Ask who sits at the terminal; a no, or no answer, ends the command with "the answer is no"."""
    if not (asks and sys.stdin.isatty()):
        raise click.UsageError("nobody can be asked here, and it can't be taken back: say it with --yes")
    try:
        sure = click.confirm(question, err=True)
    except click.Abort:
        sure = False
    if not sure:
        click.echo("nothing is retired", err=True)
        raise click.exceptions.Exit(ExitCode.ANSWER_IS_NO)
