"""A broker, reached again and again: paho-mqtt keeps the protocol over a socket object of ours, on the asyncio loop.

Why the socket is ours (as paho does for websockets, through `_create_socket`): paho connects and shakes hands in a
blocking way, writes each packet by a system call of its own, and queues without limit. Here a daemon thread connects,
what one turn of the loop publishes leaves in one write, and what is unwritten is bounded: full means that `publish`
says False and sends nothing, and the caller, whose records are durable, waits for `room`.
Each connection is a new clean session with a new paho client; nothing is carried over.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.runtime import wire as lines
from edge.runtime.supervisor import Backoff
from edge.runtime.wire import Address, BrokerGone, Tls, Version, Wire

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from edge.runtime.clock import Clock

__all__ = ["Address", "Broker", "BrokerGone", "Connection", "Link", "Message", "Tls", "Version", "Wire"]

KEEPALIVE_S = 25
ANSWER_S = 5.0
"""Longest time for each of: the broker's CONNACK, an answer to SUBSCRIBE, to a PUBLISH at QoS 1."""
LEAST_PAUSE_S = 0.5
MOST_PAUSE_S = 30.0
STEADY_S = 5.0
"""A connection that lasted so long was good: the next attempt comes soon."""
UNWRITTEN_BYTES = 256 * 1024
_MISC_S = 1.0
_BAD_VERSION = {0x01, 0x84}


class Link(enum.StrEnum):
    """How it stands with the broker."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    PAUSING = "pausing"
    """Refused, unreachable or lost; tried again after a pause that grows, with jitter."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is published."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False


class _Client(paho.Client):
    """paho, over a socket that is connected already."""

    wire: Wire

    def _create_socket(self) -> Any:
        return self.wire


