from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result

from benchmarks import table
from benchmarks.__main__ import BENCHMARKS, main
from benchmarks.claim import Benchmark, Claim, Goal, Row

GOOD = Claim(
    "good", "Is it?", "2 cores", verified=True,
    rows=(Row("all", "samples per CPU s", 4_561_000.0, 3, 285_000.0, "slow", 16.0), Row("a part", "ns", 12.34, 3)),
    goals=(Goal("times", 16.0, 20.0), Goal("enough", 2.0, 1.0)),
)  # fmt: skip
BAD = Claim("bad", "Is it?", "2 cores", verified=False, wrong=("one is two",))


def invoke(*args: str) -> Result:
    known = {claim.name: Benchmark(claim.name, claim.question, lambda _quick, c=claim: c) for claim in (GOOD, BAD)}  # type: ignore[misc]
    with patch.dict(BENCHMARKS, known):
        return CliRunner().invoke(main, args)


def test_alone_it_lists_what_exists() -> None:
    found = CliRunner().invoke(main, [])
    assert found.exit_code == 0
    assert [line.split()[0] for line in found.stdout.splitlines()] == list(BENCHMARKS) == ["centre"]
    assert all(each.question in found.stdout for each in BENCHMARKS.values())


def test_an_unknown_name_gets_the_nearest() -> None:
    found = invoke("center")
    assert found.exit_code == 2
    assert "'centre'" in found.stderr


def test_missed_goals_are_shown_and_no_failure() -> None:
    found = invoke("good", "--json")
    assert found.exit_code == 0
    assert [goal["met"] for goal in json.loads(found.stdout)["goals"]] == [False, True]
    assert "| times | 20 | 16 | **no** |" in invoke("good").stdout


def test_a_wrong_answer_is_exit_code_1() -> None:
    found = invoke("bad", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["verified"] is False
    assert "one is two" in found.stderr


def test_a_quick_run_is_no_claim_for_the_docs() -> None:
    assert invoke("good", "--quick", "--update-docs").exit_code == 2


def test_the_docs_have_a_place_for_every_benchmark() -> None:
    page = table.DOCS.read_text()
    for each in BENCHMARKS.values():
        begin, end = table.markers(each.name)
        assert page.count(begin) == page.count(end) == 1
        assert page.index(begin) < page.index(end)
        assert each.question in " ".join(page.split())


def test_an_update_replaces_the_last_run_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin good -->\nold\n<!-- end good -->\nafter\n")
    table.update(GOOD, page)
    once = page.read_text()
    table.update(GOOD, page)
    assert page.read_text() == once
    assert once.startswith("before\n<!-- begin good -->\nMachine: 2 cores")
    assert once.endswith("<!-- end good -->\nafter\n")
    assert "| all | samples per CPU s | 4,560,000 | 285,000 | 16 | 3 |" in once
    assert "| a part | ns | 12.3 | | | 3 |" in once
    assert "old" not in once
    with pytest.raises(ValueError, match="begin bad"):
        table.update(BAD, page)
