"""city.toml: every mistake at once, and a guide that says every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.errors import ConfigurationError
from edge.profile.load import Profile
from edge.runtime.profiles import library
from tests.wayside.city.rig import HEAD, device
from wayside.cast import cast
from wayside.city.settings import City, CitySettings, DeviceSettings, RtuBus, TcpBus, parse_city
from wayside.city.sources import FIELDS

GUIDE = (Path(__file__).parents[3] / "docs" / "city.md").read_text()


def mistakes(text: str, base: Path) -> dict[str, str | None]:
    with pytest.raises(ConfigurationError) as caught:
        parse_city(text, "city.toml", base)
    return {mistake.path: mistake.nearest for mistake in caught.value.mistakes}


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = (
        HEAD
        + '[[bus]]\nname = "net"\nprotocol = "tcp"\n'
        + "".join(
            [
                device("a", "nett", 1, "sdm360"),
                device("b", "net", 2, "sdm630", 'start = { "import_energy_w" = 1 }\npeak_vehicles_h = 5.0'),
                device("b", "net", 2, "modbus_counter", 'start = { "vehicles/1" = 4294967296 }\nsolar_w = 5.0'),
            ]
        )
    )
    assert mistakes(text, tmp_path) == {
        "bus[2].name": None,
        "device[0].bus": "net",
        "device[0].profile": "sdm630",
        "device[1].start.import_energy_w": "import_energy_wh",
        "device[1].peak_vehicles_h": None,
        "device[2].start.vehicles/1": None,
        "device[2].solar_w": None,
        "device[2].unit_id": None,
        "device[2].name": None,
    }


def test_two_buses_have_two_ports(tmp_path: Path) -> None:
    buses = "".join(f'[[bus]]\nname = "{name}"\nprotocol = "tcp"\nport = 1502\n' for name in "ab")
    text = '[city]\nseed = 1\nsite = "s"\n' + buses + device("d", "a", 1, "em340")
    assert mistakes(text, tmp_path) == {"bus[1].port": None}


def test_a_mistake_of_form_names_its_place(tmp_path: Path) -> None:
    text = HEAD + "bauds = 9600\n" + device("d", "net", 0, "em340", "latency = 1.0")
    assert mistakes(text, tmp_path) == {
        "bus[1].bauds": "baud",
        "device[0].unit_id": None,
        "device[0].latency": "latency_s",
    }


def test_a_field_that_the_city_can_not_fill_is_named(tmp_path: Path) -> None:
    text = 'name = "odd"\ntitle = "t"\nmanufacturer = "m"\nmodel = "m"\ndomain = "energy"\nsource = "s"\n'
    text += '[modbus]\ntype = "uint16"\n[[group]]\nname = "g"\nperiod_s = 10\n'
    text += 'point = [{ name = "voltage_w", unit = "W", address = 0 },'
    text += '{ name = "import_energy_wh", unit = "Wh", address = 1 }]'
    (tmp_path / "odd.toml").write_text(text)
    with pytest.raises(ConfigurationError, match="'voltage_w' as a gauge") as caught:
        parse_city(HEAD + device("d", "net", 1, "odd.toml"), "city.toml", tmp_path)
    assert [mistake.path for mistake in caught.value.mistakes] == ["device[0].profile"] * 2


def test_a_start_that_a_register_can_not_show_is_refused_with_all_else(tmp_path: Path) -> None:
    far = device("a", "net", 1, "em340", 'start = { "import_energy_wh" = 900000000000 }')
    coarse = device("b", "net", 2, "sdm630", 'start = { "import_energy_wh" = 9000000030 }')
    fits = device("c", "net", 3, "sdm630", 'start = { "import_energy_wh" = 131000010 }')
    assert mistakes(HEAD + far + coarse + fits + device("d", "nett", 4, "em340"), tmp_path) == {
        "device[0].start.import_energy_wh": None,
        "device[1].start.import_energy_wh": None,
        "device[3].bus": "net",
    }


def test_a_counter_too_small_for_a_start_by_chance_is_a_mistake_unless_it_rolls_over(tmp_path: Path) -> None:
    small = 'name = "small"\ntitle = "t"\nmanufacturer = "m"\nmodel = "m"\ndomain = "traffic"\nsource = "s"\n'
    small += '[modbus]\ntype = "uint16"\n[[group]]\nname = "g"\nperiod_s = 10\n'
    small += 'point = [{ name = "vehicles", kind = "counter", unit = "veh", address = 0'
    (tmp_path / "stops.toml").write_text(small + " }]\n")
    (tmp_path / "rolls.toml").write_text(small + ', not_available = "none", modulus = 65536 }]\n')
    text = HEAD + device("a", "net", 1, "stops.toml") + device("b", "net", 2, "rolls.toml")
    assert mistakes(text, tmp_path) == {"device[0].start.vehicles": None}


@pytest.mark.parametrize("profile", library().values(), ids=library())
def test_the_city_fills_every_field_of_the_shipped_profiles(profile: Profile) -> None:
    fields = {point.field for group in profile.groups for point in profile.points(group)}
    assert fields <= set(FIELDS[profile.domain])


def test_the_example_of_the_guide_is_right(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    city, profiles = parse_city(example, "city.toml", tmp_path)
    assert [profile.name for profile in profiles] == ["sdm630", "modbus_counter", "em340"]
    assert [city.site_of(each) for each in city.device] == ["harbour", "ring", "harbour"]


@pytest.mark.parametrize("table", [City, CitySettings, TcpBus, RtuBus, DeviceSettings])
def test_the_guide_says_every_key(table: type[City]) -> None:
    said = set(re.findall(r"`\[*([a-z_]+)\]*`", GUIDE))
    assert set(table.model_fields) <= said


def test_the_guide_says_every_field() -> None:
    for domain in FIELDS.values():
        for field in domain:
            assert f"`{field}`" in GUIDE or field.endswith("_reactive_energy_varh")


def test_the_demo_casts_a_city_that_stands(tmp_path: Path) -> None:
    city, profiles = parse_city(cast(3).city_toml(1_790_000_000), "city.toml", tmp_path)
    assert city.city.origin_ns == 1_790_000_000 * 10**9
    assert len(profiles) == 10
