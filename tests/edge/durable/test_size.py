"""What opening a large sequence costs: a claim, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.runtime.clock import RealClock
from tests.edge.durable.material import commit, group, open_journal, poll

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.proof
@pytest.mark.parametrize("segment_bytes", [1 << 20, 16 << 20])
def test_a_million_records_open_in_under_a_second(tmp_path: Path, segment_bytes: int) -> None:
    clock = RealClock()
    with open_journal(tmp_path, segment_bytes=segment_bytes, quota_bytes=4 << 30, queue_bytes=64 << 20) as journal:
        for device in range(50):
            schedule = journal.declare(group(device=f"m{device}"), 0)
        for n in range(1_000_000):
            journal.append(poll(schedule, n))
            if n % 20_000 == 0:
                commit(journal)
    began_s = clock.real_s()
    journal = open_journal(tmp_path, segment_bytes=segment_bytes, quota_bytes=4 << 30)
    took_s = clock.real_s() - began_s
    journal.close()
    assert journal.epoch.first >= 1_000_000
    assert took_s < 1, f"{took_s:.2f} s"
