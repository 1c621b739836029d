"""`wayside sites`: the registry of sites."""

from __future__ import annotations

from pathlib import Path

import click

from wayside.commands._output import answer_check, config_option, instant_ns, json_option, say_json, say_table, utc
from wayside.commands._places import SITES

_FILE = click.argument("file", type=click.Path(path_type=Path), required=False)


@click.group("sites")
def command() -> None:
    """The registry of sites: names, places, lanes, neighbours, owners; entries are effective-dated.

    \b
    Examples:
      wayside sites list -c sites.toml
      wayside sites list -c sites.toml --at 2026-01-01
      wayside sites check sites.toml --json
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded


@command.command("list")
@config_option(SITES)
@click.option("--at", "moment", default="now", show_default=True, metavar="TIME", help="As it held then.")
@json_option
def list_(config: Path, moment: str, as_json: bool) -> None:
    """List every site as it holds now, or at another time."""
    from edge.runtime.clock import process_clock  # noqa: PLC0415 -- imported late
    from pipelines.registry import load_registry  # noqa: PLC0415 -- same
    from wayside.sites import listed  # noqa: PLC0415 -- same

    sites = listed(load_registry(config), instant_ns(moment, process_clock(["host"]).wall_ns()))
    if as_json:
        say_json(sites)
        return
    say_table(
        ["site", "name", "since [UTC]", "time zone", "owner", "lanes", "devices"],
        (
            [s["id"], s["name"], utc(s["from_ns"]), s["time_zone"], s["owner"], len(s["lane"]), len(s["device"])]
            for s in sites
        ),
        right=("lanes", "devices"),
    )


@command.command("check")
@_FILE
@json_option
def check(file: Path | None, as_json: bool) -> None:
    """Check FILE [/etc/wayside/sites.toml] and report every mistake at once."""
    from pipelines.registry import load_registry  # noqa: PLC0415 -- imported late

    path = file or Path(SITES)

    def checked() -> str:
        registry = load_registry(path)
        return f"{path}: {len(registry.ids())} sites in {len(registry.site)} entries, no mistakes"

    answer_check(checked, as_json=as_json)
