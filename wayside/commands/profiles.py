"""`wayside profiles`: what is known about kinds of devices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wayside.commands._output import answer_check, json_option, say_json, say_table

if TYPE_CHECKING:
    from edge.profile.load import Profile

_FILES = click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))


@click.group("profiles")
def command() -> None:
    """Profiles: one file says all about a kind of device; docs/profiles.md says how to write one.

    \b
    Examples:
      wayside profiles list
      wayside profiles show sdm630
      wayside profiles show my-meter.toml --json
      wayside profiles check my-meter.toml my-meter.fixture.toml
    """  # noqa: D301 -- \b is click's mark for a paragraph that is not folded


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the profiles that are shipped."""
    from edge.runtime.profiles import library  # noqa: PLC0415 -- imported late

    profiles = [_summary(profile) for profile in library().values()]
    if as_json:
        say_json(profiles)
        return
    say_table(
        ["name", "title", "domain", "points", "verified"],
        ([p["name"], p["title"], p["domain"], p["points"], "yes" if p["verified"] else "no"] for p in profiles),
        right=("points",),
    )


@command.command("show")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a profile's points and reads; NAME is a shipped one, or the path of a .toml file."""
    from edge.runtime.profiles import find  # noqa: PLC0415 -- imported late

    profile = find(name, Path())
    groups = [_group(profile, group) for group in profile.groups]
    if as_json:
        say_json({"ok": True, **_summary(profile), "timeout_s": profile.timeout_s, "groups": groups})
        return
    table = profile.table
    click.echo(f"{profile.title} ({profile.identity})\n{table.manufacturer}: {table.model}\nsource: {table.source}")
    click.echo(f"verified on a device: {'yes' if table.verified else 'no'}\n{table.notes}".rstrip())
    for group in groups:
        reads = ", ".join(f"{r['function']}:{r['address']:#06x}+{r['count']}" for r in group["requests"])
        click.echo(f"\n{group['name']}: every {group['period_s']:g} s; reads {reads}")
        say_table(
            ["point", "kind", "unit", "datatype", "register", "address"],
            (
                [p["name"], p["kind"], p["unit"], p["datatype"], p["type"], f"{p['address']:#06x}"]
                for p in group["points"]
            ),
        )


@command.command("check")
@_FILES
@json_option
def check(files: tuple[Path, ...], as_json: bool) -> None:
    """Check profiles and fixtures (registers and the samples they must become); every mistake at once.

    A fixture is held against the profile that it names: among FILE, else a shipped one.
    """
    from edge.runtime.profiles import check as check_files  # noqa: PLC0415 -- imported late

    def checked() -> str:
        profiles, fixtures = check_files(files)
        lines = [f"{p.name}: {sum(len(p.points(g)) for g in p.groups)} points, no mistakes" for p in profiles]
        lines += [f"{f.profile}: {len(f.poll)} recorded polls decode as they should" for f in fixtures]
        return "\n".join(lines)

    answer_check(checked, as_json=as_json)


def _summary(profile: Profile) -> dict[str, Any]:
    table = profile.table
    return {
        "name": profile.name,
        "title": profile.title,
        "manufacturer": table.manufacturer,
        "model": table.model,
        "domain": str(profile.domain),
        "identity": profile.identity,
        "points": sum(len(profile.points(group)) for group in profile.groups),
        "verified": table.verified,
        "source": table.source,
        "notes": table.notes,
    }


def _group(profile: Profile, name: str) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415 -- imported late

    declared = profile.group(name, site="", device="")
    plan = profile.plan(name)
    return {
        "name": name,
        "period_s": declared.period_ns / 1e9,
        "requests": [{"function": r.function, "address": r.address, "count": r.count} for r in plan.requests],
        "points": [
            {
                **msgspec.to_builtins(source.point),
                "part": dict(source.point.part),
                "unit": source.point.unit,
                "function": source.function,
                "address": source.address,
                "type": str(source.codec.type),
                "byte_order": str(source.codec.order),
                "scale": float(source.scale),
                "offset": float(source.offset),
            }
            for source in plan.sources
        ],
    }
