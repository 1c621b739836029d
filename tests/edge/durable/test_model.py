"""Whatever is appended, ended, acknowledged, reopened or restored: the journal says what a plain list would."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from edge.model.record import AnchorRecord, DatingRecord, EpochRecord, PollRecord, Record, ScheduleRecord
from tests.edge.durable.material import commit, group, open_journal, poll
from tests.examples import examples

REPEATED = (EpochRecord, ScheduleRecord, AnchorRecord, DatingRecord)


class JournalMachine(RuleBasedStateMachine):
    """Files roll about every 400 polls; nothing is evicted, so the plain list is all there is."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="wayside-journal-"))
        self.copies = 0
        self.directory = self.root / "0"
        self.journal = open_journal(self.directory, segment_bytes=32 << 10)
        self.boot = "boot-1"
        self.given: dict[int, Record] = {0: self.journal.epoch}
        self.epochs = [self.journal.epoch]
        self.in_force: dict[str, tuple[int, int]] = {}
        self.datings: list[DatingRecord] = []
        self.n = 0

    def append(self, record: Record) -> int:
        offset = self.journal.append(record)
        self.given[offset] = record
        return offset

    @rule(count=st.integers(1, 300), padding=st.integers(0, 60))
    def polls(self, count: int, padding: int) -> None:
        for _ in range(count):
            self.append(poll(1, self.n, padding="x" * padding))
            self.n += 1

    @rule(name=st.sampled_from("abc"), period_s=st.integers(1, 3))
    def declare(self, name: str, period_s: int) -> None:
        schedule = self.journal.declare(group(name, period_s=period_s), self.n)
        known = self.in_force.get(name)
        assert (known == (schedule, period_s)) == (known is not None and known[1] == period_s)
        self.in_force[name] = schedule, period_s

    @rule(name=st.sampled_from("abc"))
    def end(self, name: str) -> None:
        self.journal.end(group(name).key, self.n)
        self.in_force.pop(name, None)

    @rule(back=st.integers(0, 50), wall_s=st.integers(0, 100))
    def date(self, back: int, wall_s: int) -> None:
        offset = max(max(self.given) - back, 0)
        dating = DatingRecord(self.boot, offset, wall_s * 10**9, 0, "ntp", 0)
        self.append(dating)
        self.datings.append(dating)

    @rule()
    def wait(self) -> None:
        commit(self.journal)

    @rule(reboot=st.booleans(), copy=st.booleans())
    def reopen(self, reboot: bool, copy: bool) -> None:
        self.journal.close()
        if copy:
            self.copies += 1
            former, self.directory = self.directory, self.root / str(self.copies)
            shutil.copytree(former, self.directory)
        if reboot:
            self.boot = f"boot-{len(self.epochs) + 1}"
        last = [r.taken_ns for r in self.given.values() if isinstance(r, PollRecord)]
        self.journal = open_journal(self.directory, boot=self.boot, mono_ns=5, segment_bytes=32 << 10)
        epoch = self.journal.epoch
        assert (epoch.previous, epoch.previous_boot) == (self.epochs[-1].epoch, self.epochs[-1].boot)
        assert last == [] or epoch.previous_last_ns is not None
        self.given[epoch.first] = epoch
        self.epochs.append(epoch)

    @invariant()
    def the_journal_is_the_list(self) -> None:
        if not hasattr(self, "journal"):
            return
        commit(self.journal)
        held = dict(self.journal.read(0, 1 << 20, 1 << 30))
        assert list(held) == list(range(self.journal.committed))
        assert {o: held[o] for o in self.given} == self.given
        assert all(isinstance(r, REPEATED) for o, r in held.items() if o not in self.given)
        assert self.journal.lineage() == [(e.epoch, e.first) for e in self.epochs]
        assert self.journal.declared() == {group(n).key: schedule for n, (schedule, _) in self.in_force.items()}
        assert all(self.journal.schedules[s] == group(n, period_s=p) for n, (s, p) in self.in_force.items())
        for offset in {0, len(held) // 2, len(held) - 1}:
            epoch = [e for e in self.epochs if e.first <= offset][-1]
            assert self.journal.epoch_at(offset) == epoch
            fitting = [d for d in self.datings if d.boot == epoch.boot and d.from_offset <= offset]
            # Of two from the same offset the later one: max gives the first of equals.
            best = max(reversed(fitting), key=lambda d: d.from_offset, default=None)
            assert self.journal.dating_at(epoch.boot, offset) == best

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.root)


JournalMachine.TestCase.settings = examples(
    10, 300, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
TestJournal = JournalMachine.TestCase
