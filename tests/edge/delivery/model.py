"""A small world in virtual time: gateways with journals, a network that loses, repeats and reorders, a centre.

Sender and acceptor are the real ones; everything around them is the simplest thing that can fail the way
the real thing fails. Records carry no data: a record is its identity (journal, epoch, offset).
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from edge.delivery.acceptor import EPOCHS, Acceptor, Decision, Jump
from edge.delivery.acknowledge import Acknowledgement, epoch_key
from edge.delivery.sender import Ask, Sender, Span
from edge.sparkplug.body import NO_TABLE, Body, decode

if TYPE_CHECKING:
    from collections.abc import Callable

RECORD_BYTES = 40
FILE_RECORDS = 16
Identity = tuple[UUID, int, int]


@dataclass
class Card:
    """What a gateway's storage holds: it can be copied, and an older copy put back."""

    journal: UUID
    lineage: list[Span] = field(default_factory=list)
    oldest: int = 0
    next: int = 0
    lost: int = 0
    acknowledged: int = 0

    def copy(self) -> Card:
        return Card(self.journal, list(self.lineage), self.oldest, self.next, self.lost, self.acknowledged)

    def epoch_at(self, offset: int) -> tuple[Span, Span | None, int | None]:
        """The epoch that holds `offset`, the one before, and where it ends."""
        i = max(k for k, span in enumerate(self.lineage) if span.first <= offset)
        end = self.lineage[i + 1].first if i + 1 < len(self.lineage) else None
        return self.lineage[i], self.lineage[i - 1] if i else None, end


