"""The gateway as a process: real servers, a real serial line, a real journal."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ExitCode
from edge.model.record import Outcome
from edge.runtime.profiles import find
from tests.gateway.bus.terminal import Asked, Send, Terminal, with_crc
from tests.gateway.process import Config, running
from tests.gateway.servers import ModbusServer, Unit, free_port, modbus_server, until

S = 1_000_000_000
EM340, COUNTER = find("em340", Path()), find("modbus_counter", Path())


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    async with modbus_server({1: Unit(EM340), 2: Unit(COUNTER)}) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, server: ModbusServer) -> Config:
    config = Config(tmp_path / "gateway.toml", broker=free_port()).tcp("cabinet", server.port)
    return config.device("meter", "cabinet", 1).device("lanes", "cabinet", 2, "modbus_counter")


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    unit = Unit(EM340)

    def behave(asked: Asked) -> list[Send]:
        registers = unit.registers(asked.raw[1:6])
        assert registers is not None
        data = b"".join(register.to_bytes(2, "big") for register in registers)
        return [(0, with_crc(bytes((asked.unit_id, asked.function, len(data))) + data))]

    return Terminal(tmp_path / "ttyTEST", behave)


async def status(config: Config) -> dict[str, Any]:
    return await asyncio.to_thread(config.status)


async def test_devices_of_a_socket_and_a_serial_line_are_in_the_journal(config: Config, terminal: Terminal) -> None:
    terminal.plug()
    config.rtu("line", terminal.link).device("old", "line", 7)
    async with running(config.write()) as process:
        await until(lambda: all(len(config.polls(name, outcome=0)) >= 12 for name in ("meter", "lanes", "old")))
        said = await status(config)
        assert await process.end() == 0
    terminal.unplug()
    assert process.other == [], "warnings of the interpreter or of asyncio"
    assert {each["for"] for each in said["waiting"]} == {"broker"}
    assert {device["device"]: device["state"] for device in said["devices"]} == dict.fromkeys(
        ("meter", "lanes", "old"), "polled"
    )
    assert {bus["name"]: bus["state"] for bus in said["buses"]} == {"cabinet": "up", "line": "up"}
    assert said["fallen"] == {}
    assert not (config.state_dir / "control.sock").exists()
    for poll in config.polls(outcome=0):
        assert {quality for _, quality in poll["samples"].values()} == {0}
        assert all(value is not None for value, _ in poll["samples"].values())
        assert poll["due_t_ns"] % 200_000_000 == 0
        assert abs(poll["t_ns"] - time.time_ns()) < 60 * S  # noqa: TID251 # the journal's dates are the machine's


async def test_restart_keeps_the_journal_and_begins_an_epoch(config: Config) -> None:
    async with running(config.write()) as process:
        await until(lambda: len(config.polls(outcome=0)) >= 8)
        assert await process.end() == 0
    before = config.records("poll")
    config.devices.pop()
    async with running(config.write()) as process:
        await until(lambda: len(config.polls("meter")) >= len(before) + 4)
        assert await process.end() == 0
    after = config.records("poll")
    assert after[: len(before)] == before
    assert {poll["journal"] for poll in after} == {before[0]["journal"]}
    assert len({poll["epoch"] for poll in after}) == 2
    assert {poll["device"] for poll in after[len(before) :]} == {"meter"}
    schedules = config.records("schedule")
    assert {record["schedule"] for record in schedules if record["device"] == "meter"} == {1, 2}
    ended = {record["group"] for record in schedules if record["device"] == "lanes" and record["period_ns"] == 0}
    assert ended == {"count", "interval"}
    assert len({(poll["schedule"], poll["due_t_ns"]) for poll in after}) == len(after)


@pytest.mark.proof
@pytest.mark.parametrize("n", [40])
async def test_killed_at_any_moment_it_loses_nothing_committed(config: Config, n: int) -> None:
    committed: list[dict[str, Any]] = []
    for each in range(n):
        async with running(config.write()) as process:
            least = len(committed) + each % 7 + 2
            await until(lambda least=least: len(config.polls()) >= least)  # type: ignore[misc]
            await asyncio.sleep(each * 0.013 % 0.3)
            seen = config.records("poll")
            process.child.kill()
            await process.ended()
        left = config.records("poll")
        assert left[: len(seen)] == seen
        assert seen[: len(committed)] == committed
        committed = left
    assert len({poll["epoch"] for poll in committed}) == n
    offsets = [poll["offset"] for poll in committed]
    assert sorted(set(offsets)) == offsets


async def test_nobody_there_is_a_state_and_not_an_end(tmp_path: Path, terminal: Terminal) -> None:
    server = ModbusServer({1: Unit(EM340)}, free_port())
    config = Config(tmp_path / "gateway.toml", broker=free_port()).tcp("cabinet", server.port)
    config.rtu("line", terminal.link).device("meter", "cabinet", 1).device("old", "line", 7)
    async with running(config.write()) as process:
        await until(lambda: all(config.polls(name, outcome=Outcome.BUS_DOWN) for name in ("meter", "old")))
        said = await status(config)
        assert said["state"] == "degraded"
        assert {each["for"] for each in said["waiting"]} >= {"bus cabinet", "bus line"}
        await server.start()
        terminal.plug()
        await until(lambda: all(len(config.polls(name, outcome=0)) >= 3 for name in ("meter", "old")))
        said = await status(config)
        assert not {each["for"] for each in said["waiting"]} & {"bus cabinet", "bus line"}
        assert await process.end() == 0
    await server.stop()
    terminal.unplug()


async def test_silent_device_is_recorded_as_silent(config: Config, server: ModbusServer) -> None:
    server.units[2].is_silent = True
    async with running(config.write()) as process:
        await until(lambda: len(config.polls("lanes", outcome=Outcome.TIMEOUT)) >= 12)
        said = await status(config)
        assert await process.end() == 0
    assert {device["device"]: device["state"] for device in said["devices"]} == {"meter": "polled", "lanes": "silent"}
    assert len(config.polls("meter", outcome=0)) >= 6


async def test_two_gateways_of_one_journal_are_one_too_many(config: Config) -> None:
    async with running(config.write()) as first, running(config.path, ready=False) as second:
        assert await second.ended() == ExitCode.REFUSED
        assert "in use by another process" in " ".join(second.other)
        assert (await status(config))["journal"]["state"] == "writing"
        assert await first.end() == 0


async def test_journal_of_other_names_is_refused(config: Config) -> None:
    async with running(config.write()) as process:
        assert await process.end() == 0
    config.path.write_text(config.path.read_text().replace('node = "node-1"', 'node = "node-2"'))
    async with running(config.path, ready=False) as process:
        assert await process.ended() == ExitCode.REFUSED
    assert "node-1" in " ".join(process.other)


async def test_wrong_file_ends_with_2_and_makes_nothing(config: Config) -> None:
    config.device("third", "nowhere", 3)
    async with running(config.write(), ready=False) as process:
        assert await process.ended() == ExitCode.USAGE
    assert "device[2].bus" in " ".join(process.other)
    assert not config.state_dir.exists()


async def test_state_directory_that_is_a_file_is_refused(config: Config) -> None:
    config.state_dir.write_text("")
    async with running(config.write(), ready=False) as process:
        assert await process.ended() == ExitCode.REFUSED
    assert str(config.state_dir) in " ".join(process.other)


async def test_failing_medium_ends_the_process_and_the_next_one_goes_on(config: Config) -> None:
    async with running(config.write(), {"TEST_FILE_BYTES": "36000"}) as process:
        assert await process.ended() == ExitCode.UNREACHABLE
    assert [event["event"] for event in process.events].count("journal_failed") == 1
    assert "the journal failed" in " ".join(process.other)
    before = config.records("poll")
    assert before
    async with running(config.path) as process:
        await until(lambda: len(config.polls()) >= len(before) + 4)
        assert await process.end() == 0
    assert config.records("poll")[: len(before)] == before


def _disk(directory: Path, size: str) -> None:
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "wayside-test", str(directory)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")


@pytest.fixture
def small_disk(config: Config) -> Iterator[Path]:
    """The state directory is a real file system of 1 MiB."""
    config.state_dir.mkdir()
    _disk(config.state_dir, "1m")
    try:
        yield config.state_dir
    finally:
        subprocess.run(["umount", "-l", str(config.state_dir)], check=True)


async def test_full_disk_is_a_state_and_recording_goes_on_when_there_is_space(config: Config, small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    async with running(config.write()) as process:
        await until(lambda: len(config.polls(outcome=0)) >= 4)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1024))
        await until(lambda: config.status()["journal"]["state"] == "full")
        said = await status(config)
        assert {each["for"] for each in said["waiting"]} >= {"space"}
        before = config.records("poll")
        ballast.unlink()
        await until(lambda: len(config.polls()) >= len(before) + 8)
        assert (await status(config))["journal"]["state"] == "writing"
        assert await process.end() == 0
    assert config.records("poll")[: len(before)] == before


@pytest.mark.parametrize("how", ["in order", "killed"])
async def test_a_full_disk_at_the_start_is_a_state_too(config: Config, small_disk: Path, how: str) -> None:
    async with running(config.write()) as process:
        await until(lambda: len(config.polls(outcome=0)) >= 4)
        if how == "in order":
            assert await process.end() == 0
    before = config.records("poll")
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    async with running(config.path) as process:
        await until(lambda: config.status()["journal"]["state"] == "full")
        assert config.records("poll")[: len(before)] == before
        ballast.unlink()
        await until(lambda: len(config.polls()) >= len(before) + 8)
        assert await process.end() == 0
    assert config.records("poll")[: len(before)] == before


async def test_scaled_time(config: Config) -> None:
    """A minute each second: periods of 12 s, dates of an hour that takes a minute."""
    config.devices.clear()
    config.device("meter", "cabinet", 1, period_s=12.0)
    origin_s = time.time_ns() // S  # noqa: TID251 # the machine's clock is what is scaled
    scaled = {"WAYSIDE_TIME_SCALE": "60", "WAYSIDE_TIME_ORIGIN": str(origin_s)}
    async with running(config.write(), scaled) as process:
        await until(lambda: len(config.polls(outcome=0)) >= 10)
        assert (await status(config))["clock"]["scale"] == 60
        assert await process.end() == 0
    due_ns = [poll["due_t_ns"] for poll in config.polls("meter") if poll["group"] == "fast"]
    assert {t_ns % (12 * S) for t_ns in due_ns} == {0}
    assert due_ns == list(range(due_ns[0], due_ns[0] + len(due_ns) * 12 * S, 12 * S))
    assert origin_s * S <= due_ns[0] <= (origin_s + 3600) * S
