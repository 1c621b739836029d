"""The receiving end: which batches are taken, and what is missing for good (docs/wire.md §5).

A pure function of the order of batches: no time, no input or output. The state is the position of each
(journal, epoch), and the parts of at most one unfinished batch per journal; `snapshot` holds all of it.
A position moves only without a gap, or by a jump that is reported; so what lies below it is either taken,
exactly once, or named in a `Jump`.

Bounded: of a journal, the epochs last heard of are remembered (`EPOCHS`), and of all others one number, `reached`: no
forgotten one was taken beyond it. An unknown epoch that begins below it may be one of them, or that of a copy as old,
never seen: it starts at `reached`, and what is passed over is named. So nothing is counted twice, whatever was
forgotten; only copies of a card that were made more than `EPOCHS` openings ago can be given up for it.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec

from edge.sparkplug.body import Body

EPOCHS: Final = 1024
"""Remembered of a journal: years of openings, and 14 kB of state at most."""


class Decision(enum.Enum):
    """What became of one part."""

    TAKEN = "taken"
    """The batch is whole and new: its parts are in the verdict."""
    HELD = "held"
    """The batch is next, and other parts are missing."""
    DUPLICATE = "duplicate"
    GAP = "gap"
    """Something before it is missing: state the position at once."""


class JumpReason(enum.StrEnum):
    """Why records will never come."""

    EVICTED = "evicted"
    CENTRE_RESTORED = "centre_restored"
    """They were acknowledged once, to a centre that has not got them now."""


@dataclass(frozen=True, slots=True)
class Jump:
    """Records [start, end) of `epoch` will never come; of every epoch unknown here, where it is None."""

    journal: UUID
    epoch: int | None
    start: int
    end: int
    reason: JumpReason


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with one part."""

    decision: Decision
    parts: tuple[bytes, ...] = ()
    """TAKEN: the payloads, in part order."""
    take_from: int = 0
    """TAKEN: records below this offset were taken before."""
    jumps: tuple[Jump, ...] = ()
    began: bool = False
    """The epoch is new here."""
    fork: bool = False
    """A new epoch begins at an offset that another one used: a restored or cloned journal."""


class _Pending(msgspec.Struct):
    key: tuple[int, int, int, int, int]
    parts: dict[int, bytes]


class _State(msgspec.Struct):
    positions: dict[str, dict[int, int]]
    """Of each journal, the epoch last heard of last."""
    reached: dict[str, int]
    lost: dict[str, int]
    pending: dict[str, _Pending]


