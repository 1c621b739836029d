"""A city in this process, and a gateway's own buses and drivers to read it with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from edge.modbus.decode import Plan
from edge.profile.load import Profile
from edge.runtime.clock import RealClock
from gateway.bus.line import Bus
from gateway.bus.serial import SerialSettings, serial_bus
from gateway.bus.tcp import tcp_bus
from gateway.drivers.modbus import ModbusGroup
from gateway.drivers.patience import Patience
from wayside.city.app import ENDPOINTS, TRUTH, lines_of, open_all
from wayside.city.settings import City, parse_city
from wayside.city.truth import Truth

MONDAY_8_NS = 1_790_582_400 * 10**9
"""2026-09-28T08:00Z, a Monday."""
S_NS = 10**9

HEAD = """
[city]
seed = 5
site = "port"
origin = 2026-09-28T08:00:00Z

[[bus]]
name = "net"
protocol = "tcp"

[[bus]]
name = "line"
protocol = "rtu"
"""


def device(name: str, bus: str, unit_id: int, profile: str, more: str = "") -> str:
    return f'[[device]]\nname = "{name}"\nbus = "{bus}"\nunit_id = {unit_id}\nprofile = "{profile}"\n{more}\n'


class SteeredClock(RealClock):
    """Event time as the test says; every look at it moves it on by `step_ns`. Real time is real."""

    now_ns = MONDAY_8_NS
    step_ns = 0

    def wall_ns(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


class Rig:
    """Use as an async context."""

    def __init__(self, folder: Path, *devices: str, head: str = HEAD) -> None:
        self.folder, self.clock = folder, SteeredClock()
        self.city: City
        self.city, self.profiles = parse_city(head + "".join(devices), "city.toml", folder)
        self.truth = Truth(folder / TRUTH, self.clock)
        self.lines = lines_of(self.city, self.profiles, folder, self.clock, self.truth)
        self.buses: dict[str, Bus] = {}
        self.ends: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await open_all(self.lines, self.folder)
        for name, end in json.loads((self.folder / ENDPOINTS).read_text())["buses"].items():
            self.ends[name] = end["port"]
            if end["protocol"] == "tcp":
                host, _, port = end["port"].rpartition(":")
                self.buses[name] = tcp_bus(host, int(port), self.clock)
            else:
                self.buses[name] = serial_bus(SerialSettings(end["port"], 115_200), self.clock, late_s=0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        for bus in self.buses.values():
            bus.close()
        for line in self.lines.values():
            line.close()
        self.truth.close()

    def profile(self, name: str) -> Profile:
        return next(p for d, p in zip(self.city.device, self.profiles, strict=True) if d.name == name)

    def plan(self, name: str, group: str) -> Plan:
        return self.profile(name).plan(group)

    def group(self, name: str, group: str, timeout_s: float = 2.0) -> ModbusGroup:
        settings = next(d for d in self.city.device if d.name == name)
        patience = Patience(timeout_s)
        return ModbusGroup(self.buses[settings.bus], settings.unit_id, self.plan(name, group), patience, self.clock)

    async def read(self, name: str, group: str) -> dict[str, Any]:
        """Read a group once; values by point name."""
        reading = await self.group(name, group)()
        assert reading.values is not None, reading.outcome
        return dict(zip((p.name for p in self.profile(name).points(group)), reading.values, strict=True))

    def said(self) -> list[dict[str, Any]]:
        """The truth so far."""
        self.truth.flush()
        return [json.loads(line) for line in (self.folder / TRUTH).read_text().splitlines()]
