"""Who plays in the demo: sites, buses, devices; each said once, as the city, the gateways and the registry need it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

ROLLS_OVER = 2**32 - 25
"""Where one counter stands at the start: its register ends within the first minutes."""


@dataclass(frozen=True, slots=True)
class Bus:
    """A bus of the city, and the gateway that owns it."""

    name: str
    gateway: str
    protocol: str
    baud: int = 115_200


@dataclass(frozen=True, slots=True)
class Device:
    """A device on a bus; `more` is what city.toml says of it besides."""

    name: str
    site: str
    bus: str
    unit_id: int
    profile: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Cast:
    """A whole small city."""

    seed: int
    buses: tuple[Bus, ...]
    devices: tuple[Device, ...]

    def city_toml(self, origin_s: int) -> str:
        """Write the city's configuration; its counters begin at `origin_s`, unix seconds."""
        origin = dt.datetime.fromtimestamp(origin_s, dt.UTC).isoformat()
        lines = [f'[city]\nseed = {self.seed}\nsite = "{self.devices[0].site}"\norigin = {origin}']
        for bus in self.buses:
            pace = f"\nbaud = {bus.baud}\npace = true" if bus.protocol == "rtu" else ""
            lines.append(f'[[bus]]\nname = "{bus.name}"\nprotocol = "{bus.protocol}"{pace}')
        for device in self.devices:
            more = f"\n{device.more}" if device.more else ""
            lines.append(f"[[device]]\n{_said(device)}{more}")
        return "\n\n".join(lines) + "\n"

    def devices_toml(self, gateway: str) -> str:
        """Write the `[[device]]` tables of a gateway."""
        buses = {bus.name for bus in self.buses if bus.gateway == gateway}
        return "\n".join(f"[[device]]\n{_said(device)}\n" for device in self.devices if device.bus in buses)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The gateways' names."""
        return tuple(dict.fromkeys(bus.gateway for bus in self.buses))


def cast(seed: int) -> Cast:
    """Give the demo's city: three gateways, one with a meter that is dead."""
    buses = (
        Bus("hall", "gw-hall", "tcp"),
        Bus("depot", "gw-depot", "rtu"),
        Bus("ring", "gw-ring", "rtu"),
        Bus("yard", "gw-ring", "rtu"),
    )
    devices = (
        *(Device(f"meter-{n}", "hall", "hall", n, "sdm630", f"power_w = {8000 * n}.0") for n in (1, 2, 3)),
        Device("counter-1", "hall", "hall", 11, "modbus_counter", "peak_vehicles_h = 900.0"),
        *(Device(f"meter-{n}", "depot", "depot", n, "em340", f"power_w = {12000 * n}.0") for n in (1, 2, 3)),
        Device("counter-1", "ring", "ring", 1, "modbus_counter", f'start = {{ "vehicles/1" = {ROLLS_OVER} }}'),
        Device("counter-2", "ring", "ring", 2, "modbus_counter", "peak_vehicles_h = 1500.0"),
        # On a line of its own: at sixty times the pace, one real second of waiting costs others a minute of polls.
        Device("meter-1", "yard", "yard", 9, "em340", "dead = true"),
    )
    return Cast(seed, buses, devices)


def _said(device: Device) -> str:
    return (
        f'name = "{device.name}"\nsite = "{device.site}"\nbus = "{device.bus}"\n'
        f'unit_id = {device.unit_id}\nprofile = "{device.profile}"'
    )
