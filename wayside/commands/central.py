"""`wayside central`: the process at the centre."""

from __future__ import annotations

from pathlib import Path

import click

from wayside.commands._output import answer_check, config_option, json_option
from wayside.commands._places import CENTRAL_CONFIG, ask
from wayside.commands._status import say_status


@click.group("central")
def command() -> None:
    """The process at the centre: receives, acknowledges, makes windows, feeds the databases.

    \b
    Examples:
      wayside central check -c central.toml
      wayside central run -c central.toml
      wayside central status -c central.toml --json
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded


@command.command("run")
@config_option(CENTRAL_CONFIG)
@json_option
def run(config: Path, as_json: bool) -> None:  # noqa: ARG001 -- events on stderr are JSON lines either way
    """Run until SIGTERM; ready when the line {"event":"ready"} is on stderr (READY=1 under systemd)."""
    from wayside.commands._extras import need  # noqa: PLC0415 -- imported late
    from wayside.installed import one_place  # noqa: PLC0415 -- same

    one_place()
    need("central")
    from pipelines.app import run as run_central  # noqa: PLC0415 -- after the checks, which are about this import

    run_central(config)


@command.command("check")
@config_option(CENTRAL_CONFIG)
@json_option
def check(config: Path, as_json: bool) -> None:
    """Check the configuration; report every mistake at once, touch nothing."""
    from wayside.commands._extras import need  # noqa: PLC0415 -- imported late

    need("central")
    from pipelines.config import load  # noqa: PLC0415 -- same

    def checked() -> str:
        load(config)
        return f"{config}: no mistakes"

    answer_check(checked, as_json=as_json)


@command.command("status")
@config_option(CENTRAL_CONFIG)
@json_option
def status(config: Path, as_json: bool) -> None:
    """Ask the running centre: gateways, positions, lag, followers, and the windows that wait."""
    say_status(ask(config, "central", {"do": "status"}), as_json=as_json)
