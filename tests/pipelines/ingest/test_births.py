"""Births: tables by hash over a restart, and what no birth may do."""

from __future__ import annotations

import pytest

from edge.sparkplug import payload as pl
from edge.sparkplug.birth import BirthError, build
from edge.sparkplug.sparkplug_b_pb2 import Payload
from pipelines.engine.engine import Engine
from pipelines.ingest.births import TABLES_OF_A_DEVICE, LineageError, Tables, node_birth
from pipelines.ingest.series import Series
from pipelines.kernels import wire
from tests.pipelines.ingest.gateway import meter


def birth(first: int, device: str = "m1") -> tuple[bytes, Payload]:
    table, metrics = build([meter(device), meter(device, "slow", 5)], first)
    return table.hash, Payload(metrics=metrics)


def test_tables_come_back_and_share_what_is_equal() -> None:
    tables = Tables()
    hashes = [birth(first, device)[0] for first, device in ((5, "m1"), (70, "m2"))]
    tables.learn(birth(5, "m1")[1], "plaza:m1")
    one = len(tables.snapshot())
    tables.learn(birth(70, "m2")[1], "plaza:m2")
    assert len(tables.snapshot()) - one < 60
    again = Tables.restore(tables.snapshot())
    assert again.snapshot() == tables.snapshot()
    assert [again.get(h) for h in hashes] == [tables.get(h) for h in hashes]
    assert again.get(b"nobody's") is None


def test_a_device_keeps_its_newest_tables() -> None:
    tables = Tables()
    for first in (0, *range(1, TABLES_OF_A_DEVICE), 0, 99):
        tables.learn(birth(first)[1], "plaza:m1")
    assert len(tables) == TABLES_OF_A_DEVICE
    assert tables.get(birth(0)[0]) is not None  # given again, so it is not the oldest
    assert tables.get(birth(1)[0]) is None


def test_births_that_are_refused() -> None:
    tables = Tables()
    with pytest.raises(BirthError, match="under the name"):
        tables.learn(birth(0)[1], "plaza:m2")
    for alias in (1 << 40, 1):
        payload = birth(0)[1]
        payload.metrics[3].alias = alias
        with pytest.raises(BirthError, match="aliases"):
            tables.learn(payload, "plaza:m1")
    data = birth(0)[1].SerializeToString().replace(b"voltage_v", b"voltage_\xff")
    with pytest.raises(BirthError, match="UTF-8"):
        tables.learn(Payload.FromString(data), "plaza:m1")
    assert not len(tables)


def test_a_node_birth_is_read_or_refused() -> None:
    assert node_birth(pl.node_birth(1, 3, {})) is None
    journal = "12345678-1234-5678-1234-567812345678"
    texts = {"wayside/journal": journal, "wayside/lineage": '[["00000000000000ff",7]]'}
    found = node_birth(pl.node_birth(1, 3, texts))
    assert found is not None
    assert (str(found.journal), found.lineage, found.bd_seq) == (journal, ((255, 7),), 3)
    for wrong in ({"wayside/journal": "x"}, {"wayside/lineage": '[["ff",7]]'}, {"wayside/lineage": "{"}):
        with pytest.raises(LineageError):
            node_birth(pl.node_birth(1, 3, texts | wrong))
    data = pl.node_birth(1, 3, texts).SerializeToString().replace(b"12345678-", b"1234567\xff-")
    with pytest.raises(LineageError, match="UTF-8"):
        node_birth(Payload.FromString(data))


def test_aliases_follow_what_the_engine_knows() -> None:
    engine, tables = Engine(), Tables()
    tables.learn(birth(5)[1], "plaza:m1")
    table = tables.get(birth(5)[0])
    assert table is not None
    series = Series(engine)
    place = series.place(table)
    assert (series.aliases[place.at : place.at + place.span, [wire.GROUP, wire.SERIES]] == -1).all()
    g = engine.schedule(meter(group="slow", period_s=5), 0, "j")
    series.changed("plaza", "m1")
    place = series.place(table)
    rows = {(group, point): series.aliases[place.at + at].tolist() for at, group, point, _ in table.shape}
    assert rows["slow", ""][wire.GROUP] == g
    assert rows["fast", ""][wire.GROUP] == -1
    assert rows["slow", "voltage_v"][wire.SERIES] == engine.series_by_name(g)["voltage_v"]
    for first in range(400):  # places that are left are used again
        tables.learn(birth(first)[1], "plaza:m1")
        table = tables.get(birth(first)[0])
        assert table is not None
        series.place(table)
        series.changed("plaza", "m1")
    assert len(series.aliases) == 1024
