"""What a driver makes of one poll of one group, and what a poller asks of a driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.model.point import Value
from edge.model.record import Outcome


@dataclass(frozen=True, slots=True)
class Reading:
    """A snapshot of a group, all of it or nothing: values only if the outcome is OK, one per point, in its order."""

    outcome: Outcome
    taken_ns: int
    """When the last answer was complete, or the attempt given up. [ns, monotonic]"""
    values: list[Value] | None = None
    quality: list[int] | None = None
    """One per point; None when all are good."""


class Poll(Protocol):
    """One group of one device, ready to be read."""

    async def __call__(self) -> Reading:
        """Read the group once; every failure of device or bus is an outcome, not an exception."""
