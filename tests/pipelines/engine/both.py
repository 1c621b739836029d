"""One story told to the engine, in random batches, and to the twin; what each makes of it, in one form."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.engine.blocks import RowBlock
from pipelines.engine.engine import Engine
from pipelines.engine.incident import Incident
from tests.pipelines.engine.story import Declare, Event, Poll, Step
from wayside.prove.group import Reading
from wayside.prove.twin import Twin

Rows = dict[tuple[Any, ...], dict[str, int | bytes]]
Refused = dict[tuple[Any, ...], tuple[int, int, int, int]]
"""(kind, site, device, group) → polls, ok, from, to."""


@dataclass(slots=True)
class Batch:
    """Columns of a run of records."""

    record_group: NDArray[np.int32]
    record_due_ns: NDArray[np.int64]
    record_outcome: NDArray[np.int16]
    record_end: NDArray[np.int64]
    series: NDArray[np.int32]
    t_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    integer: NDArray[np.int64]
    has_value: NDArray[np.bool_]
    quality: NDArray[np.int32]


def batch(engine: Engine, polls: Sequence[Poll]) -> Batch:
    records: list[tuple[int, ...]] = []
    samples: list[tuple[Any, ...]] = []
    for poll in polls:
        g = engine.group(poll.key)
        assert g is not None
        series = engine.series_by_name(g)
        samples += [(series.get(each.name, -1), each.t_ns, *_value(each), each.quality) for each in poll.readings]
        records.append((g, poll.due_ns, poll.outcome, len(samples)))
    r = list(zip(*records, strict=True))
    s: list[Any] = list(zip(*samples, strict=True)) or [()] * 6
    return Batch(
        np.array(r[0], np.int32),
        np.array(r[1], np.int64),
        np.array(r[2], np.int16),
        np.array(r[3], np.int64),
        np.array(s[0], np.int32),
        np.array(s[1], np.int64),
        np.array(s[2], np.float64),
        np.array(s[3], np.int64),
        np.array(s[4], np.bool_),
        np.array(s[5], np.int32),
    )


def _value(reading: Reading) -> tuple[float, int, bool]:
    value = reading.value
    if isinstance(value, float):
        return value, 0, True
    return (0.0, int(value), True) if isinstance(value, int) else (0.0, 0, value is not None)


def by_engine(steps: Sequence[Step], seed: int = 0) -> tuple[Rows, Refused]:
    r = random.Random(seed)
    engine = Engine()
    waiting: list[Poll] = []
    blocks: list[RowBlock] = []
    incidents: list[Incident] = []
    longest = r.choice((1, 3, 50, 10_000))

    def flush() -> None:
        if waiting:
            engine.apply(batch(engine, waiting), waiting[0].receipt_ns)
            waiting.clear()

    for step in steps:
        match step:
            case Poll():
                if (waiting and waiting[0].receipt_ns != step.receipt_ns) or len(waiting) >= longest:
                    flush()
                waiting.append(step)
            case Declare():
                flush()
                engine.schedule(step.group, step.from_ns, step.journal)
            case Event():
                flush()
                _tell_engine(engine, step)
        if r.random() < 0.02:
            flush()
            new, told = engine.take()
            blocks += [RowBlock.decode(block.encode()) for block in new]
            incidents += told
            state = engine.snapshot()
            if r.random() < 0.5:
                engine = Engine()
            engine.restore(state)
            assert engine.snapshot() == state
    flush()
    new, told = engine.take()
    return rows_of((*blocks, *new)), refused_of((*incidents, *told))


def _tell_engine(engine: Engine, step: Event) -> None:
    match step.kind:
        case "epoch":
            engine.epoch_began(step.of)
        case "undatable":
            engine.undatable(step.of, 1, 1)
        case "retire":
            engine.retire(*step.of)
        case _:
            engine.jumped(step.of, step.kind)


def by_twin(steps: Iterable[Step]) -> tuple[Rows, Refused]:
    twin = tell_twin(steps)
    found: Rows = {}
    for row in twin.rows():
        _add(found, (row.measurement, row.tags, row.window_s, row.t_ns), row.fields)
    refused: Refused = {}
    for key, group in twin.groups.items():
        for each in group.refused:
            _refuse(refused, (each.kind, *key), 1, int(each.ok), each.at_ns, each.at_ns)
    return found, refused


def tell_twin(steps: Iterable[Step]) -> Twin:
    twin = Twin()
    for step in steps:
        match step:
            case Poll():
                twin.poll(step.key, step.due_ns, step.outcome, step.readings, step.receipt_ns)
            case Declare():
                twin.declare(step.group, step.from_ns, step.journal)
            case Event("epoch"):
                twin.epoch_began(step.of)
            case Event("undatable"):
                twin.undatable(step.of)
            case Event("retire"):
                twin.retire(*step.of)
            case Event():
                twin.jumped(step.of, step.kind)
    return twin


def rows_of(blocks: Iterable[RowBlock]) -> Rows:
    found: Rows = {}
    for block in blocks:
        for tags, window_s, t_ns, fields in block.rows():
            _add(found, (block.shape.measurement, tags, window_s, t_ns), fields)
    return found


def refused_of(incidents: Iterable[Incident]) -> Refused:
    refused: Refused = {}
    for incident in incidents:
        if incident.kind in {"late_after_close", "quarantined"}:
            f = incident.fields
            key = (incident.kind, f["site"], f["device"], f["group"])
            _refuse(refused, key, f["polls"], f["ok"], f["from_ns"], f["to_ns"])
    return refused


def _refuse(refused: Refused, key: tuple[Any, ...], polls: int, ok: int, first: int, last: int) -> None:
    before = refused.get(key, (0, 0, first, last))
    refused[key] = (before[0] + polls, before[1] + ok, min(before[2], first), max(before[3], last))


def _add(rows: Rows, key: tuple[Any, ...], fields: dict[str, float | int]) -> None:
    kept = rows.setdefault(key, {})
    assert kept.keys().isdisjoint(fields), f"{key}: the same fields twice: {kept.keys() & fields.keys()}"
    kept.update((name, struct.pack("<d", v) if isinstance(v, float) else v) for name, v in fields.items())
