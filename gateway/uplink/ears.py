"""What the uplink listens to: acknowledgements, the rebirth command, the primary host's STATE."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from edge.delivery import acknowledge
from edge.errors import ProtocolError
from edge.sparkplug import topic
from edge.sparkplug.payload import asks_rebirth, parse
from edge.sparkplug.session import HostState

if TYPE_CHECKING:
    from edge.delivery.acknowledge import Acknowledgement

_MOST_ACKNOWLEDGEMENTS = 64


class Ears:
    """Sorts messages; no input or output. What it can't use is counted."""

    def __init__(self, group: str, edge_node: str, acknowledging_host: str, primary_host: str) -> None:
        """Listen for one edge node; an empty host is none."""
        self._command = str(topic.Topic(group, "NCMD", edge_node))
        self._state = topic.state(primary_host) if primary_host else ""
        self.acknowledgement_topic = (
            topic.acknowledgement(group, edge_node, acknowledging_host) if acknowledging_host else ""
        )
        # Full: the oldest goes, because a later one says all that it said.
        self._acknowledgements: deque[Acknowledgement] = deque(maxlen=_MOST_ACKNOWLEDGEMENTS)
        self._state_ms = 0
        self.host_online = not primary_host
        self.rebirth = False
        """Births were asked for."""
        self.ignored = 0

    @property
    def filters(self) -> list[str]:
        """What to subscribe to."""
        return [name for name in (self._command, self._state, self.acknowledgement_topic) if name]

    def begin(self) -> None:
        """Forget what was heard in another session; STATE is retained, and comes again."""
        self._acknowledgements.clear()
        self._state_ms = 0
        self.host_online, self.rebirth = not self._state, False

    def hear(self, name: str, payload: bytes) -> None:
        """Take a message."""
        try:
            if name == self.acknowledgement_topic:
                self._acknowledgements.append(acknowledge.decode(payload))
            elif name == self._state:
                self._host(HostState.decode(payload))
            elif name == self._command:
                self.rebirth = asks_rebirth(parse(payload)) or self.rebirth
        except ProtocolError:
            self.ignored += 1

    def acknowledgements(self) -> list[Acknowledgement]:
        """Take what has come, oldest first."""
        taken = list(self._acknowledgements)
        self._acknowledgements.clear()
        return taken

    def _host(self, state: HostState) -> None:
        """An older STATE is a late will of a connection that the host has replaced."""
        if state.t_ms >= self._state_ms:
            self._state_ms, self.host_online = state.t_ms, state.online
