"""The embedded store keeps rows bit for bit, once, together with its cursor, and lets others read."""

from __future__ import annotations

import sqlite3
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.blocks import RowBlock, RowShape
from pipelines.query.select import Selection, Store
from pipelines.sinks.embedded import EmbeddedStore
from pipelines.sinks.follower import Batch, Cursor, Follower, Unavailable
from tests.pipelines.sinks.rows import T0_NS, Blocks, block, incident, meter_block

TAGS = (("device", "m"), ("site", "s"))


def follow(source: Blocks, path: Path) -> None:
    target = EmbeddedStore(path)
    follower = Follower(source, target)
    while follower.step():
        pass
    target.close()


def bits(fields: dict[str, float | int]) -> dict[str, Any]:
    return {n: struct.pack("<d", v) if isinstance(v, float) else v for n, v in fields.items()}


def expected(blocks: list[RowBlock]) -> dict[Any, dict[str, Any]]:
    return {(tags, w, t): bits(fields) for each in blocks for tags, w, t, fields in each.rows()}


def found(path: Path, selection: Selection = Selection()) -> dict[Any, dict[str, Any]]:  # noqa: B008 -- frozen
    with Store(path) as store:
        return {(tuple(sorted(r.tags.items())), r.window_s, r.t_ns): bits(r.fields) for r in store.rows(selection)}


def test_rows_come_back_bit_for_bit_and_a_second_pass_changes_nothing(tmp_path: Path) -> None:
    source = Blocks([meter_block(minute) for minute in range(20)], [incident(1), incident(2)])
    path = tmp_path / "state" / "store.db"
    follow(source, path)
    assert found(path) == expected(source.blocks)
    with sqlite3.connect(path) as change:
        change.execute("UPDATE cursor SET block = 0, incident = 0, check_ = 0")
    change.close()
    follow(source, path)
    assert found(path) == expected(source.blocks)
    with Store(path) as store:
        assert store.incidents() == source.incidents


def test_rows_of_one_key_from_two_groups_are_merged_the_later_block_last(tmp_path: Path) -> None:
    first = block(RowShape("energy", ("a", "b"), ()), [(TAGS, 60, T0_NS, {"a": -0.0, "b": 2.0})])
    second = block(RowShape("energy", ("b",), ("n",)), [(TAGS, 60, T0_NS, {"b": 3.0, "n": 7})])
    follow(Blocks([first, second]), tmp_path / "store.db")
    assert list(found(tmp_path / "store.db").values()) == [bits({"a": -0.0, "b": 3.0, "n": 7})]


def test_selection_narrows_by_tag_window_time_and_field(tmp_path: Path) -> None:
    shape = RowShape("energy", ("power_w_mean", "voltage_v_mean"), ())
    rows: list[Any] = [
        ((("device", d), ("site", "s")), w, T0_NS + 60 * 10**9 * m, {"power_w_mean": 1.0 * m, "voltage_v_mean": 230.0})
        for d in "ab"
        for w in (60, 300)
        for m in range(5)
    ]
    follow(Blocks([block(shape, rows), meter_block(1)]), tmp_path / "store.db")
    chosen = Selection("energy", {"device": "a"}, 60, T0_NS + 60 * 10**9, T0_NS + 180 * 10**9, ("power_*",))
    with Store(tmp_path / "store.db") as store:
        assert [(r.t_ns, r.fields) for r in store.rows(chosen)] == [
            (T0_NS + 60 * 10**9, {"power_w_mean": 1.0}),
            (T0_NS + 120 * 10**9, {"power_w_mean": 2.0}),
        ]
        assert store.windows("energy") == [60, 300]
        assert store.measurements() == ["energy"]


def test_a_batch_that_fails_leaves_neither_rows_nor_cursor(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    broken = incident(1)
    broken["kind"] = None
    source = Blocks([meter_block(1)], [broken])
    with sqlite3.connect(":memory:"):
        target = EmbeddedStore(path)
        follower = Follower(source, target)
        target.cursor()
        with sqlite3.connect(path) as change:
            change.execute("CREATE TRIGGER no BEFORE INSERT ON incident BEGIN SELECT RAISE(ABORT, 'no'); END")
        change.close()
        with pytest.raises(Unavailable, match="no"):
            follower.step()
    assert found(path) == {}
    with sqlite3.connect(path) as change:
        change.execute("DROP TRIGGER no")
    change.close()
    assert follower.step()
    target.close()
    assert found(path) == expected(source.blocks)


def test_another_process_reads_while_this_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    source = Blocks([meter_block(minute) for minute in range(3)])
    target = EmbeddedStore(path)
    follower = Follower(source, target, batch_bytes=0)
    follower.step()
    writing = sqlite3.connect(path, isolation_level=None)
    writing.execute("BEGIN IMMEDIATE")
    writing.execute("DELETE FROM row")
    program = (
        "import sys, pathlib; from pipelines.query.select import *\n"
        "print(len(Store(pathlib.Path(sys.argv[1])).rows(Selection())))"
    )
    seen = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    writing.execute("ROLLBACK")
    writing.close()
    target.close()
    assert seen.stdout.strip() == "4"


def test_a_replaced_checkpoint_is_noticed_and_sent_again(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    follow(Blocks([meter_block(minute) for minute in range(5)]), path)
    restored = Blocks([*(meter_block(minute) for minute in range(3)), *(meter_block(m) for m in (7, 8, 9, 10))])
    follow(restored, path)
    assert expected(restored.blocks).items() <= found(path).items()


def test_damaged_blocks_are_known_after_a_restart_and_forgotten_with_a_refill(tmp_path: Path) -> None:
    for damaged in ((7,), (2,), (2, 4)):
        target = EmbeddedStore(tmp_path / "store.db")
        target.cursor()
        target.write(Batch((), (), Cursor(damaged[-1], 0, 0, damaged)))
        target.close()
        assert target.cursor() == Cursor(damaged[-1], 0, 0, damaged)
        target.close()
    follow(Blocks([meter_block(minute) for minute in range(2)]), tmp_path / "store.db")
    assert target.cursor().damaged == ()
    target.close()


def test_a_store_of_before_damaged_blocks_is_taken_over(tmp_path: Path) -> None:
    follow(Blocks([meter_block(1)]), tmp_path / "store.db")
    with sqlite3.connect(tmp_path / "store.db") as change:
        change.execute("DROP TABLE damaged")
    change.close()
    follow(Blocks([meter_block(1), meter_block(2)]), tmp_path / "store.db")
    assert len(found(tmp_path / "store.db")) == 8


def test_a_store_that_is_not_there_says_what_makes_it(tmp_path: Path) -> None:
    from edge.errors import StorageError  # noqa: PLC0415 -- only here

    with pytest.raises(StorageError, match="central run"):
        Store(tmp_path / "store.db")


def test_a_fresh_target_starts_before_the_first_block(tmp_path: Path) -> None:
    target = EmbeddedStore(tmp_path / "store.db")
    assert target.cursor() == Cursor()
    target.close()
