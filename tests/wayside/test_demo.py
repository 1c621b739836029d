"""The demo from the command line, whole: it proves its result, and says no where there is nothing to prove."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import urllib3

import wayside.broker
from edge.errors import ExitCode, Refused
from tests.pipelines.sinks.servers import influxd
from wayside.children import wayside as command
from wayside.cli import run


def demo(directory: Path, *more: str, minutes: float = 0.15) -> dict[str, Any]:
    done = subprocess.run(
        command("demo", "--dir", str(directory), "--minutes", str(minutes), "--json", *more),
        capture_output=True,
        text=True,
        check=False,
        cwd=directory.parent,
    )
    assert done.returncode == ExitCode.DONE, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


@pytest.mark.proof
@pytest.mark.timeout(180)
def test_the_demo_proves_its_result(tmp_path: Path) -> None:
    said = demo(tmp_path / "demo", "--seed", "11")
    records, windows, counters = said["records"], said["windows"], said["counters"]
    assert said["ok"]
    assert (said["seed"], records["lost"], records["twice"]) == (11, 0, 0)
    assert records["committed"] == records["stored"] > 100
    assert windows["compared"] == windows["equal"] > 100
    assert windows["untouched"] * 2 > windows["compared"]
    assert counters["points"] == counters["equal"] > 10
    assert [fault["kind"] for fault in said["faults"]] == ["broker_killed", "gateway_killed"]
    assert all(fault["at_risk"] > 0 for fault in said["faults"])
    assert Path(said["pages"][0]).read_text().count("<svg") == 3


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert run(["demo", "--dir", str(tmp_path)]) == Refused.exit_code
    assert "--dir" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.proof
@pytest.mark.timeout(240)
def test_without_mosquitto_a_broker_in_python_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wayside.broker, "mosquitto", lambda: None)
    monkeypatch.chdir(tmp_path)
    assert run(["demo", "--minutes", "0.2", "--json"]) == ExitCode.DONE
    said = json.loads(capsys.readouterr().out)
    assert said["ok"]
    assert said["faults"][0]["target"] == "amqtt"


@pytest.mark.proof
@pytest.mark.timeout(240)
def test_an_influxdb_gets_the_rows_of_the_store(tmp_path: Path) -> None:
    with influxd(tmp_path / "influx") as server:
        demo(tmp_path / "demo", "--influx", server.url, minutes=0.2)
        store = tmp_path / "demo" / "central" / "store.db"
        asked = subprocess.run(
            command("query", "traffic", "--window", "1m", "-f", "volume_sum", "--store", str(store), "--json"),
            capture_output=True,
            check=True,
        )
        rows = json.loads(asked.stdout)
        fields = {"db": "wayside_demo", "q": """SELECT volume_sum FROM traffic WHERE "window" = '1m'""", "epoch": "ns"}
        answer = urllib3.request("GET", f"{server.url}/query", fields=fields).json()
    stored = sorted((row["t_ns"], row["fields"]["volume_sum"]) for row in rows)
    assert sorted(map(tuple, answer["results"][0]["series"][0]["values"])) == stored
    assert stored
