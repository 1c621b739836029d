"""The whole centre, as a process with a real broker and a gateway's own uplink: every record once, whatever ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from edge.delivery import sender
from edge.errors import ExitCode, Refused
from edge.runtime import mqtt
from edge.runtime.clock import RealClock
from gateway.uplink import uplink
from tests.brokers import Mosquitto, free_port, mosquitto
from tests.pipelines.process import GATEWAY, WAIT_S, Central, Gateway, Rows, central
from wayside.cli import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

END_S = 10.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as started:
        yield started


@pytest.fixture
def gateway(tmp_path: Path, server: Mosquitto) -> Iterator[Gateway]:
    made = Gateway(tmp_path / "gateway", server.port)
    yield made
    made.journal.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "LEAST_PAUSE_S", 0.05)
    monkeypatch.setattr(mqtt, "MOST_PAUSE_S", 0.2)
    monkeypatch.setattr(sender, "MIN_SILENCE_S", 0.2)
    monkeypatch.setattr(uplink, "REBIRTH_S", 0.05)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 # set by what a broker says
        await asyncio.sleep(0.02)


async def settled(centre: Central) -> Rows:
    """Close every window and give all rows."""
    assert await centre.ask("retire", scope="gateway", name=GATEWAY) == {"ok": True, "closed": 1}
    assert (await centre.ask("checkpoint"))["ok"]
    return centre.rows()


def check(rows: Rows, gateway: Gateway) -> None:
    """What a naive sum over the journal says of the shortest windows."""
    shortest = {key: fields for key, fields in rows.items() if key[2] == 60}
    ledger = [fields for (measurement, *_), fields in shortest.items() if measurement == "ledger"]
    energy = [fields for (measurement, *_), fields in shortest.items() if measurement == "energy"]
    assert sum(fields["arrived"] for fields in ledger) == gateway.ok
    assert sum(fields.get("missing_timeout", 0) for fields in ledger) == gateway.polls - gateway.ok
    assert sum(fields["active_power_w_n"] for fields in energy) == gateway.ok
    moved = sum(fields.get(f"import_wh_{name}", 0) for fields in energy for name in ("increase", "increase_bridged"))
    last = max(n for n in range(gateway.polls) if n % 10 != 7)
    assert moved == last * 3


async def test_records_are_acknowledged_and_become_rows(server: Mosquitto, gateway: Gateway, tmp_path: Path) -> None:
    async with central(tmp_path / "centre", server.port) as centre, gateway.up():
        gateway.poll(700)
        await gateway.acknowledged()
        status = await centre.until(lambda status: status["state"] == "running" and status["host"]["online"])
        (position,) = status["positions"]
        assert position["journal"] == str(gateway.journal.journal)
        assert position["position"] == gateway.journal.committed
        assert [each["gateway"] for each in status["gateways"]] == [GATEWAY]
        (waiting,) = status["waiting"]
        assert (waiting["group"], waiting["gateway"]) == ("plaza/m1/fast", GATEWAY)
        assert status["front"]["packets"] >= 3
        assert status["host"]["acknowledgements"] >= 1
        check(await settled(centre), gateway)
        status = await centre.ask("status")
        assert (status["waiting"], status["lag_s"]) == ([], 0)
        assert status["followers"][0]["behind_blocks"] == 0


async def test_only_what_is_known_can_be_retired(server: Mosquitto, gateway: Gateway, tmp_path: Path) -> None:
    async with central(tmp_path / "centre", server.port) as centre, gateway.up():
        gateway.poll(5)
        await gateway.acknowledged()
        for scope, name in (("device", "plaza:m2"), ("gateway", "city/gw-2"), ("journal", "0"), ("city", "city")):
            with pytest.raises(Refused, match=r"lists them|one of"):
                await centre.ask("retire", scope=scope, name=name)
        assert await centre.ask("retire", scope="device", name="plaza:m1") == {"ok": True, "closed": 1}
        assert await centre.ask("retire", scope="journal", name=str(gateway.journal.journal)) == {
            "ok": True,
            "closed": 0,
        }


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kills", [20])
async def test_killed_at_any_moment_the_rows_are_those_of_a_centre_left_alone(
    kills: int, server: Mosquitto, gateway: Gateway, tmp_path: Path
) -> None:
    draw = random.Random(kills)
    async with central(tmp_path / "killed", server.port) as centre, gateway.up():
        for _ in range(kills):
            gateway.poll(draw.randrange(100, 400))
            with contextlib.suppress(TimeoutError):  # the moment of the kill, not a wait for something
                async with asyncio.timeout(draw.uniform(0.0, 0.8)):
                    await gateway.acknowledged()
            await centre.end(signal.SIGKILL)
            gateway.poll(draw.randrange(100))
            await centre.start()
        await gateway.acknowledged()
        rows = await settled(centre)
        assert await centre.end() == 0
    check(rows, gateway)
    async with central(tmp_path / "alone", server.port) as centre, gateway.up():
        await centre.until(
            lambda status: [each["position"] for each in status["positions"]] == [gateway.journal.committed]
        )
        assert await settled(centre) == rows


@pytest.mark.proof
async def test_a_restored_and_an_emptied_centre_are_sent_what_they_lack(
    server: Mosquitto, gateway: Gateway, tmp_path: Path
) -> None:
    async with central(tmp_path / "centre", server.port) as centre, gateway.up():
        gateway.poll(300)
        await gateway.acknowledged()
        await centre.end()
        shutil.copytree(centre.state_dir, tmp_path / "copy")
        await centre.start()
        gateway.poll(300)
        await gateway.acknowledged()
        await centre.ask("checkpoint")
        await centre.end(signal.SIGKILL)
        shutil.rmtree(centre.state_dir)
        shutil.copytree(tmp_path / "copy", centre.state_dir)
        await centre.start()
        gateway.poll(50)
        end = gateway.journal.flush()
        status = await centre.until(lambda status: [each["position"] for each in status["positions"]] == [end])
        assert status["reader"]["counters"]["records"] >= 650
        await centre.end(signal.SIGKILL)
        shutil.rmtree(centre.state_dir)
        await centre.start()
        gateway.poll(50)
        end = gateway.journal.flush()
        await centre.until(lambda status: [each["position"] for each in status["positions"]] == [end])
        check(await settled(centre), gateway)


@pytest.mark.proof
async def test_a_damaged_checkpoint_is_set_aside_and_made_anew_from_the_log(
    server: Mosquitto, gateway: Gateway, tmp_path: Path
) -> None:
    async with central(tmp_path / "centre", server.port) as centre, gateway.up():
        gateway.poll(300)
        await gateway.acknowledged()
        await centre.ask("checkpoint")
        await centre.end()
        (centre.state_dir / "checkpoint.db").write_bytes(bytes(100_000))
        await centre.start()
        assert centre.told("checkpoint_set_aside")
        gateway.poll(50)
        await gateway.acknowledged()
        check(await settled(centre), gateway)


async def test_a_log_that_is_lost_stops_nothing(server: Mosquitto, gateway: Gateway, tmp_path: Path) -> None:
    async with central(tmp_path / "centre", server.port) as centre, gateway.up():
        gateway.poll(300)
        await gateway.acknowledged()
        await centre.ask("checkpoint")
        await centre.end()
        shutil.rmtree(centre.state_dir / "log")
        await centre.start()
        assert centre.told("log_replaced")
        gateway.poll(50)
        await gateway.acknowledged()
        check(await settled(centre), gateway)


async def test_a_thread_that_falls_ends_the_process(server: Mosquitto, gateway: Gateway, tmp_path: Path) -> None:
    async with central(tmp_path / "centre", server.port) as centre, gateway.up():
        await centre.until(lambda status: bool(status["host"]["online"]))
        assert centre.process is not None
        resource.prlimit(centre.process.pid, resource.RLIMIT_FSIZE, (4096, 4096))
        gateway.poll(300)
        assert await centre.ended() == ExitCode.UNREACHABLE
        assert {each["thread"] for each in centre.told("thread_died")} <= {"front", "reader"}
        assert centre.told("thread_died")[0]["error"].startswith("Storage")
        await centre.start()
        await gateway.acknowledged()
        check(await settled(centre), gateway)


async def test_without_a_broker_it_is_ready_and_ends_in_time(tmp_path: Path) -> None:
    async with central(tmp_path / "centre", free_port()) as centre:
        assert (await centre.ask("status"))["state"] == "unsubscribed"
        async with asyncio.timeout(END_S):
            assert await centre.end() == 0
        await centre.launch()  # it is ended while it starts
        assert await centre.end() in {0, -signal.SIGTERM}
        assert not (centre.state_dir / "control.sock").exists()


async def test_two_centres_do_not_share_a_folder(server: Mosquitto, tmp_path: Path) -> None:
    async with central(tmp_path / "centre", server.port) as centre:
        second = Central(tmp_path / "centre", server.port)
        await second.launch()
        assert await second.ended() == ExitCode.REFUSED
        assert (await centre.ask("status"))["state"] in {"running", "unsubscribed"}


async def test_state_is_online_only_while_the_centre_hears(server: Mosquitto, tmp_path: Path) -> None:
    heard: list[bytes] = []
    broker = mqtt.Broker(mqtt.Address("127.0.0.1", server.port), "ears", RealClock())

    async def no_will() -> None:
        return None

    async with broker.session(no_will) as connection, asyncio.timeout(WAIT_S):
        connection.on_message = lambda _topic, payload: heard.append(payload)
        await connection.subscribe(["spBv1.0/STATE/centre"])
        async with central(tmp_path / "centre", server.port) as centre:
            await until(lambda: bool(heard) and b'"online":true' in heard[-1])
            await centre.end(signal.SIGKILL)
            await until(lambda: b'"online":false' in heard[-1])
            await centre.start()
            await until(lambda: b'"online":true' in heard[-1])
            await centre.end()
            await until(lambda: b'"online":false' in heard[-1])


@pytest.mark.parametrize("state_dir", ["/proc/wayside", "file", "file/in", "taken"])
def test_a_state_directory_that_cannot_be_used_is_refused(
    state_dir: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Central(tmp_path, 1).config
    config.write_text(config.read_text().replace('"state"', f'"{state_dir}"'))
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "taken" / "log").mkdir(parents=True)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / "taken" / "log" and access(path, mode))
    assert run(["central", "run", "-c", str(config)]) == ExitCode.REFUSED
    (said,) = capsys.readouterr().err.splitlines()
    assert "central.state_dir must be a directory" in said
    assert "No such file" in said or "xist" in said or "Not a directory" in said or "denied" in said
