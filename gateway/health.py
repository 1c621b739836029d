"""What the running gateway says of itself: the answer to `status` (docs/gateway.md)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edge.durable.context import instant_of
from edge.durable.journal import State as JournalState
from gateway.recording.timebase import State as ClockState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.durable.journal import Journal
    from edge.runtime.clock import Clock
    from edge.runtime.supervisor import Supervisor
    from gateway.buses import BusOwner
    from gateway.recording.timebase import Timebase
    from gateway.uplink.uplink import Uplink

_UTILISATION_S = 60.0


@dataclasses.dataclass(slots=True)
class Busy:
    """How much of its time a bus is used: of the last minute to two."""

    busy_s: float = 0.0
    _marks: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def add(self, began_s: float, ended_s: float) -> None:
        """Learn of one poll, in real time."""
        if not self._marks:
            self._marks.append((began_s, 0.0))
        elif began_s - self._marks[-1][0] >= _UTILISATION_S:
            self._marks = [*self._marks[-1:], (began_s, self.busy_s)]
        self.busy_s += ended_s - began_s

    def utilisation_pct(self, now_s: float) -> float:
        """Share of time in which polls were under way. [%]."""
        if not self._marks or now_s <= self._marks[0][0]:
            return 0.0
        began_s, busy_s = self._marks[0]
        return round(100 * (self.busy_s - busy_s) / (now_s - began_s), 1)


def status(
    journal: Journal,
    timebase: Timebase,
    owners: Sequence[BusOwner],
    uplink: Uplink,
    supervisor: Supervisor,
    clock: Clock,
) -> dict[str, Any]:
    """Gather the answer; reads at most a few records."""
    said = uplink.status()
    waiting = [*_waiting(journal, timebase, owners), *said.pop("waiting", [])]
    return {
        "state": "degraded" if waiting or supervisor.fallen else "running",
        "node": {"group": journal.identity.group, "node": journal.identity.edge_node},
        "buses": [owner.status() for owner in owners],
        "devices": [device for owner in owners for device in owner.devices_status(timebase.offset_ns())],
        "backlog": said.pop("backlog"),
        "positions": said.pop("positions"),
        "lag_s": _lag_s(journal, timebase, clock),
        "waiting": waiting,
        "journal": _journal(journal),
        "clock": timebase.status(),
        "uplink": said,
        "fallen": {name: dataclasses.asdict(fallen) for name, fallen in supervisor.fallen.items()},
    }


def _waiting(journal: Journal, timebase: Timebase, owners: Sequence[BusOwner]) -> list[dict[str, str]]:
    found = journal.status
    waiting = []
    if found.state is not JournalState.WRITING:
        waiting.append({"for": "space" if found.state is JournalState.FULL else "journal", "why": found.error})
    if timebase.state is ClockState.BEFORE_FLOOR:
        waiting.append({"for": "clock", "why": "the wall clock is before records of earlier boots"})
    elif timebase.ready_at is None:
        waiting.append({"for": "clock", "why": "no source vouches for the wall clock yet"})
    waiting += [{"for": f"bus {owner.name}", "why": owner.down} for owner in owners if owner.down]
    return waiting


def _journal(journal: Journal) -> dict[str, Any]:
    found = dataclasses.asdict(journal.status)
    salvages = found.pop("salvages")
    return {
        "journal": str(journal.journal),
        "epoch": f"{journal.epoch.epoch:016x}",
        **found,
        "salvages": len(salvages),
    }


def _lag_s(journal: Journal, timebase: Timebase, clock: Clock) -> float | None:
    """Age of the oldest record that is not acknowledged; None = it has no date. [s, event time]."""
    position = journal.status.acknowledged
    for offset, record in journal.read(position, max_records=16):
        epoch, instant_ns = journal.epoch_at(offset), instant_of(record)
        if epoch is None or instant_ns is None:
            continue
        if epoch.boot == clock.boot:
            return max(0.0, (clock.mono_ns() - instant_ns) / 1e9)
        date_ns, offset_ns = journal.date_ns(epoch.boot, offset, instant_ns), timebase.offset_ns()
        return None if date_ns is None or offset_ns is None else (clock.mono_ns() + offset_ns - date_ns) / 1e9
    return 0.0
