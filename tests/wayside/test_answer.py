"""What a demo answers, in words and as JSON, and that it says no when the store is wrong."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ExitCode
from edge.runtime.clock import RealClock
from tests.wayside.faults.staged import SCALE, let_run, small_cast
from wayside.answer import Fault, answer
from wayside.cli import run
from wayside.stage import Stage


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Stage, list[Fault]]]:
    """A city that ran for some seconds, and whose gateway was stopped for a moment."""
    origin_s = RealClock().wall_ns() // 10**9
    clock = RealClock(SCALE, origin_s)
    with Stage(tmp_path_factory.mktemp("answer") / "stage", small_cast(1), SCALE, origin_s) as stage:
        stage.start()
        let_run(3)
        fault = Fault("nothing_done", "gw-hall", ("gw-hall",), 3.0, clock.wall_ns())
        let_run(2)
        fault.to_s, fault.to_ns = 5.0, clock.wall_ns()
        let_run(1)
        stage.settle()
        yield stage, [fault]


def test_in_words(settled: tuple[Stage, list[Fault]], capsys: pytest.CaptureFixture[str]) -> None:
    stage, faults = settled
    assert answer(stage, faults, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    said = re.fullmatch(r"(\d+) committed, (\d+) stored, 0 lost, 0 twice, 0 accounted for", lines[-1])
    assert said is not None
    assert int(said[1]) == int(said[2]) > 20
    assert lines[0].split() == ["site", "device", "group", "expected", "arrived", "complete", "missing"]
    assert any(line.split()[:3] == ["hall", "counter-1", "interval"] for line in lines)
    assert any(line.startswith("nothing_done") for line in lines)
    picture = next(line.split()[1] for line in lines if line.startswith("picture:"))
    assert Path(picture).exists()
    assert any("demo --minutes 60" in line for line in lines)


def test_as_json(settled: tuple[Stage, list[Fault]], capsys: pytest.CaptureFixture[str]) -> None:
    stage, faults = settled
    assert answer(stage, faults, as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert set(said) >= {"seed", "records", "windows", "counters", "faults", "pages", "ok"}
    assert set(said["records"]) >= {"committed", "stored", "lost", "twice", "tombstoned"}
    assert set(said["windows"]) == {"compared", "equal", "named", "untouched"}
    assert set(said["counters"]) == {"points", "equal"}
    (fault,) = said["faults"]
    assert set(fault) >= {"kind", "target", "t_s", "at_risk", "lost", "twice", "wrong", "accounted"}
    assert fault["at_risk"] > 0


def test_a_row_that_is_gone_is_a_no(settled: tuple[Stage, list[Fault]], capsys: pytest.CaptureFixture[str]) -> None:
    stage, faults = settled
    with contextlib.closing(sqlite3.connect(stage.store, isolation_level=None)) as store:
        gone = store.execute("SELECT * FROM row ORDER BY t_ns LIMIT 1").fetchone()
        names = [each[1] for each in store.execute("PRAGMA table_info(row)")]
        store.execute(f"DELETE FROM row WHERE {' AND '.join(f'{name} IS ?' for name in names)}", gone)
        try:
            assert not answer(stage, faults, as_json=False)
        finally:
            store.execute(f"INSERT INTO row VALUES ({', '.join('?' for _ in names)})", gone)
    assert "differs: " in capsys.readouterr().out


def test_a_no_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wayside.demo.run", lambda **_: False)
    assert run(["demo"]) == ExitCode.ANSWER_IS_NO


def test_a_database_that_is_not_there_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--dir", str(tmp_path / "demo")]
    assert run(["demo", *place, "--influx", "nowhere"]) == ExitCode.USAGE
    assert run(["demo", *place, "--influx", "http://127.0.0.1:9"]) == ExitCode.UNREACHABLE
    assert "no database answers" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
