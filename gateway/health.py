"""What the running gateway says of itself: the answer to `status` (docs/gateway.md)."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edge.durable.journal import State as JournalState
from gateway.recording.timebase import State as ClockState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edge.durable.journal import Journal
    from edge.runtime.clock import Clock
    from edge.runtime.supervisor import Supervisor
    from gateway.buses import BusOwner
    from gateway.lag import Lag
    from gateway.recording.timebase import Timebase
    from gateway.uplink.uplink import Uplink

DEGRADED_S = 600.0
"""How long a task that fell makes the gateway degraded: far longer than it waits to be started again. Real time."""
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
    lag: Lag,
    clock: Clock,
) -> dict[str, Any]:
    """Gather the answer, in the loop that polls: nothing in it may wait for the card."""
    said = uplink.status()
    said.pop("waiting")
    waiting = waits(journal, timebase, owners, uplink, lag)
    fallen = fallen_status(supervisor, clock.real_s())
    return {
        "state": state_of(waiting, fallen),
        "node": {"group": journal.identity.group, "node": journal.identity.edge_node},
        "buses": [owner.status() for owner in owners],
        "devices": [device for owner in owners for device in owner.devices_status(timebase.offset_ns())],
        "backlog": said.pop("backlog"),
        "positions": said.pop("positions"),
        "lag_s": lag.lag_s(),
        "waiting": waiting,
        "journal": _journal(journal),
        "clock": timebase.status(),
        "uplink": said,
        "fallen": fallen,
    }


def waits(
    journal: Journal, timebase: Timebase, owners: Sequence[BusOwner], uplink: Uplink, lag: Lag
) -> list[dict[str, str]]:
    """Tell what the gateway waits for, and why."""
    return [*_waiting(journal, timebase, owners), *_unread(lag), *uplink.status()["waiting"]]


def fallen_status(supervisor: Supervisor, now_s: float) -> dict[str, dict[str, Any]]:
    """By task, what an operator is shown of its falls."""
    return {
        name: {"count": fallen.count, "error": fallen.error, "ago_s": round(now_s - fallen.last_s, 1)}
        for name, fallen in supervisor.fallen.items()
    }


def state_of(waiting: Sequence[Any], fallen: Mapping[str, Mapping[str, Any]]) -> str:
    """Degraded while something is waited for, or a task fell lately."""
    is_degraded = waiting or any(each["ago_s"] < DEGRADED_S for each in fallen.values())
    return "degraded" if is_degraded else "running"


def _unread(lag: Lag) -> list[dict[str, str]]:
    return [{"for": "journal", "why": lag.error}] if lag.error else []


_NO_CLOCK = (
    "no source vouches for the wall clock yet, so nothing is sent: start chrony or systemd-timesyncd, "
    'or set [clock] sources = ["host"] if you vouch for it'
)


def _waiting(journal: Journal, timebase: Timebase, owners: Sequence[BusOwner]) -> list[dict[str, str]]:
    found = journal.status
    waiting = []
    if found.state is not JournalState.WRITING:
        waiting.append({"for": "space" if found.state is JournalState.FULL else "journal", "why": found.error})
    if timebase.state is ClockState.BEFORE_FLOOR:
        waiting.append({"for": "clock", "why": "the wall clock is before records of earlier boots"})
    elif timebase.ready_at is None:
        waiting.append({"for": "clock", "why": _NO_CLOCK})
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
