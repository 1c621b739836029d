"""A damaged file costs itself, counted; it never stops the journal, and never yields a wrong row."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from edge.durable.eviction import DAMAGED
from edge.durable.journal import Journal, State
from edge.durable.reader import files_in
from edge.durable.salvage import SALVAGED, finish_all
from edge.durable.segments import Segments
from edge.model.record import EpochRecord, PollRecord, Record, ScheduleRecord, TombstoneRecord
from tests.edge.durable.material import commit, group, open_journal, poll, settle, standing, stored
from tests.edge.durable.test_segments import everything, fill

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def flip_bits(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 3, 20])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)


def cut(path: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: draw.randrange(len(data))])


def zero_header(path: Path, draw: random.Random) -> None:
    size = draw.choice([16, 100, 1024])
    path.write_bytes(bytes(size) + path.read_bytes()[size:])


def zero_pages(path: Path, draw: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = draw.randrange(len(data) // 1024) * 1024
    data[at : at + 2048] = bytes(len(data[at : at + 2048]))
    path.write_bytes(data)


def shift_middle(path: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    at = draw.randrange(len(data))
    path.write_bytes(data[:at] + draw.randbytes(7) + data[at:])


DAMAGES: list[Callable[[Path, random.Random], None]] = [flip_bits, cut, zero_header, zero_pages, shift_middle]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["oldest", "newest"])
@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_damaged_the_rest_is_whole_and_writing_goes_on(
    tmp_path: Path, damage: Callable[[Path, random.Random], None], which: str, seed: int
) -> None:
    with Segments(tmp_path, segment_bytes=50_000) as segments:
        written = fill(segments, 24)
        files = list(segments.files)
    harmed = files[0 if which == "oldest" else -1]
    damage(harmed, random.Random(seed))
    second = int(files[1].stem)
    whole = {o: d for o, d in written.items() if (o >= second if which == "oldest" else o < int(harmed.stem))}

    with Segments(tmp_path, segment_bytes=50_000) as segments:
        found = everything(tmp_path)
        with segments.reader() as reader:
            at = 0
            while page := reader.read(at):
                at = page[-1].offset + 1
        first = segments.append_many([])
        again = fill(segments, 2)
        assert found == {o: written[o] for o in found}, "a wrong row was read"
        assert whole.items() <= found.items()
        assert everything(tmp_path) == found | again
        assert min(again) == first
        for done in segments.salvages:
            assert (tmp_path / done.file).exists()
            assert done.salvaged == sum(int(harmed.stem) <= o < (second if which == "oldest" else first) for o in found)
            if which == "oldest":
                assert done.lost_rows == len(written) - len(found)
    with Segments(tmp_path) as segments:
        assert segments.salvages == []
        assert everything(tmp_path) == found | again


def test_one_bad_page_costs_its_own_rows_only(tmp_path: Path) -> None:
    with Segments(tmp_path) as segments:
        written = fill(segments, 40)
    path = files_in(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[100 * 1024 : 101 * 1024] = b"\xff" * 1024
    path.write_bytes(data)
    with Segments(tmp_path) as segments:
        (done,) = segments.salvages
        assert len(written) - done.salvaged == done.lost_rows < 15
        assert everything(tmp_path).keys() == written.keys() - set(range(*done.lost[0]))


def test_an_empty_header_costs_nothing(tmp_path: Path) -> None:
    with Segments(tmp_path) as segments:
        written = fill(segments, 40)
    path = files_in(tmp_path)[0]
    path.write_bytes(bytes(1024) + path.read_bytes()[1024:])
    with Segments(tmp_path) as segments:
        assert segments.salvages[0].salvaged == len(written)
        assert everything(tmp_path) == written


@pytest.mark.parametrize("step", range(4))
def test_a_power_cut_amid_a_replacement_is_completed(tmp_path: Path, step: int) -> None:
    with Segments(tmp_path / "a", segment_bytes=50_000) as segments:
        written = fill(segments, 24)
    path = files_in(tmp_path / "a")[0]
    ready = path.with_name(path.name + SALVAGED)
    if step == 0:
        path.with_name(path.name + ".new").write_bytes(b"not complete")
    if step >= 1:
        ready.write_bytes(path.read_bytes())
    if step >= 2:
        path.with_name(path.name + "-wal").write_bytes(b"a former log")
    if step >= 3:
        path.with_name(path.name + "-wal").rename(path.with_name(path.name + ".bad-1-wal"))
        path.rename(path.with_name(path.name + ".bad-1"))
    with Segments(tmp_path / "a", segment_bytes=50_000):
        assert everything(tmp_path / "a") == written
    finish_all(tmp_path / "a")
    left = {p.name for p in (tmp_path / "a").iterdir() if not p.name.endswith((".seg", "lock"))}
    assert left == ({path.name + ".bad-1"} if step else set()) | ({path.name + ".bad-1-wal"} if step >= 2 else set())


def test_a_journal_says_what_damage_took_and_says_again_what_is_in_force(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=40_000) as journal:
        schedule = journal.declare(group(), 0)
        for n in range(4000):
            journal.append(poll(schedule, n))
        commit(journal)
        oldest, middle = files_in(tmp_path)[:2]
        before = stored(tmp_path)
        data = bytearray(middle.read_bytes())
        data[10 * 1024 : 12 * 1024] = bytes(2048)
        middle.write_bytes(data)
        at = 0
        while page := journal.read(at):
            at = page[-1][0] + 1
        journal.append(poll(schedule, 4000))
        settle(journal)
        (salvage,) = journal.status.salvages
        assert salvage.file.startswith(middle.name)
        after = stored(tmp_path)
        stones = [r for r in after.values() if isinstance(r, TombstoneRecord)]
        assert [(s.first, s.end, s.reason) for s in stones] == [(*r, "damaged") for r in salvage.lost]
        assert before.keys() - after.keys() == {o for r in salvage.lost for o in range(*r)}
        tail = [r for o, r in after.items() if o > max(before)]
        assert any(isinstance(r, ScheduleRecord) for r in tail)
        assert sum(isinstance(r, PollRecord) for r in tail) == 1
        assert oldest.exists()


def test_a_journal_whose_newest_file_is_gone_bad_begins_a_fork_not_a_stop(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        schedule = journal.declare(group(), 0)
        for n in range(2000):
            journal.append(poll(schedule, n))
    path = files_in(tmp_path)[-1]
    path.write_bytes(path.read_bytes()[: 20 * 1024])
    with open_journal(tmp_path) as again:
        assert again.epoch.first < 2000
        assert again.journal == journal.journal
        fresh = again.declare(group(), 5)
        again.append(poll(fresh, 1))
        commit(again)
        assert isinstance(again.read(again.epoch.first)[0][1], EpochRecord)
        assert again.schedules[fresh] == group()


def remove(path: Path, _draw: random.Random) -> None:
    path.unlink()


def zero_all(path: Path, _draw: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("damage", [*DAMAGES, zero_all, remove])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.proof)])
def test_a_running_journal_survives_the_eviction_of_a_damaged_file_and_says_what_it_lost(
    tmp_path: Path, damage: Callable[[Path, random.Random], None], seed: int
) -> None:
    """Every offset that is gone at the end is in a tombstone, and no poll that could be read is missing in a count."""
    draw = random.Random(seed)
    written: dict[int, Record] = {}
    gone: set[int] = set()

    def fill_until(journal: Journal, schedule: int, done: Callable[[], bool]) -> None:
        while not done():
            for n in range(50):
                journal.append(poll(schedule, len(written) + n, padding="x" * 60))
            settle(journal)
            assert journal.state is State.WRITING, journal.status
            written.update(stored(tmp_path))

    with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=320_000) as journal:
        schedule = journal.declare(group(), 0)
        fill_until(journal, schedule, lambda: len(files_in(tmp_path)) > 5)
        harmed = draw.choice(files_in(tmp_path)[:-1])
        first, end = int(harmed.stem), next(int(p.stem) for p in files_in(tmp_path) if p > harmed)
        damage(harmed, draw)
        fill_until(journal, schedule, lambda: journal.oldest >= end)
    with open_journal(tmp_path, quota_bytes=1 << 30) as journal:
        held = stored(tmp_path)
        stones = [r for r in written.values() if isinstance(r, TombstoneRecord)]
        assert {s.end for s in standing(held.values())} == {journal.oldest}
        assert {o for s in stones for o in range(s.first, s.end)} >= set(range(journal.oldest)) - set(held)
        gone = {o for s in stones if s.reason == DAMAGED for o in range(s.first, s.end)}
        assert gone <= set(range(first, end))
        if damage in {zero_all, remove}:
            assert gone == set(range(first, end))
        counted = max(s.end for s in stones if s.reason != DAMAGED)
        read = sum(isinstance(r, PollRecord) for o, r in written.items() if o < counted and o not in gone)
        assert sum(each.polls for stone in standing(held.values()) for each in stone.groups) == read
        assert journal.state is State.WRITING


def test_a_file_removed_while_the_journal_was_closed_is_told_once(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=40_000) as journal:
        schedule = journal.declare(group(), 0)
        for n in range(4000):
            journal.append(poll(schedule, n))
        commit(journal)
    removed, after = files_in(tmp_path)[1:3]
    removed.unlink()
    for _ in range(2):
        with open_journal(tmp_path, segment_bytes=40_000) as journal:
            commit(journal)
        stones = [r for r in stored(tmp_path).values() if isinstance(r, TombstoneRecord)]
        assert [(s.first, s.end, s.reason) for s in stones] == [(int(removed.stem), int(after.stem), DAMAGED)]


def test_what_is_acknowledged_right_after_it_was_read_damaged_is_told(tmp_path: Path) -> None:
    """The rows that can be read are sent, and may be acknowledged before the next commit."""
    with open_journal(tmp_path, segment_bytes=40_000, commit_s=60) as journal:
        schedule = journal.declare(group(), 0)
        for n in range(4000):
            journal.append(poll(schedule, n))
        settle(journal)
        middle = files_in(tmp_path)[1]
        middle.write_bytes(bytes(middle.stat().st_size))
        with journal._changed:
            at = 0
            while page := journal.read(at):
                at = page[-1][0] + 1
            journal.acknowledge(journal.committed)
        settle(journal)
        (salvage,) = journal.status.salvages
        stones = [r for r in stored(tmp_path).values() if isinstance(r, TombstoneRecord)]
        assert [(s.first, s.end) for s in stones] == list(salvage.lost)
