"""Sending to a host of another vendor, which acknowledges nothing (design: plain Sparkplug with historical flush).

What was given to the connection counts as delivered. So a record can be lost here that `acknowledging_host` would
save: what was on its way when the connection, the broker or the host failed, up to what the system and the broker
buffer. While the broker can't be reached, or the primary host's STATE is not online, nothing is sent and the journal
keeps all of it; it follows, marked historical, when they are back. Nothing is sent twice.
"""

from __future__ import annotations

from edge.delivery.sender import MAX_BATCH_BYTES, Phase, Send


class PlainSender:
    """Stands where `edge.delivery.sender.Sender` does."""

    deadline_s: float | None = None
    in_flight_bytes = 0

    def __init__(self, position: int) -> None:
        """Go on at `position`."""
        self.phase = Phase.OFFLINE
        self.position = self.frontier = position

    def born(self, _now_s: float) -> None:
        """Births went out."""
        self.phase = Phase.SENDING

    def disconnected(self) -> None:
        """The connection is gone."""
        self.phase = Phase.OFFLINE

    def next(self, _now_s: float, committed: int, oldest: int) -> Send | None:
        """Say what to do now."""
        self.position = self.frontier = max(self.position, oldest)
        if self.phase is Phase.OFFLINE or self.position >= committed:
            return None
        return Send(self.position, MAX_BATCH_BYTES, 0)

    def sent(self, b: int, _size: int, _now_s: float) -> None:
        """The batch up to `b` went out."""
        self.position = self.frontier = b
