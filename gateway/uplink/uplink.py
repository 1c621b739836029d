"""The uplink: one session after another, each from births to the loss of the broker (docs/wire.md §4-5).

One task does all of it, so that what an acknowledgement moves is never moved under a batch that is being made. What
waits for the card (reading the journal, keeping bdSeq) or computes for long (births, batches) is done in a thread.
Full: the connection takes a bounded number of bytes, the centre grants a number of bytes; what may not be sent waits
in the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from edge.delivery.acknowledge import epoch_key
from edge.delivery.sender import Ask, Phase, Send, Sender, Span
from edge.runtime.mqtt import BrokerGone, Link, Message
from edge.sparkplug.payload import node_death
from edge.sparkplug.session import Sequence
from edge.sparkplug.topic import Topic
from gateway.uplink.batches import Batch, Cutter
from gateway.uplink.bdseq import BdSeq
from gateway.uplink.births import Births
from gateway.uplink.ears import Ears
from gateway.uplink.plain import PlainSender
from gateway.uplink.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge.durable.journal import Journal
    from edge.runtime.clock import Clock
    from edge.runtime.mqtt import Broker, Connection

ALARM_S = 60.0
"""Silence of the acknowledging host after which the uplink is `unacknowledged`: an access list, most likely."""
REBIRTH_S = 1.0
"""Shortest time between births that are asked for."""
_MS_NS, _S_NS = 1_000_000, 1_000_000_000

_T = TypeVar("_T")


class State(enum.StrEnum):
    """How delivery stands."""

    OFFLINE = "offline"
    WAITING_FOR_HOST = "waiting_for_host"
    """The primary host's STATE is not online."""
    ASKING = "asking"
    """Births went out; the acknowledging host has not stated its position."""
    DELIVERING = "delivering"
    UNACKNOWLEDGED = "unacknowledged"
    """An alarm: connected, and the acknowledging host has said nothing for `ALARM_S`."""


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """Who speaks to whom, and how often."""

    group: str
    edge_node: str
    acknowledging_host: str
    """Empty: plain Sparkplug (see `gateway.uplink.plain`)."""
    primary_host: str
    """Empty: births wait for nobody."""
    publish_s: float
    """Time between live batches. [s, real time]"""


class Timebase(Protocol):
    """What dates this boot's records."""

    @property
    def ready_at(self) -> int | None:
        """Nothing numbered is sent before the journal's `committed` has reached this; None = not yet known."""


