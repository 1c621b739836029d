"""Every mistake of a profile is found at once, at its place, with the nearest right name."""

from __future__ import annotations

import re

import pytest

from edge.errors import ConfigurationError, Mistake
from edge.model.point import Datatype, Kind
from edge.profile.fixture import verify
from edge.profile.load import parse

HEAD = """
name = "mine"
title = "Mine"
manufacturer = "Maker"
model = "M1"
domain = "traffic"
source = "none"
[modbus]
type = "uint16"
max_registers = 11
"""
FAST = '[[group]]\nname = "fast"\nperiod_s = 10\npoint = [\n'
INTERVAL = '[[group]]\nname = "interval"\nperiod_s = 15\ninterval_start = "start_s"\ninterval_s = 30\npoint = [\n'
START = '{ name = "start_s", kind = "state", unit = "s", type = "uint32", address = 90 },\n'
VOLUME = '{ name = "volume", kind = "delta", unit = "veh", address = 92 },\n'
GAUGE = '{ name = "level", address = 0 },\n'


def mistakes(text: str) -> dict[str, Mistake]:
    with pytest.raises(ConfigurationError) as caught:
        parse(HEAD + text, "mine.toml")
    assert all(m.file == "mine.toml" for m in caught.value.mistakes)
    paths = [m.path for m in caught.value.mistakes]
    assert len(paths) == len(set(paths))
    return {m.path.removeprefix("group[0].point[0]."): m for m in caught.value.mistakes}


def test_the_pieces_are_right() -> None:
    profile = parse(HEAD + FAST + GAUGE + "]\n" + INTERVAL + START + VOLUME + "]\n", "mine.toml")
    assert profile.groups == ("fast", "interval")
    assert [p.interval_start for p in profile.points("interval")] == ["", "start_s"]


@pytest.mark.parametrize(
    ("point", "path", "expected"),
    [
        ('name = "Level", address = 0', "name", "match pattern"),
        ('name = "level/a", address = 0', "name", "match pattern"),
        ('name = "level", unit = "V", address = 0', "name", "ends with its unit, _v"),
        ('name = "level", unit = "kW", address = 0', "unit", "one of"),
        ('name = "level", address = 65536', "address", "less than or equal to 65535"),
        ('name = "level", type = "int64", address = 65533', "address", "room for a int64"),
        ('name = "level", address = { L1 = 0 }', "part", "a tag"),
        ('name = "level", part = "phase", address = 0', "part", "no part"),
        ('name = "level", part = "phase", address = {}', "address", "a tag, and an address"),
        ('name = "level", part = "site", address = { a = 0 }', "part", "one of phase, lane"),
        ('name = "level", part = "lane,lane", address = { "1,2" = 0 }', "part", "each tag once"),
        ('name = "level", part = "lane,class", address = { "1" = 0 }', "address.1", "one value for each tag"),
        ('name = "level", part = "lane", address = { "a b" = 0 }', "address.a b", "one value for each tag"),
        (
            'name = "level", function = 2, kind = "state", type = "bit", address = 0, scale = 2',
            "scale",
            "a bit is true",
        ),
        ('name = "level", address = "0"', "address", "a valid integer"),
        ('name = "level", part = "phase", address = { L1 = 65536 }', "address.L1", "less than or equal to 65535"),
        ('name = "level", address = 0, not_available = 1.5', "not_available", "'none', 'lowest'"),
        ('name = "level", type = "bit", address = 0', "type", "bit with function 1 or 2"),
        ('name = "level", function = 2, type = "int16", address = 0, kind = "state"', "type", "bit with function 1 or"),
        ('name = "level", function = 2, type = "bit", address = 0', "kind", "state"),
        ('name = "level", address = 0, scale = 0.0', "scale", "greater than"),
        ('name = "level", address = 0, not_available = 70000', "not_available", "a number that fits uint16"),
        ('name = "level", type = "float32", address = 0, not_available = "lowest"', "not_available", "a number (NaN"),
        ('name = "level", address = 0, modulus = 9', "modulus", "only a counter"),
        ('name = "level", address = 0, max_rate = 9', "max_rate", "only a counter"),
        ('name = "level", address = 0, resolution = 9', "resolution", "only a counter"),
        ('name = "level", kind = "counter", address = 0, resolution = 10, modulus = 99', "modulus", "a multiple of"),
        ('name = "level", address = 0, weight = "level"', "weight", "only a delta"),
        ('name = "level", address = 0, average = true', "average", "only a delta"),
        ('name = "level", address = 0, low = 2, high = 1', "low", "at most high"),
        ('name = "level", kind = "event", address = 0', "kind", "'gauge', 'counter', 'delta' or 'state'"),
    ],
)
def test_one_point(point: str, path: str, expected: str) -> None:
    found = mistakes(f"{FAST}{{ {point} }},\n]\n")
    assert expected in found[path].expected
    assert len(found) == 1


