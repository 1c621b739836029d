"""`python -m benchmarks NAME`: make a claim about speed, having checked its answer."""

from __future__ import annotations

import json
import sys

import click

from benchmarks import centre
from benchmarks.table import text_of, update
from edge.settings import nearest

BENCHMARKS = {each.name: each for each in (centre.BENCHMARK,)}


@click.command()
@click.argument("name", required=False)
@click.option("--quick", is_flag=True, help="Less data and fewer rounds: at most 55 s.")
@click.option("--json", "as_json", is_flag=True, help="Print the claim as JSON.")
@click.option("--update-docs", is_flag=True, help="Put the result into docs/benchmarks.md; not with --quick.")
def main(name: str | None, *, quick: bool, as_json: bool, update_docs: bool) -> None:
    """Run the benchmark NAME; without it, list them. Exit code 1: its answer is wrong, and nothing was timed."""
    if name is None:
        for known in BENCHMARKS.values():
            click.echo(f"{known.name}  {known.question}")
        return
    if name not in BENCHMARKS:
        near = nearest(name, BENCHMARKS)
        raise click.UsageError(f"no benchmark {name!r}" + (f"; did you mean {near!r}?" if near else ""))
    if quick and update_docs:
        raise click.UsageError("--update-docs wants a full run, not --quick")
    claim = BENCHMARKS[name].run(quick)
    click.echo(json.dumps(claim.as_json(), indent=2) if as_json else f"{claim.question}\n\n{text_of(claim)}")
    for each in claim.wrong:
        click.echo(f"wrong: {each}", err=True)
    if not claim.verified:
        sys.exit(1)
    if update_docs:
        update(claim)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
