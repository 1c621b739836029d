"""`wayside retire`: closes what will never come."""

from __future__ import annotations

from pathlib import Path

import click

from edge.errors import ExitCode
from wayside.commands._output import config_option, json_option, say_json
from wayside.commands._places import CENTRAL_CONFIG, ask


@click.command("retire")
@click.argument("scope", type=click.Choice(["journal", "gateway", "device"]))
@click.argument("name")
@config_option(CENTRAL_CONFIG)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(scope: str, name: str, config: Path, yes: bool, as_json: bool) -> None:
    """Declare that a journal, gateway or device will never speak again, so that its open windows close.

    The running centre writes it into its log. NAME is a journal's UUID, a gateway as GROUP/NODE, or a device as
    SITE:DEVICE. Records of it that still come are named in the incidents and change no closed window.

    \b
    Examples:
      wayside retire device port:meter-7
      wayside retire gateway city/node-3 --yes
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    if not yes and not as_json:
        click.confirm(f"Close every open window of {scope} {name}?", abort=True, err=True)
    answer = ask(config, "central", {"do": "retire", "scope": scope, "name": name})
    if as_json:
        say_json(answer)
    elif answer.get("ok", True):
        click.echo(f"{scope} {name} is retired; its open windows close")
    if not answer.get("ok", True):
        raise click.exceptions.Exit(ExitCode.ANSWER_IS_NO)
