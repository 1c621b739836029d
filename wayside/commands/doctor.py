"""`wayside doctor`: what this machine has, what it lacks, and how to get it."""

from __future__ import annotations

from pathlib import Path

import click

from edge.errors import ExitCode
from wayside.commands._output import json_option, say_json


@click.command("doctor")
@click.option(
    "-c", "--config", type=click.Path(path_type=Path), help="Also reach what this central.toml or gateway.toml names."
)
@click.option("--influx", metavar="URL", help="Also reach this InfluxDB.")
@click.option("--broker", metavar="URL", help="Also reach this MQTT broker: mqtt://HOST:PORT.")
@json_option
def command(config: Path | None, influx: str | None, broker: str | None, as_json: bool) -> None:
    """Say what this machine has, what it lacks, and how to get it; changes nothing.

    \b
    Examples:
      wayside doctor
      wayside doctor -c /etc/wayside/central.toml
      wayside doctor --influx http://127.0.0.1:8086 --json

    Exit code 0 if everything needed is there, 1 if not. What is only useful is marked, and does not count.
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded
    from wayside.doctor import examine  # noqa: PLC0415 -- imported late

    findings = examine(config, influx, broker)
    ok = all(finding.ok or not finding.needed for finding in findings)
    if as_json:
        say_json({"ok": ok, "findings": [finding.as_json() for finding in findings]})
    else:
        for finding in findings:
            click.echo(finding.line())
    if not ok:
        raise click.exceptions.Exit(ExitCode.ANSWER_IS_NO)
