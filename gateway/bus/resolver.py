"""The addresses of one host: a name that nobody answers for holds up neither others' work nor the process's end.

A look-up can't be broken off, and may take half a minute. So it has a daemon thread of its own and not one of the
loop's few, which the uplink needs; and there is one at a time for each host: who asks again, after having given up,
waits for the one that is under way. A numeric address is looked up nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from typing import Any

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""As `socket.getaddrinfo` tells it."""


class Resolver:
    """Resolves one name, anew for each connection."""

    def __init__(self, host: str, port: int) -> None:
        """Touch nothing yet."""
        self._host, self._port = host, port
        self._numeric = _is_numeric(host)
        self._asked: asyncio.Future[list[Address] | OSError] | None = None

    async def addresses(self) -> list[Address]:
        """Find them; a wait that is broken off costs nothing, and its look-up serves the next one.

        Raises:
            OSError: there is no such name, or nobody knows.
        """
        if self._numeric:
            return self._look_up(socket.AI_NUMERICHOST)
        if self._asked is None or (self._asked.done() and isinstance(self._asked.result(), OSError)):
            self._asked = self._ask()
        asked = self._asked
        await asyncio.wait([asked])
        self._asked = None
        if isinstance(found := asked.result(), OSError):
            raise found
        return found

    def _ask(self) -> asyncio.Future[list[Address] | OSError]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Address] | OSError] = loop.create_future()

        def work() -> None:
            found: list[Address] | OSError
            try:
                found = self._look_up()
            except OSError as error:
                found = error
            with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
                loop.call_soon_threadsafe(answer.set_result, found)

        threading.Thread(target=work, name=f"gateway.bus.resolver[{self._host}]", daemon=True).start()
        return answer

    def _look_up(self, flags: int = 0) -> list[Address]:
        try:
            return [*socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM, flags=flags)]
        except UnicodeError as error:
            raise OSError("no possible name of a host") from error


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
