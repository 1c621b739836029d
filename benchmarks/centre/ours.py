"""The centre's path from the frames of its log to final rows, with its own parts and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch
from uuid import UUID

from benchmarks.centre.city import S_NS, T0_NS, Burst, City
from benchmarks.measure import Parts
from edge.runtime.clock import ManualClock
from pipelines.engine.blocks import RowBlock
from pipelines.engine.checkpoint import Checkpoint, CheckpointReader
from pipelines.engine.engine import Engine
from pipelines.engine.reader import Reader
from pipelines.ingest import columns
from pipelines.ingest.log import ROW_BYTES, Log

if TYPE_CHECKING:
    from edge.durable.reader import Reader as LogReader

APPEND, READ, DECODE, ENGINE, CHECKPOINT = "append", "read and accept", "decode", "windows", "checkpoint"
BIRTHS = "births"
"""Once in a session: told apart from what each sample costs."""
PARTS = (APPEND, READ, DECODE, ENGINE, CHECKPOINT)
_STEP = "step"
_SAVE_NS = 60 * S_NS
_LOG_BYTES = 8 << 30
_MQTT = 4
_FOREVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Passage:
    """What one passage of a city's packets came to."""

    spent_s: dict[str, float]
    """CPU time by part. [s]"""
    counters: dict[str, int]
    blocks: tuple[RowBlock, ...]
    digest: str
    """Of the rows: equal rows, equal digests."""


class _Silent:
    """Nobody is told anything: statements leave by another thread."""

    def state(
        self,
        node: tuple[str, str],
        journal: UUID,
        positions: dict[int, int],
        *,
        gap: bool,
        attempt: int,
        urgent: bool,
        taken_bytes: int,
    ) -> None:
        """Say nothing."""

    def unknown_table(self, node: tuple[str, str]) -> None:
        """Say nothing."""


def carry(city: City, directory: Path) -> Passage:
    """Append the packets to a new log, minute by minute, read each minute back, and save a checkpoint after it."""
    parts = Parts()
    clock = ManualClock(T0_NS)
    directory.mkdir()
    path = directory / "checkpoint.db"
    log = Log(directory / "log", clock, limit_bytes=_LOG_BYTES, keep_ns=_FOREVER_NS)
    checkpoint, rows = Checkpoint(path), log.reader()
    engine = Engine(checkpoint.stage)
    reader = Reader(rows, engine, checkpoint, _Silent())
    with (
        patch.object(columns, "decode", parts.wrap_all(DECODE, columns.decode)),
        patch.object(engine, "apply", parts.wrap(ENGINE, engine.apply)),
    ):
        assert log.frames(_MQTT, city.births)
        with parts.spend(BIRTHS):
            while reader.step():
                pass
        for minute in _minutes(city.bursts):
            _append(minute, log, clock, parts)
            with parts.spend(_STEP):
                while reader.step():
                    pass
            with parts.spend(CHECKPOINT):
                reader.save()
    counters = dict(reader.status()["counters"])
    _close(checkpoint, rows, log)
    return _passage(parts, counters, path)


def _append(minute: Sequence[Burst], log: Log, clock: ManualClock, parts: Parts) -> None:
    """Append in rows as large as the front's under load."""
    for t_ns, packets in _rows(minute):
        clock.step_wall(t_ns - clock.wall_ns())
        with parts.spend(APPEND):
            assert log.frames(_MQTT, packets)


def _rows(bursts: Sequence[Burst]) -> Iterator[tuple[int, bytes]]:
    row: list[bytes] = []
    size, t_ns = 0, 0
    for burst in bursts:
        if row and size + len(burst.packets) > ROW_BYTES:
            yield t_ns, b"".join(row)
            row, size = [], 0
        row.append(burst.packets)
        size, t_ns = size + len(burst.packets), burst.t_ns
    if row:
        yield t_ns, b"".join(row)


def _minutes(bursts: Sequence[Burst]) -> Iterator[list[Burst]]:
    minute: list[Burst] = []
    for burst in bursts:
        if minute and burst.t_ns // _SAVE_NS != minute[0].t_ns // _SAVE_NS:
            yield minute
            minute = []
        minute.append(burst)
    yield minute


def _close(checkpoint: Checkpoint, rows: LogReader, log: Log) -> None:
    checkpoint.close()
    rows.close()
    log.close()


def _passage(parts: Parts, counters: dict[str, int], path: Path) -> Passage:
    spent_s = dict(parts.spent_s)
    spent_s[READ] = spent_s.pop(_STEP) - spent_s[DECODE] - spent_s[ENGINE]
    blocks = tuple(block for _, block in CheckpointReader(path).blocks_after(0, 1 << 40))
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block.encode())
    return Passage(spent_s, counters, blocks, digest.hexdigest())
