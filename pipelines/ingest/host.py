"""The host application: STATE, acknowledgements and rebirth requests, on a connection of its own.

The reader's thread puts in what it knows (`Host` is its outbox); the loop says it. Full: what is unsaid is one
statement a journal, the latest; what is being said is at most `AT_ONCE` messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from typing import TYPE_CHECKING, Any

import aiomqtt

from edge.delivery.acknowledge import encode
from edge.runtime.mqtt import Link, Message
from edge.sparkplug import topic as topics
from edge.sparkplug.payload import rebirth_command
from edge.sparkplug.session import HostState, StateError
from pipelines.ingest.broker import AT_ONCE, FAREWELL_S
from pipelines.ingest.grants import LEAST_BYTES, Grants
from pipelines.ingest.statements import Rebirths, Statements

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from edge.runtime.clock import Clock
    from pipelines.ingest.broker import HostBroker
    from pipelines.ingest.grants import Node

_LOOK_S = 1.0
"""How often pressure is looked at, where nothing else happens."""
_UNHEARD_S = 30.0
"""A STATE that the broker has not given back in this time is said again: it may have been refused, or replaced."""


class Host:
    """The outbox of the reader; `run` is the loop's side, under a supervisor."""

    def __init__(
        self,
        host_id: str,
        broker: HostBroker,
        clock: Clock,
        *,
        pressed: Callable[[], bool],
        is_able: Callable[[], bool] = lambda: True,
        draw: random.Random | None = None,
    ) -> None:
        """Build.

        Args:
            host_id: the Sparkplug host id.
            broker: a connection of its own.
            clock: gives time-outs and `t_ms`.
            pressed: tells whether nothing more can be taken: the log is full, or its reader far behind.
            is_able: tells whether what edge nodes say is received and read now: STATE is online only then.
            draw: randomness of session and spreading.
        """
        self._host_id, self._broker, self._clock = host_id, broker, clock
        self._pressed, self._is_able = pressed, is_able
        draw = draw or random.SystemRandom()
        self.session = f"{draw.getrandbits(64):016x}"
        self._statements, self._rebirths, self._grants = Statements(self.session), Rebirths(draw), Grants()
        self._lock = threading.Lock()
        self._was_pressed = False
        self._state_ms = 0
        self._said_online: bool | None = None
        self._said_s = 0.0
        self._heard_online: bool | None = None
        """What the broker has given back: it does not say whether it took a STATE (an access list may forbid it)."""
        self._rests_until_s = 0.0
        self._news = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.acknowledgements = self.rebirths = 0

    def state(
        self,
        node: Node,
        journal: UUID,
        positions: Mapping[int, int],
        *,
        gap: bool,
        attempt: int,
        urgent: bool,
        taken_bytes: int,
    ) -> None:
        """State a position, from any thread."""
        now_s = self._clock.real_s()
        with self._lock:
            # What is read again after a start was taken at another time: no gateway has more in flight than its grant.
            in_flight_bytes = max(self._statements.said_grant(journal), LEAST_BYTES)
            self._grants.take(node, min(taken_bytes, in_flight_bytes), now_s)
            due_s = self._statements.put(
                node,
                journal,
                positions,
                gap=gap,
                attempt=attempt,
                urgent=urgent,
                taken_bytes=taken_bytes,
                now_s=now_s,
            )
        if due_s < self._rests_until_s:
            self._wake()

    def unknown_table(self, node: Node) -> None:
        """Ask for a birth, from any thread."""
        with self._lock:
            self._rebirths.want(node, self._clock.real_s())
        self._wake()

    def changed(self) -> None:
        """`is_able` may have changed, from any thread."""
        self._wake()

    async def run(self) -> None:
        """Keep a connection and say what is due, for ever."""
        self._loop = asyncio.get_running_loop()
        while True:
            async with self._broker.session(self._will) as client:
                self._said_online = self._heard_online = None
                await client.subscribe(topics.state(self._host_id), qos=1)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen(client), name="centre.host.listen")
                    tasks.create_task(self._speak(client), name="centre.host.speak")

    def status(self) -> dict[str, Any]:
        """Say what an operator is shown."""
        now_s = self._clock.real_s()
        with self._lock:
            return {
                "state": str(self._broker.link),
                "error": self._broker.reason or None,
                "session": self.session,
                "online": bool(self._heard_online) and self._broker.link is Link.CONNECTED,
                "acknowledgements": self.acknowledgements,
                "rebirths": self.rebirths,
                "capacity_bytes_s": round(self._grants.capacity(now_s)),
                "draining": self._grants.draining(),
                "grant": self._grants.grant(now_s, pressed=self._pressed()),
            }

    def _will(self) -> aiomqtt.Will:
        # One time for all of a connection's STATEs: who hears the will after them must not take it for an older one.
        self._state_ms = self._clock.wall_ns() // 10**6
        state = self._state(online=False)
        return aiomqtt.Will(state.topic, state.payload, state.qos, state.retain)

    def _state(self, *, online: bool) -> Message:
        payload = HostState(online, self._state_ms).encode()
        return Message(topics.state(self._host_id), payload, qos=1, retain=True)

    async def _listen(self, client: aiomqtt.Client) -> None:
        """Hear, until the connection is lost, who else says our STATE.

        Raises:
            MqttError: it is lost.
        """
        async for message in client.messages:
            self._hear(message.payload)

    def _hear(self, payload: object) -> None:
        """What differs from what we said is often the will of the connection before this one, and must not stand."""
        self._heard_online = None
        if isinstance(payload, bytes):
            with contextlib.suppress(StateError):
                self._heard_online = HostState.decode(payload).online
        if self._heard_online is not self._said_online:
            self._said_online = None
            self._news.set()

    async def _speak(self, client: aiomqtt.Client) -> None:
        """Say what is due, and at the end that nobody is here.

        Raises:
            MqttError: the connection is lost; senders ask again after a silence, or are born anew.
        """
        try:
            while True:
                await self._say_state(client)
                if not await self._say_due(client):
                    await self._rest()
        finally:
            with contextlib.suppress(aiomqtt.MqttError):
                await _publish(client, self._state(online=False), FAREWELL_S)

    async def _say_state(self, client: aiomqtt.Client) -> None:
        online, now_s = self._is_able(), self._clock.real_s()
        is_unheard = self._heard_online is not online and now_s - self._said_s >= _UNHEARD_S
        if online is not self._said_online or is_unheard:
            self._said_online, self._said_s = online, now_s
            await _publish(client, self._state(online=online))

    async def _say_due(self, client: aiomqtt.Client) -> int:
        """Say some of what is due: what waits longer is replaced by what is newer."""
        messages = self._due()
        async with asyncio.TaskGroup() as tasks:
            for message in messages:
                tasks.create_task(_publish(client, message), name="centre.host.publish")
        return len(messages)

    def _due(self) -> list[Message]:
        now_s, t_ms = self._clock.real_s(), self._clock.wall_ns() // 10**6
        pressed = self._pressed()
        with self._lock:
            if pressed is not self._was_pressed:
                self._statements.restate(now_s)
                self._was_pressed = pressed
            said = self._statements.due(now_s, self._grants.grant(now_s, pressed=pressed), t_ms, AT_ONCE)
            asked = self._rebirths.due(now_s, AT_ONCE - len(said))
        self.acknowledgements += len(said)
        self.rebirths += len(asked)
        command = rebirth_command(t_ms).SerializeToString()
        return [
            *(Message(topics.acknowledgement(*node, self._host_id), encode(each)) for node, each in said),
            *(Message(str(topics.Topic(group, "NCMD", name)), command) for group, name in asked),
        ]

    async def _rest(self) -> None:
        """Wait until something is due, or there is news."""
        with self._lock:
            due_s = [each for each in (self._statements.next_due_s(), self._rebirths.next_due_s()) if each is not None]
        now_s = self._clock.real_s()
        self._rests_until_s = min([now_s + _LOOK_S, *due_s])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(self._rests_until_s - now_s, 0.0)):
                await self._news.wait()
        self._news.clear()

    def _wake(self) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it what is to be said
                loop.call_soon_threadsafe(self._news.set)


async def _publish(client: aiomqtt.Client, message: Message, timeout_s: float | None = None) -> None:
    await client.publish(message.topic, message.payload, message.qos, message.retain, timeout=timeout_s)
