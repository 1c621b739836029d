"""Commands that ask a running process, look at the machine, or check files."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ExitCode, Refused
from edge.runtime.control import serve
from tests.pipelines.query.city import T0_NS, city
from wayside.cli import run


class Process:
    """A control socket as a gateway or centre serves it, in a thread of its own."""

    def __init__(self, directory: Path, table: str) -> None:
        self.config = directory / f"{table}.toml"
        self.config.write_text(f'[{table}]\nstate_dir = "state"\n')
        self.requests: list[dict[str, Any]] = []
        self._path = directory / "state" / "control.sock"
        self._path.parent.mkdir(exist_ok=True)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    async def _serve(self) -> None:
        async with serve(self._path, {"status": self._status, "retire": self._retire}):
            self._serving.set()
            await self._stop.wait()

    async def _status(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        waiting = [{"group": "port/meter-1/fast", "gateway": "city/node-1", "t_ns": T0_NS}]
        return {"state": "running", "lag_s": 0.25, "positions": [], "waiting": waiting, "devices": {"m": {"ok": 3}}}

    async def _retire(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        if request["name"] == "port:unknown":
            raise Refused("no device port:unknown; `wayside central status` lists them")
        return {"ok": True, "closed": 2}

    def __enter__(self) -> Process:  # noqa: PYI034 -- never subclassed
        self._thread.start()
        assert self._serving.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self._loop.close()


@pytest.fixture
def central(tmp_path: Path) -> Iterator[Process]:
    with Process(tmp_path, "central") as process:
        yield process


def out(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_status_gives_what_the_process_says(central: Process, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["central", "status", "-c", str(central.config), "--json"]) == ExitCode.DONE
    answer = out(capsys)
    assert (answer["ok"], answer["state"], answer["lag_s"]) == (True, "running", 0.25)
    assert run(["central", "status", "-c", str(central.config)]) == ExitCode.DONE
    assert "state: running\nlag_s: 0.25\n" in capsys.readouterr().out


@pytest.mark.parametrize("table", ["gateway", "central"])
def test_a_process_that_does_not_run_says_how_to_start_it(
    table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "some.toml"
    config.write_text(f'[{table}]\nstate_dir = "{tmp_path}"\n')
    assert run([table, "status", "-c", str(config)]) == ExitCode.UNREACHABLE
    assert f"start it with `wayside {table} run -c {config}`" in capsys.readouterr().err


def test_a_configuration_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["gateway", "status", "-c", str(tmp_path / "none.toml"), "--json"]) == ExitCode.USAGE
    (mistake,) = out(capsys)["mistakes"]
    assert set(mistake) == {"file", "path", "value", "expected", "nearest"}


@pytest.mark.parametrize(
    ("scope", "name"), [("journal", "6f1c"), ("gateway", "city/node-1"), ("device", "port:meter-1")]
)
def test_retire_asks_the_running_centre(
    scope: str, name: str, central: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["retire", scope, name, "-c", str(central.config), "--yes", "--json"]) == ExitCode.DONE
    assert out(capsys) == {"ok": True, "closed": 2}
    assert central.requests == [{"do": "retire", "scope": scope, "name": name}]


@pytest.mark.parametrize("more", [[], ["--json"]], ids=["no terminal", "json"])
def test_retire_does_nothing_where_nobody_can_say_yes(
    more: list[str], central: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["retire", "device", "port:meter-1", "-c", str(central.config), *more]) == ExitCode.USAGE
    assert "--yes" in capsys.readouterr().err
    assert central.requests == []


@pytest.mark.parametrize(
    ("typed", "code", "asked"),
    [(b"y\n", ExitCode.DONE, 1), (b"n\n", ExitCode.ANSWER_IS_NO, 0), (b"\x04", ExitCode.ANSWER_IS_NO, 0)],
    ids=["yes", "no", "end of input"],
)
def test_retire_asks_who_sits_at_the_terminal(typed: bytes, code: int, asked: int, central: Process) -> None:
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "wayside", "retire", "device", "port:meter-1", "-c", str(central.config)]
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(terminal)
        os.write(keyboard, typed)
        said = process.communicate(timeout=30)[1].decode()
    os.close(keyboard)
    assert process.returncode == code
    assert "can't be taken back" in said
    assert ("nothing is retired" in said) == (not asked)
    assert len(central.requests) == asked


def test_what_the_centre_refuses_is_4_with_its_words(central: Process, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["retire", "device", "port:unknown", "-c", str(central.config), "--yes"]) == ExitCode.REFUSED
    assert "no device port:unknown" in capsys.readouterr().err


def test_the_ledger_lists_open_windows_of_a_running_centre(
    central: Process, capsys: pytest.CaptureFixture[str]
) -> None:
    city(central.config.parent / "state" / "store.db")
    assert run(["ledger", "-c", str(central.config)]) == ExitCode.DONE
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "open: group port/meter-1/fast, gateway city/node-1, t_ns 2026-09-21 14:15:00"


def test_the_doctor_names_each_finding_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        here, nowhere = listener.getsockname()[1], nobody.getsockname()[1]
        urls = ["--broker", f"mqtt://127.0.0.1:{here}", "--influx", f"http://127.0.0.1:{nowhere}"]
        assert run(["doctor", "--json", *urls]) == ExitCode.ANSWER_IS_NO
        found = {each["name"]: each for each in out(capsys)["findings"]}
        assert found["python"]["ok"]
        assert found["packages"]["ok"]
        assert found[f"broker mqtt://127.0.0.1:{here}"]["ok"]
        lost = found[f"database http://127.0.0.1:{nowhere}"]
        assert (lost["ok"], lost["needed"], lost["found"]) == (False, True, "Connection refused")
        assert lost["advice"]
        assert run(["doctor", *urls]) == ExitCode.ANSWER_IS_NO
        assert f"MISS database http://127.0.0.1:{nowhere}: Connection refused" in capsys.readouterr().out


def test_the_doctor_reads_peers_from_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"127.0.0.1:{listener.getsockname()[1]}"
        config = tmp_path / "central.toml"
        config.write_text(f'[broker]\nurl = "mqtt://{url}"\n[[influx]]\nurl = "http://{url}"\n')
        assert run(["doctor", "-c", str(config), "--json"]) == ExitCode.DONE
    names = [each["name"] for each in out(capsys)["findings"]]
    assert names[-2:] == [f"broker mqtt://{url}", f"database http://{url}"]


SITES = """
[[site]]
id = "port"
from = 2026-01-01
name = "Port gate"
latitude = 53.54
longitude = 9.97
time_zone = "Europe/Berlin"
owner = "Roads"
neighbours = ["ring"]
lane = [{lane = "1", direction = "north"}, {lane = "2", direction = "south"}]
device = [{device = "counter", gateway = "city/node-1"}, {device = "meter", gateway = "city/node-1", ratings = {power_w = 43500.0}}]

