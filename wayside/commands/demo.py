"""`wayside demo`: a small city on this machine, in under a minute."""

from __future__ import annotations

from pathlib import Path

import click

from edge.errors import ExitCode
from wayside.commands._output import json_option


@click.command("demo")
@click.option("--seed", type=int, default=1, show_default=True, help="Every value of the city follows from it.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Real time to run.  [default: 0.5]")
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=".wayside/demo",
    show_default=True,
    help="Where everything it makes is put.",
)
@click.option("--influx", metavar="URL", help="Feed this InfluxDB 1.x too, as well as the embedded store.")
@json_option
def command(seed: int, minutes: float | None, directory: Path, influx: str | None, as_json: bool) -> None:
    """Show a small city working, take its broker away, kill a gateway, and prove that nothing was lost.

    Simulated meters and traffic counters speak real Modbus; real gateways publish Sparkplug to a real broker;
    the centre makes windows. The last line compares the gateways' journals, the city's own truth and the store:

    \b
      C committed, S stored, 0 lost, 0 twice, K accounted for

    Exit code 0 if they agree, 1 if not. It names the page that it has drawn.

    \b
    Examples:
      wayside demo
      wayside demo --minutes 2 --seed 7 --json
      wayside demo --influx http://127.0.0.1:8086
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    from wayside.commands._extras import need  # noqa: PLC0415 -- imported late

    need("gateway")
    need("central")
    from wayside.demo import run  # noqa: PLC0415 -- imported late

    if not run(seed=seed, minutes=minutes, directory=directory, influx=influx, as_json=as_json):
        raise click.exceptions.Exit(ExitCode.ANSWER_IS_NO)
