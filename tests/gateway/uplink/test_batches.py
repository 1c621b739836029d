"""What a batch says is what the journal holds, whatever lies in it and however it is cut."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from edge.model.point import Group
from edge.model.quality import Quality, is_usable
from edge.model.record import EpochRecord, PollRecord, ScheduleRecord, TombstoneRecord
from edge.sparkplug.birth import Table, device_id
from edge.sparkplug.body import NO_TABLE, Body, Extra, Undatable
from edge.sparkplug.payload import parse
from edge.sparkplug.session import Sequence
from gateway.uplink.batches import Batch, Cutter
from gateway.uplink.births import Births
from tests.edge.durable.material import settle
from tests.examples import examples
from tests.gateway.uplink.material import (
    POINTS,
    S_NS,
    WALL_NS,
    Said,
    body_of,
    commit,
    date,
    expected,
    group,
    open_journal,
    poll,
    read_polls,
    table_of,
    values,
)

if TYPE_CHECKING:
    from pathlib import Path

    from edge.durable.journal import Journal
    from edge.runtime.mqtt import Message

FUTURE_NS = 1 << 62


@dataclass
class Read:
    """What a reader of the messages knows."""

    tables: dict[bytes, Table] = field(default_factory=dict)
    polls: dict[int, Said] = field(default_factory=dict)
    extras: dict[int, Extra] = field(default_factory=dict)
    batches: list[Batch] = field(default_factory=list)
    bodies: list[Body] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)

    def births(self, messages: list[Message]) -> None:
        for message in messages:
            if "/DBIRTH/" in message.topic:
                table = table_of(message.payload)
                self.tables[table.hash] = table

    def batch(self, batch: Batch, attempt: int = 0) -> None:
        self.batches.append(batch)
        parts = [batch.payload(n, attempt, 7, 99) for n in range(len(batch.parts))]
        self.sizes.append(sum(map(len, parts)))
        for n, (part, data) in enumerate(zip(batch.parts, parts, strict=True)):
            body, payload = body_of(data), parse(data)
            self.bodies.append(body)
            assert (payload.seq, payload.timestamp, body.part, body.parts) == (7, 99, n, len(parts))
            assert (body.a, body.b, body.oldest, body.lost) == (batch.a, batch.b, batch.oldest, batch.lost)
            if part.device_id is None:
                assert n == 0
                assert not payload.metrics
                self.extras.update(zip(body.offsets, body.extras, strict=True))
            else:
                table = self.tables[body.table]
                assert table.device_id == part.device_id
                self.polls.update(read_polls(payload, body, table))


def read_all(journal: Journal, max_bytes: int = 2000, historical_ns: int = 0, start: int | None = None) -> Read:
    """Cut everything, as a session does."""
    births = Births("city", "gw-1", "centre", journal, Sequence())
    cutter, read = Cutter(journal, births), Read()
    read.births(births.begin(1, 0, 0))
    at = journal.oldest if start is None else start
    while at < journal.committed:
        batch = cutter.cut(at, journal.committed, max_bytes, historical_ns)
        assert batch is not None
        assert batch.a == at < batch.b
        read.births(births.due(1))
        read.batch(batch)
        at = batch.b
    return read


def check_polls(journal: Journal, read: Read) -> None:
    """Compare with the journal's records, one by one."""
    for offset, record in journal.read(0, max_records=1 << 20, max_bytes=1 << 30):
        if not isinstance(record, PollRecord):
            continue
        epoch = journal.epoch_at(offset)
        assert epoch is not None
        of = journal.schedules[record.schedule]
        if journal.dating_at(epoch.boot, offset) is None:
            assert read.extras[offset] == (None, Undatable(record.schedule, 1, int(record.outcome == 0)))
            assert offset not in read.polls
            continue
        said = read.polls[offset]
        assert (said.device, said.group) == (device_id(of.site, of.device), of.group)
        assert (said.due_ms, said.outcome, said.samples) == expected(record, of)


