"""A journal's identity, its epochs, what it repeats, and what it lets go."""

from __future__ import annotations

import functools
import itertools
import random
import shutil
from typing import TYPE_CHECKING
from zlib import compress

import msgspec
import pytest

from edge.durable import identity, sqlitefile
from edge.durable.eviction import good_bits, join
from edge.durable.journal import Journal, State
from edge.durable.reader import files_in
from edge.errors import Refused, StorageError, StorageFull
from edge.model.record import (
    AnchorRecord,
    DatingRecord,
    EpochRecord,
    Evicted,
    PollRecord,
    ScheduleRecord,
    TombstoneRecord,
)
from tests.edge.durable.material import S_NS, commit, group, open_journal, poll, settle, standing, stored

if TYPE_CHECKING:
    from pathlib import Path


def test_records_come_back_with_the_offsets_that_append_gave(tmp_path: Path) -> None:
    seen: list[int] = []
    with open_journal(tmp_path, progress=seen.append) as journal:
        schedule = journal.declare(group(), 0)
        given = {journal.append(poll(schedule, n)): poll(schedule, n) for n in range(500)}
        commit(journal)
        assert journal.committed == journal.epoch.first + 502
        assert {o: r for o, r in journal.read(0, max_records=10_000) if isinstance(r, PollRecord)} == given
        assert [o for o, _ in journal.read(100, max_records=3)] == [100, 101, 102]
        assert journal.read(journal.committed) == []
        assert seen[-1] == journal.committed
    assert stored(tmp_path)[0] == journal.epoch


def test_each_opening_begins_an_epoch_that_names_the_one_before(tmp_path: Path) -> None:
    with open_journal(tmp_path, boot="b1", mono_ns=7) as first:
        first.append(poll(first.declare(group(), 8), 40))
    with open_journal(tmp_path, boot="b2", mono_ns=3) as second:
        assert second.journal == first.journal
        assert second.epoch == EpochRecord(second.epoch.epoch, 3, "b2", 3, first.epoch.epoch, "b1", 40 * S_NS + 5)
        assert second.lineage() == [(first.epoch.epoch, 0), (second.epoch.epoch, 3)]
        assert (second.epoch_at(2), second.epoch_at(3)) == (first.epoch, second.epoch)


def test_a_restored_copy_begins_a_fork(tmp_path: Path) -> None:
    with open_journal(tmp_path / "a") as journal:
        schedule = journal.declare(group(), 0)
        commit(journal)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with open_journal(tmp_path / "a") as journal:
        offset = journal.append(poll(schedule, 1))
    with open_journal(tmp_path / "copy") as copy:
        assert copy.append(poll(schedule, 2)) == offset
        assert copy.journal == journal.journal
        assert copy.epoch.first == journal.epoch.first
        assert copy.epoch.previous == journal.epoch.previous
        assert copy.epoch.epoch != journal.epoch.epoch


