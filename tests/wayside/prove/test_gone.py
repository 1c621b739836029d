"""Evicted polls are counted once, and only as far as the centre names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge.model.record import AnchorRecord, DatingRecord, PollRecord, TombstoneRecord
from tests.edge.durable.material import group, open_journal, poll, settle, standing, stored
from wayside.prove.compare import Verdict, prove


class Outage:
    """A journal that lets most of what it committed go; `polls` has all of it."""

    def __init__(self, root: Path, boots: int = 1) -> None:
        self.directory, self.early = root / "journal", root / "early"
        self.polls: dict[int, bool] = {}
        self.epochs: list[tuple[int, int]] = []
        for boot in range(boots):
            self._run(f"b{boot}")
        held = stored(self.directory)
        self.oldest = min(held)
        self.standing = standing(held.values())
        self.held = {o for o, r in held.items() if isinstance(r, PollRecord)}

    def _run(self, boot: str) -> None:
        with open_journal(self.directory, boot=boot, segment_bytes=32 << 10, quota_bytes=1 << 18) as journal:
            self.journal = str(journal.journal)
            self.epochs.append((journal.epoch.epoch, journal.epoch.first))
            journal.append(AnchorRecord(boot, 10**18, 0, "host", 0))
            journal.append(DatingRecord(boot, journal.epoch.first, 10**18, 0, "host", 0))
            schedule = journal.declare(group(), 0)
            until = journal.oldest + 3000
            while journal.oldest < until:
                for _ in range(200):
                    n = len(self.polls)
                    offset = journal.append(poll(schedule, n, outcome=int(n % 7 == 0), padding="x" * 40))
                    self.polls[offset] = n % 7 != 0
                settle(journal)
                if len(self.polls) >= 1200 and not self.early.exists():
                    shutil.copytree(self.directory, self.early)

    def good(self, first: int, end: int) -> int:
        return sum(is_good for offset, is_good in self.polls.items() if first <= offset < end)

    def jump(self, start: int, end: int, epoch: int) -> dict[str, object]:
        return {"kind": "jumped", "journal": self.journal, "epoch": f"{epoch:016x}", "start": start, "end": end,
                "reason": "evicted", "t_ns": 0}  # fmt: skip

    def verdict(self, *jumps: dict[str, object], copies: bool = False) -> Verdict:
        return prove([self.directory, *([self.early] if copies else [])], [], jumps, None)


@pytest.fixture(scope="module")
def outage(tmp_path_factory: pytest.TempPathFactory) -> Outage:
    return Outage(tmp_path_factory.mktemp("outage"))


def test_everything_that_went_is_named(outage: Outage) -> None:
    verdict = outage.verdict(outage.jump(0, outage.oldest, outage.epochs[0][0]))
    assert verdict.accounted == verdict.tombstoned == outage.good(0, outage.oldest) > 2000
    assert verdict.committed == outage.good(0, 1 << 62)
    assert not [text for text in verdict.differences if "tombstone" in text]


@pytest.mark.parametrize("position", [1, 51, 100, 1111])
def test_what_the_centre_took_before_its_word_came_is_not_evicted(outage: Outage, position: int) -> None:
    """A copy holds what was taken; the tombstone counts it, the jump does not name it."""
    verdict = outage.verdict(outage.jump(position, outage.oldest, outage.epochs[0][0]), copies=True)
    early = min(max(stored(outage.early)) + 1, outage.oldest)
    assert position < early
    assert verdict.committed == outage.good(0, 1 << 62)
    assert verdict.accounted == outage.good(position, outage.oldest)
    assert verdict.lost == outage.good(0, position) + outage.good(outage.oldest, 1 << 62), "nothing is stored here"
    assert not [text for text in verdict.differences if "tombstone" in text]


def test_what_the_centre_took_and_no_copy_holds_is_told(outage: Outage) -> None:
    verdict = outage.verdict(outage.jump(51, outage.oldest, outage.epochs[0][0]))
    assert verdict.accounted == outage.good(51, outage.oldest)
    (told,) = [text for text in verdict.differences if "tombstone" in text]
    assert f"{outage.good(0, 51)} good polls in it are named by no jump, held by no copy" in told
    assert not verdict.ok


def test_a_part_without_its_offsets_is_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.durable.eviction._BITS_BYTES", 16)
    outage = Outage(tmp_path)
    (stone,) = outage.standing
    epoch = outage.epochs[0][0]
    exact = outage.verdict(outage.jump(100, outage.oldest, epoch))
    assert exact.accounted == outage.good(100, outage.oldest)
    verdict = outage.verdict(outage.jump(200, outage.oldest, epoch))
    (told,) = [text for text in verdict.differences if "a jump names a part of it" in text]
    rest = outage.good(128, stone.end)
    assert f"between {rest - 72} and {min(rest, stone.end - 200)} good polls" in told
    assert not verdict.ok


def test_a_long_outage_over_several_openings_counts_each_poll_once(tmp_path: Path) -> None:
    outage = Outage(tmp_path, boots=3)
    stones = [r for r in stored(outage.directory).values() if isinstance(r, TombstoneRecord)]
    assert len(stones) > len(outage.standing) == 3, "they overlap"
    ends = [*(first for _, first in outage.epochs[1:]), outage.oldest]
    jumps = [outage.jump(first, end, epoch) for (epoch, first), end in zip(outage.epochs, ends, strict=True)]
    verdict = outage.verdict(*jumps)
    assert verdict.accounted == verdict.tombstoned == outage.good(0, outage.oldest)
    assert verdict.committed == outage.good(0, 1 << 62)
    assert not [text for text in verdict.differences if "tombstone" in text]


def test_a_count_that_copies_belie_is_told(outage: Outage, tmp_path: Path) -> None:
    with open_journal(tmp_path / "liar") as journal:
        for name in ("identity.json", "identity.copy.json"):
            (tmp_path / "liar" / name).write_bytes((outage.early / name).read_bytes())
        journal.append(TombstoneRecord(0, 500, "quota", [], "b0", 0, 0))
    verdict = prove([outage.early, tmp_path / "liar"], [], [], None)
    assert any("says 0 good polls went" in text for text in verdict.differences)