[[site]]
id = "port"
from = 2026-06-01T12:00:00Z
name = "Port gate, rebuilt"
latitude = 53.54
longitude = 9.97
time_zone = "Europe/Berlin"
owner = "Port authority"
speed_limit_kmh = 30

[[site]]
id = "ring"
from = 2026-01-01
name = "Ring road"
latitude = 53.6
longitude = 10.0
time_zone = "Europe/Berlin"
owner = "Roads"
tariff = "night"
"""  # noqa: E501 -- TOML's inline tables stand on one line


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    path = tmp_path / "sites.toml"
    path.write_text(SITES)
    return path


def test_sites_are_listed_as_they_held_at_a_time(sites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sites", "list", "-c", str(sites), "--at", "2026-03-01", "--json"]) == ExitCode.DONE
    port, ring = out(capsys)
    assert (port["id"], port["name"], port["owner"]) == ("port", "Port gate", "Roads")
    assert port["from_ns"] == 1767222000 * 10**9  # midnight in Berlin
    assert port["device"][1]["ratings"]["power_w"] == 43500.0
    assert ring["tariff"] == "night"
    assert run(["sites", "list", "-c", str(sites), "--at", "2026-06-01T12:00Z", "--json"]) == ExitCode.DONE
    assert out(capsys)[0]["name"] == "Port gate, rebuilt"
    assert run(["sites", "list", "-c", str(sites)]) == ExitCode.DONE
    assert "Port gate, rebuilt" in capsys.readouterr().out


def test_a_right_registry_passes(sites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sites", "check", str(sites), "--json"]) == ExitCode.DONE
    assert out(capsys) == []
    assert run(["sites", "check", str(sites)]) == ExitCode.DONE
    assert "2 sites in 3 entries" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "path", "nearest"),
    [
        ('neighbours = ["ring"]', 'neighbours = ["rign"]', "site[0].neighbours[0]", "ring"),
        ('lane = "2"', 'lane = "1"', "site[0].lane[1]", None),
        ('device = "meter"', 'device = "counter"', "site[0].device[1]", None),
        ("from = 2026-06-01T12:00:00Z", "from = 2026-01-01", "site[1].from", None),
        (
            'time_zone = "Europe/Berlin"\nowner = "Port',
            'time_zone = "Berlin"\nowner = "Port',
            "site[1].time_zone",
            None,
        ),
        ("latitude = 53.6", "latitude = 93.6", "site[2].latitude", None),
        ('tariff = "night"', 'tarif = "night"', "site[2].tarif", "tariff"),
        ('id = "ring"', 'id = "ring road"', "site[2].id", None),
    ],
)
def test_a_mistake_in_the_registry_is_named(
    old: str, new: str, path: str, nearest: str | None, sites: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert old in SITES
    sites.write_text(SITES.replace(old, new))
    assert run(["sites", "check", str(sites), "--json"]) == ExitCode.USAGE
    mistakes = {mistake["path"]: mistake for mistake in out(capsys)}
    assert mistakes[path]["file"] == str(sites)
    assert mistakes[path]["nearest"] == nearest
    assert run(["sites", "check", str(sites)]) == ExitCode.USAGE
    assert path in capsys.readouterr().err
