"""The demo's broker: mosquitto where the machine has it, else amqtt, which is written in Python."""

from __future__ import annotations

import shutil
import socket
import sys
import threading
from pathlib import Path

from edge.errors import PeerUnreachable
from wayside.children import Child

_LOOK_S = 0.05
_MOSQUITTO = """# A broker for one machine and one demo: no persistence, nobody outside.
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 100000
log_dest stderr
log_type error
log_type warning
"""
_AMQTT = """listeners:
  default:
    type: tcp
    bind: 127.0.0.1:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


def free_port() -> int:
    """Find a TCP port on loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mosquitto() -> str | None:
    """Find mosquitto on this machine; Debian puts it where only root looks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


class Broker:
    """A broker process on a free port of loopback, the same port after each start."""

    def __init__(self, directory: Path) -> None:
        """Choose the program and write its configuration."""
        self.port = free_port()
        program = mosquitto()
        self.kind = "mosquitto" if program else "amqtt"
        directory.mkdir(parents=True, exist_ok=True)
        if program:
            config, text = directory / "mosquitto.conf", _MOSQUITTO
            command = [program, "-c", str(config)]
        else:
            config, text = directory / "amqtt.yaml", _AMQTT
            command = [str(Path(sys.executable).with_name("amqtt")), "-c", str(config)]
        config.write_text(text.format(port=self.port))
        self.child = Child(self.kind, command, directory / "broker.log")

    @property
    def mqtt(self) -> str:
        """The version that clients should speak: amqtt takes some seconds to not understand MQTT 5."""
        return "auto" if self.kind == "mosquitto" else "3.1.1"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self, timeout_s: float = 15.0) -> None:
        """Start it and wait until it listens.

        Raises:
            PeerUnreachable: it does not.
        """
        self.child.start()
        for _ in range(int(timeout_s / _LOOK_S)):
            if self._listens():
                return
            if not self.child.is_running:
                break
            threading.Event().wait(_LOOK_S)
        raise PeerUnreachable(self.kind, f"it does not listen on {self.url}; see {self.child.log}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.5)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
