"""What edge nodes are to be told, gathered over some rows of the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


class Outbox(Protocol):
    """The host application, as the reader sees it; called from the reader's thread."""

    def state(
        self,
        node: tuple[str, str],
        journal: UUID,
        positions: dict[int, int],
        *,
        gap: bool,
        attempt: int,
        urgent: bool,
        taken_bytes: int,
    ) -> None:
        """State the position of a journal to its node."""

    def unknown_table(self, node: tuple[str, str]) -> None:
        """Ask a node for its births; the host limits how often."""


@dataclass(slots=True)
class Statement:
    """A statement of position that is owed to a node."""

    gap: bool = False
    attempt: int = 0
    urgent: bool = False
    taken_bytes: int = 0


class Owed:
    """Statements and rebirths owed; not part of the state, since whoever was not told asks again."""

    def __init__(self) -> None:
        """Owe nothing."""
        self.statements: dict[tuple[str, UUID], Statement] = {}
        self.rebirths: dict[str, None] = {}

    def state(self, node: str, journal: UUID, attempt: int = 0, *, urgent: bool = False, taken_bytes: int = 0) -> None:
        """Owe a statement."""
        owed = self.statements.setdefault((node, journal), Statement())
        if not owed.gap:
            owed.attempt = attempt
        owed.urgent |= urgent
        owed.taken_bytes += taken_bytes

    def gap(self, node: str, journal: UUID, attempt: int) -> None:
        """Owe a statement that something was discarded."""
        owed = self.statements.setdefault((node, journal), Statement())
        owed.gap, owed.urgent, owed.attempt = True, True, attempt
