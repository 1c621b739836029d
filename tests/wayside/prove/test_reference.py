"""What the reference takes from a poll is what the wire carries of it (docs/wire.md §3.1)."""

from __future__ import annotations

import pytest

from edge.model.point import Value
from edge.model.quality import Quality, is_usable
from edge.model.record import PollRecord
from tests.wayside.prove.city import GROUP
from wayside.prove.group import Reading
from wayside.prove.reference import readings

TAKEN_NS = 1_790_000_000_000_000_000


def of(began: Value, volume: Value, mark: int = 0) -> Reading | None:
    record = PollRecord(1, 5, 6, 0, [1.5, 7, began, volume], [0, 0, 0, mark])
    return next((each for each in readings(GROUP, record, TAKEN_NS) if each.name == "volume"), None)


def test_a_delta_is_dated_by_its_start() -> None:
    assert of(30, 9) == Reading("volume", 30_000_000_000, 9, 0)
    assert of(0, None, 1024) == Reading("volume", 0, None, 1024)


@pytest.mark.parametrize("began", [None, -3, 2**62, 2**63 - 1])
@pytest.mark.parametrize(("volume", "mark", "reasons"), [(9, 0, 0), (9, 1 + 16, 16), (None, 2 + 4, 4)])
def test_a_delta_without_a_start_is_no_sample(began: Value, volume: Value, mark: int, reasons: int) -> None:
    found = of(began, volume, mark)
    assert found == Reading("volume", TAKEN_NS, None, reasons + Quality.BAD + Quality.CLOCK)
    assert found is not None
    assert not is_usable(found.quality)


def test_what_was_not_read_at_all_is_not_said() -> None:
    assert of(None, None) is None
