"""Modbus TCP over one persistent connection."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import TYPE_CHECKING

from gateway.bus.descriptor import DescriptorLine
from gateway.bus.framing import TcpFraming
from gateway.bus.line import Bus
from gateway.bus.resolver import Resolver

if TYPE_CHECKING:
    from edge.runtime.clock import Clock

CONNECT_TIMEOUT_S = 1.0
KEEPALIVE_S = 20
"""A peer that vanished without a word is noticed after two to three of these, even where polls are rare."""
UNACKNOWLEDGED_MS = 10_000
"""What the peer's kernel does not take within this ends the connection; by itself Linux tries for 15 minutes."""


class TcpLine(DescriptorLine):
    """A socket to one server, connected anew when it is lost."""

    def __init__(self, host: str, port: int, clock: Clock, connect_timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Touch nothing yet."""
        super().__init__(f"{host}:{port}", clock)
        self._resolver, self._connect_timeout_s = Resolver(host, port), connect_timeout_s
        self._socket: socket.socket | None = None

    async def open(self) -> None:
        """See `Line.open`."""
        self.close()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await self._connect_any()
        except TimeoutError as error:
            raise OSError(f"no connection within {self._connect_timeout_s} s") from error

    async def _connect_any(self) -> None:
        failed = OSError("the name has no address")
        for family, kind, protocol, _, address in await self._resolver.addresses():
            try:
                await self._connect(socket.socket(family, kind, protocol), address)
            except OSError as error:
                failed = error
            else:
                return
        raise failed

    async def _connect(self, connection: socket.socket, address: tuple[object, ...]) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
            await asyncio.get_running_loop().sock_connect(connection, address)
        except BaseException:  # a stop too: the descriptor goes with its attempt
            connection.close()
            raise
        self._socket = connection
        self._attach(connection.fileno())

    def _read(self, n_bytes: int) -> bytes:
        assert self._socket is not None
        return self._socket.recv(n_bytes)

    def _write(self, data: bytearray) -> int:
        assert self._socket is not None
        return self._socket.send(data)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def tcp_bus(host: str, port: int, clock: Clock, *, late_s: float = 0.0) -> Bus:
    """Make a Modbus TCP bus; nothing is connected yet.

    `late_s` is 0: ids tell late answers, and a pause helps none of them. The first id is drawn, so that a gateway
    process that starts again behind a serial gateway does not meet its own old ids.
    """
    return Bus(TcpLine(host, port, clock), TcpFraming(random.randrange(1, 0x10000)), clock, late_s)
