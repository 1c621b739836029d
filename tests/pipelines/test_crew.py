"""A thread that falls is told first and said afterwards; who waits for a thread may go without hurting it."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

from pipelines.crew import Crew, promise
from tests.edge.runtime.unheard import unheard

if TYPE_CHECKING:
    from concurrent.futures import Future

    from pytest import CaptureFixture  # noqa: PT013 # a type only

WAIT_S = 10.0


async def fallen(crew: Crew) -> BaseException:
    async with asyncio.timeout(WAIT_S):
        return await crew.fallen


def falls() -> None:
    raise ValueError("fell")


async def test_a_fall_is_told_and_said(capsys: CaptureFixture[str]) -> None:
    crew = Crew()
    done = crew.start("reader", falls)
    assert isinstance(await fallen(crew), ValueError)
    assert await crew.join(done, WAIT_S)
    (said,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (said["event"], said["thread"], said["error"]) == ("thread_died", "reader", "ValueError: fell")


async def test_a_fall_is_told_where_nobody_hears_of_it() -> None:
    with unheard() as teller:
        crew = Crew()
        done = crew.start("reader", falls)
        assert isinstance(await fallen(crew), ValueError)
        assert await crew.join(done, WAIT_S)
    assert teller.unsaid == 1


async def test_a_thread_that_returns_is_no_fall_and_one_that_goes_on_is_not_waited_for() -> None:
    crew, end = Crew(), threading.Event()

    def works() -> None:
        end.wait(WAIT_S)

    done = crew.start("front", works)
    assert not await crew.join(done, 0.01)
    end.set()
    assert await crew.join(done, WAIT_S)
    assert not crew.fallen.done()


async def test_a_waiter_that_goes_leaves_a_promise_as_it_is() -> None:
    promised: Future[int] = promise()
    waiting = asyncio.wrap_future(promised)
    waiting.cancel()
    await asyncio.sleep(0)
    promised.set_result(3)
    assert promised.result() == 3
