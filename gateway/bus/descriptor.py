"""A line over a non-blocking file descriptor, driven by the event loop: what a serial port and a socket share."""

from __future__ import annotations

import asyncio
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge.runtime.clock import Clock

READ_BYTES = 4096
MOST_RECEIVED_BYTES = 8192
"""More than any peer may send unread. A serial line keeps the newest; a stream that has lost a part is closed."""


class DescriptorLine:
    """Base of `Line`s; a subclass opens, reads, writes and closes its own kind of descriptor."""

    silence_s = 0.0
    byte_s = 0.0

    def __init__(self, name: str, clock: Clock) -> None:
        """Begin closed."""
        self.name, self._clock = name, clock
        self.received = bytearray()
        self.last_received_s = 0.0
        self.lost: str | None = "not opened yet"
        self._fd = -1
        self._unsent = bytearray()
        self._waiter: asyncio.Future[None] | None = None

    def send(self, data: bytes) -> None:
        """See `Line.send`. What the descriptor does not take at once is sent when it does."""
        self._unsent += data
        self._on_writable()

    def read_now(self) -> None:
        """See `Line.read_now`."""
        if self.lost is None:
            self._read_some()

    async def wait(self, until_s: float) -> None:
        """See `Line.wait`."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(until_s - self._clock.real_s(), self._wake)
        if self.lost is not None:
            self._wake()
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def close(self) -> None:
        """See `Line.close`."""
        self._lose("closed")
        self._close()
        self._fd = -1

    def _attach(self, fd: int) -> None:
        self._fd, self.lost = fd, None
        self.received.clear()
        self._unsent.clear()
        self.last_received_s = self._clock.real_s()
        asyncio.get_running_loop().add_reader(fd, self._on_readable)

    def _lose(self, why: str) -> None:
        """Stop listening; the descriptor itself stays until `close`, so that its number is not another's."""
        if self.lost is not None:
            return
        self.lost = why
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._fd)
        loop.remove_writer(self._fd)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_readable(self) -> None:
        if not self._read_some() and self.lost is None and self._is_gone():
            self._lose("hung up")
        self._wake()

    def _read_some(self) -> bool:
        try:
            data = self._read(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._lose(str(error))
            return False
        if data:
            self.received += data
            self.last_received_s = self._clock.real_s()
            self._bound()
        return bool(data)

    def _is_gone(self) -> bool:
        """Whether a descriptor that was readable and yields nothing has no other end.

        A terminal with VMIN=0 yields an empty read for *nothing yet* as well as for *unplugged*.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if any(events & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0)):
            return True
        return bool(poll.poll(0)) and not self._read_some()

    def _bound(self) -> None:
        if len(self.received) > MOST_RECEIVED_BYTES:
            del self.received[:-READ_BYTES]
            if not self.silence_s:
                self._lose("sends more than was asked")

    def _on_writable(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            del self._unsent[: self._write(self._unsent)]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._lose(str(error))
            return
        if self._unsent:
            loop.add_writer(self._fd, self._on_writable)
        else:
            loop.remove_writer(self._fd)

    def _read(self, n_bytes: int) -> bytes:
        raise NotImplementedError

    def _write(self, data: bytearray) -> int:
        raise NotImplementedError

    def _close(self) -> None:
        raise NotImplementedError
