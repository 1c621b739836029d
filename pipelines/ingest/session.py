"""One MQTT session of the front: paho-mqtt over a socket object of ours that reads in bulk.

paho takes its socket from the private method `_create_socket`, as it does for websockets (a test pins it). Ours hands
paho every packet but QoS 0 PUBLISH; those wait in `Session.publishes`, whole and as received. paho is driven by
`turn` in the caller's thread: after `loop_read` there is `loop_write` while it wants to write, or SUBSCRIBE waits.
"""

from __future__ import annotations

import select
import ssl
from typing import TYPE_CHECKING, Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.runtime.wire import BrokerGone, Version, reach
from pipelines.ingest.packets import Splitter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from paho.mqtt.reasoncodes import ReasonCode

    from edge.runtime.clock import Clock
    from edge.runtime.wire import Address

KEEPALIVE_S = 60
REACH_S = 5.0
"""Longest time for each of: the broker's CONNACK, its SUBACK."""
READ_BYTES = 256 << 10
_MISC_S = 1.0
_OTHER_VERSION = {0x01, 0x84}


class OtherVersion(BrokerGone):
    """The broker may speak another MQTT; `is_sure`: it says so, instead of just closing."""

    def __init__(self, peer: str, reason: str, *, is_sure: bool) -> None:
        """Keep what was seen."""
        super().__init__(peer, reason)
        self.is_sure = is_sure


class Wire:
    """What paho takes for its socket."""

    def __init__(self, sock: socket.socket, limit_bytes: int) -> None:
        """Take over a connected `sock`; packets of more than `limit_bytes` are passed over."""
        self._sock = sock
        sock.setblocking(False)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self.split = Splitter(limit_bytes)

    def fill(self) -> int:
        """Read what is there, up to the buffer's size; return how much that was. [bytes].

        Raises:
            OSError: the connection is lost, also by the broker's orderly end.
            ProtocolError: what comes is no MQTT.
        """
        size = 0
        while size < READ_BYTES:
            try:
                count = self._sock.recv_into(self._buffer[size:])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            if not count:
                raise ConnectionError("the broker has ended the connection")
            size += count
            if not isinstance(self._sock, ssl.SSLSocket):
                break  # the rest makes the socket readable again, which what TLS holds decrypted does not
        self.split.feed(self._buffer[:size])
        return size

    def pending(self) -> int:
        """Bytes that TLS has decrypted and nobody has read: no selector will tell of them."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def recv(self, size: int) -> bytes:
        """As a socket's; only what is not ours."""
        others = self.split.others
        if not others:
            raise BlockingIOError
        data = bytes(others[:size])
        del others[:size]
        return data

    def send(self, data: bytes | bytearray) -> int:
        """As a socket's."""
        return self._sock.send(data)

    def fileno(self) -> int:
        """As a socket's."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """Paho asks for False, which it is."""

    def close(self) -> None:
        """As a socket's."""
        self._sock.close()


class Client(paho.Client):
    """paho, over a socket that is connected already."""

    wire: Wire

    def _create_socket(self) -> Any:
        return self.wire


class Session:
    """From CONNECT to the end of the connection; everything in one thread."""

    def __init__(self, address: Address, version: Version, client_id: str, clock: Clock, limit_bytes: int) -> None:
        """Connect the socket.

        Raises:
            OSError: the broker can't be reached.
        """
        self._address, self._version, self._clock = address, version, clock
        self.wire = Wire(reach(address), limit_bytes)
        self._client = self._made(client_id)
        self._connack: ReasonCode | None = None
        self._suback: list[ReasonCode] | None = None
        self._next_misc_s = 0.0

    @property
    def publishes(self) -> bytearray:
        """QoS 0 PUBLISH packets; whoever takes them clears it."""
        return self.wire.split.publishes

    def subscribe(self, filters: Sequence[str], wakes: int, stopping: Callable[[], bool]) -> None:
        """Get through CONNECT and SUBSCRIBE.

        Raises:
            BrokerGone: the broker says no, or nothing, or we are stopping.
            OSError: the connection is lost.
            ProtocolError: what comes is no MQTT.
        """
        v5 = self._version is Version.V5
        clean = True if v5 else paho.MQTT_CLEAN_START_FIRST_ONLY
        self._client.connect_async(self._address.host, self._address.port, KEEPALIVE_S, clean_start=clean)
        self._client.reconnect()
        try:
            self._await(lambda: self._connack is not None, "no answer to CONNECT", wakes, stopping)
        except OSError as error:
            if self._connack is None:
                raise OtherVersion(str(self._address), str(error), is_sure=False) from error
        self._assert_accepted()
        topics: list[Any] = [(name, SubscribeOptions(qos=0) if v5 else 0) for name in filters]
        self._client.subscribe(topics)
        self._await(lambda: self._suback is not None, "no answer to SUBSCRIBE", wakes, stopping)
        refused = [name for name, code in zip(filters, self._suback or (), strict=False) if code.is_failure]
        if refused:
            raise BrokerGone(str(self._address), f"the broker refuses our subscription to {', '.join(refused)}")

    def turn(self, wakes: int, until_s: float) -> int:
        """Wait until there is something to read, `wakes` is readable or the time has come; return the bytes read.

        Raises:
            OSError: the connection is lost.
            ProtocolError: what comes is no MQTT.
        """
        fd = self.wire.fileno()
        if fd < 0:
            raise ConnectionError("paho has closed the connection")
        wait_s = 0.0 if self.wire.pending() else min(until_s, self._next_misc_s) - self._clock.real_s()
        poller = select.poll()
        poller.register(wakes, select.POLLIN)
        poller.register(fd, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        ready = dict(poller.poll(max(wait_s, 0.0) * 1000))
        size = self.wire.fill() if self.wire.pending() or ready.get(fd, 0) & ~select.POLLOUT else 0
        while self.wire.split.others:
            _check(self._client.loop_read())
        if self._client.want_write():
            _check(self._client.loop_write())
        if self._clock.real_s() >= self._next_misc_s:
            self._next_misc_s = self._clock.real_s() + _MISC_S
            _check(self._client.loop_misc())
        return size

    def close(self) -> None:
        """End in good order where there is still a connection."""
        if self.wire.fileno() >= 0:
            self._client.disconnect()
        self.wire.close()

    def _made(self, client_id: str) -> Client:
        v5 = self._version is Version.V5
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else True,
            reconnect_on_failure=False,
        )
        client.wire = self.wire
        client.on_connect, client.on_subscribe = self._connected, self._subscribed
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        return client

    def _await(self, done: Callable[[], bool], failure: str, wakes: int, stopping: Callable[[], bool]) -> None:
        until_s = self._clock.real_s() + REACH_S
        while not done():
            if self._clock.real_s() >= until_s or stopping():
                raise BrokerGone(str(self._address), failure)
            self.turn(wakes, until_s)

    def _assert_accepted(self) -> None:
        assert self._connack is not None
        if not self._connack.is_failure:
            return
        reason = f"the broker refuses us: {self._connack}"
        if self._connack.value in _OTHER_VERSION:
            raise OtherVersion(str(self._address), reason, is_sure=True)
        raise BrokerGone(str(self._address), reason)

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        self._connack = reason

    def _subscribed(self, _client: Any, _data: Any, _mid: int, codes: list[ReasonCode], _properties: Any) -> None:
        self._suback = codes


def _check(code: MQTTErrorCode) -> None:
    if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
        raise ConnectionError(paho.error_string(code))
