"""Names that are looked up slowly, wrongly or not at all; the look-up itself is ours, the sockets are real."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge.runtime.clock import RealClock
from gateway.bus.resolver import Resolver
from gateway.bus.tcp import TcpLine

PLACE = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 502))


class Names:
    """A name server that answers when it is let."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.asked = 0
        self.answer: Callable[[], list[Any]] = lambda: [PLACE]

    def look_up(self, *_: Any, **__: Any) -> list[Any]:
        self.asked += 1
        assert self.free.wait(20)
        return self.answer()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names.look_up)
    yield names
    names.free.set()
    wait_for_look_ups()


def look_ups() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("gateway.bus.resolver")]


def wait_for_look_ups() -> None:
    for thread in look_ups():
        thread.join(20)


def no_such_name() -> list[Any]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


async def gives_up(resolver: Resolver) -> None:
    waiting = asyncio.ensure_future(resolver.addresses())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.usefixtures("names")
async def test_a_slow_name_takes_no_thread_that_others_need() -> None:
    """Twenty buses by name would fill any pool; each attempt gives up, and the next one waits on the same look-up."""
    lines = [TcpLine(f"meter-{n}.city", 502, RealClock(), 0.001) for n in range(20)]
    for _ in range(3):
        for line in lines:
            with pytest.raises(OSError, match="no connection within"):
                await line.open()
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 5) == 7
    assert len(look_ups()) == 20
    assert all(thread.daemon for thread in look_ups()), "the process may end before them"


async def test_an_answer_that_comes_late_serves_the_next_attempt(names: Names) -> None:
    resolver = Resolver("meter.city", 502)
    await gives_up(resolver)
    names.free.set()
    assert await resolver.addresses() == [PLACE]
    assert names.asked == 1
    assert await resolver.addresses() == [PLACE]
    assert names.asked == 2, "each connection asks anew: a device may have moved"


async def test_a_late_no_is_asked_again(names: Names) -> None:
    resolver = Resolver("meter.city", 502)
    names.answer = no_such_name
    await gives_up(resolver)
    names.free.set()
    wait_for_look_ups()
    await asyncio.sleep(0)  # its word reaches the loop
    names.answer = lambda: [PLACE]
    assert await resolver.addresses() == [PLACE]
    names.answer = no_such_name
    with pytest.raises(socket.gaierror, match="not known"):
        await resolver.addresses()


def test_a_look_up_that_outlives_its_loop_is_quiet(names: Names) -> None:
    async def attempt() -> None:
        await gives_up(Resolver("meter.city", 502))

    asyncio.run(attempt())
    names.free.set()
    wait_for_look_ups()  # what it raised would be an unhandled warning, and so an error


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_numeric_address_needs_no_thread(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a thread for a number")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [place[4][:2] for place in await Resolver(host, 502).addresses()] == [(host, 502)]


async def test_what_cannot_be_a_name_is_an_error_of_the_line() -> None:
    with pytest.raises(OSError, match="no possible name"):
        await Resolver("a" * 80, 502).addresses()
