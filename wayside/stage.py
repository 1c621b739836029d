"""The demo's stage: a folder with every configuration file, and the processes that play on it."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from edge.errors import PeerUnreachable, Refused, WaysideError
from edge.runtime.clock import ORIGIN, SCALE
from edge.runtime.control import call
from wayside.broker import Broker
from wayside.cast import Cast
from wayside.children import Child, wayside
from wayside.prove.journals import Journals

GROUP = "city"
HOST = "wayside"
COMMIT_S = 0.25
"""Real time; at a scale of 60 these are 15 s of the city's."""
PUBLISH_S = 0.5
CHECKPOINT_S = 2
INFLUX_DATABASE = "wayside_demo"
READY_S = 60.0
SETTLE_S = 60.0
_LOOK_S = 0.1
_MARK = "made-by-wayside-demo"


@dataclass(slots=True)
class Stage:
    """Use as a context: leaving it ends every process."""

    directory: Path
    cast: Cast
    scale: int
    origin_s: int
    influx: str | None = None
    journal_bytes: int = 1 << 30
    broker: Broker = field(init=False)
    city: Child = field(init=False)
    centre: Child = field(init=False)
    gateways: dict[str, Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Prepare the folder; a former demo's is emptied, another one is refused.

        Raises:
            Refused: the folder holds something else.
        """
        _empty(self.directory)
        self.broker = Broker(self.directory / "broker")
        environment = {SCALE: str(self.scale), ORIGIN: str(self.origin_s)}
        (self.directory / "city.toml").write_text(self.cast.city_toml(self.origin_s))
        command = wayside("sim", "city", str(self.directory / "city.toml"), "--dir", str(self.city_dir))
        self.city = Child("city", command, self.directory / "city.log", environment)
        (self.directory / "central.toml").write_text(self._central_toml())
        command = wayside("central", "run", "-c", str(self.directory / "central.toml"))
        self.centre = Child("centre", command, self.directory / "central.log", environment)
        for name in self.cast.gateways:
            command = wayside("gateway", "run", "-c", str(self.gateway_toml(name)))
            self.gateways[name] = Child(name, command, self.directory / f"{name}.log", environment)

    def __enter__(self) -> Self:
        """Begin; nothing runs yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End whatever still runs, all at once, then wait for each."""
        everyone = [*self.gateways.values(), self.centre, self.city, self.broker.child]
        for child in everyone:
            child.ask_to_stop()
        for child in everyone:
            child.await_end()

    @property
    def city_dir(self) -> Path:
        """Where the city says its ports, and the truth."""
        return self.directory / "city"

    @property
    def store(self) -> Path:
        """The embedded store."""
        return self.directory / "central" / "store.db"

    def gateway_toml(self, name: str) -> Path:
        """A gateway's configuration."""
        return self.directory / f"{name}.toml"

    def journal(self, name: str) -> Path:
        """A gateway's journal."""
        return self.directory / name / "journal"

    def start(self) -> None:
        """Start everyone: the city first, whose ports the gateways are then told.

        Raises:
            PeerUnreachable: somebody does not become ready; the message has the last lines of the log.
        """
        self.broker.start()
        self.city.start()
        self.centre.start()
        self.city.await_ready(READY_S)
        endpoints = json.loads((self.city_dir / "endpoints.json").read_text())["buses"]
        for name in self.gateways:
            self.gateway_toml(name).write_text(self._gateway_text(name, endpoints))
        self.centre.await_ready(READY_S)
        for gateway in self.gateways.values():
            gateway.start()
        for gateway in self.gateways.values():
            gateway.await_ready(READY_S)

    def settle(self) -> None:
        """Stop the gateways, see that the centre has every record, close every window, have the rows stored.

        Raises:
            PeerUnreachable: a backlog does not drain, or somebody does not answer.
        """
        for gateway in self.gateways.values():
            gateway.ask_to_stop()
        for gateway in self.gateways.values():
            gateway.await_end()
        self.city.ask_to_stop()
        self.city.await_end()  # its truth is whole then
        for name in self.gateways:
            if not self._has_all(name):
                self._drain(name)
            self.ask_centre({"do": "retire", "scope": "gateway", "name": f"{GROUP}/{name}"})
        self.ask_centre({"do": "checkpoint"}, SETTLE_S)
        self._await_databases()

    def ask_centre(self, request: dict[str, Any], timeout_s: float = 15.0) -> dict[str, Any]:
        """Ask the centre through its control socket."""
        return call(self.directory / "central" / "control.sock", request, timeout_s)

    def ask_gateway(self, name: str, request: dict[str, Any], timeout_s: float = 5.0) -> dict[str, Any]:
        """Ask a gateway through its control socket."""
        return call(self.directory / name / "control.sock", request, timeout_s)

    def statuses(self) -> tuple[dict[str, Any] | None, dict[str, dict[str, Any] | None]]:
        """The centre's status and each gateway's; None of one that does not answer."""
        centre = _asked(self.directory / "central" / "control.sock")
        return centre, {name: _asked(self.directory / name / "control.sock") for name in self.gateways}

    def _await_databases(self) -> None:
        """Wait until every database has every row.

        Raises:
            PeerUnreachable: one has not; the message has its reason.
        """
        behind: list[dict[str, Any]] = []
        for _ in range(int(SETTLE_S / _LOOK_S)):
            followers = self.ask_centre({"do": "status"})["followers"]
            behind = [each for each in followers if each["behind_blocks"]]
            if not behind:
                return
            time.sleep(_LOOK_S)
        raise PeerUnreachable(behind[0]["target"], behind[0]["error"] or "it is too slow")

    def _has_all(self, name: str) -> bool:
        """Compare the journal's own end with the position that the centre states."""
        stated = {
            (each["journal"], each["epoch"]): each["position"]
            for each in self.ask_centre({"do": "status"})["positions"]
        }
        return all(
            stated.get((epoch.journal, f"{epoch.record.epoch:016x}"), -1) > epoch.entries[-1].offset
            for epoch in Journals([self.journal(name)]).epochs
            if epoch.entries
        )

    def _drain(self, name: str) -> None:
        """Run a gateway without its buses until the centre has everything."""
        self.gateway_toml(name).write_text(self._gateway_head(name))
        gateway = self.gateways[name]
        gateway.start()
        gateway.await_ready(READY_S)
        for _ in range(int(SETTLE_S / _LOOK_S)):
            if not self.ask_gateway(name, {"do": "status"})["backlog"]:
                break
            time.sleep(_LOOK_S)
        gateway.ask_to_stop()
        gateway.await_end()
        if not self._has_all(name):
            raise PeerUnreachable(name, f"its backlog did not drain in {SETTLE_S:.0f} s; see {gateway.log}")

    def _central_toml(self) -> str:
        lines = [
            "[central]",
            f'host_id = "{HOST}"',
            'state_dir = "central"',
            f"checkpoint_s = {CHECKPOINT_S}",
            "[broker]",
            f'url = "{self.broker.url}"',
            f'mqtt = "{self.broker.mqtt}"',
        ]
        if self.influx:
            lines += ["[[influx]]", f'url = "{self.influx}"', 'api = "v1"', f'database = "{INFLUX_DATABASE}"']
        return "\n".join(lines) + "\n"

    def _gateway_text(self, name: str, endpoints: dict[str, dict[str, str]]) -> str:
        lines = [self._gateway_head(name)]
        for bus in self.cast.buses:
            if bus.gateway == name:
                baud = f"\nbaud = {bus.baud}" if bus.protocol == "rtu" else ""
                port = endpoints[bus.name]["port"]
                lines.append(f'[[bus]]\nname = "{bus.name}"\nprotocol = "{bus.protocol}"\nport = "{port}"{baud}\n')
        return "\n".join([*lines, self.cast.devices_toml(name)])

    def _gateway_head(self, name: str) -> str:
        return (
            f'[gateway]\ngroup = "{GROUP}"\nnode = "{name}"\nstate_dir = "{name}"\n'
            f"commit_s = {COMMIT_S}\npublish_s = {PUBLISH_S}\njournal_bytes = {self.journal_bytes}\n\n"
            f'[uplink]\nbroker = "{self.broker.url}"\nmqtt = "{self.broker.mqtt}"\nacknowledging_host = "{HOST}"\n\n'
            '[clock]\nsources = ["host"]\n'
        )


def _empty(directory: Path) -> None:
    """Make the folder new; remove only what a demo made."""
    mark = directory / _MARK
    if directory.exists() and any(directory.iterdir()):
        if not mark.exists():
            raise Refused(f"{directory} holds something that no demo made: name another folder with --dir")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _asked(socket: Path) -> dict[str, Any] | None:
    try:
        return call(socket, {"do": "status"}, 2.0)
    except WaysideError:
        return None
