from __future__ import annotations

import dataclasses
from unittest.mock import patch

import numpy as np
import pytest

from benchmarks import centre
from benchmarks.centre import city as cities
from benchmarks.centre import ours, rival, truth
from benchmarks.centre.city import City, Shape
from benchmarks.measure import Parts
from pipelines.engine.blocks import RowBlock

SMALL = Shape("20 polls of a device in one message", 200, gateways=2, devices=2, parts=1, polls=20, minutes=5)


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> tuple[City, ours.Passage]:
    directory = tmp_path_factory.mktemp("centre")
    city = cities.make(SMALL, 1, directory)
    return city, ours.carry(city, directory / "out")


def test_a_claim_has_the_published_form() -> None:
    shapes = (SMALL, dataclasses.replace(SMALL, case="100", metrics=100, gateways=1, devices=1, parts=11, polls=1))
    claim = centre.measure(shapes, 1)
    found = claim.as_json()
    assert list(found) == ["name", "question", "machine", "verified", "rows", "goals"]
    assert (found["name"], found["verified"], claim.wrong) == ("centre", True, ())
    assert {tuple(sorted(row)) for row in found["rows"]} == {("case", "n", "ours", "rival", "rival_name", "unit")}
    assert {tuple(sorted(goal)) for goal in found["goals"]} == {("goal", "met", "name", "value")}
    whole = [row for row in found["rows"] if row["rival_name"] == rival.NAME]
    assert [row["case"] for row in whole] == [shape.case for shape in shapes]
    assert all(row["ours"] > 0 and row["rival"] > 0 and row["n"] == 1 for row in whole)
    parts = sum(row["ours"] for row in found["rows"][1 : 1 + len(ours.PARTS)])
    assert parts == pytest.approx(1e9 / whole[0]["ours"])


def test_messages_have_as_many_metrics_as_the_case_says(carried: tuple[City, ours.Passage]) -> None:
    city, passage = carried
    polls = SMALL.seconds * SMALL.gateways * SMALL.devices
    assert passage.counters["records"] == polls
    # The last message of each device has what is left.
    assert city.messages == SMALL.gateways * SMALL.devices * -(-SMALL.seconds // SMALL.polls)
    assert passage.counters["samples"] == city.samples < polls * 9


def test_the_right_answer_is_right(carried: tuple[City, ours.Passage]) -> None:
    city, passage = carried
    assert truth.differences(city, passage.blocks) == []
    assert len(truth.rows_of(city)) == 4 * (5 + 1)
    windows = rival.carry(city.bursts, rival.names_of(city.births))
    assert truth.rival_differences(city, windows) == []


@pytest.mark.parametrize("field", ["power_w_mean", "voltage_v_max", "current_a_stdev", "temperature_c_covered_s"])
def test_a_wrong_float_is_caught(carried: tuple[City, ours.Passage], field: str) -> None:
    city, passage = carried

    def spoil(block: RowBlock) -> RowBlock:
        floats = block.floats.copy()
        floats[0, block.shape.floats.index(field)] *= 1 + 1e-9
        return dataclasses.replace(block, floats=floats)

    found = truth.differences(city, _changed(passage, spoil))
    assert len(found) == 1
    assert field in found[0]


@pytest.mark.parametrize("field", ["power_w_n", "import_wh_increase", "vehicles_total_last", "volume_sum"])
def test_a_wrong_integer_is_caught(carried: tuple[City, ours.Passage], field: str) -> None:
    city, passage = carried

    def spoil(block: RowBlock) -> RowBlock:
        ints = block.ints.copy()
        ints[-1, block.shape.ints.index(field)] += 1
        return dataclasses.replace(block, ints=ints)

    found = truth.differences(city, _changed(passage, spoil))
    assert len(found) == 1
    assert field in found[0]


def test_a_missing_and_a_surplus_row_are_caught(carried: tuple[City, ours.Passage]) -> None:
    city, passage = carried

    def moved(block: RowBlock) -> RowBlock:
        return dataclasses.replace(block, t_ns=block.t_ns + 3600 * cities.S_NS * (np.arange(len(block.t_ns)) == 0))

    found = truth.differences(city, _changed(passage, moved))
    assert [each.split(": ")[1] for each in found] == ["a row that must not be", "missing"]


def test_a_wrong_window_of_the_rival_is_caught(carried: tuple[City, ours.Passage]) -> None:
    city, _ = carried
    windows = rival.carry(city.bursts, rival.names_of(city.births))
    key = next(key for key in windows if "voltage_v" in key[1])
    windows[key][4] += 0.5
    assert len(truth.rival_differences(city, windows)) == 1


def test_nothing_is_timed_when_the_answer_is_wrong() -> None:
    with patch.object(truth, "differences", lambda _city, _blocks: ["no"]):
        claim = centre.measure((SMALL,), 1)
    assert (claim.verified, claim.wrong, claim.rows, claim.goals) == (False, ("no",), (), ())


def test_a_part_counts_its_own_time_and_not_its_callers() -> None:
    parts = Parts()

    def lazy() -> list[int]:
        return [sum(range(200_000)) for _ in range(3)]

    own = parts.wrap_all("own", lambda: iter(lazy()))
    with parts.spend("all"):
        for _ in own():
            sum(range(2_000_000))
    assert 0 < parts.spent_s["own"] < parts.spent_s["all"] / 2


def _changed(passage: ours.Passage, spoil: object) -> list[RowBlock]:
    """Change the first block of rows."""
    assert callable(spoil)
    blocks = list(passage.blocks)
    at = next(n for n, block in enumerate(blocks) if block.shape.measurement == "traffic")
    blocks[at] = spoil(blocks[at])
    return blocks