class Acceptor:
    """Positions of all journals, and the rule that moves them."""

    def __init__(self, epochs: int = EPOCHS) -> None:
        """Know nothing, and remember `epochs` of each journal."""
        self._epochs = epochs
        self._positions: dict[UUID, dict[int, int]] = {}
        self._reached: dict[UUID, int] = {}
        self._lost: dict[UUID, int] = {}
        self._pending: dict[UUID, _Pending] = {}

    def positions(self, journal: UUID) -> dict[int, int]:
        """Every epoch remembered of `journal`, with its position."""
        return dict(self._positions.get(journal, {}))

    def stated(self, journal: UUID, lineage: Sequence[tuple[int, int]]) -> dict[int, int]:
        """Give the positions in a branch's epochs, (epoch, first offset), oldest first.

        One that was forgotten is whole where a later one is known, since that could not begin before.
        """
        known, reached = self._positions.get(journal, {}), self._reached.get(journal, 0)
        positions: dict[int, int] = {}
        end = None
        for epoch, first in reversed(lineage):
            position = known.get(epoch)
            if position is None and end is not None and first < reached:
                position = end
            if position is not None:
                positions[epoch] = position
            if positions:
                end = first
        return positions

    def journals(self) -> tuple[UUID, ...]:
        """Every journal known."""
        return tuple(self._positions)

    def held(self, body: Body) -> dict[int, bytes]:
        """Give the other parts of the batch that this one makes whole, by number; empty if it does not."""
        pending = self._pending.get(body.journal)
        if pending is None or pending.key != _key(body):
            return {}
        others = {n: part for n, part in sorted(pending.parts.items()) if n != body.part}
        return others if len(others) == body.parts - 1 else {}

    def offer(self, body: Body, payload: bytes) -> Verdict:
        """Judge one part; `payload` is opaque and comes back in `parts`."""
        known = self._positions.get(body.journal, {})
        began = body.epoch not in known
        jumps: list[Jump] = []
        fork = False
        if began:
            start = self._begin(known, body, jumps)
            if start is None:
                return Verdict(Decision.GAP)
            reached = self._reached.get(body.journal, 0)
            fork = reached > body.first or any(position > body.first for position in known.values())
            if start < reached:
                jumps.append(self._jump(body, body.epoch, start, reached))
                start = reached
        else:
            start = known[body.epoch]
        if start < body.oldest:
            jumps.append(self._jump(body, body.epoch, start, body.oldest))
            start = body.oldest
        if body.b <= start:
            return self._move(body, start, Verdict(Decision.DUPLICATE, (), 0, tuple(jumps), began, fork))
        if body.a > start:
            return self._move(body, start, Verdict(Decision.GAP, (), 0, tuple(jumps), began, fork))
        parts = self._assemble(body, payload)
        if parts is None:
            return self._move(body, start, Verdict(Decision.HELD, (), 0, tuple(jumps), began, fork))
        return self._move(body, body.b, Verdict(Decision.TAKEN, parts, start, tuple(jumps), began, fork))

    def snapshot(self) -> bytes:
        """Make bytes of the whole state, equal for equal states."""
        state = _State(
            {str(j): of for j, of in sorted(self._positions.items())},
            {str(j): n for j, n in sorted(self._reached.items())},
            {str(j): n for j, n in sorted(self._lost.items())},
            {str(j): _Pending(p.key, dict(sorted(p.parts.items()))) for j, p in sorted(self._pending.items())},
        )
        return msgspec.msgpack.encode(state)

    @classmethod
    def restore(cls, data: bytes, epochs: int = EPOCHS) -> Acceptor:
        """Go on from a snapshot; `epochs` as it was made with.

        Raises:
            msgspec.DecodeError: the bytes are no snapshot.
        """
        state = msgspec.msgpack.decode(data, type=_State)
        acceptor = cls(epochs)
        acceptor._positions = {UUID(j): of for j, of in state.positions.items()}
        acceptor._reached = {UUID(j): n for j, n in state.reached.items()}
        acceptor._lost = {UUID(j): n for j, n in state.lost.items()}
        acceptor._pending = {UUID(j): p for j, p in state.pending.items()}
        return acceptor

    def _begin(self, known: dict[int, int], body: Body, jumps: list[Jump]) -> int | None:
        """Find where an epoch not seen before starts; None if earlier records must come first."""
        if body.previous is None:
            return body.first
        reached = known.get(body.previous)
        if reached is not None and reached >= body.first:
            return body.first
        if body.oldest < body.first:
            return None
        if reached is None:
            # Epochs of this branch went whole before this centre heard of them, or it forgot; which, nobody can tell.
            jumps.append(self._jump(body, None, 0, body.first))
        else:
            jumps.append(self._jump(body, body.previous, reached, body.first))
        return body.first

    def _jump(self, body: Body, epoch: int | None, start: int, end: int) -> Jump:
        evicted = body.lost > self._lost.get(body.journal, 0)
        reason = JumpReason.EVICTED if evicted else JumpReason.CENTRE_RESTORED
        return Jump(body.journal, epoch, start, end, reason)

    def _move(self, body: Body, position: int, verdict: Verdict) -> Verdict:
        known = self._positions.setdefault(body.journal, {})
        known.pop(body.epoch, None)
        known[body.epoch] = position
        if len(known) > self._epochs:
            forgotten = known.pop(next(iter(known)))
            self._reached[body.journal] = max(forgotten, self._reached.get(body.journal, 0))
        if body.lost > self._lost.get(body.journal, 0):
            self._lost[body.journal] = body.lost
        return verdict

    def _assemble(self, body: Body, payload: bytes) -> tuple[bytes, ...] | None:
        if body.parts == 1:
            self._pending.pop(body.journal, None)
            return (payload,)
        key = _key(body)
        pending = self._pending.get(body.journal)
        if pending is None or pending.key != key:
            pending = self._pending[body.journal] = _Pending(key, {})
        pending.parts[body.part] = payload
        if len(pending.parts) < body.parts:
            return None
        del self._pending[body.journal]
        return tuple(pending.parts[i] for i in range(body.parts))


def _key(body: Body) -> tuple[int, int, int, int, int]:
    return body.epoch, body.a, body.b, body.parts, body.attempt
