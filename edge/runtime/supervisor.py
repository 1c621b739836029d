"""Tasks that live as long as the process: named, started again when they fall, stopped in order."""

from __future__ import annotations

import asyncio
import random
import signal
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from edge.runtime.ready import event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from edge.runtime.clock import Clock

LEAST_PAUSE_S = 0.5
MOST_PAUSE_S = 60.0
STEADY_S = 60.0
"""A task that ran this long before it fell starts again without a memory of earlier falls."""


@dataclass(slots=True)
class Fallen:
    """How often a task fell, and of what and when last."""

    count: int = 0
    error: str = ""
    last_s: float = 0.0
    """On the clock's real time."""


class Backoff:
    """Pauses that double, each anywhere in its upper half: those who fell together do not come back together."""

    def __init__(self, least_s: float, most_s: float, draw: random.Random | None = None) -> None:
        """Begin at `least_s`, end at `most_s`."""
        self._least_s, self._most_s = least_s, most_s
        self._draw = draw or random.Random()
        self._next_s = least_s

    def pause_s(self) -> float:
        """The pause before the next attempt."""
        pause_s = self._draw.uniform(0.5, 1.0) * self._next_s
        self._next_s = min(self._next_s * 2, self._most_s)
        return pause_s

    def reset(self) -> None:
        """Begin anew, after a success."""
        self._next_s = self._least_s


class Supervisor:
    """Owns tasks across buses, devices and connections: one that falls is started again, alone.

    Use as an async context. At its end the tasks are cancelled and awaited in the reverse order of their start.
    """

    def __init__(self, clock: Clock, draw: random.Random | None = None) -> None:
        """Take pauses on `clock`'s real time."""
        self._clock, self._draw = clock, draw or random.Random()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.fallen: dict[str, Fallen] = {}
        """By task name; only those that fell."""

    async def __aenter__(self) -> Self:
        """Begin without tasks."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything."""
        for name in reversed(list(self._tasks)):
            await self.stop(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Tasks that run, or wait to be started again."""
        return tuple(name for name, task in self._tasks.items() if not task.done())

    def start(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run `work()` under `name` (`gateway.bus[ttyUSB0].poll`) until it returns; start it again when it raises."""
        if name in self.names:
            raise ValueError(f"a task named {name} runs already")
        loop = asyncio.get_running_loop()
        self._tasks[name] = loop.create_task(self._keep(name, work), name=name)

    async def stop(self, name: str) -> None:
        """Cancel one task and wait until it has ended."""
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # only what even a supervisor does not hold: SystemExit and its like

    async def wait(self) -> None:
        """Wait until every task has returned by itself."""
        while running := [task for task in self._tasks.values() if not task.done()]:
            await asyncio.wait(running)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(LEAST_PAUSE_S, MOST_PAUSE_S, self._draw)
        while True:
            began_s = self._clock.real_s()
            try:
                await work()
            except Exception as error:  # noqa: BLE001 # the one place: whatever fell is counted, told, started again
                if self._clock.real_s() - began_s >= STEADY_S:
                    backoff.reset()
                pause_s = backoff.pause_s()
                self._count(name, error, pause_s)
            else:
                return
            await self._clock.sleep(pause_s)

    def _count(self, name: str, error: Exception, pause_s: float) -> None:
        fallen = self.fallen.setdefault(name, Fallen())
        fallen.count += 1
        fallen.last_s = self._clock.real_s()
        fallen.error = f"{type(error).__name__}: {error}"
        where = "".join(traceback.format_exception(error)) if fallen.count == 1 else None
        event(
            "task_fell", task=name, count=fallen.count, error=fallen.error, again_s=round(pause_s, 2), traceback=where
        )


def stop_on_signals() -> asyncio.Event:
    """Make an event that SIGTERM and SIGINT set, in the running loop."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    return asked
