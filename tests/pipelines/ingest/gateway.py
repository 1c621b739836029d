"""A gateway in a few lines: a real journal, and its batches as MQTT packets, written from docs/wire.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.durable.context import Context
from edge.durable.journal import Journal
from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.record import (
    AnchorRecord,
    DatingRecord,
    EpochRecord,
    PollRecord,
    Record,
    ScheduleRecord,
    TombstoneRecord,
)
from edge.sparkplug import payload as pl
from edge.sparkplug.birth import Table, build
from edge.sparkplug.body import NO_TABLE, Body, Extra
from edge.sparkplug.sparkplug_b_pb2 import Metric, Payload
from tests.metrics import set_value

S_NS = 1_000_000_000
T0_NS = 1_790_000_040 * S_NS // (300 * S_NS) * (300 * S_NS)
"""Where the tests' time begins: the start of a 5-minute window. [ns since 1970, UTC]"""


def publish(topic: str, payload: bytes, *, version: int = 4) -> bytes:
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + (b"\0" if version == 5 else b"") + payload
    size, head = len(body), b"\x30"
    while size > 0x7F:
        head += bytes([size & 0x7F | 0x80])
        size >>= 7
    return head + bytes([size]) + body


def meter(device: str = "m1", group: str = "fast", period_s: int = 1, **changes: Any) -> Group:
    points = (
        Point("active_power_w/L1", Kind.GAUGE, Datatype.FLOAT, "W", part=(("phase", "L1"),)),
        Point("voltage_v", Kind.GAUGE, Datatype.DOUBLE, "V"),
        Point("import_wh", Kind.COUNTER, Datatype.INT64, "Wh"),
        Point("door", Kind.STATE, Datatype.BOOLEAN),
        Point("serial", Kind.TEXT, Datatype.STRING),
    )
    fields: dict[str, Any] = {"points": points, "domain": Domain.ENERGY, "profile": "sdm630@0"} | changes
    return Group(site="plaza", device=device, group=group, period_ns=period_s * S_NS, **fields)


def metrics_of(record: PollRecord, group: Group, table: Table, due_ms: int, taken_ms: int) -> list[Metric]:
    """Write one poll as the wire has it (docs/wire.md §3.1)."""
    aliases = {(e.group, e.point.name if e.point else None): e.alias for e in table.entries}
    found = [Metric(alias=aliases[group.group, None], timestamp=due_ms, int_value=record.outcome)]
    for point, value, quality in zip(
        group.points, record.values or [], record.quality or [0] * len(record.values or []), strict=False
    ):
        if value is None and not quality:
            continue
        metric = Metric(alias=aliases[group.group, point.name], timestamp=taken_ms)
        set_value(metric, point.datatype, value)
        pl.set_quality(metric, quality)
        found.append(metric)
    return found


