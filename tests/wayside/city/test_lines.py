"""Profile to register to wire and back: what a gateway reads is what the truth says, on sockets and terminals."""

from __future__ import annotations

import asyncio
import socket
import struct
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from edge.errors import RemoteError
from edge.model.record import Outcome
from edge.runtime.profiles import find
from gateway.bus.line import NoAnswer
from gateway.bus.request import Request
from tests.wayside.city.rig import HEAD, MONDAY_8_NS, S_NS, Rig, device
from wayside.city.line import take_request, with_crc

MODULUS = 2**32


@pytest.mark.parametrize("bus", ["net", "line"])
@pytest.mark.parametrize("profile", ["sdm630", "em340", "modbus_counter"])
async def test_every_group_reads_as_the_truth_says(bus: str, profile: str, tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", bus, 7, profile)) as rig:
        read: dict[str, Any] = {}
        for group in find(profile, tmp_path).groups:
            read |= await rig.read("d", group)
        said = {line["point"]: line for line in rig.said()}
        assert said
        assert {name: line["value"] for name, line in said.items()} == {name: read[name] for name in said}
        assert {line["device"] for line in said.values()} == {"port:d"}
        dates = {line["t_ns"] for name, line in said.items() if "energy" in name or "vehicles" in name}
        assert dates == {MONDAY_8_NS}


@pytest.mark.parametrize("profile", ["sdm630", "em340", "modbus_counter"])
async def test_every_value_is_good(profile: str, tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, profile)) as rig:
        for group in find(profile, tmp_path).groups:
            reading = await rig.group("d", group)()
            assert reading.values is not None
            assert all(value is not None for value in reading.values)
            assert reading.quality is None


async def test_an_interval_is_told_once_and_whole(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "modbus_counter")) as rig:
        first = await rig.read("d", "interval")
        assert first["interval_start_s"] == MONDAY_8_NS // S_NS - 30
        rig.clock.now_ns += 29 * S_NS
        assert await rig.read("d", "interval") == first
        assert len(rig.said()) == 6
        rig.clock.now_ns += S_NS
        assert (await rig.read("d", "interval"))["interval_start_s"] == MONDAY_8_NS // S_NS
        volumes = [line for line in rig.said() if line["point"] == "volume/1"]
        assert [line["t_ns"] for line in volumes] == [MONDAY_8_NS - 30 * S_NS, MONDAY_8_NS]


async def test_an_empty_road_has_no_speed(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "modbus_counter", "peak_vehicles_h = 0.0")) as rig:
        read = await rig.read("d", "interval")
        assert (read["volume/1"], read["mean_speed_kmh/1"], read["occupancy_pct/1"]) == (0, None, 0.0)


async def test_a_register_without_a_word_for_nothing_says_0(tmp_path: Path) -> None:
    shipped = find("modbus_counter", tmp_path)
    text = (resources.files("edge.profile") / "library" / "modbus_counter.toml").read_text()
    (tmp_path / "mute.toml").write_text(text.replace('not_available = "lowest"', 'not_available = "none"'))
    async with Rig(tmp_path, device("d", "net", 7, "mute.toml", "peak_vehicles_h = 0.0")) as rig:
        assert rig.profile("d").identity != shipped.identity
        assert (await rig.read("d", "interval"))["mean_speed_kmh/1"] == 0.0


async def test_a_counter_rolls_over_and_its_truth_does_not(tmp_path: Path) -> None:
    start = f'start = {{ "vehicles/1" = {MODULUS - 3} }}'
    async with Rig(tmp_path, device("d", "net", 7, "modbus_counter", start)) as rig:
        first = await rig.read("d", "count")
        rig.clock.now_ns += 3600 * S_NS
        later = await rig.read("d", "count")
        before, after = (line["value"] for line in rig.said() if line["point"] == "vehicles/1")
        assert before == first["vehicles/1"] == MODULUS - 3
        assert after > MODULUS + 100
        assert later["vehicles/1"] == after - MODULUS


async def test_the_reads_of_one_poll_are_one_snapshot(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "line", 7, "em340")) as rig:
        assert len(rig.plan("d", "fast").requests) > 3
        rig.clock.step_ns = 31 * S_NS
        powers = set()
        for _ in range(20):
            read = await rig.read("d", "fast")
            assert sum(read[f"active_power_w/L{n}"] for n in (1, 2, 3)) == pytest.approx(
                read["active_power_w"], abs=0.2
            )
            powers.add(read["active_power_w"])
        assert len(powers) > 15


async def test_no_register_is_torn_and_no_counter_steps_back(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "sdm630", "power_w = 900000.0")) as rig:
        rig.clock.step_ns = 60 * S_NS
        read = [(await rig.read("d", "energy"))["import_energy_wh"] for _ in range(100)]
        assert read == sorted(read)
        assert len(set(read)) == 100
        assert read == [line["value"] for line in rig.said() if line["point"] == "import_energy_wh"]


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Request(7, 4, 0x90, 2), 2),
        (Request(7, 4, 0x4E, 4), 2),
        (Request(7, 3, 0, 2), 2),
        (Request(7, 1, 0, 8), 2),
    ],
)
async def test_what_is_not_there_is_refused(request_: Request, code: int, tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "sdm630")) as rig:
        with pytest.raises(RemoteError) as caught:
            await rig.buses["net"].transact(request_, 2.0)
        assert caught.value.code == code


async def test_a_unit_that_a_port_does_not_have_is_known_at_once(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "sdm630")) as rig:
        with pytest.raises(NoAnswer, match="the gateway had no answer"):
            await rig.buses["net"].transact(Request(9, 4, 0, 2), 60.0)