@pytest.mark.parametrize(
    ("key", "value", "nearest"),
    [("unit", "vah", "VAh"), ("part", "phaze", "phase"), ("kind", "guage", "gauge"), ("type", "unit16", "uint16")],
)
def test_the_nearest_right_word_is_named(key: str, value: str, nearest: str) -> None:
    found = mistakes(f'{FAST}{{ name = "level", address = {{ L1 = 0 }}, {key} = "{value}" }},\n]\n')
    assert found[key].nearest == nearest


def test_a_value_must_fit_one_read() -> None:
    with pytest.raises(ConfigurationError, match="fits one read"):
        parse(
            re.sub("max_registers = 11", "max_registers = 3", HEAD)
            + FAST
            + GAUGE.replace("}", ', type = "int64" }')
            + "]",
            "f",
        )


def test_a_type_is_needed_somewhere() -> None:
    with pytest.raises(ConfigurationError, match="here or in"):
        parse(HEAD.replace('type = "uint16"', "") + FAST + GAUGE + "]", "f")


def test_names_are_unique_in_the_device() -> None:
    found = mistakes(FAST + GAUGE + "]\n" + FAST + GAUGE.replace("0", "1") + "]\n")
    assert set(found) == {"group[1].name", "group[1].point[0].name"}


def test_registers_are_used_once_unless_meant() -> None:
    other = '{ name = "other", part = "phase", type = "int32", address = { L1 = 9, L2 = 11 } },\n'
    third = '{ name = "third", address = 12 },\n'
    found = mistakes(FAST + other + "]\n" + FAST.replace("fast", "slow") + third + "]\n")
    assert set(found) == {"group[1].point[0].address"}
    assert "other/L2" in found["group[1].point[0].address"].expected
    meant = third.replace("}", ", overlaps = true }")
    assert parse(HEAD + FAST + other + "]\n" + FAST.replace("fast", "slow") + meant + "]\n", "f").groups
    holding = third.replace("}", ", function = 4 }")
    assert parse(HEAD + FAST + other + "]\n" + FAST.replace("fast", "slow") + holding + "]\n", "f").groups


def test_groups_and_points_are_not_empty() -> None:
    assert mistakes("")["group"].expected.startswith("a value")
    assert (
        mistakes("[[group]]\nname = 'a'\nperiod_s = 1\npoint = []")["group[0].point"].expected == "at least one point"
    )
    with pytest.raises(ConfigurationError, match="at least one group"):
        parse(f"group = []\n{HEAD}", "f")


@pytest.mark.parametrize(
    ("right", "wrong", "path", "expected"),
    [
        ('interval_start = "start_s"', 'interval_start = "strat_s"', "interval_start", "the name of a state"),
        ('interval_start = "start_s"\n', "", "interval_start", "the name of a state"),
        ("interval_s = 30\n", "", "interval_s", "the length of the interval"),
        ("interval_s = 30", "interval_s = 10", "period_s", "at most interval_s"),
        ('unit = "s"', 'unit = "%"', "interval_start", 'unit = "s"'),
        ("period_s = 15", "period_s = 0.1234", "period_s", "whole milliseconds"),
    ],
)
def test_deltas_need_their_interval(right: str, wrong: str, path: str, expected: str) -> None:
    text = INTERVAL + START + VOLUME + "]\n"
    assert right in text
    found = mistakes(text.replace(right, wrong))
    assert expected in found[f"group[0].{path}"].expected
    if "strat" in wrong:
        assert found[f"group[0].{path}"].nearest == "start_s"


def test_an_interval_is_for_deltas() -> None:
    assert set(mistakes(INTERVAL + START + "]\n")) == {"group[0].interval_start"}


def test_points_of_one_interval_are_read_at_once() -> None:
    found = mistakes(INTERVAL + START + VOLUME.replace("92", "99") + "]\n")
    assert found["group[0].point"].value == "2 reads"


SPEED = '{ name = "speed_kmh", kind = "delta", unit = "km/h", address = 93, weight = "volume" },\n'


def test_a_weight_stands_earlier_and_counts() -> None:
    assert parse(HEAD + INTERVAL + START + VOLUME + SPEED + "]\n", "f").points("interval")[2].weight == "volume"
    late = mistakes(INTERVAL + START + SPEED + VOLUME + "]\n")
    assert "earlier in this group" in late["group[0].point[1].weight"].expected
    typo = mistakes(INTERVAL + START + VOLUME + SPEED.replace('"volume"', '"volum"') + "]\n")
    assert typo["group[0].point[2].weight"].nearest == "volume"
    averaged = VOLUME.replace("}", ", average = true }")
    assert "summed" in mistakes(INTERVAL + START + averaged + SPEED + "]\n")["group[0].point[2].weight"].expected


