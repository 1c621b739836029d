"""How long to wait for a device: learned from its own answers, between a floor and the configured ceiling; pure."""

from __future__ import annotations

FLOOR_S = 0.1
"""Less is not worth the risk: an adapter's latency, a busy machine."""
_MARGIN = 2.0
_FADE = 0.02


class Patience:
    """One device's time-out.

    Begins at the ceiling. Good answers bring it down, slowly, to twice the slow ones among them; a time-out doubles
    it, so that a device that has become slower is found again, and one that is slow at times is soon given its time.
    """

    def __init__(self, ceiling_s: float, floor_s: float = FLOOR_S) -> None:
        """Know nothing yet. The ceiling is the profile's or the bus's word and holds even below the floor."""
        self._ceiling_s, self._floor_s = ceiling_s, min(floor_s, ceiling_s)
        self._slow_s = 0.0
        self.timeout_s = ceiling_s

    def answered(self, turnaround_s: float) -> None:
        """Learn from a good answer."""
        self._slow_s = max(turnaround_s, self._slow_s + _FADE * (turnaround_s - self._slow_s))
        enough_s = max(self._floor_s, _MARGIN * self._slow_s)
        faded_s = self.timeout_s + _FADE * (enough_s - self.timeout_s)
        self.timeout_s = min(self._ceiling_s, max(enough_s, faded_s))

    def timed_out(self) -> None:
        """Learn from silence."""
        self.timeout_s = min(self._ceiling_s, 2 * self.timeout_s)
