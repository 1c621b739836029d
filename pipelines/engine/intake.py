"""Messages of edge nodes, one by one: births and deaths, and numbered data by the acceptor's verdict."""

from __future__ import annotations

import bisect
import contextlib
from typing import Final, NamedTuple
from uuid import UUID

from edge.delivery.acceptor import Acceptor, Decision, Jump, Verdict
from edge.errors import ProtocolError
from edge.sparkplug import body as bodies
from edge.sparkplug import payload as pl
from edge.sparkplug.body import NO_TABLE, Body, BodyError
from edge.sparkplug.payload import PayloadError
from edge.sparkplug.sparkplug_b_pb2 import Payload
from pipelines.engine.extras import Extras
from pipelines.engine.nodes import Book, name_of
from pipelines.engine.owed import Owed
from pipelines.engine.taking import Taking
from pipelines.ingest import births
from pipelines.ingest.births import Tables
from pipelines.ingest.columns import Part
from pipelines.ingest.frames import Outline, outline

_OFFSET_MAX: Final = 1 << 62


class Source(NamedTuple):
    """A topic, taken apart."""

    kind: str
    node: str
    """`<group>/<edge node>`."""
    device: str | None


class _Read(NamedTuple):
    """A part of a batch, and what was read of it."""

    payload: bytes
    body: Body
    top: Outline


