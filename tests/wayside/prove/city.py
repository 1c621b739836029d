"""A journal as a gateway leaves it, and the rows that the engine makes of the same polls."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.durable.journal import Journal
from edge.model.point import Datatype, Domain, Group, Kind, Point, Value
from edge.model.quality import Quality
from edge.model.record import AnchorRecord, DatingRecord, PollRecord
from pipelines.engine.engine import Engine
from tests.pipelines.engine.both import batch
from tests.pipelines.engine.story import Poll
from wayside.prove.group import Reading

S = 1_000_000_000
WALL = 1_790_000_100 * S
MONO = 5_000 * S + 123
PERIOD = 10 * S
MODULUS = 1000
GROUP = Group(
    "port",
    "meter",
    "main",
    Domain.ENERGY,
    "p@0",
    PERIOD,
    (
        Point("power", Kind.GAUGE, Datatype.FLOAT),
        Point("energy", Kind.COUNTER, Datatype.INT64, modulus=MODULUS, max_rate=100.0),
        Point("began", Kind.STATE, Datatype.INT64),
        Point("volume", Kind.DELTA, Datatype.INT64, interval_start="began", interval_s=30),
    ),
)


@dataclass(slots=True)
class Stored:
    measurement: str
    tags: Mapping[str, str]
    window_s: int
    t_ns: int
    fields: dict[str, float | int]


class City:
    """One gateway with one device, polled through a restart; half of the records are in two copies."""

    def __init__(self, root: Path, seed: int = 1, gone: range = range(0)) -> None:
        self.r = random.Random(seed)
        self.journal = root / "journal"
        self.copy = root / "copy"
        self.truth = root / "truth.ndjson"
        self.engine = Engine()
        self.gone, self.offsets = gone, [0]
        """Numbers of polls that never reach the centre, and their offsets."""
        self.total = 990
        self.said: list[str] = []
        self._run("boot-1", 0, 80)
        shutil.copytree(self.journal, self.copy)
        self._run("boot-2", 90, 150)
        self.engine.retire("device", "port:meter")
        blocks, incidents = self.engine.take()
        self.incidents: list[dict[str, Any]] = [incident.as_json() for incident in incidents]
        self.rows = [
            Stored(block.shape.measurement, dict(tags), window_s, t_ns, fields)
            for block in blocks
            for tags, window_s, t_ns, fields in block.rows()
        ]
        self.truth.write_text("".join(self.said) + '{"device":"port:me')

    @property
    def copies(self) -> list[Path]:
        return [self.journal, self.copy]

    def identity(self) -> str:
        return str(json.loads((self.journal / "identity.json").read_text())["journal"])

    def row(self, field: str) -> Stored:
        """Give a row in the middle that has a field."""
        found = [row for row in self.rows if field in row.fields and row.window_s == 60]
        return found[len(found) // 2]

    def _run(self, boot: str, first: int, end: int) -> None:
        with Journal.open(self.journal, ("city", "node"), boot=boot, mono_ns=MONO) as journal:
            journal.append(AnchorRecord(boot, WALL, MONO, "host", 0))
            journal.append(DatingRecord(boot, journal.epoch.first, WALL, MONO, "host", 0))
            known = journal.declared()
            schedule = journal.declare(GROUP, MONO + first * PERIOD)
            self.engine.epoch_began("j")
            if not known:
                self.engine.schedule(GROUP, WALL + first * PERIOD, "j")
            for n in range(first, end):
                if n == self.gone.stop:
                    self.engine.jumped("j", "evicted")
                if self.r.random() < 0.9:
                    self._poll(journal, schedule, n)
            journal.flush()
            if boot == "boot-1":  # as a killed process leaves it: with its write-ahead log
                assert journal.wait(journal.flush(), 10)
                shutil.copytree(self.journal, self.copy.with_name("killed"))

    def _poll(self, journal: Journal, schedule: int, n: int) -> None:
        due = n * PERIOD
        taken = due + self.r.randrange(3) * S // 10
        if self.r.random() < 0.1:
            at = journal.append(PollRecord(schedule, MONO + due, MONO + due + 1, 1))
            self._apply(n, at, Poll(GROUP.key, WALL + due, 1, (), WALL + due))
            return
        self.total += self.r.randrange(50)
        t_ns = WALL + taken
        line = {"device": "port:meter", "point": "energy", "t_ns": t_ns - 7, "value": self.total}
        self.said.append(json.dumps(line) + "\n")
        began = (t_ns // S - 30) // 30 * 30
        values: list[Value] = [self.r.randrange(1000) / 8, self.total % MODULUS, began, began % 17]
        if n in range(40, 44):  # the device does not say when: what it counted is no sample
            values[2] = None
        at = journal.append(PollRecord(schedule, MONO + due, MONO + taken, 0, values))
        times = (t_ns, t_ns, t_ns, began * S)
        readings = [
            Reading(point.name, at, value, 0) for point, at, value in zip(GROUP.points, times, values, strict=True)
        ]
        if values[2] is None:
            readings[2:] = [Reading("volume", t_ns, None, Quality.BAD | Quality.CLOCK)]
        self._apply(n, at, Poll(GROUP.key, WALL + due, 0, tuple(readings), WALL + due))

    def _apply(self, n: int, offset: int, poll: Poll) -> None:
        if n in self.gone:
            self.offsets.append(offset)
        else:
            self.engine.apply(batch(self.engine, [poll]), poll.receipt_ns)
