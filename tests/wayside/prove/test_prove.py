"""The proof says yes to what is right, and can say no: each wrong has a verdict and words that name it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from tests.wayside.prove.city import City
from wayside.prove.compare import Verdict, prove


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> City:
    return City(tmp_path_factory.mktemp("city"))


def verdict_on(city: City) -> Verdict:
    return prove(city.copies, city.rows, city.incidents, city.truth)


@pytest.fixture
def spoilt(city: City) -> City:
    """A city whose rows may be spoilt."""
    other = copy.copy(city)
    other.rows = copy.deepcopy(city.rows)
    return other


def test_what_is_right(city: City) -> None:
    verdict = verdict_on(city)
    assert verdict.differences == []
    assert verdict.ok
    assert verdict.committed == verdict.stored > 100
    assert (verdict.points, verdict.points_equal) == (1, 1)
    assert 0 < verdict.untouched < verdict.equal == verdict.compared
    assert (
        verdict.last_line() == f"{verdict.stored} committed, {verdict.stored} stored, 0 lost, 0 twice, 0 accounted for"
    )
    assert verdict.as_json()["ok"] is True


def test_a_killed_copy_reads_the_same_and_is_not_changed(city: City) -> None:
    killed = city.copy.with_name("killed")
    before = {path.name: path.read_bytes() for path in killed.iterdir()}
    assert any(name.endswith("-wal") and data for name, data in before.items())
    verdict = prove([*city.copies, killed], city.rows, city.incidents, city.truth)
    assert verdict.ok
    assert {path.name: path.read_bytes() for path in killed.iterdir()} == before


def test_a_double_changed_in_its_last_bit(spoilt: City) -> None:
    row = spoilt.row("power_mean")
    row.fields["power_mean"] *= 1 + 2**-52
    verdict = verdict_on(spoilt)
    assert not verdict.ok
    assert (verdict.lost, verdict.twice, verdict.wrong) == (0, 0, 1)
    assert "power_mean" in verdict.differences[0]
    assert str(row.t_ns) in verdict.differences[0]


def test_an_integer_stored_as_a_double(spoilt: City) -> None:
    row = spoilt.row("power_n")
    row.fields["power_n"] = float(row.fields["power_n"])
    assert not verdict_on(spoilt).ok


def test_a_lost_poll(spoilt: City) -> None:
    row = spoilt.row("arrived")
    row.fields["arrived"] -= 1
    verdict = verdict_on(spoilt)
    assert not verdict.ok
    assert verdict.within(row.t_ns, row.t_ns + 1) == (1, 0, 1)
    assert verdict.within(row.t_ns - 1, row.t_ns) == verdict.within(row.t_ns + 60 * 10**9, 1 << 62) == (0, 0, 0)
    assert (verdict.lost, verdict.twice) == (1, 0)
    assert "1 lost, 0 twice" in verdict.last_line()


def test_a_poll_stored_twice(spoilt: City) -> None:
    spoilt.row("arrived").fields["arrived"] += 1
    verdict = verdict_on(spoilt)
    assert not verdict.ok
    assert (verdict.lost, verdict.twice) == (0, 1)


def test_one_lost_and_one_twice_do_not_make_up_for_each_other(spoilt: City) -> None:
    rows = [row for row in spoilt.rows if "arrived" in row.fields and row.window_s == 60]
    rows[0].fields["arrived"] -= 1
    rows[-1].fields["arrived"] += 1
    verdict = verdict_on(spoilt)
    assert (verdict.lost, verdict.twice) == (1, 1)


def test_a_row_that_is_missing_and_one_too_many(spoilt: City) -> None:
    row = spoilt.row("energy_increase")
    spoilt.rows.remove(row)
    verdict = verdict_on(spoilt)
    assert not verdict.ok
    assert any("not stored" in text and str(row.t_ns) in text for text in verdict.differences)
    assert any(text.startswith("counter port:meter energy") for text in verdict.differences)
    row.t_ns += 10**15
    spoilt.rows.append(row)
    assert any("no record makes it" in text for text in verdict_on(spoilt).differences)


def test_a_counter_that_is_not_the_truth(city: City, tmp_path: Path) -> None:
    lines = city.truth.read_text().splitlines()
    (tmp_path / "truth.ndjson").write_text("\n".join([*lines[:-2], lines[-2].replace('"value": ', '"value": 1')]))
    verdict = prove(city.copies, city.rows, city.incidents, tmp_path / "truth.ndjson")
    assert not verdict.ok
    assert (verdict.points, verdict.points_equal) == (1, 0)


def test_nothing_stored(city: City) -> None:
    verdict = prove(city.copies, [], [], None)
    assert verdict.lost == verdict.committed > 100
    assert not verdict.ok


def test_two_records_under_one_identity(city: City, tmp_path: Path) -> None:
    forged = City(tmp_path, seed=2)
    for name in ("identity.json", "identity.copy.json"):
        (forged.journal / name).write_bytes((city.journal / name).read_bytes())
    verdict = prove([city.journal, forged.journal], city.rows, city.incidents, None)
    assert not verdict.ok


def jumped(city: City, start: int, end: int, epoch: str = "") -> dict[str, object]:
    return {
        "kind": "jumped",
        "journal": city.identity(),
        "epoch": epoch,
        "start": start,
        "end": end,
        "reason": "evicted",
        "t_ns": 0,
    }


def test_what_a_jump_names_is_accounted_for(tmp_path: Path) -> None:
    city = City(tmp_path, gone=range(30, 44))
    told = jumped(city, min(city.offsets[1:]), max(city.offsets) + 1)
    verdict = prove(city.copies, city.rows, [told], city.truth)
    assert verdict.differences == []
    assert verdict.ok
    assert verdict.accounted == verdict.committed - verdict.stored > 5
    assert 0 < verdict.named < verdict.compared
    silent = prove(city.copies, city.rows, [], city.truth)
    assert not silent.ok
    assert silent.lost == verdict.accounted


def test_a_jump_that_names_what_was_stored(city: City) -> None:
    verdict = prove(city.copies, city.rows, [jumped(city, 30, 40)], city.truth)
    assert not verdict.ok
    assert verdict.twice > 0


def test_nothing_is_no_proof() -> None:
    assert not prove([], [], [], None).ok
