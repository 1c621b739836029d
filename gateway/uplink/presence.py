"""When births go out again because the acknowledging host has come back, perhaps without its memory (docs/wire.md §5).

Pure: time is an argument. Nothing waits for STATE; an edge node that hears none is asked for by silence and births.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from edge.sparkplug.session import HostState

SPREAD_S = 2.0
"""Many gateways hear one STATE at the same moment."""
AGAIN_S = 30.0
"""Least time since the last births, where the host was not away between."""


class Presence:
    """What was heard of one host in one session."""

    def __init__(self, draw: random.Random) -> None:
        """Nothing was heard."""
        self._draw = draw
        self._last: HostState | None = None
        self._born_s = 0.0
        self.due_s: float | None = None
        """When births are due; None = they are not. [s, real time]"""

    def begin(self) -> None:
        """Forget what was heard in another session; STATE is retained, and comes again."""
        self._last = self.due_s = None

    def born(self, now_s: float) -> None:
        """Births go out, which answer all that was heard before."""
        self._born_s, self.due_s = now_s, None

    def hear(self, state: HostState, now_s: float, *, is_retained: bool) -> None:
        """Take a STATE; the copy that the broker has kept is answered by the births that begin the session."""
        last = self._last
        if last is not None and not state.online and state.t_ms < last.t_ms:
            return  # the late will of a connection that the host has replaced
        self._last = state
        if not state.online:
            self.due_s = None
        elif not (is_retained if last is None else state == last):
            was_away = last is None or not last.online
            earliest_s = now_s if was_away else max(now_s, self._born_s + AGAIN_S)
            due_s = earliest_s + self._draw.uniform(0.0, SPREAD_S)
            self.due_s = due_s if self.due_s is None else min(self.due_s, due_s)