def test_a_weight_has_the_same_parts() -> None:
    volume = VOLUME.replace("address = 92", 'part = "lane", address = { 1 = 92 }')
    speed = SPEED.replace("address = 93", 'part = "lane", address = { 1 = 93, 2 = 94 }')
    assert "'2'" in mistakes(INTERVAL + START + volume + speed + "]\n")["group[0].point[2].weight"].expected


LANES = """
[[group]]
name = "classes"
period_s = 30
interval_start = "start_s"
interval_s = 60
point = [
  { name = "start_s", kind = "state", unit = "s", part = "lane", address = { 1 = 0, 2 = 1 } },
  { name = "volume", kind = "delta", part = "lane", address = { 1 = 2, 2 = 3 } },
]
"""


def test_each_lane_may_have_its_own_interval() -> None:
    points = parse(HEAD + LANES, "f").points("classes")
    assert [p.interval_start for p in points[2:]] == ["start_s/1", "start_s/2"]
    assert "3 has none" in mistakes(LANES.replace("2 = 3", "3 = 3"))["group[0].interval_start"].expected


def test_two_tags() -> None:
    classes = '{ name = "volume", kind = "delta", part = "lane,class", address = { "1,car" = 92, "1,truck" = 93 } },\n'
    points = parse(HEAD + INTERVAL + START + classes + "]\n", "f").points("interval")
    assert [p.name for p in points[1:]] == ["volume/1,car", "volume/1,truck"]
    assert points[1].part == (("lane", "1"), ("class", "car"))
    assert points[1].interval_start == "start_s"


def test_datatypes() -> None:
    text = """
        point = [
          { name = "flag", kind = "state", function = 1, address = 0 },
          { name = "mode", kind = "state", address = 0 },
          { name = "total", kind = "counter", type = "float32", address = 2, scale = 0.1 },
          { name = "plain", type = "float32", address = 4 },
          { name = "scaled", type = "float32", address = 6, scale = 0.1 },
          { name = "level", address = 8 },
        ]
    """
    points = parse(HEAD + FAST.replace("point = [\n", "") + text, "f").points("fast")
    assert {p.name: p.datatype for p in points} == {
        "flag": Datatype.BOOLEAN,
        "mode": Datatype.INT64,
        "total": Datatype.INT64,
        "plain": Datatype.FLOAT,
        "scaled": Datatype.DOUBLE,
        "level": Datatype.DOUBLE,
    }
    assert points[2].kind is Kind.COUNTER


def test_the_identity_follows_the_text() -> None:
    text = HEAD + FAST + GAUGE + "]\n"
    one, same, other = parse(text, "a"), parse(text, "b"), parse(text + "# more\n", "a")
    assert one.identity == same.identity != other.identity
    assert re.fullmatch(r"mine@[0-9a-f]{16}", one.identity)


FIXTURE = """
profile = "mine"
recorded = "by hand"
[[poll]]
group = "fast"
registers = [{ function = 3, address = 0, words = [7] }]
samples = { level = 7 }
"""


@pytest.mark.parametrize(
    ("right", "wrong", "path", "expected"),
    [
        ("level = 7", "level = 8", "poll[0].samples.level", "7.0"),
        ("level = 7", "", "poll[0].samples.level", "7.0"),
        ("level = 7", 'level = { quality = ["not_available"] }', "poll[0].samples.level", "7.0"),
        ("level = 7", 'level = { value = 7, quality = ["out_of_range"] }', "poll[0].samples.level", "7.0"),
        ("level = 7", "level = 7, levle = 7", "poll[0].samples.levle", "a point of this group"),
        ('"fast"', '"slow"', "poll[0].group", "one of fast"),
        ("words = [7]", "words = []", "poll[0].registers", "also the registers 3:0x0000"),
        ('"mine"', '"yours"', "profile", "the name of the profile"),
        ("words = [7]", "words = [70000]", "poll[0].registers[0].words[0]", "less than or equal to 65535"),
    ],
)
def test_a_fixture_that_differs(right: str, wrong: str, path: str, expected: str) -> None:
    profile = parse(HEAD + FAST + GAUGE + "]\n", "mine.toml")
    verify(profile, FIXTURE, "fixture.toml")
    with pytest.raises(ConfigurationError) as caught:
        verify(profile, FIXTURE.replace(right, wrong), "fixture.toml")
    found = {m.path: m for m in caught.value.mistakes}
    assert found[path].expected.startswith(expected)


def test_a_fixture_shows_every_group() -> None:
    profile = parse(HEAD + FAST + GAUGE + "]\n" + INTERVAL + START + VOLUME + "]\n", "mine.toml")
    with pytest.raises(ConfigurationError, match="the group interval"):
        verify(profile, FIXTURE, "fixture.toml")
