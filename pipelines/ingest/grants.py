"""How many bytes each gateway may have in flight: what the centre takes in a second, shared by those who drain.

The capacity is measured, not configured: bytes accepted in the last seconds. It grows by itself, since a gateway that
uses its grant up is acknowledged at once and gets more, and it stops growing where the centre is the slower end.
Pure: time is an argument.
"""

from __future__ import annotations

from collections import deque

LEAST_BYTES = 64 << 10
"""One batch of a backlog: less would let nobody send."""
MOST_BYTES = 4 << 20
SPAN_S = 2.0
"""What was taken in this time is the measure."""
_DRAINING_BYTES = 32 << 10
"""Who gave more than this in the span has a backlog; live data of a gateway are less."""

Node = tuple[str, str]


class Grants:
    """Counts what is taken, by edge node."""

    def __init__(self) -> None:
        """Begin with the least for everybody."""
        self._taken: deque[tuple[float, Node, int]] = deque()
        self._by_node: dict[Node, int] = {}
        self._total_bytes = 0

    def take(self, node: Node, size_bytes: int, now_s: float) -> None:
        """Count what was accepted from `node`."""
        self._forget(now_s)
        if size_bytes <= 0:
            return
        self._taken.append((now_s, node, size_bytes))
        self._by_node[node] = self._by_node.get(node, 0) + size_bytes
        self._total_bytes += size_bytes

    def capacity(self, now_s: float) -> float:
        """What is taken now, of all gateways. [bytes/s]."""
        self._forget(now_s)
        return self._total_bytes / SPAN_S

    def draining(self) -> int:
        """How many gateways have a backlog."""
        return sum(size_bytes > _DRAINING_BYTES for size_bytes in self._by_node.values())

    def grant(self, now_s: float, *, pressed: bool) -> int:
        """Give what each gateway may have in flight; 0 while the log is full or its reader far behind. [bytes]."""
        if pressed:
            return 0
        # Twice a second's worth: acknowledgements come at half a grant, so one grant's time is two round trips.
        share = 2 * self.capacity(now_s) / max(self.draining(), 1)
        return int(min(max(share, LEAST_BYTES), MOST_BYTES))

    def _forget(self, now_s: float) -> None:
        while self._taken and self._taken[0][0] <= now_s - SPAN_S:
            _, node, size_bytes = self._taken.popleft()
            self._total_bytes -= size_bytes
            self._by_node[node] -= size_bytes
            if not self._by_node[node]:
                del self._by_node[node]
