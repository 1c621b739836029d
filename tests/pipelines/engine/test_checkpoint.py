"""A checkpoint is whole or not there: state, position, rows and incidents of one moment, whatever happens."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.errors import StorageError
from pipelines.engine.blocks import RowBlock
from pipelines.engine.checkpoint import INCIDENTS, PAGE_BYTES, Checkpoint, CheckpointReader, DamagedBlock
from tests.pipelines.engine.blocks import block, incident

EVERYTHING = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.db"


@pytest.fixture
def checkpoint(path: Path) -> Iterator[Checkpoint]:
    opened = Checkpoint(path)
    yield opened
    opened.close()


def reopened(checkpoint: Checkpoint) -> Checkpoint:
    checkpoint.close()
    return Checkpoint(checkpoint.path)


def numbers(path: Path) -> list[tuple[int, int]]:
    """(seq, first time) of every block."""
    return [(seq, int(found.t_ns[0])) for seq, found in CheckpointReader(path).blocks_after(0, EVERYTHING)]


def test_a_new_one_holds_nothing(checkpoint: Checkpoint, path: Path) -> None:
    assert checkpoint.load() is None
    assert numbers(path) == []
    assert list(CheckpointReader(path).incidents_after(0)) == []


def test_what_was_saved_is_loaded(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(7, {"a": b"x", "b": b""}, [block(1)], [incident(1)])
    checkpoint.save(9, {"a": b"y"}, [block(2)], [])
    again = reopened(checkpoint)
    saved = again.load()
    again.close()
    assert saved is not None
    assert (saved.position, saved.states) == (9, {"a": b"y"})
    assert numbers(path) == [(1, 1), (2, 2)]
    ((seq, found),) = CheckpointReader(path).incidents_after(0)
    assert (seq, found) == (1, {"t_ns": 1, "kind": "jumped", "journal": "j", "end": 1})


def test_a_block_comes_back_as_it_was(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {}, [block(5)], [])
    ((_, found),) = CheckpointReader(path).blocks_after(0, EVERYTHING)
    assert isinstance(found, RowBlock)
    assert found.encode() == block(5).encode()
    assert [fields for *_, fields in found.rows()] == [{"p_mean": 5 / 3, "p_n": 5}, {}]


def test_what_is_staged_is_seen_with_its_save_only(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.stage([block(1), block(2)])
    assert numbers(path) == []
    checkpoint.save(3, {"a": b"x"}, [block(3)], [])
    assert numbers(path) == [(1, 1), (2, 2), (3, 3)]


def test_what_is_not_saved_at_the_end_is_gone(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {"a": b"x"}, [block(1)], [])
    checkpoint.stage([block(2)])
    again = reopened(checkpoint)
    saved = again.load()
    again.close()
    assert saved is not None
    assert saved.position == 1
    assert numbers(path) == [(1, 1)]


def test_a_save_that_fails_changes_nothing(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {"a": b"x"}, [block(1)], [])
    checkpoint._connection.execute(
        "CREATE TEMP TRIGGER stop BEFORE INSERT ON position BEGIN SELECT raise(ABORT, 'no'); END"
    )
    with pytest.raises(StorageError):
        checkpoint.save(2, {"a": b"y"}, [block(2)], [incident(2)])
    checkpoint._connection.execute("DROP TRIGGER stop")
    assert numbers(path) == [(1, 1)]
    checkpoint.save(3, {"a": b"z"}, [block(3)], [incident(3)])
    assert numbers(path) == [(1, 1), (2, 3)]
    assert [seq for seq, _ in CheckpointReader(path).incidents_after(0)] == [1]


def test_a_damaged_state_is_set_aside(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {"engine": b"x" * 100}, [block(1)], [])
    checkpoint.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE state SET data = ?", (b"y" * 100,))
    connection.close()
    again = Checkpoint(path)
    assert again.load() is None
    assert again.set_aside is not None
    assert again.set_aside.exists()
    again.save(1, {"engine": b"z"}, [block(1)], [])
    again.close()
    assert numbers(path) == [(1, 1)]


def test_bytes_that_are_no_database_are_set_aside(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 1000)
    opened = Checkpoint(path)
    assert opened.load() is None
    assert opened.set_aside is not None
    assert opened.set_aside.read_bytes().startswith(b"not a database")
    opened.close()


def flip_a_bit(path: Path, number: int) -> None:
    with sqlite3.connect(path) as connection:
        (data,) = connection.execute("SELECT data FROM block WHERE seq = ?", (number,)).fetchone()
        changed = data[:-1] + bytes([data[-1] ^ 1])
        connection.execute("UPDATE block SET data = ? WHERE seq = ?", (changed, number))
    connection.close()


def drop(path: Path, number: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM block WHERE seq = ?", (number,))
    connection.close()


def retype(path: Path, number: int) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE block SET data = CAST(x'ff00ff' AS TEXT) WHERE seq = ?", (number,))
    connection.close()


@pytest.mark.parametrize("damage", [flip_a_bit, drop, retype])
def test_a_damaged_block_is_named_and_not_handed_on_and_the_others_are(
    damage: Callable[[Path, int], None], checkpoint: Checkpoint, path: Path
) -> None:
    checkpoint.save(1, {"a": b"x"}, [block(n) for n in range(1, 5)], [])
    checkpoint.close()
    damage(path, 2)
    reader = CheckpointReader(path)
    assert [seq for seq, _ in reader.blocks_after(0, EVERYTHING)] == [1]
    with pytest.raises(DamagedBlock, match="block 2 is damaged") as caught:
        reader.blocks_after(1, EVERYTHING)
    assert caught.value.number == 2
    assert [seq for seq, _ in reader.blocks_after(2, EVERYTHING)] == [3, 4]


def test_damaged_pages_cost_the_blocks_on_them(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {"a": b"x"}, [large_block(n) for n in range(40)], [])
    checkpoint.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(b"\xff" * PAGE_BYTES)
    reader, whole, damaged, at = CheckpointReader(path), [], [], 0
    while at < reader.last_block():
        try:
            found = reader.blocks_after(at, EVERYTHING)
            whole += [seq for seq, _ in found]
            at = found[-1][0]
        except DamagedBlock as error:
            at = error.number
            damaged.append(at)
    assert 0 < len(damaged) < 10
    assert sorted(whole + damaged) == list(range(1, 41))


def large_block(n: int) -> RowBlock:
    """More than a page."""
    one = block(n)
    rows = 1000
    return RowBlock(
        one.shape,
        one.keys,
        np.zeros(rows, np.int32),
        np.full(rows, 60, np.int32),
        np.arange(rows, dtype=np.int64),
        np.full((rows, 1), float(n)),
        np.zeros((rows, 1), np.int64),
        np.zeros((rows, 1), np.bool_),
    )


def test_a_file_that_is_no_checkpoint_yet_is_no_damaged_block(path: Path) -> None:
    sqlite3.connect(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    with pytest.raises(StorageError, match="no such table") as caught:
        CheckpointReader(path).blocks_after(0, EVERYTHING)
    assert not isinstance(caught.value, DamagedBlock)


def test_incidents_come_in_portions(checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {"a": b"x"}, [], [incident(n) for n in range(2 * INCIDENTS + 1)])
    reader = CheckpointReader(path)
    seen: list[int] = []
    while found := reader.incidents_after(seen[-1] if seen else 0):
        assert len(found) <= INCIDENTS
        seen += [seq for seq, _ in found]
    assert seen == list(range(1, 2 * INCIDENTS + 2))


@pytest.mark.parametrize("damage", ["x'7b'", "CAST(x'7b22ff223a317d' AS TEXT)", "'[]'"])
def test_a_damaged_incident_is_an_incident(damage: str, checkpoint: Checkpoint, path: Path) -> None:
    checkpoint.save(1, {"a": b"x"}, [], [incident(n) for n in (1, 2, 3)])
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE incident SET fields = {damage} WHERE seq = 2")
    connection.close()
    found = CheckpointReader(path).incidents_after(0)
    assert [(seq, each["kind"], each["t_ns"]) for seq, each in found] == [
        (1, "jumped", 1),
        (2, "incident_damaged", 2),
        (3, "jumped", 3),
    ]


@pytest.mark.parametrize("saves", [1, 7, 30])
def test_a_kill_costs_what_was_not_said(path: Path, saves: int) -> None:
    command = [sys.executable, "-m", "tests.pipelines.engine.killed_saver", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = 0
        while said < saves:
            said = int(process.stdout.readline())
        process.kill()
    opened = Checkpoint(path)
    saved = opened.load()
    opened.close()
    assert opened.set_aside is None
    assert saved is not None
    n = saved.position
    assert n >= said
    assert saved.states == {"engine": n.to_bytes(4, "big") * 1000}
    assert numbers(path) == [(2 * i + k, i + 1) for i in range(n) for k in (1, 2)]
    assert [seq for seq, _ in CheckpointReader(path).incidents_after(0)] == list(range(1, n + 1))
