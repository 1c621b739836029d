"""A centre's durable side in a folder: a real log, a real checkpoint, a reader between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from edge.durable.segments import Segments
from edge.durable.sqlitefile import Row
from pipelines.engine.checkpoint import Checkpoint, CheckpointReader
from pipelines.engine.engine import Engine
from pipelines.engine.reader import Reader
from pipelines.ingest.log import Kind


@dataclass
class Told:
    """An outbox that remembers."""

    states: list[dict[str, Any]] = field(default_factory=list)
    rebirths: list[tuple[str, str]] = field(default_factory=list)

    def state(self, node: tuple[str, str], journal: UUID, positions: dict[int, int], **more: Any) -> None:
        self.states.append({"node": node, "journal": journal, "positions": positions, **more})

    def unknown_table(self, node: tuple[str, str]) -> None:
        self.rebirths.append(node)


class Centre:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = Segments(directory / "log", page_bytes=4096)
        self.told = Told()
        self._begin()

    def receive(self, packets: Iterable[bytes], t_ns: int, *, version: int = 4) -> None:
        self.log.append_many([Row(bytes([version]) + b"".join(packets), Kind.FRAMES, t_ns)])

    def row(self, kind: int, t_ns: int, data: bytes = b"") -> None:
        self.log.append_many([Row(data, kind, t_ns)])

    def read(self) -> None:
        while self.reader.step():
            pass

    def restart(self) -> None:
        self.close()
        self._begin()

    def close(self) -> None:
        self.checkpoint.close()
        self._rows.close()

    def rows(self) -> list[tuple[str, dict[str, str], int, int, dict[str, float | int]]]:
        """Every final row saved, as (measurement, tags, window_s, t_ns, fields)."""
        found = []
        for _, block in CheckpointReader(self.directory / "checkpoint.db").blocks_after(0, 1 << 40):
            found += [(block.shape.measurement, dict(k), w, t, fields) for k, w, t, fields in block.rows()]
        return sorted(found, key=lambda row: (row[0], sorted(row[1].items()), row[2], row[3]))

    def incidents(self) -> list[dict[str, Any]]:
        return [i for _, i in CheckpointReader(self.directory / "checkpoint.db").incidents_after(0)]

    def states(self) -> dict[str, bytes]:
        """What the checkpoint holds, read back."""
        checkpoint = Checkpoint(self.directory / "checkpoint.db")
        saved = checkpoint.load()
        checkpoint.close()
        return {} if saved is None else saved.states

    def _begin(self) -> None:
        self._rows = self.log.reader()
        self.checkpoint = Checkpoint(self.directory / "checkpoint.db")
        engine = Engine(self.checkpoint.stage)
        self.reader = Reader(self._rows, engine, self.checkpoint, self.told)
