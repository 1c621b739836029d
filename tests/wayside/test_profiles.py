"""`wayside profiles`: what is shipped, what one says, what is wrong in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ExitCode
from wayside.cli import run

FIXTURES = Path(__file__).parents[1] / "edge" / "profile" / "fixtures"
MINE = """
name = "mine"
title = "A meter of mine"
manufacturer = "Maker"
model = "M1"
domain = "energy"
source = "none"
[modbus]
type = "uint16"
[[group]]
name = "fast"
period_s = 10
point = [{ name = "voltage_v", unit = "V", address = 0, scale = 0.1 }]
"""
RECORDED = """
profile = "mine"
recorded = "by hand"
[[poll]]
group = "fast"
registers = [{ function = 3, address = 0, words = [0x08FD] }]
[poll.samples]
voltage_v = 230.1
"""


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: ExitCode = ExitCode.DONE) -> Any:
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    (tmp_path / "mine.toml").write_text(MINE)
    (tmp_path / "recorded.toml").write_text(RECORDED)
    return str(tmp_path / "mine.toml"), str(tmp_path / "recorded.toml")


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    listed = {p["name"]: p for p in answer(capsys, "profiles", "list")}
    assert {"sdm630", "em340", "modbus_counter"} <= set(listed)
    assert listed["sdm630"]["domain"] == "energy"
    assert listed["sdm630"]["points"] == 27
    assert run(["profiles", "list"]) == ExitCode.DONE
    assert "Eastron SDM630 three-phase meter" in capsys.readouterr().out


def test_show_a_shipped_one(capsys: pytest.CaptureFixture[str]) -> None:
    shown = answer(capsys, "profiles", "show", "modbus_counter")
    assert shown["ok"]
    interval = shown["groups"][1]
    assert interval["requests"] == [{"function": 4, "address": 16, "count": 8}]
    speed = next(p for p in interval["points"] if p["name"] == "mean_speed_kmh/2")
    assert (speed["address"], speed["scale"], speed["part"], speed["weight"]) == (22, 0.1, {"lane": "2"}, "volume/2")
    assert run(["profiles", "show", "modbus_counter"]) == ExitCode.DONE
    assert "interval: every 15 s; reads 4:0x0010+8" in capsys.readouterr().out


def test_show_a_file(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "profiles", "show", files[0])["groups"][0]["points"][0]["name"] == "voltage_v"


def test_a_slip_of_the_pen_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    (mistake,) = answer(capsys, "profiles", "show", "sdm603", code=ExitCode.USAGE)["mistakes"]
    assert mistake["nearest"] == "sdm630"


def test_check_in_any_order(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "profiles", "check", files[1], files[0]) == []
    assert run(["profiles", "check", *files]) == ExitCode.DONE
    assert capsys.readouterr().out == "mine: 1 points, no mistakes\nmine: 1 recorded polls decode as they should\n"


def test_check_holds_a_fixture_against_a_shipped_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "profiles", "check", str(FIXTURES / "em340.toml")) == []


def test_check_tells_the_mistakes_of_all_files(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recorded.toml").write_text(RECORDED.replace("230.1", "23.1"))
    (tmp_path / "bad.toml").write_text(MINE.replace("mine", "bad").replace("scale", "scael"))
    (tmp_path / "orphan.toml").write_text(RECORDED.replace("mine", "sdm603"))
    paths = [*files, str(tmp_path / "bad.toml"), str(tmp_path / "orphan.toml"), str(tmp_path / "none.toml")]
    found = answer(capsys, "profiles", "check", *paths, code=ExitCode.USAGE)
    assert {(Path(m["file"]).name, m["path"], m["nearest"]) for m in found} == {
        ("recorded.toml", "poll[0].samples.voltage_v", None),
        ("bad.toml", "group[0].point[0].scael", "scale"),
        ("orphan.toml", "profile", "sdm630"),
        ("none.toml", "(whole file)", None),
    }


def test_check_wants_a_file() -> None:
    assert run(["profiles", "check"]) == ExitCode.USAGE