def test_every_datatype_quality_and_outcome_comes_back(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        schedule = journal.declare(group(), 0)
        date(journal)
        bad = [int(Quality.BAD | Quality.SPIKE), 0, int(Quality.UNCERTAIN | Quality.CLOCK), 0, 0, 0, 0]
        journal.append(poll(schedule, 1, quality=bad))
        journal.append(poll(schedule, 2, outcome=1))
        journal.append(PollRecord(schedule, 3 * S_NS, 3 * S_NS, 0, [None] * 7, [2, 0, 0, 0, 0, 0, 2]))
        journal.append(PollRecord(schedule, 4 * S_NS, 4 * S_NS, 0, [1.5, 2.5, -(2**63), False, "", None, 9]))
        journal.append(PollRecord(schedule, 5 * S_NS, 5 * S_NS, 0, [1.5, 2.5, 2**63 - 1, True, "é", -3, 9]))
        commit(journal)
        read = read_all(journal)
        assert read.polls[max(read.polls)].samples["import_wh"][0] == 2**63 - 1
        check_polls_of(journal, read)


@pytest.mark.parametrize("start_s", [None, -3, 2**62, 2**63 - 1])
@pytest.mark.parametrize(("volume", "mark"), [(9, 0), (9, Quality.UNCERTAIN | Quality.STUCK), (None, Quality.BAD)])
def test_a_delta_without_a_start_is_no_sample(
    start_s: int | None, volume: int | None, mark: int, tmp_path: Path
) -> None:
    with open_journal(tmp_path) as journal:
        schedule = journal.declare(group(), 0)
        date(journal)
        row = [*values(1)[:-2], start_s, volume]
        journal.append(PollRecord(schedule, 5 * S_NS, 5 * S_NS, 0, row, [0, 0, 0, 0, 0, 2, int(mark)]))
        commit(journal)
        (said,) = read_all(journal).polls.values()
        quality = {0: 0, 17: 16, 2: 0}[int(mark)] + 2 + 1024
        assert said.samples["volume"] == (None, quality, WALL_NS // 1_000_000 + 5000)
        assert not is_usable(quality)


def check_polls_of(journal: Journal, read: Read) -> None:
    records = dict(journal.read(0, max_records=1000))
    for offset, said in read.polls.items():
        record = records[offset]
        assert isinstance(record, PollRecord)
        assert (said.due_ms, said.outcome, said.samples) == expected(record, journal.schedules[record.schedule])


def test_history_is_marked_from_two_publish_intervals_on(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        schedule = journal.declare(group(), 0)
        date(journal)
        for n in range(10):
            journal.append(poll(schedule, n))
        commit(journal)
        said = read_all(journal, historical_ns=WALL_NS + 5 * S_NS).polls
        assert [each.historical for _, each in sorted(said.items())] == [True] * 5 + [False] * 5


def test_a_batch_holds_what_fits_and_one_record_at_least(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        schedules = [journal.declare(group(device=f"m{n}"), 0) for n in range(3)]
        date(journal)
        for n in range(200):
            journal.append(poll(schedules[n % 3], n))
        commit(journal)
        read = read_all(journal, max_bytes=4000)
        assert max(read.sizes) <= 4000
        assert sorted(read.sizes)[len(read.sizes) // 2] > 3300
        assert len(read.batches[-2].parts) == 3
        assert len(read_all(journal, max_bytes=1).polls) == 200
        assert len(read_all(journal, max_bytes=1 << 20).batches) == 1
        check_polls(journal, read)


def test_extras_stand_in_front_and_batches_end_with_their_epoch(tmp_path: Path) -> None:
    boots = []
    for opening in range(3):
        with open_journal(tmp_path, boot=f"boot-{opening}", mono_ns=opening) as journal:
            boots.append(journal.epoch)
            date(journal)
            schedule = journal.declare(group(), 0)
            for n in range(5):
                journal.append(poll(schedule, n))
            journal.declare(group(device=f"other-{opening}"), 9)
            commit(journal)
            read = read_all(journal, 1 << 20)
    for batch, epoch in zip(read.batches[::2], boots, strict=True):
        assert (batch.a, batch.epoch) == (epoch.first, epoch)
    assert {body.previous for body in read.bodies if body.epoch == boots[1].epoch} == {boots[0].epoch}
    assert [type(extra) for _, (_, extra) in sorted(read.extras.items())] == [
        EpochRecord, ScheduleRecord, ScheduleRecord, EpochRecord, ScheduleRecord, EpochRecord, ScheduleRecord,
    ]  # fmt: skip
    assert read.extras[boots[2].first][0] == WALL_NS // 1_000_000
    check_polls_in(tmp_path, read)


def check_polls_in(directory: Path, read: Read) -> None:
    with open_journal(directory, boot="later") as journal:
        check_polls(journal, read)


def test_anchors_alone_are_an_empty_batch(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        start = journal.append(poll(journal.declare(group(), 0), 1)) + 1
        date(journal)
        commit(journal)
        read = read_all(journal, start=start)
        assert [(body.table, body.offsets, body.extras) for body in read.bodies] == [(NO_TABLE, (), ())]


def test_polls_without_a_date_are_counted_one_by_one(tmp_path: Path) -> None:
    with open_journal(tmp_path, boot="lost") as journal:
        schedule = journal.declare(group(), 0)
        for n in range(5):
            journal.append(poll(schedule, n, outcome=n % 2))
    with open_journal(tmp_path, boot="good") as journal:
        date(journal)
        journal.append(poll(schedule, 7))
        commit(journal)
        read = read_all(journal, 1 << 20)
        check_polls(journal, read)
        assert sum(1 for _, extra in read.extras.values() if isinstance(extra, Undatable)) == 5
        assert len(read.polls) == 1


def test_a_former_schedule_is_declared_before_its_records(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        date(journal)
        former = journal.declare(group(), 0)
        journal.append(poll(former, 1))
        newer = journal.declare(group(points=POINTS[:2]), 2 * S_NS)
        journal.append(PollRecord(newer, 3 * S_NS, 3 * S_NS, 0, values(3)[:2]))
        slow = journal.declare(group("slow"), 4 * S_NS)
        journal.append(poll(slow, 5))
        commit(journal)
        births = Births("city", "gw-1", "centre", journal, Sequence())
        declared = [table_of(message.payload) for message in births.begin(1, 0, 0)[1:]]
        assert [len(table.entries) for table in declared] == [3 + 8]
        cutter = Cutter(journal, births)
        batch = cutter.cut(0, journal.committed, 1 << 20, 0)
        assert batch is not None
        again = [table_of(message.payload) for message in births.due(1)]
        assert [len(table.entries) for table in again] == [8 + 8]
        assert batch.parts[-1].table == again[0].hash
        assert {e.alias for e in again[0].entries}.isdisjoint(e.alias for e in declared[0].entries)
        read = read_all(journal)
        check_polls(journal, read)
        # Another session declares it from the beginning, as long as it is needed.
        assert len(table_of(births.begin(1, 0, 0)[1].payload).entries) == 8 + 8
        assert len(table_of(births.begin(1, 0, journal.committed)[1].payload).entries) == 3 + 8


def test_a_schedule_change_while_it_runs_is_declared(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        date(journal)
        schedule = journal.declare(group(), 0)
        journal.append(poll(schedule, 1))
        births = Births("city", "gw-1", "centre", journal, Sequence())
        births.begin(1, 0, 0)
        changed = journal.declare(group(period_s=5), S_NS)
        journal.append(poll(changed, 5))
        commit(journal)
        cutter = Cutter(journal, births)
        first = cutter.cut(0, journal.committed, 1 << 20, 0)
        assert first is not None
        assert births.due(1) == []
        second = cutter.cut(first.b, journal.committed, 1 << 20, 0)
        assert second is not None
        assert len(births.due(1)) == 1
        assert first.parts[-1].table != second.parts[-1].table


def test_aliases_are_unique_in_the_node(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for n in range(4):
            journal.declare(group(device=f"m{n}"), 0)
        journal.end(group(device="m3").key, 1)
        births = Births("city", "gw-1", "centre", journal, Sequence())
        tables = [table_of(message.payload) for message in births.begin(1, 0, 0)[1:]]
        assert [table.device for table in tables] == ["m0", "m1", "m2"]
        aliases = [entry.alias for table in tables for entry in table.entries]
        assert len(set(aliases)) == len(aliases) == 24


def test_what_is_evicted_under_a_cut_is_not_sent(tmp_path: Path) -> None:
    with open_journal(tmp_path, quota_bytes=200 << 10, segment_bytes=32 << 10) as journal:
        date(journal)
        schedule = journal.declare(group(), 0)
        births = Births("city", "gw-1", "centre", journal, Sequence())
        births.begin(1, 0, 0)
        cutter = Cutter(journal, births)
        while journal.oldest < 4000:  # several files: of the tombstones that count the same, one is sent
            for n in range(200):
                journal.append(poll(schedule, n))
            settle(journal)
        assert cutter.cut(0, journal.committed, 64 << 10, 0) is None
        read = read_all(journal)
        check_polls(journal, read)
        stones = [extra for _, extra in read.extras.values() if isinstance(extra, TombstoneRecord)]
        assert sum(stone.end - stone.first for stone in stones) == journal.lost == read.batches[-1].lost
        assert {batch.oldest for batch in read.batches} == {journal.oldest}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("poll"), st.integers(0, 5), st.integers(1, 30)),
        st.tuples(st.just("open"), st.booleans(), st.booleans()),
        st.tuples(st.just("declare"), st.integers(0, 5), st.integers(1, 7)),
        st.tuples(st.just("copy"), st.just(0), st.just(0)),
        st.tuples(st.just("restore"), st.just(0), st.just(0)),
        st.tuples(st.just("end"), st.integers(0, 5), st.just(0)),
    ),
    max_size=12,
)


class World:
    """A journal that lives through random changes."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.boot, self.n = directory, 0, 0
        self.journal = open_journal(directory / "journal", boot="0")
        self.dated = False

    def poll(self, device: int, count: int) -> None:
        known = self.journal.declared().get(group(device=f"m{device}").key)
        schedule = self.journal.declare(group(device=f"m{device}"), self.n * S_NS) if known is None else known
        points = len(self.journal.schedules[schedule].points)
        for _ in range(count):
            self.n += 1
            record = poll(schedule, self.n, outcome=self.n % 4 // 3)
            row = None if record.values is None else record.values[:points]
            self.journal.append(msgspec.structs.replace(record, values=row))

    def declare(self, device: int, points: int) -> None:
        self.journal.declare(group(device=f"m{device}", points=POINTS[:points]), self.n * S_NS)

    def end(self, device: int, _: int) -> None:
        self.journal.end(group(device=f"m{device}").key, self.n * S_NS)

    def open(self, same_boot: bool, dated: bool) -> None:
        self.journal.close()
        self.boot += not same_boot
        self.dated = self.dated and same_boot
        self.journal = open_journal(self.directory / "journal", boot=str(self.boot), mono_ns=self.n * S_NS)
        if dated and not self.dated:
            date(self.journal)
            self.dated = True

    def copy(self, *_: int) -> None:
        commit(self.journal)
        self.open(same_boot=True, dated=False)
        shutil.rmtree(self.directory / "copy", ignore_errors=True)
        self.journal.close()
        shutil.copytree(self.directory / "journal", self.directory / "copy")
        self.journal = open_journal(self.directory / "journal", boot=str(self.boot), mono_ns=self.n * S_NS)

    def restore(self, *_: int) -> None:
        if (self.directory / "copy").exists():
            self.journal.close()
            shutil.rmtree(self.directory / "journal")
            shutil.copytree(self.directory / "copy", self.directory / "journal")
            self.journal = open_journal(self.directory / "journal", boot="restored", mono_ns=self.n * S_NS)
            self.dated = False


@given(steps=STEPS, max_bytes=st.sampled_from([1, 300, 3000, 64 << 10]))
@examples(15, 300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_journal_is_said_whole(steps: list[tuple[str, int, int]], max_bytes: int, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    world = World(tmp_path)
    try:
        for name, first, second in steps:
            getattr(world, name)(first, second)
        commit(world.journal)
        read = read_all(world.journal, max_bytes)
        check_polls(world.journal, read)
        check_extras(world.journal, read)
    finally:
        world.journal.close()


def check_extras(journal: Journal, read: Read) -> None:
    for offset, record in journal.read(0, max_records=1 << 20, max_bytes=1 << 30):
        if isinstance(record, EpochRecord | ScheduleRecord):
            assert read.extras[offset][1] == record
    for batch in read.batches:
        own = journal.epoch_at(batch.a)
        assert own is not None
        assert own.epoch == batch.epoch.epoch
        assert journal.epoch_at(batch.b - 1) == own
    for body in read.bodies:
        polls = [other.offsets for other in read.bodies if other.a == body.a and other.table != NO_TABLE]
        if body.table == NO_TABLE and body.offsets and any(polls):
            assert max(body.offsets) < min(min(offsets) for offsets in polls)


@pytest.mark.parametrize("boot_dated", [True, False])
def test_a_group_is_a_group(boot_dated: bool, tmp_path: Path) -> None:
    """A journal without polls has a birth without devices, and says its epoch."""
    with open_journal(tmp_path) as journal:
        if boot_dated:
            date(journal)
        commit(journal)
        read = read_all(journal)
        assert read.extras == {0: (WALL_NS // 1_000_000 if boot_dated else None, journal.epoch)}
        assert isinstance(group(), Group)
