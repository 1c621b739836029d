"""A TCP or TLS connection to a broker, on the asyncio loop: opened in a thread, written once a turn, bounded."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edge.errors import PeerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REACH_S = 5.0
"""Longest time for connecting, and for the handshake of TLS."""
_CHUNK_BYTES = 64 * 1024

_T = TypeVar("_T")


class Version(enum.StrEnum):
    """Which MQTT to speak."""

    AUTO = "auto"
    """5 where offered, else 3.1.1."""
    V5 = "5"
    V311 = "3.1.1"


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and who we are. None = the system's authorities; no certificate of ours."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Make the context anew, so that renewed files are taken.

        Raises:
            OSError: a file can't be read, or is none.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is."""

    host: str
    port: int
    tls: Tls | None = None
    username: str | None = None
    password: str | None = None
    version: Version = Version.AUTO

    def __str__(self) -> str:
        """Name it without its secrets."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


class BrokerGone(PeerUnreachable):
    """There is no connection now."""


class Wire:
    """What paho takes for its socket: collects what paho sends, so that a burst is one write."""

    def __init__(self, sock: socket.socket, limit_bytes: int) -> None:
        """Take over a connected `sock`."""
        self._sock, self._limit_bytes = sock, limit_bytes
        self._loop = asyncio.get_running_loop()
        self._out = bytearray()
        self._flush_soon = self._waits_to_write = False
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.failed: Callable[[str], None] = lambda _reason: None

    def has_room(self, size_bytes: int) -> bool:
        """Whether so much may be sent now; anything may if nothing is unwritten."""
        return not self._out or len(self._out) + size_bytes <= self._limit_bytes

    async def room(self, size_bytes: int) -> None:
        """Wait until so much may be sent, or the socket is closed."""
        while self._sock.fileno() >= 0 and not self.has_room(size_bytes):
            waiting = size_bytes, self._loop.create_future()
            self._waiting.append(waiting)
            try:
                await waiting[1]
            finally:
                self._waiting.remove(waiting)

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        return self._sock.recv(size)

    def pending(self) -> int:
        """Bytes that TLS has decrypted and nobody has read: no selector will tell of them."""
        return self._sock.pending() if isinstance(self._sock, ssl.SSLSocket) else 0

    def send(self, data: bytes | bytearray) -> int:
        """Take all of `data`; it leaves at the end of this turn of the loop."""
        self._out += data
        if not self._flush_soon and not self._waits_to_write:
            self._flush_soon = True
            self._loop.call_soon(self._flush)
        return len(data)

    def fileno(self) -> int:
        """As a socket's."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """As a socket's."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """Write what goes at once, and let go."""
        if self._sock.fileno() < 0:
            return
        self._flush()
        if self._sock.fileno() < 0:
            return  # what was left failed, and that closed it
        self._loop.remove_writer(self._sock)
        self._loop.remove_reader(self._sock)
        self._sock.close()
        self._out.clear()
        self._tell_waiting()

    def _flush(self) -> None:
        self._flush_soon = False
        if self._sock.fileno() < 0:
            return
        try:
            while self._out:
                del self._out[: self._sock.send(bytes(self._out[:_CHUNK_BYTES]))]
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass  # the rest goes when the selector says so
        except OSError as error:
            self._out.clear()
            self.failed(str(error))
        self._watch()

    def _watch(self) -> None:
        if self._sock.fileno() >= 0 and bool(self._out) != self._waits_to_write:
            self._waits_to_write = bool(self._out)
            if self._out:
                self._loop.add_writer(self._sock, self._flush)
            else:
                self._loop.remove_writer(self._sock)
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        for size_bytes, waiting in self._waiting:
            if not waiting.done() and self.has_room(size_bytes):
                waiting.set_result(None)


def reach(address: Address) -> socket.socket:
    """Connect, with TLS where the address asks for it; blocks, at most `REACH_S` for each once the name is resolved.

    Raises:
        OSError: it can't be reached, is no possible name of a host, or a file of TLS is none.
    """
    try:
        sock = socket.create_connection((address.host, address.port), REACH_S)
    except UnicodeError as error:
        raise OSError("no possible name of a host") from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if address.tls is not None:
            sock = address.tls.context().wrap_socket(sock, server_hostname=address.host)
    except BaseException:
        sock.close()
        raise
    return sock


async def dial(address: Address) -> socket.socket:
    """Connect in a daemon thread: resolving a name can't be broken off, and must not hold up the process's end.

    Raises:
        BrokerGone: it can't be reached.
    """
    call = _Call(address, asyncio.get_running_loop())
    threading.Thread(target=call.work, name="edge.runtime.wire.dial", daemon=True).start()
    try:
        return await call.answer
    except asyncio.CancelledError:
        call.hang_up()
        raise


class _Call:
    """One attempt, whose socket is closed by the thread or by `hang_up`, whichever comes last."""

    def __init__(self, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        self._address, self._loop = address, loop
        self.answer: asyncio.Future[socket.socket] = loop.create_future()
        self._lock = threading.Lock()
        self._sock: socket.socket | None = None
        self._hung_up = False

    def work(self) -> None:
        try:
            sock = reach(self._address)
        except OSError as error:
            self._tell(self._fail, error.strerror or str(error) or "no answer")
        else:
            with self._lock:
                self._sock = sock
                if self._hung_up:
                    sock.close()
                    return
            self._tell(self._succeed, sock)

    def hang_up(self) -> None:
        with self._lock:
            self._hung_up = True
            if self._sock is not None:
                self._sock.close()

    def _tell(self, what: Callable[[_T], None], value: _T) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile; who waited was cancelled before
            self._loop.call_soon_threadsafe(what, value)

    def _fail(self, reason: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(BrokerGone(str(self._address), reason))

    def _succeed(self, sock: socket.socket) -> None:
        if not self.answer.done():
            self.answer.set_result(sock)