class Gateway:
    """An edge node over a real journal."""

    def __init__(self, directory: Path, groups: Sequence[Group], node: str = "gw-1", *, boot: str = "boot-1") -> None:
        self.node, self.groups, self.boot = node, groups, boot
        self.journal = Journal.open(directory, ("city", node), boot=boot, mono_ns=0, commit_s=0.005)
        self.schedules = [self.journal.declare(group, 0) for group in groups]
        self.tables: dict[str, tuple[Table, list[Metric]]] = {}
        alias = 10
        for device in sorted({group.device for group in groups}):
            self.tables[device] = build([g for g in groups if g.device == device], alias)
            alias = self.tables[device][0].next_alias
        self.attempt, self.version = 7, 4

    def date(self, wall_ns: int = T0_NS) -> None:
        """Say when the boot began."""
        first = self.journal.epoch.first
        self.journal.append(AnchorRecord(self.boot, wall_ns, 0, "ntp", 0))
        self.journal.append(DatingRecord(self.boot, first, wall_ns, 0, "ntp", 0))

    def poll(self, group: int, due_s: int, values: list[Value] | None, quality: list[int] | None = None) -> None:
        outcome = 1 if values is None else 0
        due_ns = due_s * S_NS
        self.journal.append(PollRecord(self.schedules[group], due_ns, due_ns + 10**7, outcome, values, quality))

    def births(self) -> list[bytes]:
        lineage = ",".join(f'["{epoch:016x}",{first}]' for epoch, first in self.journal.lineage())
        texts = {
            "wayside/journal": str(self.journal.journal),
            "wayside/lineage": f"[{lineage}]",
            "wayside/acknowledging_host": "centre",
        }
        found = [self._publish("NBIRTH", None, pl.node_birth(1, 3, texts))]
        for table, metrics in self.tables.values():
            found.append(self._publish("DBIRTH", table.device_id, Payload(timestamp=1, seq=1, metrics=metrics)))
        return found

    def death(self) -> bytes:
        return self._publish("NDEATH", None, pl.node_death(3))

    def batches(self, size: int = 10, *, parts: bool = True, after: int = 0) -> list[bytes]:
        """Cut everything committed from offset `after` on into batches of at most `size` records."""
        assert self.journal.wait(self.journal.flush(), 20)
        context, rows = Context(), self.journal.read(0)
        for offset, record in rows:
            context.take(offset, record)
        found: list[bytes] = []
        batch: list[tuple[int, Record]] = []
        for offset, record in [row for row in rows if row[0] >= after]:
            polled = any(isinstance(each, PollRecord) for _, each in batch)
            is_extra = isinstance(record, EpochRecord | ScheduleRecord | TombstoneRecord)
            epoch = context.epoch_at(offset)
            if batch and (len(batch) >= size or (polled and is_extra) or context.epoch_at(batch[0][0]) != epoch):
                found += self._batch(batch, context, parts=parts)
                batch = []
            batch.append((offset, record))
        return found + (self._batch(batch, context, parts=parts) if batch else [])

    def _batch(self, batch: list[tuple[int, Record]], context: Context, *, parts: bool) -> list[bytes]:
        epoch = context.epoch_at(batch[0][0])
        assert epoch is not None
        extras: list[tuple[int, Extra]] = []
        polls: dict[str, list[tuple[int, PollRecord, Group]]] = {}
        for offset, record in batch:
            if isinstance(record, PollRecord):
                group = context.schedules[record.schedule]
                polls.setdefault(group.device, []).append((offset, record, group))
            elif isinstance(record, EpochRecord | ScheduleRecord):
                t_ns = context.date_ns(epoch.boot, offset, record.mono_ns)
                extras.append((offset, (None if t_ns is None else t_ns // 10**6, record)))
        payloads: list[tuple[str | None, bytes, tuple[int, ...], tuple[Extra, ...], list[Metric]]] = []
        if extras or not polls:
            payloads.append((None, NO_TABLE, tuple(o for o, _ in extras), tuple(e for _, e in extras), []))
        for device, own in polls.items():
            table = self.tables[device][0]
            metrics = []
            for offset, record, group in own:
                due, taken = (context.date_ns(epoch.boot, offset, ns) for ns in (record.due_ns, record.taken_ns))
                assert due is not None
                assert taken is not None
                metrics += metrics_of(record, group, table, due // 10**6, taken // 10**6)
            payloads.append((table.device_id, table.hash, tuple(o for o, _, _ in own), (), metrics))
        a, b = batch[0][0], batch[-1][0] + 1
        found = []
        for n, (device_id, table_hash, offsets, own_extras, metrics) in enumerate(payloads):
            body = Body(
                self.journal.journal, epoch.epoch, epoch.first, a, b, self.journal.oldest, self.journal.lost,
                epoch.previous, self.attempt, n, len(payloads), table_hash, offsets, own_extras,
            )  # fmt: skip
            payload = Payload(timestamp=1, seq=2, metrics=metrics, body=body.encode())
            found.append(self._publish("DDATA" if device_id else "NDATA", device_id, payload))
        assert parts or len(found) == 1
        return found

    def _publish(self, kind: str, device: str | None, payload: Payload) -> bytes:
        topic = f"spBv1.0/city/{kind}/{self.node}" + (f"/{device}" if device else "")
        return publish(topic, payload.SerializeToString(), version=self.version)
