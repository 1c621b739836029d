"""Groups, polls and openings that the journal's tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.durable.eviction import DAMAGED
from edge.durable.journal import Journal
from edge.durable.reader import Reader
from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.record import PollRecord, Record, TombstoneRecord, decode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

S_NS = 1_000_000_000


def group(name: str = "fast", device: str = "m1", period_s: int = 1) -> Group:
    points = (Point("active_power_w", Kind.GAUGE, Datatype.FLOAT), Point("import_wh", Kind.COUNTER, Datatype.INT64))
    return Group("plaza", device, name, Domain.ENERGY, "sdm630@0123456789abcdef", period_s * S_NS, points)


def poll(schedule: int, n: int, outcome: int = 0, padding: str = "") -> PollRecord:
    values: list[Value] = [n * 0.5, n, padding] if padding else [n * 0.5, n]
    return PollRecord(schedule, n * S_NS, n * S_NS + 5, outcome, None if outcome else values)


def open_journal(directory: Path, **changes: Any) -> Journal:
    settings: dict[str, Any] = {"boot": "boot-1", "mono_ns": 0, "commit_s": 0.005}
    return Journal.open(directory, ("city", "gw-1"), **(settings | changes))


def commit(journal: Journal) -> None:
    assert journal.wait(journal.flush(), 20), journal.status


def settle(journal: Journal) -> None:
    """Wait until the writer has begun and ended a whole round: committed, and made room."""
    writer = journal._writer
    with writer.changed:
        end = writer.steps + 2
        while writer.steps < end:
            journal.flush()
            assert writer.changed.wait(20), journal.status


def standing(records: Iterable[Record]) -> list[TombstoneRecord]:
    """The tombstones that count records, without those that a wider one of their epoch stands for."""
    counting = {(r.epoch, r.first, r.end): r for r in records if isinstance(r, TombstoneRecord) and r.reason != DAMAGED}
    found = [
        stone
        for stone in counting.values()
        if not any(
            other is not stone and other.epoch == stone.epoch and other.first <= stone.first and stone.end <= other.end
            for other in counting.values()
        )
    ]
    return sorted(found, key=lambda stone: stone.first)


def stored(directory: Path) -> dict[int, Record]:
    found: dict[int, Record] = {}
    with Reader(directory) as reader:
        at = 0
        while page := reader.read(at):
            found.update((row.offset, decode(row.data)) for row in page)
            at = page[-1].offset + 1
    return found
