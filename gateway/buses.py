"""One owner for each bus: its line, the groups that are polled on it, and what is counted of them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from gateway.bus.serial import SerialSettings, serial_bus
from gateway.bus.tcp import tcp_bus
from gateway.config import BusSettings, Configuration, DeviceSettings, RtuBus
from gateway.crosscheck import host_and_port
from gateway.drivers.modbus import ModbusGroup
from gateway.drivers.patience import Patience
from gateway.health import Busy
from gateway.polling.poller import Job, Poller
from gateway.polling.schedule import declared_from_ns
from gateway.recording.recorder import Recorder, Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.durable.journal import Journal
    from edge.model.point import Group
    from edge.runtime.clock import Clock
    from gateway.bus.line import Bus
    from gateway.drivers.reading import Poll, Reading
    from gateway.recording.timebase import Timebase


def groups_of(configuration: Configuration) -> Iterator[tuple[DeviceSettings, str, Group]]:
    """Every group that the configuration has polled, with its device and its name in the profile."""
    for device in configuration.file.device:
        profile = configuration.profiles[device.profile]
        for name in profile.groups:
            yield (
                device,
                name,
                profile.group(name, site=device.site, device=device.name, period_ns=device.period_ns),
            )


class BusOwner:
    """Builds one bus and its poller; nothing is opened before `poller.run`."""

    def __init__(
        self,
        settings: BusSettings,
        configuration: Configuration,
        journal: Journal,
        recorder: Recorder,
        timebase: Timebase,
        clock: Clock,
    ) -> None:
        """Declare the groups of the bus's devices in the journal, from now on."""
        self.name, self._settings, self._clock = settings.name, settings, clock
        self._journal, self._configuration = journal, configuration
        self._recorder = recorder
        self._bus = _line(settings, clock)
        self._devices = configuration.devices_on(settings.name)
        self._tallies = {device.id: Tally() for device in self._devices}
        self._busy = Busy()
        self.poller = Poller(self._bus, list(self._jobs(timebase)), recorder, clock, timebase.offset_ns)

    @property
    def down(self) -> str:
        """Why the line can't be used; empty while it can."""
        return f"{self._settings.port} can't be opened, or was lost" if self._bus.is_down else ""

    def status(self) -> dict[str, Any]:
        """What an operator is shown of the bus."""
        return {
            "name": self.name,
            "port": self._settings.port,
            "state": "down" if self._bus.is_down else "up",
            "utilisation_pct": self._busy.utilisation_pct(self._clock.real_s()),
            **dataclasses.asdict(self._bus.counters),
            **dataclasses.asdict(self.poller.counters),
        }

    def devices_status(self, offset_ns: int | None) -> list[dict[str, Any]]:
        """What an operator is shown of its devices; `offset_ns` is wall less monotonic, where it is known."""
        silent = set(self.poller.silent)
        return [self._device_status(device, device.id in silent, offset_ns) for device in self._devices]

    def _device_status(self, device: DeviceSettings, silent: bool, offset_ns: int | None) -> dict[str, Any]:
        tally = self._tallies[device.id]
        ok_ns, outcome = tally.last_ok_ns, tally.last_outcome
        return {
            "site": device.site,
            "device": device.name,
            "bus": self.name,
            "unit_id": device.unit_id,
            "profile": self._configuration.profiles[device.profile].identity,
            "state": "silent" if silent else "polled",
            "last_outcome": None if outcome is None else outcome.name.lower(),
            "last_ok_t_ns": None if ok_ns is None or offset_ns is None else ok_ns + offset_ns,
            "last_ok_age_s": None if ok_ns is None else (self._clock.mono_ns() - ok_ns) / 1e9,
            "outcomes": {kind.name.lower(): n for kind, n in sorted(tally.outcomes.items())},
            "not_recorded": dict(tally.not_recorded),
        }

    def _jobs(self, timebase: Timebase) -> Iterator[Job]:
        patiences: dict[str, Patience] = {}
        for device, name, group in groups_of(self._configuration):
            if device.bus != self.name:
                continue
            offset_ns = timebase.offset_ns() or 0
            profile = self._configuration.profiles[device.profile]
            patience = patiences.setdefault(device.id, Patience(profile.timeout_s))
            poll = ModbusGroup(self._bus, device.unit_id, profile.plan(name), patience, self._clock)
            from_ns = declared_from_ns(group.period_ns, self._clock.mono_ns(), offset_ns)
            schedule = self._journal.declare(group, from_ns)
            self._recorder.watch(schedule, self._tallies[device.id])
            yield Job(schedule, from_ns, group.period_ns, device.id, self._timed(poll))

    def _timed(self, poll: Poll) -> Poll:
        async def timed() -> Reading:
            began_s = self._clock.real_s()
            try:
                return await poll()
            finally:
                self._busy.add(began_s, self._clock.real_s())

        return timed


def _line(settings: BusSettings, clock: Clock) -> Bus:
    if isinstance(settings, RtuBus):
        line = SerialSettings(settings.port, settings.baud, settings.parity, settings.stop_bits)
        return serial_bus(line, clock, settings.late_s)
    return tcp_bus(*host_and_port(settings.port), clock)
