"""Journals to send from, and what a centre must understand of them, said from docs/wire.md and not from the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge.durable.export import export
from edge.durable.journal import Journal
from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.quality import Quality
from edge.model.record import AnchorRecord, DatingRecord, PollRecord, Record
from edge.sparkplug import birth
from edge.sparkplug.body import Body, Undatable, decode
from edge.sparkplug.payload import get_quality, parse
from tests.metrics import get_value

if TYPE_CHECKING:
    from pathlib import Path

    from edge.sparkplug.birth import Table
    from edge.sparkplug.sparkplug_b_pb2 import Payload

S_NS = 1_000_000_000
WALL_NS = 1_790_000_000 * S_NS
Samples = dict[str, tuple[Value, int, int]]
"""Point → (value, quality, t_ms)."""
Identity = tuple[int, int]
"""(epoch, offset)."""

POINTS = (
    Point("active_power_w", Kind.GAUGE, Datatype.FLOAT),
    Point("voltage_v", Kind.GAUGE, Datatype.DOUBLE),
    Point("import_wh", Kind.COUNTER, Datatype.INT64),
    Point("door", Kind.STATE, Datatype.BOOLEAN),
    Point("serial", Kind.TEXT, Datatype.STRING),
    Point("start_s", Kind.STATE, Datatype.INT64),
    Point("volume", Kind.DELTA, Datatype.INT64, interval_start="start_s", interval_s=30),
)


def group(name: str = "fast", device: str = "m1", period_s: int = 1, points: tuple[Point, ...] = POINTS) -> Group:
    return Group("plaza", device, name, Domain.ENERGY, "meter@0123456789abcdef", period_s * S_NS, points)


def values(n: int) -> list[Value]:
    return [n * 0.5, n / 3, -n, n % 2 == 0, f"s{n}", 1_790_000_000 + n, n]


def poll(schedule: int, n: int, outcome: int = 0, quality: list[int] | None = None) -> PollRecord:
    return PollRecord(schedule, n * S_NS, n * S_NS + 5_000_000, outcome, None if outcome else values(n), quality)


def open_journal(directory: Path, **changes: Any) -> Journal:
    settings: dict[str, Any] = {"boot": "boot-1", "mono_ns": 0, "commit_s": 0.005}
    return Journal.open(directory, ("city", "gw-1"), **(settings | changes))


def date(journal: Journal, from_offset: int | None = None) -> int:
    """Give the boot of the journal's epoch a date; return what `ready_at` is then."""
    boot = journal.epoch.boot
    journal.append(AnchorRecord(boot, WALL_NS, 0, "host", 0))
    first = journal.epoch.first if from_offset is None else from_offset
    return journal.append(DatingRecord(boot, first, WALL_NS, 0, "host", 0)) + 1


def commit(journal: Journal) -> None:
    assert journal.wait(journal.flush(), 20), journal.status


def polls_in(directory: Path, start: int = 0) -> dict[Identity, dict[str, Any]]:
    """Every poll that a journal's files hold, as its export tells it."""
    return {
        (int(each["epoch"], 16), each["offset"]): each
        for each in export(directory)
        if each["kind"] == "poll" and each["offset"] >= start
    }


@dataclass(frozen=True)
class Said:
    """One poll as a payload says it."""

    device: str
    group: str
    due_ms: int
    outcome: int
    samples: Samples
    historical: bool


def read_polls(payload: Payload, body: Body, table: Table) -> dict[int, Said]:
    """Read a DDATA as docs/wire.md §3.1 says."""
    assert table.hash == body.table
    entries = {entry.alias: entry for entry in table.entries}
    found: list[Said] = []
    for metric in payload.metrics:
        entry = entries[metric.alias]
        if entry.point is None:
            found.append(
                Said(table.device_id, entry.group, metric.timestamp, metric.int_value, {}, metric.is_historical)
            )
        else:
            assert entry.group == found[-1].group
            assert metric.is_historical == found[-1].historical
            value = get_value(metric, entry.point.datatype)
            found[-1].samples[entry.point.name] = (value, get_quality(metric), metric.timestamp)
    return dict(zip(body.offsets, found, strict=True))


def expected(
    record: PollRecord, of: Group, wall_ns: int = WALL_NS
) -> tuple[int, int, dict[str, tuple[Value, int, int]]]:
    """(due_ms, outcome, samples) of a poll whose boot began at `wall_ns`."""
    due_ms, taken_ms = (wall_ns + record.due_ns) // 1_000_000, (wall_ns + record.taken_ns) // 1_000_000
    samples: Samples = {}
    by_name = dict(zip((point.name for point in of.points), record.values or [], strict=False))
    for n, point in enumerate(of.points):
        quality = record.quality[n] if record.quality else 0
        if record.outcome == 0 and (by_name[point.name] is not None or quality):
            start_s = by_name.get(point.interval_start)
            if point.kind is not Kind.DELTA:
                samples[point.name] = (by_name[point.name], quality, taken_ms)
            elif isinstance(start_s, int) and start_s >= 0:
                samples[point.name] = (by_name[point.name], quality, start_s * 1000)
            else:
                samples[point.name] = (None, quality // 4 * 4 + Quality.BAD | Quality.CLOCK, taken_ms)
    return due_ms, record.outcome, samples


def table_of(data: bytes) -> Table:
    return birth.parse(parse(data))


def body_of(data: bytes) -> Body:
    return decode(parse(data).body)


def undatable(extras: tuple[tuple[int | None, Record | Undatable], ...]) -> int:
    return sum(extra.polls for _, extra in extras if isinstance(extra, Undatable))
