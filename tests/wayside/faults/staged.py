"""A small city with real processes for tests of faults, and copies of journals made before anything is lost."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.runtime.clock import RealClock
from wayside.answer import judge
from wayside.cast import Bus, Cast, Device
from wayside.children import Child
from wayside.stage import READY_S, Stage

SCALE = 60


def small_cast(seed: int) -> Cast:
    """Two gateways: a TCP bus with a meter and a counter, a serial line with a meter."""
    buses = (Bus("hall", "gw-hall", "tcp"), Bus("depot", "gw-depot", "rtu"))
    devices = (
        Device("meter-1", "hall", "hall", 1, "sdm630"),
        Device("counter-1", "hall", "hall", 11, "modbus_counter"),
        Device("meter-1", "depot", "depot", 1, "em340"),
    )
    return Cast(seed, buses, devices)


@contextmanager
def staged(directory: Path, seed: int, scale: int = SCALE, journal_bytes: int = 1 << 30) -> Iterator[Stage]:
    """Run the city as long as the context lasts."""
    origin_s = RealClock().wall_ns() // 10**9
    with Stage(directory / "stage", small_cast(seed), scale, origin_s, journal_bytes=journal_bytes) as stage:
        stage.start()
        yield stage


def let_run(real_s: float) -> None:
    """Let the city live; these are faults in running processes, whose time is real."""
    time.sleep(real_s)


def wait_for(condition: Callable[[], bool], deadline_s: float = 30.0) -> None:
    """Look until a condition holds; fail when the deadline has passed."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "the condition did not come true in time"
        time.sleep(0.05)


def is_delivering(stage: Stage) -> bool:
    """Whether every gateway is connected and the centre has rows of it."""
    _, gateways = stage.statuses()
    return all(status and status["uplink"]["state"] == "delivering" for status in gateways.values())


def kill_at_random(child: Child, times: int, draw: random.Random, revive: Callable[[], None] | None = None) -> None:
    """Kill a process at random moments of its life, and start it again after random pauses."""
    for _ in range(times):
        let_run(draw.uniform(0.05, 1.5))
        child.kill()
        let_run(draw.choice((0.0, 0.05, 0.5)))
        if revive is not None:
            revive()
            continue
        child.start()
        # Half of the kills hit a process that is only just starting.
        if draw.random() < 0.5:
            child.await_ready(READY_S)


def assert_proved(stage: Stage, *copies: Path) -> None:
    """Settle, and compare every final row with what the row twin makes of all copies of the journals."""
    stage.settle()
    verdict = judge(stage, copies)
    assert verdict.ok, "\n".join([verdict.last_line(), *verdict.differences])
    assert verdict.compared > 50
    assert verdict.points_equal == verdict.points > 0


def copied(folder: Path, to: Path) -> Path:
    """Copy a folder of a process that does not run."""
    return Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns("control.sock")))


class Keeper:
    """Links each ended file of a journal to a folder of its own, so that eviction can't take the reference."""

    def __init__(self, journal: Path, room: Path) -> None:
        """Begin to look."""
        self.journal, self.room = journal, room
        room.mkdir()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def end(self) -> None:
        """Look no more."""
        self._stop.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._stop.wait(0.02):
            files = sorted(self.journal.glob("*.seg"))
            for path in files[:-1]:
                kept = self.room / path.name
                if not kept.exists() and path.exists():
                    os.link(path, kept)
            for path in self.journal.glob("identity*.json"):
                if not (self.room / path.name).exists():
                    shutil.copy(path, self.room / path.name)
