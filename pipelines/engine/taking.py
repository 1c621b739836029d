"""Accepted parts on their way to the engine, in order with everything else that it is told."""

from __future__ import annotations

from typing import Any

from pipelines.engine.engine import Engine
from pipelines.engine.incident import Incident
from pipelines.engine.nodes import Book
from pipelines.ingest import columns
from pipelines.ingest.columns import Part, Trouble
from pipelines.ingest.series import Series


class Taking:
    """The run that is being gathered, and the engine behind it."""

    def __init__(self, engine: Engine, book: Book) -> None:
        """Gather nothing yet."""
        self._engine, self._book = engine, book
        self._series = Series(engine)
        self._parts: list[Part] = []

    def add(self, part: Part) -> None:
        """Take one more part into the run."""
        self._parts.append(part)

    def settled(self) -> Engine:
        """Give the engine, which has all of the run."""
        if self._parts:
            parts, self._parts = self._parts, []
            for run, trouble in columns.decode(parts, self._series):
                self._book.count("records", len(run.record_end))
                self._book.count("samples", len(run.series))
                self._engine.apply(run, self._book.last_receipt_ns)
                if trouble is not None:
                    self._tell(trouble)
        return self._engine

    def changed(self, site: str, device: str) -> None:
        """Learn that a device's groups were declared anew."""
        self.settled()
        self._series.changed(site, device)

    def note(self, kind: str, fields: dict[str, Any], t_ns: int | None = None) -> None:
        """Keep an incident, at its place in the log's order; by default it happened at the receipt."""
        self.settled().note(Incident(self._book.last_receipt_ns if t_ns is None else t_ns, kind, fields))

    def malformed(self, node: str, why: str) -> None:
        """Count what breaks the protocol; tell of the first of a node in an hour of receipt."""
        self._book.count("malformed")
        if self._book.may_tell("malformed", node):
            self.note("malformed", {"node": node, "why": why})

    def _tell(self, trouble: Trouble) -> None:
        part = trouble.part
        node, journal = part.source
        fields: dict[str, Any] = {"node": node, "journal": journal, "site": part.table.site}
        fields["device"] = part.table.device
        if trouble.malformed:
            self._book.count("malformed")
            fields |= {"polls": part.records - part.skip, "why": trouble.malformed}
            self._engine.note(Incident(self._book.last_receipt_ns, "malformed_records", fields))
            return
        self._book.count("undeclared", trouble.polls)
        fields |= {"polls": trouble.polls, "ok": trouble.ok}
        self._engine.note(Incident(self._book.last_receipt_ns, "undeclared", fields))
