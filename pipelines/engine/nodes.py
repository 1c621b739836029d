"""What the reader remembers of edge nodes and their journals, besides positions: part of the checkpoint."""

from __future__ import annotations

import functools
from typing import Final
from uuid import UUID

import msgspec

from edge.model.point import Group

_HOUR_NS: Final = 3_600_000_000_000
_FOREIGN_MAX: Final = 1000
_TOLD_MAX: Final = 1000
"""Nodes with incidents of their own in an hour; what goes beyond is told as if of one."""
_NAME_MAX: Final = 200
JOURNALS_MAX: Final = 256
"""Cards of one edge node that are remembered as its own."""
SCHEDULES_MAX: Final = 4096
"""Declarations of one journal that are remembered by their number; each of its files says again what holds."""

Key = tuple[str, str, str]
COUNTERS: Final = (
    "messages", "samples", "records", "bytes", "duplicates", "gaps", "held", "malformed", "foreign", "unnumbered",
    "unknown_tables", "undeclared", "holes",
)  # fmt: skip


@functools.lru_cache(maxsize=1 << 16)
def name_of(journal: UUID) -> str:
    """Write a journal as the state and the engine name it; writing a UUID costs as much as judging a message."""
    return str(journal)


class Node(msgspec.Struct, array_like=True):
    """One edge node of ours."""

    journals: list[str] = []
    """The journals it had, the newest last."""
    lineage: list[tuple[int, int]] = []
    """Of its last NBIRTH."""
    acknowledging_host: str = ""
    bd_seq: int = -1
    is_alive: bool = False
    last_ns: int = 0
    """Receipt of its last message. [ns since 1970, UTC]"""


class JournalNotes(msgspec.Struct, array_like=True):
    """What the records of one journal say of others."""

    node: str = ""
    """The edge node that last sent of it."""
    epoch: int | None = None
    """The epoch whose record came last; repeats at the head of files say it again."""
    heard: int = 0
    """The epoch that was last sent of."""
    schedules: dict[int, Key] = {}
    """The one said last is the last."""
    undated: list[Group] = []
    """Declared in a boot that ended without a date: they count from their first poll that has one."""

    def declared(self, schedule: int, key: Key) -> None:
        """Remember what a schedule's number stands for."""
        self.schedules.pop(schedule, None)
        self.schedules[schedule] = key
        if len(self.schedules) > SCHEDULES_MAX:
            del self.schedules[next(iter(self.schedules))]


class Book(msgspec.Struct, array_like=True):
    """All of it."""

    nodes: dict[str, Node] = {}
    """By `<group>/<edge node>`."""
    journals: dict[str, JournalNotes] = {}
    foreign: dict[str, int] = {}
    """Messages of edge nodes that are no gateways of ours."""
    counts: dict[str, int] = {}
    told: dict[str, int] = {}
    """Incidents told in the hour of receipt, by kind and node; the hour."""
    last_receipt_ns: int = 0

    def count(self, what: str, by: int = 1) -> None:
        """Add to a counter."""
        self.counts[what] = self.counts.get(what, 0) + by

    def node(self, name: str) -> Node:
        """Give what is known of a node of ours, which may be nothing."""
        node = self.nodes.get(name)
        if node is None:
            node = self.nodes[name] = Node()
        return node

    def journal(self, journal: UUID) -> JournalNotes:
        """Give what is known of a journal, which may be nothing."""
        text = name_of(journal)
        notes = self.journals.get(text)
        if notes is None:
            notes = self.journals[text] = JournalNotes()
        return notes

    def hear_foreign(self, name: str) -> None:
        """Count a message of another vendor's edge node."""
        self.count("foreign")
        name = name[:_NAME_MAX]
        if name in self.foreign or len(self.foreign) < _FOREIGN_MAX:
            self.foreign[name] = self.foreign.get(name, 0) + 1

    def may_tell(self, kind: str, name: str) -> bool:
        """Tell whether an incident of this kind is the first of its node in the hour of receipt."""
        hour = self.last_receipt_ns // _HOUR_NS
        if self.told and next(iter(self.told.values())) != hour:
            self.told.clear()
        place = f"{kind} {name[:_NAME_MAX]}"
        if place not in self.told and len(self.told) >= _TOLD_MAX:
            place = kind
        first = self.told.get(place) != hour
        self.told[place] = hour
        return first

    def carries(self, name: str, journal: UUID) -> str | None:
        """Note that a node sends of a journal; gives another one that is alive with it."""
        node, notes, text = self.node(name), self.journal(journal), name_of(journal)
        if not node.journals or node.journals[-1] != text:
            node.journals = [*(j for j in node.journals if j != text), text][-JOURNALS_MAX:]
        before = notes.node
        if before == name:
            return None
        notes.node = name
        other = self.nodes.get(before)
        return before if other is not None and other.is_alive and other.journals[-1] == text else None

    def centre_opened(self) -> None:
        """Know of no node whether it is alive: a death may have been missed."""
        for node in self.nodes.values():
            node.is_alive = False
