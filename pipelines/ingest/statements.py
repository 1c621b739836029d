"""What the centre has to say to gateways, and when: positions with grants, and requests for a rebirth.

Pure: time is an argument. A statement is due a second after the one before it, or at once (but not more often than
twenty times a second) at a birth, a gap, or half a grant's worth of records; of two that wait, the later stands.
"""

from __future__ import annotations

import heapq
import operator
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.delivery.acknowledge import Acknowledgement, epoch_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from uuid import UUID

    from pipelines.ingest.grants import Node

EACH_S = 1.0
LEAST_S = 0.05
REBIRTH_S = 30.0
"""An edge node is asked for its births at most once in this time."""
SPREAD_S = 3.0
"""Requests to many, at a centre that knows nobody, are spread over this."""


@dataclass(slots=True)
class _Journal:
    """What is known of one journal since the centre started."""

    node: Node
    positions: Mapping[int, int]
    gap: bool = False
    attempt: int = 0
    unsaid_bytes: int = 0
    said_s: float = -EACH_S
    said_grant: int = 0
    due_s: float | None = None


class Statements:
    """The acknowledgements to come, one for each journal."""

    def __init__(self, session: str) -> None:
        """Begin a session."""
        self._session, self._n = session, 0
        self._journals: dict[UUID, _Journal] = {}

    def put(
        self,
        node: Node,
        journal: UUID,
        positions: Mapping[int, int],
        *,
        gap: bool,
        attempt: int,
        urgent: bool,
        taken_bytes: int,
        now_s: float,
    ) -> float:
        """Take a position that may have changed; return when it is due."""
        known = self._journals.setdefault(journal, _Journal(node, positions))
        # A gap stays to be said, unless the sender has gone back already.
        known.gap = gap or (known.gap and known.attempt == attempt)
        known.node, known.positions, known.attempt = node, positions, attempt
        known.unsaid_bytes += taken_bytes
        at_once = urgent or gap or known.unsaid_bytes * 2 >= known.said_grant
        due_s = max(now_s, known.said_s + (LEAST_S if at_once else EACH_S))
        known.due_s = due_s if known.due_s is None else min(known.due_s, due_s)
        return known.due_s

    def said_grant(self, journal: UUID) -> int:
        """Give the grant that its gateway was told last; 0 if none was."""
        known = self._journals.get(journal)
        return known.said_grant if known is not None else 0

    def restate(self, now_s: float) -> None:
        """Say everything again: the grants have changed from nothing, or to nothing."""
        for known in self._journals.values():
            known.due_s = now_s

    def next_due_s(self) -> float | None:
        """When something is to be said; None = nothing is."""
        return min((known.due_s for known in self._journals.values() if known.due_s is not None), default=None)

    def due(self, now_s: float, grant: int, t_ms: int, most: int) -> list[tuple[Node, Acknowledgement]]:
        """Give up to `most` of what is to be said now, what has waited longest first; it counts as said."""
        waiting = [
            (known.due_s, journal, known)
            for journal, known in self._journals.items()
            if known.due_s is not None and known.due_s <= now_s
        ]
        longest = heapq.nsmallest(most, waiting, key=operator.itemgetter(0))
        return [(known.node, self._say(journal, known, now_s, grant, t_ms)) for _, journal, known in longest]

    def _say(self, journal: UUID, known: _Journal, now_s: float, grant: int, t_ms: int) -> Acknowledgement:
        self._n += 1
        positions = {epoch_key(epoch): position for epoch, position in known.positions.items()}
        said = Acknowledgement(self._session, self._n, journal, positions, grant, known.gap, known.attempt, t_ms)
        known.gap, known.unsaid_bytes, known.due_s = False, 0, None
        known.said_s, known.said_grant = now_s, grant
        return said


class Rebirths:
    """Edge nodes whose births are missing."""

    def __init__(self, draw: random.Random | None = None) -> None:
        """Nobody is to be asked."""
        self._draw = draw or random.Random()
        self._due_s: dict[Node, float] = {}
        self._asked_s: dict[Node, float] = {}

    def want(self, node: Node, now_s: float) -> None:
        """A birth of `node` is needed."""
        if node not in self._due_s:
            earliest_s = self._asked_s.get(node, now_s - REBIRTH_S) + REBIRTH_S
            self._due_s[node] = max(now_s, earliest_s) + self._draw.uniform(0.0, SPREAD_S)

    def next_due_s(self) -> float | None:
        """When somebody is to be asked; None = nobody is."""
        return min(self._due_s.values(), default=None)

    def due(self, now_s: float, most: int) -> list[Node]:
        """Give up to `most` of who is to be asked now; they count as asked."""
        nodes = [node for node, due_s in self._due_s.items() if due_s <= now_s][:most]
        for node in nodes:
            del self._due_s[node]
            self._asked_s[node] = now_s
        return nodes
