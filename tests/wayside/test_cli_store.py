"""`wayside query` and `wayside ledger` on a real store: tables for people, JSON as published."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ExitCode
from tests.pipelines.query.city import MINUTE_NS, T0_NS, city
from wayside.cli import run


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return city(tmp_path_factory.mktemp("city") / "store.db")


def answer(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert run([*map(str, arguments), "--json"]) == ExitCode.DONE
    return json.loads(capsys.readouterr().out)


def test_query_gives_rows_as_published(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(capsys, "query", "energy", "--store", store, "--device", "meter-1", "--limit", 1)
    assert rows == [
        {
            "measurement": "energy",
            "tags": {"device": "meter-1", "site": "port"},
            "window_s": 60,
            "t_ns": T0_NS + 4 * MINUTE_NS,
            "fields": {"active_power_w_mean": 1004.0, "import_wh_increase": 104},
        }
    ]


def test_query_narrows_by_time_tag_and_field(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = answer(
        capsys, "query", "traffic", "--store", store, "-t", "lane=2", "-f", "volume_*",
        "--from", "2026-09-21T14:16", "--to", f"{T0_NS + 4 * MINUTE_NS}",
    )  # fmt: skip
    assert [(row["t_ns"], row["fields"]) for row in rows] == [
        (T0_NS + MINUTE_NS, {"volume_sum": 11, "volume_n": 2, "volume_missed": 0}),
        (T0_NS + 3 * MINUTE_NS, {"volume_sum": 13, "volume_n": 2, "volume_missed": 0}),
    ]


def test_a_table_that_would_not_fit_gets_a_line_for_each_field(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wayside.commands._output._width", lambda: 80)
    assert run(["query", "traffic", "--store", str(store), "-t", "lane=2", "--limit", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["start", "[UTC]", "window", "device", "lane", "site", "field", "value"]
    assert [line[-2:] for line in lines[1:]] == [["volume_missed", "0"], ["volume_n", "2"], ["volume_sum", "14"]]
    assert all(len(line) < 80 for line in lines)


def test_an_aggregate_is_a_row_with_its_completeness(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = answer(
        capsys, "query", "energy", "--store", store, "--device", "meter-1", "-f", "import*", "--aggregate", "sum"
    )
    assert found["fields"] == {"import_wh_increase_sum": 510}
    assert found["completeness"] == {
        "expected": 150,
        "arrived": 146,
        "missing": {"timeout": 3, "bad_frame": 1},
        "completeness_pct": pytest.approx(100 * 146 / 150),
    }


def test_query_without_rows_is_an_empty_list(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "query", "environment", "--store", store) == []


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["enrgy"], "Did you mean 'energy'?"),
        (["energy", "--window", "soon"], "write 1m"),
        (["energy", "--from", "soon"], "write 2026-11-24T08:00"),
        (["energy", "-t", "lane"], "write NAME=VALUE"),
    ],
)
def test_what_cannot_be_read_says_how_it_is_written(
    store: Path, arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["query", *arguments, "--store", str(store)]) == ExitCode.USAGE
    assert hint in capsys.readouterr().err


def test_the_table_shows_names_units_and_how_many_there_are(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["query", "energy", "--store", str(store), "--limit", "2"]) == ExitCode.DONE
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == [
        "start", "[UTC]", "window", "device", "site", "active_power_w_mean", "import_wh_increase",
    ]  # fmt: skip
    assert "2026-09-21 14:19:00  1m      meter-2  port" in shown.out
    assert "the newest 2 of 10 rows" in shown.err


def test_query_alone_says_what_there_is(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["query", "--store", str(store)]) == ExitCode.DONE
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["energy", "1m"],
        ["ledger", "1m,", "5m"],
        ["traffic", "1m"],
    ]


def test_the_ledger_gives_windows_as_published(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = answer(capsys, "ledger", "--store", store, "--incomplete", "--window", "1m")
    assert row == {
        "site": "port",
        "device": "meter-1",
        "group": "fast",
        "window_s": 60,
        "t_ns": T0_NS,
        "expected": 30,
        "arrived": 26,
        "missing": {"bad_frame": 1, "timeout": 3},
        "marked": {"active_power_w/L1": {"locked_on": 1, "out_of_range": 2}},
    }


def test_the_ledger_ends_with_totals(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", "--store", str(store), "--incomplete"]) == ExitCode.DONE
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "total: 300 expected, 296 arrived, 98.67 % complete; missing: 3 timeout, 1 bad_frame"


def test_incidents_are_listed_by_time(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "ledger", "--incidents", "--store", store)
    assert [(each["kind"], each["t_ns"]) for each in found] == [
        ("journal_restored", T0_NS),
        ("jumped", T0_NS + MINUTE_NS),
    ]
    assert answer(capsys, "ledger", "--incidents", "--store", store, "--from", T0_NS + 1) == found[1:]
    assert run(["ledger", "--incidents", "--store", str(store)]) == ExitCode.DONE
    assert capsys.readouterr().out.splitlines()[0] == "2026-09-21 14:15:00  journal_restored: gateway city/node-1"


def test_a_missing_store_says_how_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["ledger"]) == ExitCode.USAGE
    assert "--store" in capsys.readouterr().err


def no_store(path: Path) -> None:
    """Nothing is there."""


def no_database(path: Path) -> None:
    path.write_bytes(b"no database at all " * 500)


def empty_file(path: Path) -> None:
    path.touch()


def another_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE song (name TEXT)")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("noun", ["query", "ledger"])
@pytest.mark.parametrize("made", [no_store, no_database, empty_file, another_database])
def test_a_path_without_a_store_is_wrong_usage_and_says_what_to_name(
    noun: str, made: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "store.db")
    assert run([noun, "--store", str(tmp_path), "--json"]) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert json.loads(shown.out)["exit_code"] == ExitCode.USAGE
    assert str(tmp_path / "store.db") in shown.err
    assert "--store" in shown.err
    assert "fault in wayside" not in shown.err


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not on this machine")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_store_that_may_not_be_read_is_wrong_usage(store: Path) -> None:
    closed = store.parent.parent / "closed"
    closed.mkdir(mode=0o700)
    shutil.copy(store, closed / "store.db")
    for named in (closed, closed / "inside", closed / "store.db"):
        command = ["setpriv", "--reuid=65534", sys.executable, "-m", "wayside", "query", "--store", str(named)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == ExitCode.USAGE, done.stderr
        assert "--store" in done.stderr


def test_help_names_the_windows_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["query", "--help"]) == ExitCode.DONE
    assert "15m" not in capsys.readouterr().out


def test_the_store_of_a_configuration_is_found(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "central.toml"
    config.write_text(f'[central]\nhost_id = "h"\nstate_dir = "{store.parent}"\n')
    assert len(answer(capsys, "ledger", "-c", config, "--group", "fast", "--device", "meter-2")) == 6


def test_a_reader_that_stops_early_is_no_error(store: Path) -> None:
    program = f"{sys.executable} -m wayside query energy --store {store} --json | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
