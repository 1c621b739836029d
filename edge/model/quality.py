"""How far a sample may be believed, and why not: one integer of a status and reason bits."""

from __future__ import annotations

import enum


class Quality(enum.IntFlag):
    """Status in the two low bits (0 good, 1 uncertain, 2 bad), reasons above.

    A bad sample never enters a statistic; it enters the ledger under its reasons.
    """

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2
    NOT_AVAILABLE = 1 << 2
    OUT_OF_RANGE = 1 << 3
    STUCK = 1 << 4
    CHATTER = 1 << 5
    LOCKED_ON = 1 << 6
    SPIKE = 1 << 7
    ROLLOVER = 1 << 8
    RESET = 1 << 9
    CLOCK = 1 << 10
    SUBSTITUTED = 1 << 11
    COMMUNICATION = 1 << 12


STATUS_MASK = 0b11

REASONS: tuple[tuple[str, int], ...] = tuple(
    (flag.name.lower(), int(flag)) for flag in Quality if int(flag) > STATUS_MASK and flag.name is not None
)
"""Every reason's published name and its bit, lowest bit first."""


def is_usable(quality: int) -> bool:
    """Tell whether a sample of this quality may enter a statistic (good or uncertain)."""
    return quality & STATUS_MASK != int(Quality.BAD)


def reason_names(quality: int) -> tuple[str, ...]:
    """Name the reasons set in `quality`, lowest bit first."""
    return tuple(name for name, bit in REASONS if quality & bit)