class Intake:
    """Turns messages into parts, declarations and what nodes are owed."""

    def __init__(self, acceptor: Acceptor, tables: Tables, book: Book, taking: Taking, owed: Owed) -> None:
        """Work on this state."""
        self._acceptor, self._tables, self._book, self._taking, self._owed = acceptor, tables, book, taking, owed
        self._extras = Extras(taking, book)
        self._waiting: dict[UUID, dict[int, _Read]] = {}
        """Parts of each journal's unfinished batch as they were read; no state: what is not here is read again."""

    def message(self, source: Source, payload: bytes, top: Outline | None) -> None:
        """Take one message; `top` is the payload's outline, if it is known. Never raises for what a peer sent."""
        self._book.count("messages")
        self._book.count("bytes", len(payload))
        try:
            if source.kind in ("DDATA", "NDATA"):
                self._data(source.node, payload, top or outline(payload))
            elif source.kind in ("NBIRTH", "DBIRTH", "NDEATH"):
                self._taking.settled()
                self._session(source, pl.parse(payload))
        except ProtocolError as error:
            self._taking.malformed(source.node, str(error))
        node = self._book.nodes.get(source.node)
        if node is not None:
            node.last_ns = self._book.last_receipt_ns

    def _session(self, source: Source, payload: Payload) -> None:
        known = self._book.nodes.get(source.node)
        if source.kind == "NBIRTH":
            self._born(source.node, births.node_birth(payload))
        elif known is None:
            self._book.hear_foreign(source.node)
        elif source.kind == "DBIRTH":
            self._tables.learn(payload, source.device)
            self._owed.rebirths.pop(source.node, None)
        elif births.bd_seq(payload) == known.bd_seq:
            known.is_alive = False

    def _born(self, name: str, birth: births.NodeBirth | None) -> None:
        if birth is None:
            self._book.hear_foreign(name)
            return
        self._carries(name, birth.journal)
        node = self._book.node(name)
        node.lineage = list(birth.lineage)
        node.acknowledging_host = birth.acknowledging_host
        node.bd_seq, node.is_alive = birth.bd_seq, True
        self._owed.state(name, birth.journal, urgent=True)

    def _carries(self, name: str, journal: UUID) -> None:
        other = self._book.carries(name, journal)
        if other is not None and self._book.may_tell("cloned_journal", name):
            self._taking.note("cloned_journal", {"node": name, "other": other, "journal": name_of(journal)})

    def _data(self, name: str, payload: bytes, top: Outline) -> None:
        if top.body is None:
            if name in self._book.nodes:
                self._book.count("unnumbered")
            else:
                self._book.hear_foreign(name)
            return
        body = bodies.decode(top.body)
        if max(body.b, body.oldest, body.lost) >= _OFFSET_MAX:
            raise BodyError("offsets beyond any journal's")
        if not self._are_known(body):
            self._book.count("unknown_tables")
            self._owed.rebirths[name] = None
            return
        self._carries(name, body.journal)
        self._book.node(name).is_alive = True
        self._book.journal(body.journal).heard = body.epoch
        self._judge(name, body, payload, top)

    def _are_known(self, body: Body) -> bool:
        """Tell whether the tables are known of this part, and of those that it makes a whole batch with.

        One of those may have been forgotten since its part came. Nothing of a batch that can't be read whole is taken.
        """
        held = (self._reread(body.journal, n, part).body for n, part in self._acceptor.held(body).items())
        return all(each.table == NO_TABLE or self._tables.get(each.table) is not None for each in (body, *held))

    def _reread(self, journal: UUID, n: int, part: bytes) -> _Read:
        """Give what was read of a part when it came, or read it again."""
        own = self._waiting.get(journal, {}).get(n)
        return own if own is not None and own.payload is part else _read(part)

    def _judge(self, name: str, body: Body, payload: bytes, top: Outline) -> None:
        verdict = self._acceptor.offer(body, payload)
        for jump in verdict.jumps:
            self._jumped(name, jump)
        if verdict.fork:
            fields = {
                "node": name,
                "journal": name_of(body.journal),
                "epoch": f"{body.epoch:016x}",
                "first": body.first,
            }
            self._taking.note("journal_restored", fields)
        if verdict.decision is Decision.TAKEN:
            self._take(name, body, payload, top, verdict)
        elif verdict.decision is Decision.GAP:
            self._book.count("gaps")
            self._owed.gap(name, body.journal, body.attempt)
        elif verdict.decision is Decision.DUPLICATE:
            self._book.count("duplicates")
            self._owed.state(name, body.journal, body.attempt)
        else:
            self._book.count("held")
            self._wait(_Read(payload, body, top))

    def _wait(self, read: _Read) -> None:
        """Keep what was read of a part until its batch is whole; a journal has one unfinished batch."""
        batch = self._waiting.setdefault(read.body.journal, {})
        other = next(iter(batch.values()), read).body
        if (other.epoch, other.a, other.b, other.attempt) != (
            read.body.epoch, read.body.a, read.body.b, read.body.attempt,
        ):  # fmt: skip
            batch.clear()
        batch[read.body.part] = read

    def _jumped(self, name: str, jump: Jump) -> None:
        self._taking.settled().jumped(name_of(jump.journal), jump.reason)
        fields = {"node": name, "journal": name_of(jump.journal), "start": jump.start, "end": jump.end}
        fields |= {"epoch": "" if jump.epoch is None else f"{jump.epoch:016x}", "reason": str(jump.reason)}
        self._taking.note("jumped", fields)

    def _take(self, name: str, body: Body, payload: bytes, top: Outline, verdict: Verdict) -> None:
        self._owed.state(name, body.journal, body.attempt, taken_bytes=sum(len(part) for part in verdict.parts))
        self._waiting.setdefault(body.journal, {})[body.part] = _Read(payload, body, top)
        reads = [self._reread(body.journal, n, part) for n, part in enumerate(verdict.parts)]
        del self._waiting[body.journal]
        for own in reads:
            if own.body.table == NO_TABLE:
                for offset, extra in zip(own.body.offsets, own.body.extras, strict=True):
                    if offset >= verdict.take_from:
                        self._extras.take(name, body.journal, extra)
            else:
                self._polls(name, own, verdict.take_from)

    def _polls(self, name: str, read: _Read, take_from: int) -> None:
        payload, body, top = read
        table = self._tables.get(body.table)
        assert table is not None  # else the batch would not have been offered
        if self._book.journal(body.journal).undated:
            with contextlib.suppress(PayloadError):  # told of when the part itself is read
                self._extras.date(body.journal, table, payload)
        skip = bisect.bisect_left(body.offsets, take_from)
        self._taking.add(Part(payload, top.metrics, len(body.offsets), skip, table, (name, name_of(body.journal))))


def _read(part: bytes) -> _Read:
    top = outline(part)
    assert top.body is not None  # it was, when the acceptor was given the part
    return _Read(part, bodies.decode(top.body), top)
