"""`wayside`: the root of the command line; finds a noun's file late, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

import click

from edge.errors import ConfigurationError, ExitCode, WaysideError

if TYPE_CHECKING:
    from collections.abc import Sequence

NOUNS = {
    "demo": "Show a small city working, with faults, and prove the result.",
    "doctor": "Say what this machine has, what it lacks, and how to get it.",
    "version": "Say which version this is, and where it is installed.",
    "gateway": "The process beside the road: run it, check its configuration, ask it.",
    "central": "The process at the centre: run it, check its configuration, ask it.",
    "query": "Read final rows, or an aggregate beside its completeness.",
    "ledger": "Say what each window expected, what arrived, and why the rest did not.",
    "retire": "Declare that a journal, gateway or device will never speak again.",
    "sites": "The registry of sites: list and check it.",
    "sim": "Simulated devices: a city of meters and traffic counters.",
    "profiles": "Kinds of devices: list, show and check their profiles.",
}
"""Every noun and its line of help; `wayside/commands/<noun>.py` holds its `command`."""

_EPILOG = """\b
Examples:
  wayside demo                               a city on this machine, in under a minute
  wayside gateway check -c gateway.toml      every mistake in a file, at once
  wayside query traffic --window 5m          rows as a table; --json for programs
  wayside ledger --site harbour              zero or missing? the ledger knows

\b
Exit codes: 0 done · 1 the answer is no · 2 wrong usage or configuration
            3 a peer is unreachable · 4 refused · 70 a fault of ours"""


class _Root(click.Group):
    """Knows the nouns by name; imports one only when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(NOUNS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in NOUNS:
            return super().get_command(ctx, cmd_name)
        command = importlib.import_module(f"wayside.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in NOUNS and not args[0].startswith("-"):
            ctx.fail(_unknown(args[0]))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Who reads our answer has seen enough (`wayside query | head`); the interpreter must not find a
            # broken pipe again when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(ExitCode.DONE)

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(NOUNS.items()))


@click.group(
    cls=_Root,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
    no_args_is_help=True,
)
def cli() -> None:
    """Smart-city edge gateway and sensor ingestion: nothing falls by the wayside.

    The answer goes to stdout, progress and logs to stderr. Every command takes --help and --json.
    """


def main() -> None:
    """Run the command line of this process and end it."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command and give its exit code; every error of the product is told here, once."""
    as_json = "--json" in arguments
    try:
        code = cli.main(list(arguments), prog_name="wayside", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return _told(as_json, ExitCode.USAGE, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except WaysideError as error:
        click.echo(f"wayside: {error}", err=True)
        return _told(as_json, error.exit_code, str(error), error)
    except Exception as error:  # noqa: BLE001 -- the last supervisor: a fault of ours is told apart from the user's
        traceback.print_exc()
        click.echo("wayside: this is a fault in wayside, not in what you did; please report the lines above", err=True)
        return _told(as_json, ExitCode.BUG, f"{type(error).__name__}: {error}")
    # Commands give None; click gives the code of an Exit, which `--help` and an answer of "no" are.
    return code if isinstance(code, int) else ExitCode.DONE


def _told(as_json: bool, code: int, message: str, error: WaysideError | None = None) -> int:
    """With --json, stdout carries the failure too, so that a program need not read prose."""
    if as_json:
        answer: dict[str, Any] = {"ok": False, "error": message, "exit_code": int(code)}
        if isinstance(error, ConfigurationError):
            from wayside.commands._output import mistakes_json  # noqa: PLC0415 -- imported late, as all below

            answer["mistakes"] = mistakes_json(error)
        click.echo(json.dumps(answer, ensure_ascii=False))
    return int(code)


def _unknown(word: str) -> str:
    from edge.settings import nearest  # noqa: PLC0415 -- pydantic is slow to import, and rarely needed here

    near = nearest(word, NOUNS)
    hint = f" Did you mean `wayside {near}`?" if near else f" The commands are: {', '.join(NOUNS)}."
    return f"there is no command {word!r}.{hint}"


if __name__ == "__main__":
    main()
