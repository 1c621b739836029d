"""`wayside gateway`: the process beside the road. Nothing here may import numpy."""

from __future__ import annotations

import json
from pathlib import Path

import click

from wayside.commands._output import answer_check, config_option, json_option
from wayside.commands._places import GATEWAY_CONFIG, ask, state_dir
from wayside.commands._status import say_status


@click.group("gateway")
def command() -> None:
    """The process beside the road: polls devices, keeps a journal, delivers until it is acknowledged.

    \b
    Examples:
      wayside gateway check -c gateway.toml
      wayside gateway run -c gateway.toml
      wayside gateway status -c gateway.toml --json
      wayside gateway journal export -c gateway.toml > journal.ndjson
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded


@command.command("run")
@config_option(GATEWAY_CONFIG)
@json_option
def run(config: Path, as_json: bool) -> None:  # noqa: ARG001 -- events on stderr are JSON lines either way
    """Run until SIGTERM; ready when the line {"event":"ready"} is on stderr (READY=1 under systemd)."""
    from wayside.installed import one_place  # noqa: PLC0415 -- imported late

    one_place()
    from gateway.app import run as run_gateway  # noqa: PLC0415 -- after the check, which is about this import

    run_gateway(config)


@command.command("check")
@config_option(GATEWAY_CONFIG)
@json_option
def check(config: Path, as_json: bool) -> None:
    """Check the configuration and its profiles; report every mistake at once, touch nothing."""
    from gateway.config import load  # noqa: PLC0415 -- imported late

    def checked() -> str:
        load(config)
        return f"{config}: no mistakes"

    answer_check(checked, as_json=as_json)


@command.command("status")
@config_option(GATEWAY_CONFIG)
@json_option
def status(config: Path, as_json: bool) -> None:
    """Ask the running gateway: buses, devices, backlog, positions, lag."""
    say_status(ask(config, "gateway", {"do": "status"}), as_json=as_json)


@command.group("journal")
def journal() -> None:
    """The gateway's durable record."""


@journal.command("export")
@config_option(GATEWAY_CONFIG)
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="A journal's folder, also a copied one.")
@json_option
def export(config: Path, directory: Path | None, as_json: bool) -> None:  # noqa: ARG001 -- NDJSON either way
    """Write every record as NDJSON on stdout, also while the gateway runs; changes nothing.

    \b
    {"kind":"poll","journal","epoch","offset","device","group","t_ns","outcome","samples":{point:[value,quality]}}
    and the kinds schedule, anchor, dating, epoch, tombstone.
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    from edge.durable.export import export as records  # noqa: PLC0415 -- imported late

    for record in records(directory or state_dir(config, "gateway") / "journal"):
        click.echo(json.dumps(record, ensure_ascii=False))
