"""`wayside sim city` as a process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ExitCode
from edge.runtime.clock import ORIGIN, SCALE, RealClock
from edge.runtime.profiles import find
from gateway.bus.serial import SerialSettings, serial_bus
from gateway.bus.tcp import tcp_bus
from gateway.drivers.modbus import ModbusGroup
from gateway.drivers.patience import Patience
from tests.wayside.city.rig import HEAD, device

COMMAND = [sys.executable, "-m", "wayside", "sim", "city"]


async def test_a_city_is_ready_speaks_and_ends(tmp_path: Path) -> None:
    (tmp_path / "city.toml").write_text(
        HEAD + device("m", "net", 1, "sdm630") + device("c", "line", 2, "modbus_counter")
    )
    clock = RealClock(60, 1_780_000_000)
    environment = {**os.environ, SCALE: "60", ORIGIN: "1780000000"}
    command = [*COMMAND, str(tmp_path / "city.toml"), "--dir", str(tmp_path / "d")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)  # noqa: ASYNC220 # starts at once
    assert process.stderr is not None
    try:
        ready = json.loads(process.stderr.readline())
        assert ready["event"] == "ready"
        ends = json.loads((tmp_path / "d" / "endpoints.json").read_text())["buses"]
        assert {name: end["protocol"] for name, end in ends.items()} == {"net": "tcp", "line": "rtu"}
        assert ends["line"]["port"] == str(tmp_path / "d" / "ttyS-line")
        names = {each.name for each in (tmp_path / "d").iterdir()}
        assert names == {"endpoints.json", "truth.ndjson", "ttyS-line", "lock"}
        host, _, port = ends["net"]["port"].rpartition(":")
        net, line = tcp_bus(host, int(port), clock), serial_bus(SerialSettings(ends["line"]["port"]), clock)
        from_ns = clock.wall_ns()
        for bus, unit, profile, group in ((net, 1, "sdm630", "energy"), (line, 2, "modbus_counter", "count")):
            plan = find(profile, tmp_path).plan(group)
            reading = await ModbusGroup(bus, unit, plan, Patience(5.0), clock)()
            assert reading.values is not None
            bus.close()
        second = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: ASYNC221 # short
        assert second.returncode == ExitCode.REFUSED
        assert "another city" in second.stderr
        assert (tmp_path / "d" / "ttyS-line").is_symlink()
        process.send_signal(signal.SIGTERM)
        began_s = clock.real_s()
        assert process.wait(10) == ExitCode.DONE
        assert clock.real_s() - began_s < 5
    finally:
        process.kill()
        process.stderr.close()
        process.wait()
    lines = [json.loads(each) for each in (tmp_path / "d" / "truth.ndjson").read_text().splitlines()]
    assert {each["device"] for each in lines} == {"port:m", "port:c"}
    assert all(from_ns <= each["t_ns"] <= clock.wall_ns() for each in lines)
    assert not (tmp_path / "d" / "ttyS-line").is_symlink()
    assert not (tmp_path / "d" / "endpoints.json").exists()


@pytest.mark.parametrize(("more", "code"), [("", ExitCode.DONE), ("bauds = 1\n", ExitCode.USAGE)])
def test_its_end_by_time_and_by_mistake(more: str, code: ExitCode, tmp_path: Path) -> None:
    (tmp_path / "city.toml").write_text(HEAD + more + device("m", "net", 1, "sdm630"))
    command = [*COMMAND, str(tmp_path / "city.toml"), "--dir", str(tmp_path / "d"), "--minutes", "0.001"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "bauds" in done.stderr if more else '{"event":"ready"' in done.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        head = f'[city]\nseed = 1\nsite = "s"\n[[bus]]\nname = "net"\nprotocol = "tcp"\nport = {port}\n'
        (tmp_path / "city.toml").write_text(head + device("m", "net", 1, "sdm630"))
        command = [*COMMAND, str(tmp_path / "city.toml"), "--dir", str(tmp_path / "d")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.UNREACHABLE
    assert "bus net" in done.stderr
    assert not (tmp_path / "d" / "endpoints.json").exists()
