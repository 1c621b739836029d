"""Tombstones that are not known to have arrived: no eviction may take what they say.

A journal that is full for long evicts tombstones, too. What they counted is joined with what goes now, epoch by epoch;
so the tombstones held say all that went since the last acknowledgement, one for each epoch at most. Where there were
very many epochs, the oldest share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.durable.eviction import DAMAGED, join

if TYPE_CHECKING:
    from edge.model.record import TombstoneRecord

_MOST = 32
"""Tombstones of a kind that one eviction says again: they must stay few beside what a file holds."""


class Lost:
    """The tombstones held, with their offsets. No input or output."""

    def __init__(self) -> None:
        """Know none."""
        self._told: list[tuple[int, TombstoneRecord]] = []

    def take(self, offset: int, stone: TombstoneRecord) -> None:
        """Learn of the tombstone at `offset`; it stands for those that it covers."""
        self._told = [(at, known) for at, known in self._told if not _covers(stone, known)]
        self._told.append((offset, stone))

    def stands(self, offset: int) -> bool:
        """Tell whether no later tombstone says what the one at `offset` says."""
        return any(at == offset for at, _ in self._told)

    def damage_is_told(self, first: int, end: int) -> bool:
        """Tell whether a tombstone held says that [first, end) was destroyed."""
        return any(s.reason == DAMAGED and s.first <= first and end <= s.end for _, s in self._told)

    def forget(self, oldest: int) -> None:
        """Let go of those that went with their files."""
        self._told = [(at, stone) for at, stone in self._told if at >= oldest]

    def told_anew(self, new: list[TombstoneRecord], end: int, acknowledged: int) -> list[TombstoneRecord]:
        """Make the tombstones of an eviction up to `end`: `new` ones joined with, and beside, those not yet arrived."""
        stones = list(new)
        for at, known in reversed(self._told):
            if at < acknowledged:
                continue
            n = next((n for n, stone in enumerate(stones) if _continues(stone, known)), None)
            if n is not None:
                stones[n] = join(known, stones[n])
            elif at < end:
                stones.append(known)
        stones.sort(key=lambda stone: stone.first)
        damaged = [stone for stone in stones if stone.reason == DAMAGED]
        return [*_few(damaged), *_few([stone for stone in stones if stone.reason != DAMAGED])]


def _covers(stone: TombstoneRecord, known: TombstoneRecord) -> bool:
    return (
        (stone.reason == DAMAGED) == (known.reason == DAMAGED)
        and stone.epoch in {None, known.epoch}
        and stone.first <= known.first
        and known.end <= stone.end
    )


def _continues(stone: TombstoneRecord, known: TombstoneRecord) -> bool:
    is_same = (stone.reason == DAMAGED) == (known.reason == DAMAGED) and stone.epoch == known.epoch
    return is_same and stone.epoch is not None and known.end == stone.first


def _few(stones: list[TombstoneRecord]) -> list[TombstoneRecord]:
    while len(stones) > _MOST:
        stones = [join(stones[0], stones[1]), *stones[2:]]
    return stones
