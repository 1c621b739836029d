"""A claim as text: a Markdown table, for a reader and for docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks.claim import Claim

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def markers(name: str) -> tuple[str, str]:
    """Give the lines between which a benchmark's last run stands in the docs."""
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"


def text_of(claim: Claim) -> str:
    """Write a claim as Markdown."""
    rival = next((row.rival_name for row in claim.rows if row.rival_name), "rival")
    lines = [f"Machine: {claim.machine}. Answer verified: {'yes' if claim.verified else 'NO'}.", ""]
    lines += [f"- wrong: {each}" for each in claim.wrong]
    if claim.rows:
        lines += [f"| case | unit | Wayside | {rival} | times | rounds |", "|---|---|---:|---:|---:|---:|"]
    for row in claim.rows:
        theirs = f"{number(row.rival)} | {number(row.times)}" if row.rival and row.times else "|"
        lines.append(f"| {row.case} | {row.unit} | {number(row.ours)} | {theirs} | {row.n} |")
    if claim.goals:
        lines += ["", "| goal | aimed at | reached | met |", "|---|---:|---:|---|"]
    for goal in claim.goals:
        met = "yes" if goal.met else "**no**"
        lines.append(f"| {goal.name} | {number(goal.goal)} | {number(goal.value)} | {met} |")
    return "\n".join(lines)


def update(claim: Claim, path: Path = DOCS) -> None:
    """Put a claim in the place of the last one.

    Raises:
        ValueError: the page has no place for it.
    """
    begin, end = markers(claim.name)
    page = path.read_text()
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"{path.name} has no lines {begin!r} and {end!r}")
    path.write_text(f"{before}{begin}\n{text_of(claim)}\n{end}{after}")


def number(value: float) -> str:
    """Write a number with three digits that count."""
    if value >= 1000:
        digits = len(str(int(value))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
