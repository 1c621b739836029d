"""The sending end: what may be sent next, given positions, grants, silence and loss (docs/wire.md §5).

Go-back-N with three twists that each answer a way in which simpler senders fail:
* The receiver's word is final, downwards too: a restored centre states a lower position and is obeyed.
* Every rewind has a number, `attempt`, that travels with each batch and comes back with each complaint of a
  gap. Batches of an attempt that is already given up are still in the pipe; complaints about them must not
  cause a second rewind, or one loss becomes a storm of resends.
* Silence never causes a full resend: one batch is sent again, and the next ones only after an answer.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge.delivery.acknowledge import Acknowledgement, epoch_key

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from uuid import UUID

MAX_BATCH_BYTES = 64 * 1024
MIN_SILENCE_S = 2.0
MAX_SILENCE_S = 60.0


class Phase(enum.Enum):
    """Where a session stands."""

    OFFLINE = "offline"
    ASKING = "asking"
    """A birth has been sent; nothing numbered goes out before the position is stated."""
    SENDING = "sending"


@dataclass(frozen=True, slots=True)
class Span:
    """One epoch of the lineage."""

    epoch: int
    first: int


@dataclass(frozen=True, slots=True)
class Ask:
    """The position has not been stated: send the birth again."""


@dataclass(frozen=True, slots=True)
class Send:
    """Cut a batch that begins at `a`, of at most `max_bytes` (one record may be larger)."""

    a: int
    max_bytes: int
    attempt: int


@dataclass(frozen=True, slots=True)
class _InFlight:
    b: int
    size: int


def position_in(lineage: Sequence[Span], positions: Mapping[str, int], oldest: int) -> int:
    """Find the first offset held that the centre has not: the first incomplete epoch's position.

    Args:
        lineage: epochs, oldest first; the last one is open.
        positions: what the centre states, by `epoch_key`.
        oldest: oldest offset still held.
    """
    for i, span in enumerate(lineage):
        end = lineage[i + 1].first if i + 1 < len(lineage) else None
        if end is not None and end <= oldest:
            continue
        position = positions.get(epoch_key(span.epoch), span.first)
        if end is None or position < end:
            return max(position, oldest)
    return oldest


class Sender:
    """State of one journal's delivery to one acknowledging host; does nothing by itself."""

    def __init__(self, journal: UUID, jitter: random.Random) -> None:
        """Start offline; `jitter` spreads the times after which silence is acted upon."""
        self.journal = journal
        self.phase = Phase.OFFLINE
        self.position = 0
        """Offset up to which the centre has everything, by its last word."""
        self.frontier = 0
        """Next offset to send."""
        # A random start: clones of a journal may send the same batch, cut into parts in another way.
        self.attempt = jitter.getrandbits(32)
        self.grant = 0
        self._jitter = jitter
        self._in_flight: deque[_InFlight] = deque()
        self._probing = False
        self._silence_s = MIN_SILENCE_S
        self._deadline_s: float | None = None
        self._session = ""
        self._n = -1

    @property
    def in_flight_bytes(self) -> int:
        """Bytes sent beyond the acknowledged position. [bytes]."""
        return sum(batch.size for batch in self._in_flight)

    @property
    def deadline_s(self) -> float | None:
        """When to call `next` again even if nothing happens; None = no need. [s, real time]."""
        return self._deadline_s

    def born(self, now_s: float) -> None:
        """A birth went out (a new connection, or a rebirth): the position must be stated anew."""
        self.phase = Phase.ASKING
        self._rewind()
        self._deadline_s = now_s + self._wait()

    def disconnected(self) -> None:
        """The connection is gone, and all that was in flight with it."""
        self.phase = Phase.OFFLINE
        self._rewind()
        self._deadline_s = None
        self._silence_s = MIN_SILENCE_S

    def acknowledged(self, ack: Acknowledgement, lineage: Sequence[Span], oldest: int, now_s: float) -> bool:
        """Take a statement of position; tell whether the position moved.

        One for another journal, before a birth, or older than one already taken is ignored.
        """
        if ack.journal != self.journal or self.phase is Phase.OFFLINE:
            return False
        if ack.session == self._session and ack.n <= self._n:
            return False
        self._session, self._n = ack.session, ack.n
        self.grant = ack.grant
        position = position_in(lineage, ack.positions, oldest)
        moved = position != self.position or self.phase is Phase.ASKING
        # While probing, a complaint that moves nothing is no news: the next try comes after the silence.
        rewind = ack.gap and ack.attempt == self.attempt and (moved or not self._probing)
        self._settle(position, rewind=rewind)
        self.phase = Phase.SENDING
        if moved:
            self._probing = False
            self._silence_s = MIN_SILENCE_S
            self._deadline_s = now_s + self._wait() if self._in_flight else None
        return moved

    def next(self, now_s: float, committed: int, oldest: int) -> Send | Ask | None:
        """Say what to do now.

        Args:
            now_s: real time. [s]
            committed: offset up to which records are durable; nothing beyond is ever sent.
            oldest: oldest offset still held; a frontier below it moves there.
        """
        if self.phase is Phase.OFFLINE:
            return None
        expired = self._deadline_s is not None and now_s >= self._deadline_s
        if expired:
            self._silence_s = min(MAX_SILENCE_S, self._silence_s * 2)
            self._deadline_s = now_s + self._wait()
        if self.phase is Phase.ASKING:
            return Ask() if expired else None
        if expired:
            self._rewind()
            self._probing = True
        self.frontier = max(self.frontier, oldest)
        if self.frontier >= committed or (self._probing and self._in_flight):
            return None
        return self._within_grant(now_s, expired)

    def sent(self, b: int, size: int, now_s: float) -> None:
        """The batch [frontier, b) went out, `size` bytes with its topics and headers."""
        self.frontier = b
        self._in_flight.append(_InFlight(b, size))
        if self._deadline_s is None:
            self._deadline_s = now_s + self._wait()

    def _within_grant(self, now_s: float, expired: bool) -> Send | None:
        room = self.grant - self.in_flight_bytes
        if self._in_flight and room <= 0:
            return None
        if self.grant <= 0 and not expired:
            # The centre takes nothing now. Should its next word be lost, one batch after the silence asks for it.
            if self._deadline_s is None:
                self._deadline_s = now_s + self._wait()
            return None
        return Send(self.frontier, min(MAX_BATCH_BYTES, max(room, 1)), self.attempt)

    def _settle(self, position: int, *, rewind: bool) -> None:
        behind = position < self.position
        self.position = position
        while self._in_flight and self._in_flight[0].b <= position:
            self._in_flight.popleft()
        if behind or rewind:
            self._rewind()
        self.frontier = max(position, self.frontier)

    def _rewind(self) -> None:
        self.attempt = (self.attempt + 1) & 0xFFFFFFFF
        self.frontier = self.position
        self._in_flight.clear()

    def _wait(self) -> float:
        return self._silence_s * self._jitter.uniform(0.75, 1.25)
