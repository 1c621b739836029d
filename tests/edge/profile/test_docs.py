"""docs/profiles.md explains every key, and its examples are right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.modbus.registers import Codec, NotAvailable, Order, Type
from edge.modbus.scaling import ABSENT, OUT_OF_RANGE
from edge.model.quality import reason_names
from edge.profile.fixture import verify
from edge.profile.load import parse
from edge.profile.schema import PARTS, GroupTable, ModbusTable, PointTable, ProfileTable
from edge.runtime.profiles import library
from edge.settings import Settings

GUIDE = (Path(__file__).parents[3] / "docs" / "profiles.md").read_text()
TABLES: dict[str, type[Settings]] = {
    "## Keys of the file": ProfileTable,
    "### `[modbus]`": ModbusTable,
    "### `[[group]]`": GroupTable,
    "### `point`": PointTable,
}


def section(head: str) -> str:
    rest = GUIDE.split(f"\n{head}", 1)[1]
    return re.split(r"\n##", rest, maxsplit=1)[0]


@pytest.mark.parametrize("head", TABLES)
def test_every_key_is_explained_and_no_other(head: str) -> None:
    keys = re.findall(r"^\| `(\w+)` \|", section(head), re.MULTILINE)
    assert sorted(keys) == sorted(TABLES[head].model_fields)


def test_every_choice_is_named() -> None:
    for word in (*Type, *Order, *NotAvailable, *PARTS):
        assert f"`{word}`" in GUIDE
    for reason in (*reason_names(ABSENT), *reason_names(OUT_OF_RANGE)):
        assert f"`{reason}`" in GUIDE


def test_the_examples_are_right() -> None:
    profile_text, fixture_text = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    verify(parse(profile_text, "profile.toml"), fixture_text, "fixture.toml")


@pytest.mark.parametrize(("above_kwh", "step_wh"), [(65536, 7.8), (131072, 15.6), (1048576, 125)])
def test_what_a_float_counter_loses(above_kwh: int, step_wh: float) -> None:
    codec = Codec(Type.FLOAT32)
    high, low = codec.pack(float(above_kwh))
    (after,) = codec.struct.unpack((high << 16 | low + 1).to_bytes(4, "big"))
    assert (after - above_kwh) * 1000 == pytest.approx(step_wh, rel=0.01)


def test_the_traffic_counters_map_is_the_one_in_the_guide() -> None:
    rows = re.findall(
        r"^\| (0x\S+?)(?:, (0x\S+))? \| (uint\d+) \|", section("## The generic traffic counter"), re.MULTILINE
    )
    said = {(int(a, 16), register) for *addresses, register in rows for a in addresses if a}
    counter = library()["modbus_counter"]
    assert said == {(s.address, str(s.codec.type)) for g in counter.groups for s in counter.plan(g).sources}