class Gateway:
    """A process on a card."""

    def __init__(self, world: World, name: str, card: Card) -> None:
        self.world, self.name, self.card = world, name, card
        self.capacity = 10_000
        self.up = False
        self.start()

    def start(self) -> None:
        self.up = True
        self.card.lineage.append(Span(self.world.rng.getrandbits(64), self.card.next))
        self.append(1)
        self.sender = Sender(self.card.journal, self.world.rng)
        self.connect()

    def stop(self) -> None:
        self.up = False
        self.sender.disconnected()

    def connect(self) -> None:
        self.sender.born(self.world.now)
        self.world.to_centre(self, None)

    def append(self, n: int) -> None:
        for _ in range(n):
            epoch = self.card.lineage[-1].epoch
            self.world.committed.add((self.card.journal, epoch, self.card.next))
            self.card.next += 1
        while self.card.next - self.card.oldest > self.capacity:
            self._evict()

    def _evict(self) -> None:
        end = self.card.oldest + FILE_RECORDS
        self.card.lost += max(0, end - max(self.card.oldest, self.card.acknowledged))
        for offset in range(self.card.oldest, end):
            self.world.evicted.add((self.card.journal, self.card.epoch_at(offset)[0].epoch, offset))
        self.card.oldest = end

    def acknowledge(self, ack: Acknowledgement) -> None:
        if self.up:
            self.sender.acknowledged(ack, self.card.lineage, self.card.oldest, self.world.now)
            self.card.acknowledged = self.sender.position
            self.pump()

    def pump(self) -> None:
        """Send whatever may be sent now."""
        while self.up:
            step = self.sender.next(self.world.now, self.card.next, self.card.oldest)
            if step is None:
                return
            if isinstance(step, Ask):
                self.world.to_centre(self, None)
                return
            span, before, end = self.card.epoch_at(step.a)
            b = min(step.a + max(1, min(step.max_bytes // RECORD_BYTES, 30)), self.card.next, end or self.card.next)
            parts = self.world.rng.choice((1, 1, 2, 3))
            # Which record is in which part may change from one attempt to the next, as aliases and devices do.
            deal = {offset: self.world.rng.randrange(parts) for offset in range(step.a, b)}
            for part in range(parts):
                offsets = tuple(o for o, of in deal.items() if of == part)
                body = Body(
                    self.card.journal, span.epoch, span.first, step.a, b, self.card.oldest, self.card.lost,
                    before.epoch if before else None,
                    step.attempt, part, parts, b"birthtab" if offsets else NO_TABLE, offsets,
                )  # fmt: skip
                self.world.to_centre(self, body.encode())
            self.sender.sent(b, (b - step.a) * RECORD_BYTES, self.world.now)


class Centre:
    """An acceptor behind a log that is never lost, but for a restore."""

    def __init__(self, world: World, epochs: int) -> None:
        self.world, self.epochs = world, epochs
        self.acceptor = Acceptor(epochs)
        self.taken: set[Identity] = set()
        self.jumps: list[Jump] = []
        self.forks = 0
        self.up = True
        self.begin_session()

    def begin_session(self) -> None:
        self.session, self.n = f"{self.world.rng.getrandbits(64):016x}", 0

    def snapshot(self) -> tuple[bytes, set[Identity], list[Jump]]:
        return self.acceptor.snapshot(), set(self.taken), list(self.jumps)

    def restore(self, state: tuple[bytes, set[Identity], list[Jump]]) -> None:
        self.acceptor, self.taken, self.jumps = Acceptor.restore(state[0], self.epochs), set(state[1]), list(state[2])
        self.begin_session()

    def restart(self) -> None:
        """The log is durable and acceptance a function of it: a restart loses nothing, but is a new session."""
        self.acceptor = Acceptor.restore(self.acceptor.snapshot(), self.epochs)
        self.begin_session()

    def receive(self, gateway: Gateway, data: bytes | None) -> None:
        if not self.up:
            return
        if data is None:
            self.acknowledge(gateway, gap=False, attempt=0)
            return
        body = decode(data)
        verdict = self.acceptor.offer(body, data)
        self.jumps.extend(verdict.jumps)
        self.forks += verdict.fork
        if verdict.decision is Decision.TAKEN:
            for part in verdict.parts:
                self._take(decode(part), verdict.take_from)
            if not self.world.faulty or self.world.rng.random() < 0.5:
                self.acknowledge(gateway, gap=False, attempt=body.attempt)
        elif verdict.decision is Decision.GAP:
            self.acknowledge(gateway, gap=True, attempt=body.attempt)
        elif verdict.decision is Decision.DUPLICATE and (not self.world.faulty or self.world.rng.random() < 0.5):
            self.acknowledge(gateway, gap=False, attempt=body.attempt)

    def _take(self, part: Body, take_from: int) -> None:
        for offset in part.offsets:
            if offset >= take_from:
                identity = (part.journal, part.epoch, offset)
                assert identity not in self.taken, f"twice: {identity}"
                self.taken.add(identity)

    def acknowledge(self, gateway: Gateway, *, gap: bool, attempt: int) -> None:
        journal = gateway.card.journal
        self.n += 1
        lineage = [(span.epoch, span.first) for span in gateway.card.lineage]
        positions = {epoch_key(epoch): p for epoch, p in self.acceptor.stated(journal, lineage).items()}
        grant = self.world.rng.choice((0, 400, 4_000, 40_000)) if self.world.faulty else 40_000
        ack = Acknowledgement(self.session, self.n, journal, positions, grant, gap, attempt)
        self.world.to_gateway(gateway, ack)


class World:
    """Virtual time, the network between, and what was ever committed."""

    def __init__(self, seed: int, epochs: int = EPOCHS) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.faulty = True
        self.loss = self.repeat = self.disorder = 0.0
        self.committed: set[Identity] = set()
        self.evicted: set[Identity] = set()
        self.messages = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.centre = Centre(self, epochs)

    def at(self, delay_s: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay_s, self._count, what))

    def run_until(self, end_s: float, gateways: list[Gateway]) -> None:
        for gateway in gateways:
            gateway.pump()
        while self.now < end_s:
            wakes = [g.sender.deadline_s for g in gateways if g.up and g.sender.deadline_s is not None]
            upcoming = [self._events[0][0]] if self._events else []
            self.now = max(self.now, min([*wakes, *upcoming, end_s]))
            while self._events and self._events[0][0] <= self.now:
                heapq.heappop(self._events)[2]()
            for gateway in gateways:
                gateway.pump()

    def to_centre(self, gateway: Gateway, data: bytes | None) -> None:
        self.messages += 1
        self._carry(lambda: self.centre.receive(gateway, data))

    def to_gateway(self, gateway: Gateway, ack: Acknowledgement) -> None:
        self._carry(lambda: gateway.acknowledge(ack))

    def _carry(self, deliver: Callable[[], None]) -> None:
        copies = (self.rng.random() >= self.loss) + (self.rng.random() < self.repeat)
        for _ in range(copies):
            late = self.rng.random() < self.disorder
            self.at(0.05 + (self.rng.uniform(0, 5) if late else 0.0), deliver)