class Connection:
    """One session with the broker, from CONNACK to its end."""

    def __init__(self, client: _Client, wire: Wire, address: Address, clock: Clock) -> None:
        """Use `Broker.session`."""
        self._client, self._wire, self._address, self._clock = client, wire, address, clock
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        """To our SUBSCRIBEs, by the id of the packet."""
        self.accepted: asyncio.Future[ReasonCode | None] = self._loop.create_future()
        """The broker's answer to CONNECT; None if there was none."""
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Done, with the reason, when the connection has ended (or when a task that awaited it was cancelled)."""
        self.end = ""
        """Why it has ended; empty while it has not."""
        self.on_message: Callable[[str, bytes], None] = lambda _topic, _payload: None
        self.on_retained: Callable[[str, bytes], None] | None = None
        """Takes what the broker had kept when we subscribed; None = `on_message` does."""
        client.on_connect, client.on_disconnect, client.on_message = self._connected, self._disconnected, self._message
        client.on_subscribe = self._subscribed
        wire.failed = self._fail
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Send CONNECT; a client's first one asks for a clean session."""
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S)
        self._client.reconnect()
        self._loop.add_reader(self._wire.fileno(), self._readable)
        self._misc()

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return not self.end

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many bytes may be published now."""
        return self.is_open and self._wire.has_room(size_bytes)

    async def room(self, size_bytes: int) -> bool:
        """Wait until so many bytes may be published; False if the connection ends before."""
        await self._wire.room(size_bytes)
        return self.is_open

    def publish(self, message: Message) -> bool:
        """Send without waiting; False, and nothing is sent, where there is no connection or too much is unwritten."""
        if not self.has_room(len(message.payload)):
            return False
        self._client.publish(message.topic, message.payload, message.qos, message.retain)
        return True

    async def subscribe(self, filters: Sequence[str], qos: int = 0) -> list[str]:
        """Subscribe; return what the broker refuses.

        Raises:
            BrokerGone: no answer.
        """
        if self._client.protocol == paho.MQTTv5:
            topics: list[Any] = [(name, SubscribeOptions(qos=qos)) for name in filters]
        else:
            topics = [(name, qos) for name in filters]
        _, mid = self._client.subscribe(topics)
        codes = await self._answer(mid or 0)
        if not codes:
            raise BrokerGone(str(self._address), "no answer to SUBSCRIBE")
        return [name for name, code in zip(filters, codes, strict=False) if code.is_failure]

    def disconnect(self) -> None:
        """End in good order: the broker does not publish the will."""
        if self.is_open:
            self._client.disconnect()
        self._fail("ended by us")

    async def _answer(self, mid: int) -> list[ReasonCode]:
        if not self.is_open:
            return []
        answer: asyncio.Future[list[ReasonCode]] = self._loop.create_future()
        self._answers[mid] = answer
        waiting = self._loop.call_later(ANSWER_S, _settle, answer, [])
        try:
            return await answer
        finally:
            waiting.cancel()
            self._answers.pop(mid, None)

    def _readable(self) -> None:
        while self.is_open:
            code = self._client.loop_read()
            while self.is_open and self._client.want_write():
                self._client.loop_write()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._fail(paho.error_string(code))
            if not self.is_open or not self._wire.pending():
                return

    def _misc(self) -> None:
        if self._client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._fail(f"no sign of the broker for {KEEPALIVE_S} s")
        if self.is_open:
            self._timer = self._loop.call_later(_MISC_S, self._misc)

    def _fail(self, reason: str) -> None:
        if self.end:
            return
        self.end = reason or "no reason given"
        _settle(self.lost, self.end)
        if self._timer is not None:
            self._timer.cancel()
        if not self.accepted.done():
            self.accepted.set_result(None)
        for answer in self._answers.values():
            _settle(answer, [])
        self._wire.close()

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        _settle(self.accepted, reason)

    def _disconnected(self, _client: Any, _data: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._fail(f"the broker ends it: {reason}" if flags.is_disconnect_packet_from_server else "connection lost")

    def _message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        take = self.on_retained if message.retain and self.on_retained is not None else self.on_message
        take(message.topic, bytes(message.payload))

    def _subscribed(self, _client: Any, _data: Any, mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        _settle(self._answers.get(mid), codes)


class Broker:
    """Keeps reaching one broker; `link` and `reason` say how it stands."""

    def __init__(self, address: Address, client_id: str, clock: Clock, draw: random.Random | None = None) -> None:
        """Touch nothing yet."""
        self.address, self._client_id, self._clock = address, client_id, clock
        self._backoff = Backoff(LEAST_PAUSE_S, MOST_PAUSE_S, draw)
        self._version = Version.V5 if address.version is Version.AUTO else address.version
        self._guessed = False
        self.link, self.reason = Link.IDLE, ""
        self.connections = 0

    @property
    def version(self) -> Version:
        """The MQTT spoken, or tried next."""
        return self._version

    @contextlib.asynccontextmanager
    async def session(self, will: Callable[[], Awaitable[Message | None]]) -> AsyncIterator[Connection]:
        """Wait until the broker accepts us, for ever; `will` is asked at each attempt.

        Leaving the context disconnects; the next `session` comes after a pause if this one was short.
        """
        connection = await self._reach(will)
        began_s = self._clock.real_s()
        self.connections += 1
        self.link, self.reason = Link.CONNECTED, ""
        try:
            yield connection
        finally:
            connection.disconnect()
            self.link, self.reason = Link.PAUSING, connection.end
            if self._clock.real_s() - began_s >= STEADY_S:
                self._backoff.reset()
            if self._guessed:
                self._version, self._guessed = Version.V5, False

    async def _reach(self, will: Callable[[], Awaitable[Message | None]]) -> Connection:
        pausing = self.link is Link.PAUSING
        while True:
            if pausing:
                await self._clock.sleep(self._backoff.pause_s())
            pausing = True
            self.link = Link.CONNECTING
            try:
                return await self._attempt(await will())
            except BrokerGone as error:
                self.link, self.reason = Link.PAUSING, error.reason

    async def _attempt(self, will: Message | None) -> Connection:
        connection = await self._connect(will)
        answer = connection.accepted.result()
        if answer is not None and not answer.is_failure and connection.is_open:
            return connection
        reason = f"the broker refuses us: {answer}" if answer is not None else connection.end
        connection._fail("refused")  # noqa: SLF001 # this module's own class
        self._try_other_version(answer)
        raise BrokerGone(str(self.address), reason)

    def _try_other_version(self, answer: ReasonCode | None) -> None:
        """A broker that knows another version says so, or just closes; the latter is no proof, and not kept."""
        if self.address.version is Version.AUTO and (answer is None or answer.value in _BAD_VERSION):
            self._version = Version.V311 if self._version is Version.V5 else Version.V5
            self._guessed = answer is None

    async def _connect(self, will: Message | None) -> Connection:
        wire = Wire(await lines.dial(self.address), UNWRITTEN_BYTES)
        connection = Connection(self._client(wire, will), wire, self.address, self._clock)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(ANSWER_S, connection._fail, "no answer to CONNECT")  # noqa: SLF001 # as above
        try:
            connection.start()
            await connection.accepted
        except BaseException:
            connection._fail("given up")  # noqa: SLF001 # as above
            raise
        finally:
            timer.cancel()
        return connection

    def _client(self, wire: Wire, will: Message | None) -> _Client:
        v5 = self._version is Version.V5
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else True,
            reconnect_on_failure=False,
        )
        client.wire = wire
        if self.address.username is not None:
            client.username_pw_set(self.address.username, self.address.password)
        if will is not None:
            properties = Properties(PacketTypes.WILLMESSAGE) if v5 else None  # type: ignore[no-untyped-call]
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
        return client


def _settle(future: asyncio.Future[Any] | None, value: object) -> None:
    if future is not None and not future.done():
        future.set_result(value)
