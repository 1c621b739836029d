"""The reader: from the log to the engine, row by row; a function of the log's order and of the state it began with.

How the log is cut into rows, rows into steps, and steps by restarts changes nothing: what was taken goes to the engine
before anything else is told to it, under the receipt of its row. State: engine, acceptor, tables and book, saved as
one checkpoint with rows and incidents.

While rows of an earlier run are read again, nobody is told: positions would be stated that have long been passed. What
is owed then is told when the end of the log is reached.

Edge nodes that are no gateways of ours (payloads without a body) are counted, shown by `status`, and otherwise
ignored; a payload without a body of a gateway is `unnumbered`, for live views.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

import msgspec

from edge.delivery.acceptor import Acceptor
from edge.durable.reader import Reader as LogReader
from edge.durable.sqlitefile import Stored
from edge.errors import StorageError
from edge.model.point import Datatype, Domain, Group, Kind, Point
from edge.sparkplug import topic
from pipelines.engine.checkpoint import Checkpoint
from pipelines.engine.engine import Engine
from pipelines.engine.intake import Intake, Source
from pipelines.engine.nodes import COUNTERS, Book
from pipelines.engine.owed import Outbox, Owed
from pipelines.engine.taking import Taking
from pipelines.ingest import columns, frames
from pipelines.ingest.births import Tables
from pipelines.ingest.frames import FrameError, Outline
from pipelines.ingest.log import Kind as RowKind
from pipelines.ingest.log import Mark
from pipelines.kernels import wire

STEP_BYTES: Final = 8 << 20
STEP_ROWS: Final = 4096
_TOPICS_MAX: Final = 200_000


class _Retirement(msgspec.Struct, forbid_unknown_fields=True):
    scope: str
    name: str


class Reader:
    """Applies the log; one thread's, but for `status`, `position` and `saved_position`."""

    def __init__(self, log: LogReader, engine: Engine, checkpoint: Checkpoint, outbox: Outbox) -> None:
        """Go on from the checkpoint, or from the oldest row of the log.

        Args:
            log: rows of `pipelines.ingest.log`.
            engine: a new one, made with `spill=checkpoint.stage`.
            checkpoint: newly opened.
            outbox: is told what nodes are owed.

        Raises:
            StorageError: the checkpoint's state is of another version of this program.
        """
        self._log, self._engine, self._checkpoint, self._outbox = log, engine, checkpoint, outbox
        self._acceptor, self._tables, self._book = Acceptor(), Tables(), Book()
        self.position = self.saved_position = 0
        """Offset of the log up to which rows are applied, and up to which they are in the checkpoint."""
        self.is_caught_up = False
        """The end of the log has been reached once."""
        self.mark: Mark | None = None
        """The last row of the checkpoint, as the log has it; None where it has none."""
        saved = checkpoint.load()
        if saved is not None:
            self._restore(saved.states)
            self.position = self.saved_position = saved.position
        self._started = saved is not None
        self._owed = Owed()
        self._taking = Taking(engine, self._book)
        self._intake = Intake(self._acceptor, self._tables, self._book, self._taking, self._owed)
        self._topics: dict[bytes, Source | None] = {}
        self._last: Stored | None = None

    def step(self) -> bool:
        """Read and apply some rows of the log; False = there is nothing new.

        Raises:
            StorageError: the log can't be read, or final rows could not be staged: make a new Reader, of a newly
                opened checkpoint.
        """
        rows = self._log.read(self.position, STEP_BYTES, STEP_ROWS)
        for row in rows:
            self._row(row)
        if len(rows) < STEP_ROWS and sum(len(row.data) for row in rows) < STEP_BYTES:
            self.is_caught_up = True
        if self.is_caught_up:
            self._tell()
        return bool(rows)

    def read_anew(self, oldest: int) -> None:
        """Read a log from its beginning that is not the one of the checkpoint; acceptance makes that harmless."""
        self.position = self.saved_position = oldest
        self.mark = None

    def save(self) -> None:
        """Commit everything up to `position` as a checkpoint.

        Raises:
            StorageError: nothing was committed: make a new Reader, of a newly opened checkpoint.
        """
        blocks, incidents = self._engine.take()
        mark = self.mark if self._last is None else Mark.of(self._last)
        states = {
            "engine": self._engine.snapshot(),
            "acceptor": self._acceptor.snapshot(),
            "tables": self._tables.snapshot(),
            "book": msgspec.msgpack.encode(self._book),
            "mark": msgspec.msgpack.encode(mark),
        }
        self._checkpoint.save(self.position, states, blocks, incidents)
        self.saved_position, self.mark = self.position, mark

    def status(self) -> dict[str, Any]:
        """Tell how far every group and journal is, and what was counted; any thread."""
        book = self._book
        node_of = {journal: notes.node for journal, notes in list(book.journals.items())}
        groups = [
            {
                "device": f"{g.site}:{g.device}", "group": g.group, "gateway": node_of.get(g.journal, ""),
                "journal": g.journal, "watermark_ns": g.watermark_ns, "open_from_ns": g.open_from_ns,
                "period_ns": g.period_ns, "retired": g.is_retired,
            }
            for g in self._engine.status()
        ]  # fmt: skip
        nodes = [
            {
                "gateway": name, "alive": node.is_alive, "journals": list(node.journals), "last_ns": node.last_ns,
                "acknowledging_host": node.acknowledging_host,
            }
            for name, node in list(book.nodes.items())
        ]  # fmt: skip
        positions = [
            {"journal": str(journal), "gateway": node_of.get(str(journal), ""), "epoch": f"{epoch:016x}", "position": p}
            for journal in self._acceptor.journals()
            for epoch, p in self._acceptor.positions(journal).items()
        ]
        return {
            "position": self.position, "saved_position": self.saved_position, "caught_up": self.is_caught_up,
            "last_receipt_ns": book.last_receipt_ns, "counters": {c: book.counts.get(c, 0) for c in COUNTERS},
            "gateways": nodes, "foreign": dict(book.foreign), "groups": groups, "positions": positions,
        }  # fmt: skip

    def _restore(self, states: dict[str, bytes]) -> None:
        try:
            self._engine.restore(states["engine"])
            self._acceptor = Acceptor.restore(states["acceptor"])
            self._tables = Tables.restore(states["tables"])
            self._book = msgspec.msgpack.decode(states["book"], type=Book)
            self.mark = msgspec.msgpack.decode(states["mark"], type=Mark | None)
        except (KeyError, ValueError, msgspec.DecodeError) as error:
            raise StorageError(f"{self._checkpoint.path}: {error!r}: of another version of this program") from error

    def _row(self, row: Stored) -> None:
        self._book.last_receipt_ns = max(row.t_ns or 0, 0)
        if row.offset != self.position and self._started:
            self._book.count("holes")
            self._taking.note("log_hole", {"start": self.position, "end": row.offset})
        self._started = True
        if row.kind == RowKind.FRAMES:
            self._frames(row.data)
        elif row.kind == RowKind.RETIRE:
            self._retire(row.data)
        elif row.kind == RowKind.OPENED:
            self._book.centre_opened()
        self.position, self._last = row.offset + 1, row

    def _frames(self, data: bytes) -> None:
        try:
            found = frames.split(data)
        except FrameError as error:
            self._taking.malformed("", str(error))
            return
        for topic_at, topic_end, at, end, body, body_end, metrics in found.where.tolist():
            source = self._source(data[topic_at:topic_end])
            if source is None:
                self._book.count("foreign")
                continue
            top = Outline(data[body:body_end] if body >= 0 else None, metrics)
            self._intake.message(source, data[at:end], None if body == wire.UNCOVERED_PAYLOAD else top)
        self._taking.settled()
        if found.rest:
            self._taking.malformed("", f"{found.rest} bytes that are no PUBLISH of QoS 0")

    def _source(self, name: bytes) -> Source | None:
        if name not in self._topics:
            if len(self._topics) >= _TOPICS_MAX:
                self._topics.clear()
            found = topic.parse(name.decode("utf-8", "replace"))
            self._topics[name] = (
                Source(found.kind, f"{found.group}/{found.edge_node}", found.device) if found is not None else None
            )
        return self._topics[name]

    def _retire(self, data: bytes) -> None:
        try:
            what = msgspec.json.decode(data, type=_Retirement)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._taking.malformed("", f"retirement: {error}")
            return
        engine = self._taking.settled()
        if what.scope == "gateway":
            node = self._book.nodes.get(what.name)
            n = sum(engine.retire("journal", journal) for journal in (node.journals if node else ()))
        else:
            n = engine.retire(what.scope, _canonical(what.name) if what.scope == "journal" else what.name)
        self._taking.note("retired", {"scope": what.scope, "name": what.name, "groups": n})

    def _tell(self) -> None:
        """Pay what is owed."""
        for (name, journal), owed in self._owed.statements.items():
            group, _, node = name.partition("/")
            self._outbox.state(
                (group, node), journal, self._positions(name, journal),
                gap=owed.gap, attempt=owed.attempt, urgent=owed.urgent, taken_bytes=owed.taken_bytes,
            )  # fmt: skip
        for name in self._owed.rebirths:
            group, _, node = name.partition("/")
            self._outbox.unknown_table((group, node))
        self._owed.statements.clear()
        self._owed.rebirths.clear()

    def _positions(self, name: str, journal: UUID) -> dict[int, int]:
        """Positions of the epochs in the node's lineage, and of the one that came last."""
        heard = self._book.journal(journal).heard
        return self._acceptor.stated(journal, [(heard, 0)]) | self._acceptor.stated(
            journal, self._book.node(name).lineage
        )


def _canonical(journal: str) -> str:
    try:
        return str(UUID(journal))
    except ValueError:
        return journal


def warm() -> None:
    """Have every kernel compiled that the reader runs, so that the first row waits for none."""
    columns.warm()
    frames.split(b"\x04\x30\x03\x00\x01a")
    frames.outline(b"")
    engine = Engine()
    point = Point("warm", Kind.GAUGE, Datatype.DOUBLE)
    engine.schedule(Group("", "", "", Domain.ENERGY, "", 1_000_000_000, (point,)), 0, "")
    engine.apply(columns.Columns.empty(0, 0), 0)
    engine.retire("journal", "")