async def test_a_read_over_two_groups_is_answered(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "sdm630")) as rig:
        answer = await rig.buses["net"].transact(Request(7, 4, 0x46, 4), 2.0)
        energy = await rig.read("d", "energy")
        hertz, kwh = struct.unpack(">ff", answer.data)
        assert hertz == pytest.approx(50.0, abs=0.05)
        assert round(kwh * 100) * 10 == energy["import_energy_wh"]


def exchange(end: str, frame: bytes) -> bytes:
    host, _, port = end.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as wire:
        wire.sendall(frame)
        return wire.recv(300)


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (bytes((4, 0, 0, 0, 0)), bytes((0x84, 3))),
        (bytes((4, 0, 0, 0, 126)), bytes((0x84, 3))),
        (bytes((4, 0, 0)), bytes((0x84, 3))),
        (bytes((6, 0, 0, 0, 1)), bytes((0x86, 1))),
    ],
)
async def test_what_no_read_may_ask(pdu: bytes, answer: bytes, tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "sdm630")) as rig:
        end = rig.ends["net"]
        frame = b"\0\5\0\0" + (1 + len(pdu)).to_bytes(2, "big") + b"\7" + pdu
        got = await asyncio.to_thread(exchange, end, frame)
        assert got == b"\0\5\0\0\0\3\7" + answer
        assert await asyncio.to_thread(exchange, end, b"\0\5\0\1\0\6\7" + bytes(5)) == b""


@pytest.mark.parametrize("bus", ["net", "line"])
async def test_a_dead_device_and_one_with_an_outage_are_silent(bus: str, tmp_path: Path) -> None:
    dead = device("dead", bus, 1, "em340", "dead = true")
    out = device("out", bus, 2, "em340", "silent_for_s = 3600.0")
    well = device("well", bus, 3, "em340", "silent_from_s = 3600.0\nsilent_for_s = 1.0")
    async with Rig(tmp_path, dead, out, well) as rig:
        assert (await rig.group("dead", "fast", 0.05)()).outcome is Outcome.TIMEOUT
        assert (await rig.group("out", "fast", 0.05)()).outcome is Outcome.TIMEOUT
        assert await rig.read("well", "energy")
        assert {line["device"] for line in rig.said()} == {"port:well"}


async def test_a_unit_that_a_line_does_not_have_is_silent(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "line", 7, "em340"), device("e", "net", 8, "em340")) as rig:
        rig.buses["net"].close()
        stranger = rig.group("d", "fast", 0.05)
        stranger._requests = [Request(9, r.function, r.address, r.count) for r in stranger._requests]
        assert (await stranger()).outcome is Outcome.TIMEOUT


@pytest.mark.parametrize("bus", ["net", "line"])
async def test_latency_is_before_the_value(bus: str, tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", bus, 7, "modbus_counter", "latency_s = 0.1")) as rig:
        began_s = rig.clock.real_s()
        reading = asyncio.ensure_future(rig.read("d", "count"))
        await asyncio.sleep(0.05)
        rig.clock.now_ns += 3600 * S_NS
        await reading
        assert rig.clock.real_s() - began_s >= 0.1
        assert {line["t_ns"] for line in rig.said()} == {MONDAY_8_NS + 3600 * S_NS}


async def test_a_paced_line_costs_its_time(tmp_path: Path) -> None:
    head = HEAD + "baud = 9600\npace = true\n"
    async with Rig(tmp_path, device("d", "line", 7, "sdm630"), head=head) as rig:
        began_s = rig.clock.real_s()
        await rig.read("d", "energy")
        bytes_on_the_wire = 8 + 3.5 + 5 + 16
        assert rig.clock.real_s() - began_s >= bytes_on_the_wire * 10 / 9600


async def test_a_client_that_reads_no_answers_is_not_read_either(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "net", 7, "sdm630")) as rig:
        await rig.read("d", "energy")
        (served,) = rig.lines["net"]._connections  # type: ignore[union-attr]
        served.set_write_buffer_limits(high=100, low=50)
        served.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while served.get_write_buffer_size() <= 100:
            served.write(bytes(10_000))
        assert not served.is_reading()
        async with asyncio.timeout(5):
            while not served.is_reading():
                rig.buses["net"]._line.read_now()
                rig.buses["net"]._line.received.clear()
                await asyncio.sleep(0.001)


async def test_noise_on_a_line_is_not_kept(tmp_path: Path) -> None:
    async with Rig(tmp_path, device("d", "line", 7, "sdm630")) as rig:
        line = rig.lines["line"]
        await asyncio.to_thread(Path(rig.ends["line"]).write_bytes, b"\x55" * 20_000)
        assert await rig.read("d", "energy")
        assert len(line._received) <= 256  # type: ignore[union-attr]


def test_a_request_is_found_behind_noise_and_in_pieces() -> None:
    frame = with_crc(bytes((7, 4, 0, 0, 0, 2)))
    received = bytearray(b"\1\4\0" + frame[:5])
    assert take_request(received) is None
    received += frame[5:] + frame[:2]
    assert take_request(received) == frame
    assert received == frame[:2]


def test_a_write_and_a_strange_function_are_frames_too() -> None:
    write = with_crc(bytes((7, 16, 0, 0, 0, 1, 2, 0, 5)))
    strange = with_crc(bytes((7, 0x2B, 14, 1, 0)))
    assert take_request(bytearray(write[:-1])) is None
    assert take_request(bytearray(write)) == write
    assert take_request(bytearray(strange)) == strange
