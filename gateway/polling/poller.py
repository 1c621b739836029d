"""One task per bus: polls each group when it is due, and records every slot, polled or not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge.model.point import Value
from edge.model.record import Outcome
from gateway.polling.schedule import Timetable
from gateway.polling.silence import Silences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.runtime.clock import Clock
    from gateway.bus.line import Bus
    from gateway.drivers.reading import Poll, Reading

_BREATH = 256
"""Missed slots recorded without letting other tasks run."""


class Recorder(Protocol):
    """Where polls go; it takes them at once, and never waits for the card."""

    def poll(
        self,
        schedule: int,
        due_ns: int,
        taken_ns: int,
        outcome: Outcome,
        values: list[Value] | None,
        quality: list[int] | None,
    ) -> None:
        """Record one poll of the schedule's group; instants are monotonic event time, `taken_ns` never before due."""


Offset = Callable[[], int | None]
"""Wall less monotonic event time, by the anchor in force; None while there is none. [ns]"""


@dataclass(frozen=True, slots=True)
class Job:
    """One group to be polled."""

    schedule: int
    """The recorder's number of its schedule record."""
    from_ns: int
    """`mono_ns` of that record: slots are owed from here on."""
    period_ns: int
    device: str
    """What falls silent together: all groups of one device."""
    poll: Poll


@dataclass(slots=True)
class _Entry:
    job: Job
    timetable: Timetable


@dataclass(slots=True)
class PollCounters:
    """What became of the slots of one bus."""

    polled: int = 0
    passed_over: int = 0
    missed: int = 0


class Poller:
    """Owns one bus. Earliest due first: fair, because who was passed over is due since longer than who was served.

    Its slots outlive its task: a `run` that fell and is started again records what was missed between.
    """

    def __init__(
        self,
        bus: Bus,
        jobs: Sequence[Job],
        recorder: Recorder,
        clock: Clock,
        offset: Offset,
        silences: Silences | None = None,
    ) -> None:
        """Plan, and touch nothing yet."""
        self._bus, self._recorder, self._clock, self._offset = bus, recorder, clock, offset
        self._silences = silences or Silences()
        self._entries = [_Entry(job, Timetable(job.period_ns, job.from_ns, self._offset_ns())) for job in jobs]
        self._devices = tuple(dict.fromkeys(job.device for job in jobs))
        for device in self._devices:
            period_ns = min(job.period_ns for job in jobs if job.device == device)
            self._silences.add(device, period_ns / clock.scale / 1e9)
        self.counters = PollCounters()

    @property
    def silent(self) -> tuple[str, ...]:
        """Devices that are only probed now."""
        return tuple(device for device in self._devices if self._silences.is_silent(device))

    async def run(self) -> None:
        """Poll until cancelled; then let go of the line."""
        try:
            while self._entries:
                entry = min(self._entries, key=lambda e: e.timetable.due_ns)
                await self._clock.sleep_until(entry.timetable.due_ns)
                await self._serve(entry)
                await asyncio.sleep(0)  # what is overdue and passed over waits for nothing: let others run
        finally:
            self._bus.close()

    async def _serve(self, entry: _Entry) -> None:
        job = entry.job
        now_ns = self._clock.mono_ns()
        taken = entry.timetable.take(now_ns, self._offset_ns())
        passed_over = self._silences.passed_over(job.device, self._clock.real_s())
        await self._record_missed(job, taken.missed_ns, now_ns, passed_over)
        if passed_over is not None:
            self.counters.passed_over += 1
            self._recorder.poll(job.schedule, taken.due_ns, now_ns, passed_over, None, None)
            return
        reading = await self._poll(job)
        self.counters.polled += 1
        taken_ns = max(reading.taken_ns, taken.due_ns)
        self._recorder.poll(job.schedule, taken.due_ns, taken_ns, reading.outcome, reading.values, reading.quality)

    async def _poll(self, job: Job) -> Reading:
        began_s = self._clock.real_s()
        reading = await job.poll()
        free_s = max(self._clock.real_s(), self._bus.quiet_until_s)
        self._silences.polled(job.device, reading.outcome, began_s, free_s)
        return reading

    async def _record_missed(self, job: Job, missed_ns: range, now_ns: int, passed_over: Outcome | None) -> None:
        """Record slots that nobody had time for; where there was nothing to have time for, say that instead."""
        outcome = passed_over or (Outcome.BUS_DOWN if self._bus.is_down else Outcome.STRETCHED)
        for n, due_ns in enumerate(missed_ns, 1):
            self._recorder.poll(job.schedule, due_ns, now_ns, outcome, None, None)
            if n % _BREATH == 0:
                await asyncio.sleep(0)
        self.counters.missed += len(missed_ns)

    def _offset_ns(self) -> int:
        return self._offset() or 0