class Uplink:
    """One edge node's way to its centre."""

    def __init__(
        self,
        settings: UplinkSettings,
        journal: Journal,
        broker: Broker,
        timebase: Timebase,
        clock: Clock,
        bd_seq_path: Path,
    ) -> None:
        """Touch nothing yet."""
        self._settings, self._journal, self._broker = settings, journal, broker
        self._timebase, self._clock = timebase, clock
        host = settings.acknowledging_host
        self._sender: Sender | PlainSender
        self._sender = Sender(journal.journal, random.Random()) if host else PlainSender(journal.acknowledged)
        self._presence = Presence(random.Random())
        self._ears = Ears(settings.group, settings.edge_node, host, settings.primary_host, self._presence)
        self._seq, self._bd_seq, self._bd = Sequence(), 0, BdSeq(bd_seq_path)
        self._births = Births(settings.group, settings.edge_node, host, journal, self._seq)
        self._cutter = Cutter(journal, self._births)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._born_s: float | None = None
        """When births went out last; None = not in this session."""
        self._heard_s = 0.0
        self._target = 0
        """Offset up to which records are due; moves at each publish interval."""
        self._publish_at_s = 0.0
        self._refused: list[str] = []
        self.batches = self.rebirths = 0

    async def run(self) -> None:
        """Deliver for ever."""
        self._loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(BrokerGone):
                async with self._broker.session(self._will) as connection:
                    try:
                        await self._converse(connection)
                    finally:
                        self._end(connection)

    def committed(self) -> None:
        """Learn, in any thread, that the journal grew."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._wake.set)

    @property
    def state(self) -> State:
        """How delivery stands."""
        if self._broker.link is not Link.CONNECTED:
            return State.OFFLINE
        if self._born_s is None:
            return State.OFFLINE if self._ears.host_online else State.WAITING_FOR_HOST
        asking = self._sender.phase is Phase.ASKING
        if (asking or self._sender.in_flight_bytes) and self._clock.real_s() - self._heard_s >= ALARM_S:
            return State.UNACKNOWLEDGED
        return State.ASKING if asking else State.DELIVERING

    def status(self) -> dict[str, Any]:
        """What an operator is shown."""
        position, committed, state = self._position(), self._journal.committed, self.state
        epoch = self._journal.epoch_at(position) or self._journal.epoch
        return {
            "state": state,
            "alarm": state is State.UNACKNOWLEDGED,
            "positions": [
                {
                    "journal": str(self._journal.journal),
                    "epoch": epoch_key(epoch.epoch),
                    "position": position,
                    "oldest": self._journal.oldest,
                }
            ],
            "backlog": max(0, committed - position),
            "in_flight_bytes": self._sender.in_flight_bytes,
            "broker": str(self._broker.address),
            "link": self._broker.link,
            "reason": self._broker.reason,
            "mqtt": self._broker.version,
            "connections": self._broker.connections,
            "acknowledging_host": self._settings.acknowledging_host,
            "grant_bytes": self._sender.grant if isinstance(self._sender, Sender) else None,
            "batches": self.batches,
            "rebirths": self.rebirths,
            "ignored": self._ears.ignored,
            "waiting": self._waiting(state),
        }

    def _position(self) -> int:
        """The centre's last word, or what the journal remembers of it."""
        stated = self._sender.phase is not Phase.OFFLINE and self._sender.phase is not Phase.ASKING
        return max(self._sender.position if stated else self._journal.acknowledged, self._journal.oldest)

    def _waiting(self, state: State) -> list[dict[str, str]]:
        waiting = []
        if state is State.OFFLINE:
            waiting.append({"for": "broker", "why": self._broker.reason or str(self._broker.link)})
        elif state is State.WAITING_FOR_HOST:
            waiting.append({"for": "host", "why": f"{self._settings.primary_host} is not online"})
        elif state is State.UNACKNOWLEDGED:
            silent_s = round(self._clock.real_s() - self._heard_s)
            why = f"{self._settings.acknowledging_host} has said nothing for {silent_s} s"
            refused = f"; the broker refuses {', '.join(self._refused)}" if self._refused else ""
            waiting.append({"for": "acknowledgement", "why": why + refused})
        if self._bd.error:
            waiting.append({"for": "bdSeq", "why": self._bd.error})
        return waiting

    async def _will(self) -> Message:
        self._bd_seq = await _in_thread(self._bd.advance)
        return self._death()

    def _death(self) -> Message:
        topic = Topic(self._settings.group, "NDEATH", self._settings.edge_node)
        return Message(str(topic), node_death(self._bd_seq).SerializeToString(), qos=1)

    def _end(self, connection: Connection) -> None:
        """Say a death where somebody can still hear it; an orderly end keeps the broker from saying it."""
        if connection.is_open and self._born_s is not None:
            connection.publish(self._death())
        self._sender.disconnected()
        self._born_s = None

    async def _converse(self, connection: Connection) -> None:
        """Speak until the connection is lost, or the primary host is."""
        self._ears.begin()
        connection.on_message = functools.partial(self._hear, is_retained=False)
        connection.on_retained = functools.partial(self._hear, is_retained=True)
        connection.lost.add_done_callback(lambda _: self._wake.set())
        self._refused = await connection.subscribe(self._ears.filters, qos=1)
        while connection.is_open and not self._ears.host_online:
            await self._sleep(None)
        if connection.is_open:
            await self._bear(connection)
        while connection.is_open and self._ears.host_online:
            await self._step(connection)

    def _hear(self, topic: str, payload: bytes, *, is_retained: bool) -> None:
        self._ears.hear(topic, payload, self._clock.real_s(), is_retained=is_retained)
        self._wake.set()

    async def _step(self, connection: Connection) -> None:
        self._wake.clear()
        now_s = self._clock.real_s()
        self._take_acknowledgements(now_s)
        birth_due_s = self._birth_due_s()
        if birth_due_s is not None and now_s >= birth_due_s:
            self.rebirths += 1
            await self._bear(connection)
            return
        self._tick(now_s)
        match self._sender.next(now_s, self._target, self._journal.oldest):
            case Send() as send:
                await self._send(connection, send)
            case Ask():
                await self._declare(connection)
            case None:
                await self._sleep(self._due_s())

    def _take_acknowledgements(self, now_s: float) -> None:
        for word in self._ears.acknowledgements():
            if word.journal != self._journal.journal or not isinstance(self._sender, Sender):
                self._ears.ignored += 1
                continue
            self._heard_s = now_s
            lineage = [Span(epoch, first) for epoch, first in self._journal.lineage()]
            self._sender.acknowledged(word, lineage, self._journal.oldest, now_s)
            if self._sender.phase is Phase.SENDING:
                self._journal.acknowledge(self._sender.position)

    def _tick(self, now_s: float) -> None:
        """At each publish interval, all that is committed and dated is due."""
        if now_s >= self._publish_at_s and (committed := self._sendable()) > self._target:
            self._target = committed
            self._publish_at_s = now_s + self._settings.publish_s

    def _sendable(self) -> int:
        ready_at, committed = self._timebase.ready_at, self._journal.committed
        return committed if ready_at is not None and committed >= ready_at else 0

    def _due_s(self) -> float | None:
        """When there may be something to do though nothing happens."""
        due = [] if self._sender.deadline_s is None else [self._sender.deadline_s]
        if self._sendable() > self._target:
            due.append(self._publish_at_s)
        if (birth_due_s := self._birth_due_s()) is not None:
            due.append(birth_due_s)
        return min(due, default=None)

    def _birth_due_s(self) -> float | None:
        """When births are to go out again: they were asked for, or the acknowledging host has come back."""
        asked_s = (self._born_s or 0.0) + REBIRTH_S if self._ears.rebirth else None
        return min((each for each in (asked_s, self._presence.due_s) if each is not None), default=None)

    async def _sleep(self, until_s: float | None) -> None:
        """Wait until something happens, or until a moment."""
        waiting = None
        if until_s is not None:
            loop = asyncio.get_running_loop()
            waiting = loop.call_later(max(0.0, until_s - self._clock.real_s()), self._wake.set)
        await self._wake.wait()
        self._wake.clear()
        if waiting is not None:
            waiting.cancel()

    async def _bear(self, connection: Connection) -> None:
        """Begin anew: births, and no data before the position is stated."""
        self._ears.rebirth = False
        self._presence.born(self._clock.real_s())
        await self._declare(connection)
        now_s = self._clock.real_s()
        self._born_s = self._heard_s = now_s
        self._sender.born(now_s)

    async def _declare(self, connection: Connection) -> None:
        begin = functools.partial(self._births.begin, self._now_ms(), self._bd_seq, self._position())
        await self._publish(connection, await _in_thread(begin))

    async def _send(self, connection: Connection, send: Send) -> None:
        old_ns = self._clock.wall_ns() - int(2 * self._settings.publish_s * self._clock.scale * _S_NS)
        batch = await _in_thread(
            functools.partial(self._cutter.cut, send.a, self._target, send.max_bytes, historical_ns=old_ns)
        )
        if batch is None:
            return
        births = self._births.due(self._now_ms())
        messages = self._messages(batch, send.attempt)
        await self._publish(connection, [*births, *messages])
        self.batches += 1
        size = sum(len(message.topic) + len(message.payload) for message in messages)
        self._sender.sent(batch.b, size, self._clock.real_s())
        if isinstance(self._sender, PlainSender):
            self._journal.acknowledge(self._sender.position)

    def _messages(self, batch: Batch, attempt: int) -> list[Message]:
        settings, t_ms, numbered = self._settings, self._now_ms(), isinstance(self._sender, Sender)
        messages = []
        for number, part in enumerate(batch.parts):
            if part.device_id is None and not numbered:
                continue  # it would say nothing
            kind = "NDATA" if part.device_id is None else "DDATA"
            topic = Topic(settings.group, kind, settings.edge_node, part.device_id)
            payload = batch.payload(number, attempt, self._seq.next(), t_ms, numbered=numbered)
            messages.append(Message(str(topic), payload))
        return messages

    async def _publish(self, connection: Connection, messages: list[Message]) -> None:
        """Publish in order, as fast as the connection takes it.

        Raises:
            BrokerGone: it ended before.
        """
        for message in messages:
            if not await connection.room(len(message.payload)) or not connection.publish(message):
                raise BrokerGone(str(self._broker.address), "lost while publishing")

    def _now_ms(self) -> int:
        return max(0, self._clock.wall_ns() // _MS_NS)


async def _in_thread(work: Callable[[], _T]) -> _T:
    """Do `work` in a thread; a cancellation waits for its end, so that nobody closes what it uses."""
    doing = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait([doing])
        raise
