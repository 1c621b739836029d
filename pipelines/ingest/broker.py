"""The broker as the host reaches it, again and again: aiomqtt over a socket that we have connected.

Why the socket is ours (docs/adr/host-on-aiomqtt.md): aiomqtt connects in the loop's executor, which asyncio awaits at
its end, so that a name server which does not answer would hold up the process's; and it keeps the socket of an
attempt that got no answer. Why the waiting is ours: `asyncio.wait_for`, before Python 3.12, loses a cancellation that
comes together with the answer, and then nothing ends. Tests pin the private names that this rests on.
Each connection is a new clean session with a new client. Full: of what is received and not yet looked at, the oldest
goes; what is sent, the caller awaits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TYPE_CHECKING, TypeVar

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from edge.runtime.mqtt import Link
from edge.runtime.supervisor import Backoff
from edge.runtime.wire import BrokerGone, Version, dial

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Awaitable, Callable

    from edge.runtime.clock import Clock
    from edge.runtime.wire import Address

KEEPALIVE_S = 25
ANSWER_S = 5.0
"""Longest time for each of: CONNACK, an answer to SUBSCRIBE, to a PUBLISH at QoS 1, the writing of one at QoS 0."""
FAREWELL_S = 1.0
LEAST_PAUSE_S = 0.5
MOST_PAUSE_S = 30.0
STEADY_S = 5.0
"""A connection that lasted so long was good: the next attempt comes soon."""
MOST_HEARD = 16
AT_ONCE = 16
"""Messages that are published at once: more leave no faster, fewer cost more. Each has one place in paho's queue."""
_OTHER_VERSION = {0x01, 0x84}
_log = logging.getLogger("wayside.ingest.mqtt")

_T = TypeVar("_T")


class _Latest(asyncio.Queue[aiomqtt.Message]):
    """aiomqtt discards what does not fit; here the oldest goes, since a later STATE says more."""

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Put `item`, whatever must go for it."""
        if self.full():
            self.get_nowait()
        super().put_nowait(item)


class _Client(aiomqtt.Client):
    """aiomqtt, over a socket that is connected already."""

    def __init__(
        self, sock: socket.socket, address: Address, version: Version, client_id: str, will: aiomqtt.Will
    ) -> None:
        """Touch nothing yet."""
        v5 = version is Version.V5
        super().__init__(
            address.host,
            address.port,
            username=address.username,
            password=address.password,
            logger=_log,
            identifier=client_id,
            queue_type=_Latest,
            protocol=aiomqtt.ProtocolVersion.V5 if v5 else aiomqtt.ProtocolVersion.V311,
            will=will,
            clean_session=None if v5 else True,
            timeout=ANSWER_S,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=MOST_HEARD,
        )
        self.pending_calls_threshold = AT_ONCE
        self._sock = sock
        self._client._create_socket = lambda: sock  # type: ignore[method-assign] # noqa: SLF001 # see above

    async def _wait_for(self, fut: Awaitable[_T], timeout: float | None) -> _T:  # noqa: ASYNC109 # as aiomqtt has it
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                # Not cancelled with us: of a future of its own that is, aiomqtt makes an error in a callback.
                return await (asyncio.shield(fut) if asyncio.isfuture(fut) else fut)
        except TimeoutError as error:
            raise aiomqtt.MqttError("no answer in time") from error

    async def leave(self) -> None:
        """End in good order where there is still a connection: the broker does not publish the will."""
        self.timeout = FAREWELL_S
        with contextlib.suppress(aiomqtt.MqttError):
            await self.__aexit__(None, None, None)
        if self._disconnected.done() and not self._disconnected.cancelled():
            self._disconnected.exception()  # told by `link`; asyncio complains of an error that nobody took
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection; paho, which reads its end, lets go of the socket."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


class HostBroker:
    """Keeps reaching one broker; `link` and `reason` say how it stands."""

    def __init__(self, address: Address, client_id: str, clock: Clock, draw: random.Random | None = None) -> None:
        """Touch nothing yet."""
        self.address, self._client_id, self._clock = address, client_id, clock
        self._backoff = Backoff(LEAST_PAUSE_S, MOST_PAUSE_S, draw)
        self.version = Version.V5 if address.version is Version.AUTO else address.version
        """The MQTT spoken, or tried next."""
        self._is_guess = False
        self.link, self.reason = Link.IDLE, ""
        self.connections = 0

    @contextlib.asynccontextmanager
    async def session(self, will: Callable[[], aiomqtt.Will]) -> AsyncIterator[aiomqtt.Client]:
        """Wait until the broker accepts us, for ever; `will` is asked at each attempt.

        Leaving the context disconnects, and so does an `MqttError` in it, which goes no further: the connection was
        lost. The next `session` comes after a pause if this one was short.
        """
        client = await self._reach(will)
        began_s, end = self._clock.real_s(), "ended by us"
        self.connections += 1
        self.link, self.reason = Link.CONNECTED, ""
        try:
            yield client
        except* aiomqtt.MqttError as lost:
            end = _first(lost)
        finally:
            await client.leave()
            self.link, self.reason = Link.PAUSING, end
            if self._clock.real_s() - began_s >= STEADY_S:
                self._backoff.reset()
            if self._is_guess:
                self.version, self._is_guess = Version.V5, False

    async def _reach(self, will: Callable[[], aiomqtt.Will]) -> _Client:
        pausing = self.link is Link.PAUSING
        while True:
            if pausing:
                await self._clock.sleep(self._backoff.pause_s())
            pausing = True
            self.link = Link.CONNECTING
            try:
                return await self._attempt(will())
            except BrokerGone as error:
                self.link, self.reason = Link.PAUSING, error.reason

    async def _attempt(self, will: aiomqtt.Will) -> _Client:
        client = _Client(await dial(self.address), self.address, self.version, self._client_id, will)
        with contextlib.ExitStack() as undo:
            undo.callback(client.hang_up)
            try:
                await client.__aenter__()
            except aiomqtt.MqttCodeError as error:
                self._try_other_version(error.rc)
                raise BrokerGone(str(self.address), f"the broker refuses us: {error.rc}") from error
            except aiomqtt.MqttError as error:
                self._try_other_version(None)
                raise BrokerGone(str(self.address), "no answer to CONNECT") from error
            undo.pop_all()
        return client

    def _try_other_version(self, answer: int | ReasonCode | None) -> None:
        """A broker that knows another version says so, or just closes; the latter is no proof, and not kept."""
        code = answer.value if isinstance(answer, ReasonCode) else answer
        if self.address.version is Version.AUTO and (code is None or code in _OTHER_VERSION):
            self.version = Version.V311 if self.version is Version.V5 else Version.V5
            self._is_guess = code is None


def _first(lost: BaseExceptionGroup[aiomqtt.MqttError]) -> str:
    error: BaseException = lost
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)
