"""The operator's guide and the commands agree."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from edge.settings import parse
from pipelines.registry import load_registry
from pipelines.sinks.settings import InfluxSettings
from tests.wayside.test_cli import ALL
from wayside.cli import cli

GUIDE = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()


@pytest.mark.parametrize("path", [p for p, c in ALL.items() if not isinstance(c, click.Group)], ids=" ".join)
def test_every_command_is_in_the_guide(path: tuple[str, ...]) -> None:
    assert re.search(rf"wayside {' '.join(path)}\b", GUIDE)


def examples() -> list[str]:
    helps = [command.help or "" for command in ALL.values()] + [cli.epilog or ""]
    return sorted({line.strip() for text in helps for line in text.splitlines() if line.strip().startswith("wayside ")})


def test_help_has_examples() -> None:
    assert len(examples()) > 20


@pytest.mark.parametrize("example", examples())
def test_every_example_in_a_help_is_right_usage(example: str) -> None:
    words = shlex.split(re.split(r"\s{3,}| > ", example)[0])[1:]
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None
        command = found
    command.make_context(command.name, words)


def test_the_examples_of_configuration_are_right(tmp_path: Path) -> None:
    tables = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    assert len(tables) == 2
    (tmp_path / "sites.toml").write_text(tables[0])
    registry = load_registry(tmp_path / "sites.toml")
    assert registry.site[0].device[0].ratings.power_w == 43500.0
    influx = parse(tables[1].replace("[[influx]]", ""), "central.toml", InfluxSettings)
    assert (influx.api, influx.database) == ("v1", "wayside")
