"""The command line's grammar: help everywhere, exit codes, nearest names, errors as JSON, late imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from edge.errors import ExitCode, PeerUnreachable
from wayside import cli
from wayside.cli import NOUNS, run


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(cli.cli))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_teaches_itself(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*path, "--help"]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: wayside {' '.join(path)}")
    assert len(out.splitlines()) > 4
    if len(path) == 1 and path != ("version",):
        assert f"wayside {path[0]}" in out.split("Example", 1)[1]


@pytest.mark.parametrize("path", [p for p, c in ALL.items() if not isinstance(c, click.Group)], ids=" ".join)
def test_every_command_takes_json(path: tuple[str, ...]) -> None:
    assert "--json" in {option for parameter in ALL[path].params for option in parameter.opts}


@pytest.mark.parametrize("noun", NOUNS)
def test_the_list_of_nouns_and_their_files_agree(noun: str) -> None:
    command = ALL[(noun,)]
    assert command.name == noun
    assert command.help


def test_no_arguments_teach(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert "Examples:" in shown.out + shown.err


@pytest.mark.parametrize(("word", "meant"), [("qury", "query"), ("gatway", "gateway"), ("Ledger", "ledger")])
def test_a_slip_of_the_pen_is_named(word: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([word]) == ExitCode.USAGE
    assert f"Did you mean `wayside {meant}`?" in capsys.readouterr().err


def test_a_word_like_nothing_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["xyzzy"]) == ExitCode.USAGE
    assert "doctor" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["version", "--jso"], ["retire", "town", "x"], ["query", "--limit", "0"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert run(arguments) == ExitCode.USAGE


def test_an_error_of_the_product_ends_with_its_own_code_and_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise PeerUnreachable("broker", "no answer")

    monkeypatch.setattr("wayside.installed.installed", fail)
    assert run(["version", "--json"]) == ExitCode.UNREACHABLE
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {"ok": False, "error": "broker: no answer", "exit_code": 3}
    assert shown.err == "wayside: broker: no answer\n"


def test_a_fault_of_ours_is_70_and_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("wayside.installed.installed", fail)
    assert run(["version"]) == ExitCode.BUG
    shown = capsys.readouterr().err
    assert "ZeroDivisionError: oops" in shown
    assert "not in what you did" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version", "--json"]) == ExitCode.DONE
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"]
    assert set(answer) == {"ok", "version", "python", "place", "extras"}


LATE = """
import sys
from wayside.cli import run
code = run(sys.argv[1:])
heavy = {"numpy", "numba", "matplotlib", "influxdb_client", "pandas"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["gateway", "--help"],
        ["gateway", "check", "-c", "/nonexistent/gateway.toml", "--json"],
        ["gateway", "run", "-c", "/nonexistent/gateway.toml"],
        ["gateway", "journal", "export", "--dir", "/nonexistent"],
        ["gateway", "status", "-c", "/nonexistent/gateway.toml"],
    ],
    ids=" ".join,
)
def test_the_gateway_leaves_numpy_out(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LATE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