def test_another_edge_node_is_refused(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    with pytest.raises(Refused, match="move the folder away"):
        Journal.open(tmp_path, ("city", "gw-2"), boot="b", mono_ns=0)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(Refused, match="in use"):
        open_journal(tmp_path)


@pytest.mark.parametrize("names", [["identity.json"], ["identity.copy.json"]])
def test_one_spoilt_identity_file_is_made_good(tmp_path: Path, names: list[str]) -> None:
    with open_journal(tmp_path) as journal:
        uuid = journal.journal
    for name in names:
        (tmp_path / name).write_bytes(b"")
    with open_journal(tmp_path) as journal:
        assert journal.journal == uuid
    assert (tmp_path / "identity.json").read_bytes() == (tmp_path / "identity.copy.json").read_bytes()


def test_records_without_identity_are_refused(tmp_path: Path) -> None:
    open_journal(tmp_path).close()
    (tmp_path / "identity.json").unlink()
    (tmp_path / "identity.copy.json").unlink()
    with pytest.raises(Refused, match="identity"):
        open_journal(tmp_path)


def test_a_schedule_is_recorded_when_it_changes_and_not_again(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        first = journal.declare(group(), 1)
        assert journal.declare(group(), 2) == first
        other = journal.declare(group(period_s=5), 3)
        assert other != first
        journal.end(group().key, 4)
        journal.end(group().key, 5)
        assert journal.schedules[first] == group()
        assert journal.declared() == {}
    with open_journal(tmp_path) as journal:
        third = journal.declare(group(period_s=5), 6)
        assert third not in {first, other}
        assert journal.schedules[other] == group(period_s=5)
    written = [r for r in stored(tmp_path).values() if isinstance(r, ScheduleRecord)]
    assert [(r.mono_ns, r.group.period_ns // S_NS) for r in written] == [(1, 1), (3, 5), (4, 0), (6, 5)]


def test_each_file_opens_with_what_is_in_force(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=40_000) as journal:
        schedule = journal.declare(group(), 1)
        other = journal.declare(group("slow"), 1)
        anchor = AnchorRecord("boot-1", 10**18, 0, "ntp", 0)
        journal.append(anchor)
        early = DatingRecord("boot-1", 0, 10**18, 0, "ntp", 0)
        journal.append(early)
        for n in range(4000):
            journal.append(poll(schedule, n))
            if n == 2000:
                step = DatingRecord("boot-1", journal.append(poll(other, n)) + 1, 10**18 + S_NS, 0, "ntp", 0)
                journal.append(step)
        commit(journal)
        files = files_in(tmp_path)
        assert len(files) > 2
        for path in files[1:]:
            first = sqlitefile.first_of(path)
            head = [r for _, r in journal.read(first, max_records=5)]
            assert head[0] == journal.epoch
            assert {r.schedule for r in head[1:3] if isinstance(r, ScheduleRecord)} == {schedule, other}
            assert head[3:] == [anchor, step if first >= step.from_offset else early]
        assert journal.date_ns("boot-1", step.from_offset - 1, 1_999_999) == 10**18 + 1_000_000
        assert journal.date_ns("boot-1", step.from_offset, 0) == 10**18 + S_NS
        assert journal.date_ns("boot-0", 0, 0) is None


def test_acknowledged_records_go_first_and_silently(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=400_000) as journal:
        schedule = journal.declare(group(), 1)
        for n in range(20_000):
            position = journal.append(poll(schedule, n, padding="x" * 50))
            if n % 200 == 199:
                commit(journal)
                journal.acknowledge(position + 1)
        assert journal.oldest > 5000
        assert journal.lost == 0
        assert journal.status.size_bytes < 400_000 + (1 << 20) + 100_000
    assert not [r for r in stored(tmp_path).values() if isinstance(r, TombstoneRecord)]


def test_a_long_outage_is_named_by_the_tombstones_that_are_left(tmp_path: Path) -> None:
    """Every poll ever committed is held, or in the count of a tombstone that is held: one for each epoch."""
    polls: dict[int, bool] = {}
    for boot in ("b1", "b2", "b3"):
        with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=300_000, boot=boot) as journal:
            schedule = journal.declare(group(), 1)
            for n in range(4000 if boot == "b1" else 12_000):
                offset = journal.append(poll(schedule, n, outcome=int(n % 10 == 0), padding="x" * 50))
                polls[offset] = n % 10 != 0
                if n % 100 == 99:
                    commit(journal)
    with open_journal(tmp_path, quota_bytes=1 << 30) as journal:
        held, oldest = stored(tmp_path), journal.oldest
        assert journal.lost == oldest == min(held)
    assert oldest > 20_000
    gone = standing(held.values())
    assert [stone.boot for stone in gone] == ["b1", "b2", "b3"]
    assert [(gone[0].first, gone[-1].end), *((a.end, b.first) for a, b in itertools.pairwise(gone))] == [
        (0, oldest),
        *((stone.first, stone.first) for stone in gone[1:]),
    ]
    for stone in gone:
        there = [is_ok for offset, is_ok in polls.items() if stone.first <= offset < stone.end]
        assert stone.groups == [Evicted(schedule, len(there), sum(there))]
        assert good_in(stone) == {o for o, is_ok in polls.items() if is_ok and stone.first <= o < stone.end}
    assert [(stone.from_ns, stone.to_ns) for stone in gone[:2]] == [(0, 3999 * S_NS + 5), (0, 11_999 * S_NS + 5)]
    written = [r for r in held.values() if isinstance(r, DatingRecord | TombstoneRecord)]
    assert len(written) <= 3 * (len(files_in(tmp_path)) + 1), "records about what is gone must stay few"


def good_in(stone: TombstoneRecord) -> set[int]:
    bits = good_bits(stone)
    assert len(bits) * 8 >= stone.end - stone.first
    return {stone.first + n for n in range(len(bits) * 8) if bits[n // 8] >> n % 8 & 1}


def test_what_was_acknowledged_is_in_no_later_tombstone(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=300_000) as journal:
        schedule, n = journal.declare(group(), 1), itertools.count()

        def fill(until: int) -> None:
            while journal.oldest < until:
                for _ in range(100):
                    journal.append(poll(schedule, next(n), padding="x" * 50))
                settle(journal)

        fill(2000)
        first = standing(stored(tmp_path).values())
        assert [(s.first, s.end) for s in first] == [(0, journal.oldest)]
        position = journal.committed
        journal.acknowledge(position)
        fill(position + 2000)
        assert [(s.first, s.end) for s in standing(stored(tmp_path).values())] == [(position, journal.oldest)]
        assert journal.lost == first[0].end + journal.oldest - position


@pytest.mark.proof
def test_very_many_epochs_share_tombstones(tmp_path: Path) -> None:
    """Openings that each leave little must not fill the journal with what is said about them."""
    sizes = []
    for n in range(120):
        with open_journal(tmp_path, segment_bytes=32 << 10, quota_bytes=1 << 18, boot=f"b{n}") as journal:
            schedule = journal.declare(group(), 1)
            for k in range(150):
                journal.append(poll(schedule, k, padding="x" * 60))
            settle(journal)
            sizes.append(journal.status.size_bytes)
            oldest = journal.oldest
    held = stored(tmp_path)
    gone = standing(held.values())
    assert gone[0].first == 0
    assert gone[-1].end == oldest > 8000
    assert all(a.end == b.first for a, b in itertools.pairwise(gone))
    kept = sum(isinstance(r, PollRecord) for r in held.values())
    assert sum(e.ok for s in gone for e in s.groups) + kept == 120 * 150
    assert max(sizes) < (1 << 18) + (64 << 10)


def test_which_polls_were_good_is_told_as_far_as_a_record_may_grow() -> None:
    draw = random.Random(5)
    good: set[int] = set()
    stones, at = [], 0
    for size in (1, 7, 8, 9, 1000, 40_000, 40_000):
        there = {at + n for n in range(size) if draw.random() < 0.5}
        bits = bytearray((size + 7) // 8)
        for offset in there:
            bits[(offset - at) // 8] |= 1 << (offset - at) % 8
        stones.append(
            TombstoneRecord(
                at, at + size, "quota", [Evicted(1, size, len(there))], "b", at, at + size, 7, compress(bits)
            )
        )
        good, at = good | there, at + size
    stone = functools.reduce(join, stones)
    assert (stone.first, stone.end, stone.epoch, stone.groups) == (0, at, 7, [Evicted(1, at, len(good))])
    told = good_bits(stone)
    assert 8000 < len(told) * 8 < at
    assert {n for n in range(len(told) * 8) if told[n // 8] >> n % 8 & 1} == {n for n in good if n < len(told) * 8}
    assert len(stone.good) <= 2048


def test_lineage_names_the_epoch_before_the_oldest_held_across_a_restart(tmp_path: Path) -> None:
    epochs = []
    for _ in range(6):
        with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=320_000) as journal:
            epochs.append((journal.epoch.epoch, journal.epoch.first))
            schedule = journal.declare(group(), 1)
            for n in range(2000):
                journal.append(poll(schedule, n, padding="x" * 60))
            settle(journal)
            oldest = journal.oldest
            lineage = journal.lineage()
        held = max(i for i, (_, first) in enumerate(epochs) if first <= oldest)
        assert lineage == epochs[max(held - 1, 0) :]
    with open_journal(tmp_path, quota_bytes=1 << 30) as journal:
        assert journal.oldest == oldest
        assert journal.lineage()[:-1] == lineage


def test_files_whose_last_record_is_older_than_asked_go(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=40_000) as journal:
        schedule = journal.declare(group(), 1)
        journal.append(DatingRecord("boot-1", 0, 0, 0, "ntp", 0))
        for n in range(4000):
            journal.append(poll(schedule, n))
        commit(journal)
        journal.expire(2000 * S_NS)
        settle(journal)
        held = [r.due_ns // S_NS for _, r in journal.read(0, 10_000) if isinstance(r, PollRecord)]
        assert 1 < held[0] <= 2000
        stones = [r for _, r in journal.read(0, 10_000) if isinstance(r, TombstoneRecord)]
        assert {r.reason for r in stones} == {"age"}
        assert sum(e.ok for r in standing(stones) for e in r.groups) == held[0]


def test_a_full_queue_refuses_and_counts(tmp_path: Path) -> None:
    with open_journal(tmp_path, queue_bytes=2000, commit_s=60) as journal:
        commit(journal)
        with journal._changed:  # the writer can't take anything off while we hold this
            taken = 0
            while journal._writer.queue.has_room(100):
                journal.append(poll(1, taken))
                taken += 1
            with pytest.raises(StorageFull):
                journal.append(poll(1, taken, padding="x" * 100))
            assert journal.status.refused == 1
        commit(journal)
        assert journal.state is State.WRITING
        assert sum(isinstance(r, PollRecord) for _, r in journal.read(0)) == taken > 10


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.append(poll(1, 1))


def test_a_record_beyond_all_bounds_is_refused(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal, pytest.raises(ValueError, match="most"):
        journal.append(poll(1, 1, padding="x" * (300 << 10)))


def test_a_kind_that_a_newer_version_wrote_is_passed_over(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.append(poll(1, 1))
        commit(journal)
        with journal._changed:
            journal._writer.queue.put(sqlitefile.Row(msgspec.msgpack.encode([99, "new"]), 99))
        journal.append(poll(1, 2))
    with open_journal(tmp_path) as journal:
        assert [type(r) for _, r in journal.read(0)][:3] == [EpochRecord, PollRecord, PollRecord]


@pytest.mark.parametrize("step", ["edge.durable.identity.save_hint", "edge.durable.segments.Segments.drop_oldest"])
def test_an_eviction_that_a_crash_parts_is_completed_and_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The tombstone is committed, the file is still there: it must go before anything of it is sent."""

    save = identity.save_hint

    def fail(_self: object, hint: identity.Hint | None = None) -> None:
        if hint is None or hint.lost > lost:
            raise StorageError("the power is cut here")
        save(tmp_path, hint)

    with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=320_000) as journal:
        schedule = journal.declare(group(), 0)
        while not journal.lost:
            for n in range(100):
                journal.append(poll(schedule, n))
            settle(journal)
        lost = journal.lost
    with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=320_000) as journal:
        settle(journal)
        monkeypatch.setattr(step, fail)
        while journal.state is State.WRITING:
            for n in range(100):
                journal.append(poll(schedule, n))
            journal.wait(journal.flush(), 0.2)
    monkeypatch.undo()
    stones = [r for r in stored(tmp_path).values() if isinstance(r, TombstoneRecord)]
    if step.endswith("drop_oldest"):
        assert min(stored(tmp_path)) < stones[-1].end, "the file is still there"
    with open_journal(tmp_path, segment_bytes=40_000, quota_bytes=1 << 30) as journal:
        assert journal.oldest >= stones[-1].end
        assert journal.lost == sum(s.end - s.first for s in standing(stones)) > lost
        assert not [o for o, _ in journal.read(0, 10_000) if o < stones[-1].end]
