"""`wayside sim`: devices that are not there, and answer all the same."""

from __future__ import annotations

from pathlib import Path

import click

from wayside.commands._output import json_option


@click.group("sim")
def command() -> None:
    """Simulated devices: real Modbus TCP and RTU servers, driven by the profiles that a gateway reads them with.

    \b
    Examples:
      wayside sim city city.toml --dir /tmp/city
      wayside sim city city.toml --dir /tmp/city --minutes 10
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded


@command.command("city")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=".wayside/city",
    show_default=True,
    help="Where endpoints.json, truth.ndjson and the terminals are put.",
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Real time to run.  [default: for ever]")
@json_option
def city(file: Path, directory: Path, minutes: float | None, as_json: bool) -> None:  # noqa: ARG001 -- events are JSON lines either way
    """Serve the city of FILE until SIGTERM; ready when the line {"event":"ready"} is on stderr.

    \b
    DIR/endpoints.json  {"buses": {name: {"protocol", "port"}}}, ports as gateway.toml takes them
    DIR/ttyS-<bus>      the terminal of each bus of protocol "rtu"
    DIR/truth.ndjson    {"device", "point", "t_ns", "value"} of each counter and interval that was read
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    from wayside.commands._extras import need  # noqa: PLC0415 -- imported late

    need("gateway")
    from wayside.city.app import run  # noqa: PLC0415 -- imported late

    run(file, directory, minutes)
