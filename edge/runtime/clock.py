"""The only source of time: event time, which may be scaled, and real time, which never is.

Event time (dates, schedules, windows, retention) comes from `wall_ns` and `mono_ns`; time-outs, back-off, commit
and publish intervals come from `real_s`. With `WAYSIDE_TIME_SCALE=N` and `WAYSIDE_TIME_ORIGIN=<unix seconds>`
event wall = origin + (wall - origin)·N and event monotonic = monotonic·N, the same in every process of the machine.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge.errors import ConfigurationError, Mistake, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCALE = "WAYSIDE_TIME_SCALE"
ORIGIN = "WAYSIDE_TIME_ORIGIN"

_S_NS = 1_000_000_000
_MAX_SCALE = 10_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A suspended or stepped machine is noticed within this: asyncio's own timers stand still in a suspend.
_LONGEST_SLEEP_S = 60.0


class Clock(Protocol):
    """Time as an argument."""

    @property
    def boot(self) -> str:
        """Id of this boot: `mono_ns` of two boots can't be compared."""

    @property
    def scale(self) -> int:
        """How many times as fast as real time the event clock runs."""

    def wall_ns(self) -> int:
        """Event time by the machine's wall clock, right or wrong. [ns since 1970, UTC]."""

    def mono_ns(self) -> int:
        """Event time since the boot; goes on in a suspend, never steps. [ns]."""

    def real_s(self) -> float:
        """Real time since some moment, for time-outs and back-off. [s]."""

    async def sleep(self, real_s: float) -> None:
        """Wait for a real time."""

    async def sleep_until(self, mono_ns: int) -> None:
        """Wait until the event clock's `mono_ns` has reached this."""


class RealClock:
    """The machine's clocks, scaled or not."""

    def __init__(self, scale: int = 1, origin_s: int = 0) -> None:
        """Run `scale` times as fast since `origin_s` (unix seconds)."""
        self._scale, self._origin_ns = scale, origin_s * _S_NS
        self._boot = _BOOT_ID.read_text().strip()

    @property
    def boot(self) -> str:
        """The kernel's id of this boot, named apart where the monotonic clock is scaled."""
        return self._boot if self._scale == 1 else f"{self._boot}*{self._scale}"

    @property
    def scale(self) -> int:
        """How many times as fast as real time the event clock runs."""
        return self._scale

    def wall_ns(self) -> int:
        """See `Clock.wall_ns`."""
        wall_ns = time.time_ns()  # noqa: TID251 # this is the file that may
        return self._origin_ns + (wall_ns - self._origin_ns) * self._scale

    def mono_ns(self) -> int:
        """See `Clock.mono_ns`."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * self._scale

    def real_s(self) -> float:
        """See `Clock.real_s`."""
        return time.monotonic()

    async def sleep(self, real_s: float) -> None:
        """See `Clock.sleep`."""
        await asyncio.sleep(real_s)

    async def sleep_until(self, mono_ns: int) -> None:
        """See `Clock.sleep_until`."""
        while (left_ns := mono_ns - self.mono_ns()) > 0:  # noqa: ASYNC110 # time passes, nothing sets an event
            await asyncio.sleep(min(left_ns / (self._scale * _S_NS), _LONGEST_SLEEP_S))


class ManualClock:
    """A clock that stands still until `advance`; sleepers wake in the order of their times."""

    def __init__(self, wall_ns: int = 1_790_000_000 * _S_NS, mono_ns: int = 0, boot: str = "boot-1") -> None:
        """Begin at these instants."""
        self.boot, self.scale = boot, 1
        self._wall_ns, self._mono_ns = wall_ns, mono_ns
        self._sleepers: list[tuple[int, asyncio.Future[None]]] = []

    def wall_ns(self) -> int:
        """See `Clock.wall_ns`."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """See `Clock.mono_ns`."""
        return self._mono_ns

    def real_s(self) -> float:
        """Event and real time are one here."""
        return self._mono_ns / _S_NS

    async def sleep(self, real_s: float) -> None:
        """See `Clock.sleep`."""
        await self.sleep_until(self._mono_ns + round(real_s * _S_NS))

    async def sleep_until(self, mono_ns: int) -> None:
        """See `Clock.sleep_until`."""
        if mono_ns <= self._mono_ns:
            await asyncio.sleep(0)
            return
        sleeper = mono_ns, asyncio.get_running_loop().create_future()
        self._sleepers.append(sleeper)
        try:
            await sleeper[1]
        finally:
            self._sleepers.remove(sleeper)

    @property
    def next_wake_ns(self) -> int | None:
        """When the first sleeper wakes; None if nobody sleeps."""
        return min((mono_ns for mono_ns, waiting in self._sleepers if not waiting.done()), default=None)

    def step_wall(self, by_ns: int) -> None:
        """Step the wall clock alone, as a late time synchronisation does."""
        self._wall_ns += by_ns

    async def advance(self, by_s: float) -> None:
        """Move on, letting every sleeper on the way wake at its own time and run until it waits again."""
        end = self._mono_ns + round(by_s * _S_NS)
        await _let_others_run()
        while (wake_ns := self.next_wake_ns) is not None and wake_ns <= end:
            self._move(wake_ns)
            for mono_ns, waiting in list(self._sleepers):
                if mono_ns <= wake_ns and not waiting.done():
                    waiting.set_result(None)
            await _let_others_run()
        self._move(end)

    def _move(self, mono_ns: int) -> None:
        self._wall_ns += mono_ns - self._mono_ns
        self._mono_ns = mono_ns


def clock_of(environment: Mapping[str, str], sources: Sequence[str]) -> RealClock:
    """Make the process's clock from its environment.

    Args:
        environment: the process's environment variables.
        sources: where the configuration takes dates from (`[clock] sources`; the centre's is "host").

    Raises:
        Refused: a scaled clock with a source that runs in real time.
        ConfigurationError: scale or origin are no numbers that make sense.
    """
    if SCALE not in environment:
        return RealClock()
    scale = _number(environment, SCALE, 1, _MAX_SCALE)
    if scale == 1:
        return RealClock()
    if list(sources) != ["host"]:
        raise Refused(
            f'{SCALE} is for clocks that the operator vouches for: set [clock] sources = ["host"], or unset it'
        )
    return RealClock(scale, _number(environment, ORIGIN, 0, int(time.time())))  # noqa: TID251 # as above


def process_clock(sources: Sequence[str]) -> RealClock:
    """`clock_of` this process's own environment."""
    return clock_of(os.environ, sources)


def _number(environment: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = environment.get(name)
    if text is None or not text.isdecimal() or not low <= int(text) <= high:
        raise ConfigurationError([Mistake("environment", name, text, f"a whole number from {low} to {high}")])
    return int(text)


async def _let_others_run() -> None:
    """Give every task that can go on enough rounds of the loop to come to its next wait."""
    for _ in range(20):
        await asyncio.sleep(0)
