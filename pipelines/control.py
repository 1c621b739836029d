"""What the centre's control socket answers: `status`, `retire`, `checkpoint`."""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any

from edge.errors import Refused
from edge.runtime.ready import teller
from pipelines.ingest.log import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.runtime.clock import Clock
    from edge.runtime.control import Handler
    from pipelines.engine.checkpoint import CheckpointReader
    from pipelines.engine.reader import Reader
    from pipelines.ingest.front import Front
    from pipelines.ingest.host import Host
    from pipelines.ingest.log import Log
    from pipelines.reading import Reading
    from pipelines.sinks.follower import Follower

LATE_NS = 60 * 10**9
"""A window waits for its gateway if its records are later than this, and than two of its periods."""
_FOLLOW_S = 60.0
_LOOK_S = 0.02


class Condition(enum.StrEnum):
    """How the centre is, in one word; the first that applies."""

    FULL = "full"
    """Log or checkpoint find no space: nothing is acknowledged or granted, the gateways hold."""
    REPLAYING = "replaying"
    """The reader has not come to the end of the log since the start."""
    UNSUBSCRIBED = "unsubscribed"
    """The broker does not give us what edge nodes say."""
    RUNNING = "running"


class Control:
    """The handlers, on the loop."""

    def __init__(
        self,
        clock: Clock,
        log: Log,
        front: Front,
        reading: Reading,
        host: Host,
        followers: Sequence[Follower],
        source: CheckpointReader,
    ) -> None:
        """Speak for these; the first follower is the embedded store."""
        self._clock, self._log, self._front, self._reading, self._host = clock, log, front, reading, host
        self._followers, self._source = followers, source

    def handlers(self) -> dict[str, Handler]:
        """Give the handlers by what a request asks to do."""
        return {"status": self.status, "retire": self.retire, "checkpoint": self.checkpoint}

    async def status(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Say how everything is."""
        reader = await self._reader_status()
        groups = reader.pop("groups")
        return {
            "state": str(self._condition()),
            "lag_s": round(self._log.lag_s(self._reading.position), 3),
            "gateways": reader.pop("gateways"),
            "positions": reader.pop("positions"),
            "waiting": [_waiting(group) for group in groups if self._is_late(group)],
            "groups": len(groups),
            "followers": [follower.status() for follower in self._followers],
            "log": self._log.status(),
            "front": self._front.status(),
            "host": self._host.status(),
            "reader": {**reader, "error": self._reading.error or None},
            "unsaid": teller.unsaid,
        }

    async def retire(self, request: dict[str, Any]) -> dict[str, Any]:
        """Close what will never come; answer when it is done.

        Raises:
            Refused: nobody of that name is known, or the log is full.
        """
        scope, name = str(request.get("scope")), str(request.get("name"))
        closed = _matching(await self._reader_status(), scope, name)
        end = await asyncio.wrap_future(self._front.retire(scope, name))
        await asyncio.wrap_future(self._reading.passed(end))
        return {"ok": True, "closed": closed}

    async def checkpoint(self, _request: dict[str, Any]) -> dict[str, Any]:
        """Save what is in the log now, and wait until the embedded store has it."""
        await asyncio.wrap_future(self._reading.passed(self._log.next_offset, save=True))
        position, store = self._reading.saved_position, self._followers[0]
        store.notify()
        until_s = self._clock.real_s() + _FOLLOW_S
        while not self._has_all(status := store.status()):
            if self._clock.real_s() >= until_s:
                return {"ok": False, "position": position, "error": status["error"] or "the store is behind"}
            await self._clock.sleep(_LOOK_S)
        return {"ok": True, "position": position, "block": status["block"]}

    def _has_all(self, status: dict[str, Any]) -> bool:
        return not status["behind_blocks"] and not self._source.incidents_after(status["incident"])

    async def _reader_status(self) -> dict[str, Any]:
        return await asyncio.wrap_future(self._reading.call(_status_of))

    def _condition(self) -> Condition:
        if self._log.state is State.FULL or self._reading.error:
            return Condition.FULL
        if not self._reading.is_caught_up:
            return Condition.REPLAYING
        return Condition.RUNNING if self._front.is_subscribed else Condition.UNSUBSCRIBED

    def _is_late(self, group: dict[str, Any]) -> bool:
        reached_ns = group["watermark_ns"] or group["open_from_ns"]
        return not group["retired"] and self._clock.wall_ns() - reached_ns > LATE_NS + 2 * group["period_ns"]


def _status_of(reader: Reader) -> dict[str, Any]:
    return reader.status()


def _waiting(group: dict[str, Any]) -> dict[str, Any]:
    """One open window, as the ledger lists it."""
    site, _, device = group["device"].partition(":")
    return {"group": f"{site}/{device}/{group['group']}", "gateway": group["gateway"], "t_ns": group["open_from_ns"]}


def _matching(status: dict[str, Any], scope: str, name: str) -> int:
    """Count the groups with open windows that a retirement closes.

    Raises:
        Refused: nobody of that name is known.
    """
    keys = {"journal": "journal", "gateway": "gateway", "device": "device"}
    if scope not in keys:
        raise Refused(f"no scope {scope!r}: one of {', '.join(keys)}")
    groups = [group for group in status["groups"] if group[keys[scope]] == name]
    known = {
        "journal": {position["journal"] for position in status["positions"]},
        "gateway": {node["gateway"] for node in status["gateways"]},
        "device": {group["device"] for group in status["groups"]},
    }[scope]
    if name not in known:
        listed = "`wayside ledger`" if scope == "device" else "`wayside central status`"
        raise Refused(f"no {scope} {name!r} is known; {listed} lists them")
    return sum(not group["retired"] for group in groups)
