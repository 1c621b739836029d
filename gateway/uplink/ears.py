"""What the uplink listens to: acknowledgements, the rebirth command, STATE of primary and acknowledging host."""

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
    from gateway.uplink.presence import Presence

_MOST_ACKNOWLEDGEMENTS = 64


class Ears:
    """Sorts messages; no input or output. What it can't use is counted."""

    def __init__(
        self, group: str, edge_node: str, acknowledging_host: str, primary_host: str, presence: Presence
    ) -> None:
        """Listen for one edge node; an empty host is none. `presence` is told of the acknowledging host."""
        self._command = str(topic.Topic(group, "NCMD", edge_node))
        self._state = topic.state(primary_host) if primary_host else ""
        self.acknowledgement_topic = (
            topic.acknowledgement(group, edge_node, acknowledging_host) if acknowledging_host else ""
        )
        self._acknowledging_state = topic.state(acknowledging_host) if acknowledging_host else ""
        self._presence = presence
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
        names = (self._command, self._state, self._acknowledging_state, self.acknowledgement_topic)
        return list(dict.fromkeys(name for name in names if name))

    def begin(self) -> None:
        """Forget what was heard in another session; STATE is retained, and comes again."""
        self._acknowledgements.clear()
        self._presence.begin()
        self._state_ms = 0
        self.host_online, self.rebirth = not self._state, False

    def hear(self, name: str, payload: bytes, now_s: float, *, is_retained: bool) -> None:
        """Take a message; `is_retained`: the broker had kept it when we subscribed."""
        try:
            if name == self.acknowledgement_topic:
                self._acknowledgements.append(acknowledge.decode(payload))
            elif name in {self._state, self._acknowledging_state}:
                self._hear_state(name, HostState.decode(payload), now_s, is_retained=is_retained)
            elif name == self._command:
                self.rebirth = asks_rebirth(parse(payload)) or self.rebirth
        except ProtocolError:
            self.ignored += 1

    def acknowledgements(self) -> list[Acknowledgement]:
        """Take what has come, oldest first."""
        taken = list(self._acknowledgements)
        self._acknowledgements.clear()
        return taken

    def _hear_state(self, name: str, state: HostState, now_s: float, *, is_retained: bool) -> None:
        if name == self._acknowledging_state:
            self._presence.hear(state, now_s, is_retained=is_retained)
        if name == self._state and state.t_ms >= self._state_ms:  # else the late will of a connection before
            self._state_ms, self.host_online = state.t_ms, state.online
