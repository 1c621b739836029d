"""The centre's threads: named, and one that falls ends the process, since a half-dead centre is worse than none.

What a thread owes to another is a `promise`: who waits may go away, and the thread that answers never falls of it.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from edge.runtime.ready import event

if TYPE_CHECKING:
    from collections.abc import Callable

Owed = TypeVar("Owed")


def promise() -> Future[Owed]:
    """Make what one thread answers and another waits for; a cancelled waiter leaves it as it is.

    A pending Future that its waiter cancels (`asyncio.wrap_future` does) refuses its result in the answering thread.
    """
    made: Future[Owed] = Future()
    made.set_running_or_notify_cancel()
    return made


class Crew:
    """Starts threads and watches them, on the running loop."""

    def __init__(self) -> None:
        """Begin without threads."""
        self._loop = asyncio.get_running_loop()
        self.fallen: asyncio.Future[BaseException] = self._loop.create_future()
        """Done, with what it raised, when a thread has fallen."""

    def start(self, name: str, work: Callable[[], None]) -> asyncio.Future[None]:
        """Run `work` in a thread; the future is done when it has returned."""
        done: asyncio.Future[None] = self._loop.create_future()
        # A daemon: what does not end in time must not hold up the process's end.
        threading.Thread(target=self._watch, args=(name, work, done), name=f"centre.{name}", daemon=True).start()
        return done

    async def join(self, done: asyncio.Future[None], timeout_s: float) -> bool:
        """Wait for a thread's end; False = it goes on."""
        await asyncio.wait([done], timeout=timeout_s)
        return done.done()

    def _watch(self, name: str, work: Callable[[], None], done: asyncio.Future[None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 # told, and raised again by who waits for `fallen`
            self._call(_settle, self.fallen, error)  # first: the process ends, whatever becomes of the telling
            where = "".join(traceback.format_exception(error))
            event("thread_died", thread=name, error=f"{type(error).__name__}: {error}", traceback=where)
        self._call(_settle, done, None)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


def _settle(future: asyncio.Future[object], value: object) -> None:
    if not future.done():
        future.set_result(value)
