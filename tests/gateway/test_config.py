"""`gateway.toml`: what is taken, and every mistake at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edge.errors import ConfigurationError, Mistake
from gateway.config import File, RtuBus, TcpBus, load

DOCS = Path(__file__).parents[2] / "docs" / "gateway.md"
GOOD = """
[gateway]
group = "city"
node = "n"
state_dir = "state"
[uplink]
broker = "mqtt://127.0.0.1:1883"
acknowledging_host = "centre"
[[bus]]
name = "a"
protocol = "rtu"
port = "/dev/ttyUSB0"
[[bus]]
name = "b"
protocol = "tcp"
port = "127.0.0.1:502"
[[device]]
name = "d"
site = "s"
bus = "a"
unit_id = 1
profile = "sdm630"
"""
DEVICE = '[[device]]\nname = "{}"\nsite = "s"\nbus = "{}"\nunit_id = {}\nprofile = "{}"\n'


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(tmp_path: Path, text: str) -> dict[str, Mistake]:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    by_path = {mistake.path: mistake for mistake in caught.value.mistakes}
    assert len(by_path) == len(caught.value.mistakes)
    return by_path


def test_good_file(tmp_path: Path) -> None:
    configuration = load(write(tmp_path, GOOD))
    assert configuration.state_dir == tmp_path / "state"
    assert configuration.file.clock.sources == ("ntp",)
    assert list(configuration.profiles) == ["sdm630"]
    assert [type(bus) for bus in configuration.file.bus] == [RtuBus, TcpBus]
    assert configuration.file.device[0].period_ns is None


def test_a_gateway_may_have_nothing_to_read(tmp_path: Path) -> None:
    configuration = load(write(tmp_path, GOOD.partition("[[bus]]")[0]))
    assert (configuration.file.bus, configuration.file.device) == ((), ())


def test_example_of_the_docs_is_taken(tmp_path: Path) -> None:
    (tmp_path / "broker.password").write_text("secret\n")
    (tmp_path / "city-ca.pem").write_text("")
    example = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[0]
    configuration = load(write(tmp_path, example))
    assert configuration.file.uplink.host_and_port == ("broker.city.example", 8883)
    assert configuration.state_dir == Path("/var/lib/wayside")
    assert configuration.file.device[1].period_ns == 5_000_000_000


def test_every_key_is_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    tables = {
        "gateway": File.model_fields["gateway"].annotation,
        "uplink": File.model_fields["uplink"].annotation,
        "clock": File.model_fields["clock"].annotation,
    }
    keys = [f"{table}.{key}" for table, model in tables.items() for key in getattr(model, "model_fields", ())]
    keys += [f"bus.{key}" for key in RtuBus.model_fields]
    keys += [f"device.{key}" for key in ("name", "site", "bus", "unit_id", "profile", "period_s")]
    assert len(keys) > 20
    assert [key for key in keys if key != "uplink.tls" and f"`{key}`" not in text] == []


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    text = GOOD.replace('node = "n"', 'node = "n/1"').replace("unit_id = 1", "unit_id = 0")
    text = text.replace("[uplink]", "[uplink]\nbrokr = 1").replace('port = "127.0.0.1:502"', 'port = "127.0.0.1"')
    text += DEVICE.format("e", "bb", 1, "sdm63")
    found = mistakes(tmp_path, text)
    assert set(found) == {
        "gateway.node",
        "uplink.brokr",
        "bus[1].port",
        "device[0].unit_id",
        "device[1].bus",
        "device[1].profile",
    }
    assert found["device[1].bus"].nearest == "b"
    assert found["device[1].profile"].nearest == "sdm630"
    assert found["uplink.brokr"].nearest == "broker"
    assert {mistake.file for mistake in found.values()} == {str(tmp_path / "gateway.toml")}


@pytest.mark.parametrize(
    ("old", "new", "path", "expected"),
    [
        ('name = "b"', 'name = "a"', "bus[1].name", "no other bus"),
        ('protocol = "tcp"\nport = "127.0.0.1:502"', 'protocol = "rtu"\nport = "/dev/ttyUSB0"', "bus[1].port", "owner"),
        ('port = "127.0.0.1:502"', 'port = "127.0.0.1:502"\nbaud = 9600', "bus[1].baud", "one of"),
        ('protocol = "tcp"', 'protocol = "tpc"', "bus[1].protocol", "one of"),
        ('protocol = "tcp"\n', "", "bus[1].protocol", "required"),
        ("unit_id = 1", "unit_id = 248", "device[0].unit_id", "1 to 247"),
        ("unit_id = 1", 'unit_id = "1"', "device[0].unit_id", "integer"),
        ("unit_id = 1", "unit_id = 1\nperiod_s = 900", "device[0].period_s", "300"),
        ('site = "s"', 'site = "s:t"', "device[0].site", "without"),
        ('profile = "sdm630"', 'profile = "mine.toml"', "device[0].profile", "readable"),
        ("mqtt://127.0.0.1:1883", "http://127.0.0.1:1883", "uplink.broker", "mqtt://"),
        ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1", "uplink.broker", "host:port"),
        ("[[bus]]", '[clock]\nsources = ["gps"]\n[[bus]]', "clock.sources[0]", "'ntp'"),
        ("[[bus]]", '[uplink.tls]\nkey_file = "gateway.toml"\n[[bus]]', "uplink.tls", "both or none"),
        ("[[bus]]", '[uplink.tls]\nca_file = "ca.pem"\n[[bus]]', "uplink.tls.ca_file", "there"),
        ("[uplink]", '[uplink]\npassword_file = "gateway.toml"', "uplink.password_file", "username"),
        ('acknowledging_host = "centre"\n', "", "uplink.acknowledging_host", "required"),
    ],
)
def test_mistake(tmp_path: Path, old: str, new: str, path: str, expected: str) -> None:
    assert old in GOOD
    found = mistakes(tmp_path, GOOD.replace(old, new, 1).replace("mqtt:", "mqtts:" if "tls" in new else "mqtt:"))
    assert path in found
    assert expected in found[path].expected


def test_a_source_that_is_none_is_one_mistake(tmp_path: Path) -> None:
    assert set(mistakes(tmp_path, GOOD + '[clock]\nsources = ["gps"]\n')) == {"clock.sources[0]"}


def test_two_devices_in_one_place(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD + DEVICE.format("d", "b", 1, "em340") + DEVICE.format("e", "a", 1, "em340"))
    assert set(found) == {"device[1].name", "device[2].unit_id"}
    assert "device[0] has it" in found["device[1].name"].expected


def test_one_unit_id_on_two_buses_is_fine(tmp_path: Path) -> None:
    assert len(load(write(tmp_path, GOOD + DEVICE.format("e", "b", 1, "em340"))).file.device) == 2


def test_mistakes_of_a_profile_are_told_with_the_file_s_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\n')
    text = GOOD.replace('profile = "sdm630"', 'profile = "mine.toml"').replace('node = "n"', 'node = ""')
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text))
    files = {Path(mistake.file).name for mistake in caught.value.mistakes}
    assert files == {"gateway.toml", "mine.toml"}


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "gateway.toml")
    assert [mistake.path for mistake in caught.value.mistakes] == ["(whole file)"]


def test_state_directory_too_long_for_a_socket(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace('"state"', f'"{"x" * 100}"'))
    assert set(found) == {"gateway.state_dir"}


def test_tls_files_without_tls(tmp_path: Path) -> None:
    found = mistakes(tmp_path, GOOD.replace("[[bus]]", '[uplink.tls]\nca_file = "gateway.toml"\n[[bus]]', 1))
    assert set(found) == {"uplink.tls"}


def test_check_touches_nothing_and_leaves_numpy_out(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code = (
        "import sys\nfrom wayside.cli import run\n"
        f"assert run(['gateway', 'check', '-c', {str(path)!r}]) == 0\n"
        "assert 'numpy' not in sys.modules\nassert 'gateway.config' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, stdout=subprocess.DEVNULL)
    assert [each.name for each in tmp_path.iterdir()] == ["gateway.toml"]
