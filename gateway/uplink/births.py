"""What a session has declared: metric tables, aliases, and the messages that declare them (docs/wire.md §4).

A table is made of a device's schedules in force, and of former ones as soon as a record that is to be sent names
them: so what is declared always covers what is sent, and a device that is gone is declared no more. A table that
changes in a session gets aliases that none had before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edge.delivery.acknowledge import epoch_key
from edge.runtime.mqtt import Message
from edge.sparkplug import birth
from edge.sparkplug.payload import node_birth
from edge.sparkplug.sparkplug_b_pb2 import Payload
from edge.sparkplug.topic import Topic
from gateway.uplink.metrics import Plan, plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.durable.journal import Journal
    from edge.model.point import Group
    from edge.sparkplug.birth import Table
    from edge.sparkplug.session import Sequence
    from edge.sparkplug.sparkplug_b_pb2 import Metric

JOURNAL = "wayside/journal"
LINEAGE = "wayside/lineage"
ACKNOWLEDGING_HOST = "wayside/acknowledging_host"


class Tables:
    """Tables of one session, by device; no input or output."""

    def __init__(self) -> None:
        """Declare nothing yet."""
        self._next_alias = 0
        self._groups: dict[tuple[str, str], dict[int, Group]] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._plans: dict[int, Plan] = {}
        self._metrics: dict[tuple[str, str], list[Metric]] = {}
        self._due: list[tuple[str, str]] = []

    def learn(self, schedules: dict[int, Group]) -> None:
        """Take schedules into their devices' tables; what that changes becomes due."""
        devices = set()
        for schedule, group in schedules.items():
            device = group.key[:2]
            self._groups.setdefault(device, {})[schedule] = group
            devices.add(device)
        for device in sorted(devices):
            self._build(device)

    def plan(self, schedule: int) -> Plan | None:
        """How polls of `schedule` are said; None if it was not learned."""
        return self._plans.get(schedule)

    def due(self) -> list[tuple[Table, list[Metric]]]:
        """Tables that are not declared yet, with the metrics of their births; they count as declared from now on."""
        due, self._due = self._due, []
        return [(self._tables[device], self._metrics.pop(device)) for device in due]

    def _build(self, device: tuple[str, str]) -> None:
        groups = [group for _, group in sorted(self._groups[device].items())]
        known = self._tables.get(device)
        if known is not None:
            table, metrics = birth.build(groups, known.entries[0].alias)
        if known is None or table.hash != known.hash:
            table, metrics = birth.build(groups, self._next_alias)
            self._next_alias = table.next_alias
            self._tables[device], self._metrics[device] = table, metrics
            self._due = [*(each for each in self._due if each != device), device]
        for schedule, group in self._groups[device].items():
            self._plans[schedule] = plan(self._tables[device], group)


class Births:
    """Makes the messages of a session's births, in order, with their sequence numbers."""

    def __init__(self, group: str, edge_node: str, host: str, journal: Journal, seq: Sequence) -> None:
        """Speak for one edge node."""
        self._group, self._edge_node, self._host = group, edge_node, host
        self._journal, self._seq = journal, seq
        self._former: dict[int, int] = {}
        self.tables = Tables()

    def begin(self, t_ms: int, bd_seq: int, position: int) -> list[Message]:
        """Declare everything anew: the NBIRTH and a DBIRTH for each device."""
        schedules = self._journal.schedules
        self._former = {known: last for known, last in self._former.items() if last >= position and known in schedules}
        self.tables = Tables()
        self.tables.learn({known: schedules[known] for known in (*self._journal.declared().values(), *self._former)})
        texts = {JOURNAL: str(self._journal.journal), LINEAGE: self._lineage(), ACKNOWLEDGING_HOST: self._host}
        payload = node_birth(t_ms, bd_seq, texts)
        payload.seq = self._seq.born()
        topic = str(Topic(self._group, "NBIRTH", self._edge_node))
        return [Message(topic, payload.SerializeToString()), *self.due(t_ms)]

    def met(self, schedule: int, group: Group, offset: int) -> None:
        """Learn that the record at `offset` needs a schedule that is not declared."""
        self._former[schedule] = offset
        declared = {known: each for known, each in self._declared() if each.key[:2] == group.key[:2]}
        self.tables.learn({**declared, schedule: group})

    def due(self, t_ms: int) -> list[Message]:
        """Declare what has changed."""
        return [self._device(table, metrics, t_ms) for table, metrics in self.tables.due()]

    def _declared(self) -> Iterator[tuple[int, Group]]:
        schedules = self._journal.schedules
        for schedule in self._journal.declared().values():
            if schedule in schedules:
                yield schedule, schedules[schedule]

    def _device(self, table: Table, metrics: list[Metric], t_ms: int) -> Message:
        payload = Payload(timestamp=t_ms, seq=self._seq.next())
        for metric in metrics:
            metric.timestamp = t_ms
        payload.metrics.extend(metrics)
        topic = str(Topic(self._group, "DBIRTH", self._edge_node, table.device_id))
        return Message(topic, payload.SerializeToString())

    def _lineage(self) -> str:
        return msgspec.json.encode([[epoch_key(epoch), first] for epoch, first in self._journal.lineage()]).decode()
