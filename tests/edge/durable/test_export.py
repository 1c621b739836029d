"""The export says what the journal holds, also while a process writes it, and of a copy."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from edge.durable.export import export
from edge.errors import Refused
from edge.model.record import AnchorRecord, DatingRecord, PollRecord
from tests.edge.durable.material import S_NS, commit, group, open_journal, settle

if TYPE_CHECKING:
    from pathlib import Path


def test_an_open_journal_and_its_copy_are_exported_alike(tmp_path: Path) -> None:
    live = tmp_path / "live"
    with open_journal(live) as journal:
        schedule = journal.declare(group(), 0)
        journal.append(PollRecord(schedule, S_NS, S_NS + 1_500_000, 0, [1.5, 7], [0, 10]))
        journal.append(PollRecord(schedule, 2 * S_NS, 2 * S_NS + 5, 1))
        journal.append(AnchorRecord("boot-1", 10**18, 0, "ntp", 1000))
        journal.append(DatingRecord("boot-1", 0, 10**18, 0, "ntp", 1000))
        commit(journal)
        shutil.copytree(live, tmp_path / "copy")
        lines = list(export(live))
        assert json.loads(json.dumps(lines)) == lines == list(export(tmp_path / "copy"))
        epoch = f"{journal.epoch.epoch:016x}"
        assert all(
            (e["journal"], e["epoch"], e["offset"]) == (str(journal.journal), epoch, n) for n, e in enumerate(lines)
        )
    assert [e["kind"] for e in lines] == ["epoch", "schedule", "poll", "poll", "anchor", "dating"]
    assert lines[1]["period_ns"] == S_NS
    assert (lines[2]["site"], lines[2]["device"], lines[2]["group"]) == ("plaza", "m1", "fast")
    assert lines[2]["t_ns"] == 10**18 + S_NS + 1_000_000
    assert lines[2]["samples"] == {"active_power_w": [1.5, 0], "import_wh": [7, 10]}
    assert (lines[3]["outcome"], lines[3]["samples"]) == (1, {})


def test_a_boot_without_a_dating_is_undatable_and_the_next_one_is_not_touched(tmp_path: Path) -> None:
    for boot in ("b1", "b2"):
        with open_journal(tmp_path, boot=boot) as journal:
            journal.append(PollRecord(journal.declare(group(), 0), 0, 0, 0, [1.0, 1]))
    with open_journal(tmp_path, boot="b2") as journal:
        journal.append(DatingRecord("b2", 0, 10**18, 0, "ntp", 0))
    dates = [e["t_ns"] for e in export(tmp_path) if e["kind"] == "poll"]
    assert dates == [None, 10**18]


def test_tombstones_name_their_groups_and_their_span_in_dates_across_a_reboot(tmp_path: Path) -> None:
    for boot in ("b1", "b2"):
        with open_journal(tmp_path, boot=boot, segment_bytes=40_000, quota_bytes=320_000) as journal:
            schedule = journal.declare(group(), 0)
            offset = journal.append(AnchorRecord(boot, 10**18, 0, "ntp", 0))
            journal.append(DatingRecord(boot, offset, 10**18, 0, "ntp", 0))
            for n in range(6000):
                journal.append(PollRecord(schedule, n * S_NS, n * S_NS, 0, [1.0, n]))
            settle(journal)
    lines = list(export(tmp_path))
    assert lines[0]["boot"] == "b2", "the first boot's records have gone whole"
    stones = [e for e in lines if e["kind"] == "tombstone"]
    assert {s["boot"] for s in stones} == {"b1", "b2"}
    first_poll = next(e for e in lines if e["kind"] == "poll")
    assert stones[-1]["to_t_ns"] == first_poll["t_ns"] - S_NS
    for stone in stones:
        assert [g["device"] for g in stone["groups"]] == ["m1"]
        assert stone["groups"][0]["ok"] == (stone["to_t_ns"] - stone["from_t_ns"]) // S_NS + 1


def test_no_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no journal"):
        list(export(tmp_path))
