"""`central.toml`: what is taken, and every mistake at once."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edge.errors import ConfigurationError, ExitCode, Mistake
from edge.runtime.wire import Address, Tls, Version
from pipelines.config import File, load
from wayside.cli import run

DOCS = Path(__file__).parents[2] / "docs" / "central.md"
GOOD = """
[central]
host_id = "centre"
state_dir = "state"
[broker]
url = "mqtt://127.0.0.1:1884"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "central.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(tmp_path: Path, text: str) -> dict[str, Mistake]:
    with pytest.raises(ConfigurationError) as caught:
        load(write(tmp_path, text))
    by_path = {mistake.path: mistake for mistake in caught.value.mistakes}
    assert len(by_path) == len(caught.value.mistakes)
    return by_path


def test_the_least_file(tmp_path: Path) -> None:
    configuration = load(write(tmp_path, GOOD))
    assert configuration.state_dir == tmp_path / "state"
    assert configuration.keep_ns == 7 * 86_400 * 10**9
    assert configuration.address() == Address("127.0.0.1", 1884)
    assert configuration.influx == ()


def test_the_example_of_the_docs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    for name in ("broker.password", "city-ca.pem", "centre.pem", "centre.key", "influx.token"):
        (tmp_path / name).write_text(f"{name}\n")
    configuration = load(write(tmp_path, example))
    tls = Tls(tmp_path / "city-ca.pem", tmp_path / "centre.pem", tmp_path / "centre.key")
    address = Address("broker.city.example", 8883, tls, "centre", "broker.password", Version.AUTO)
    assert configuration.address() == address
    (influx,) = configuration.influx
    assert influx.token() == "influx.token"
    assert influx.target == "wayside"


def test_the_docs_name_every_key() -> None:
    said = set(re.findall(r"`([a-z_.]+)`", DOCS.read_text()))
    tables = {name: field.annotation for name, field in File.model_fields.items()}
    keys = {f"{table}.{key}" for table in ("central", "broker") for key in tables[table].model_fields}  # type: ignore[union-attr]
    keys = (keys - {"broker.tls"}) | {f"broker.tls.{key}" for key in ("ca_file", "certificate_file", "key_file")}
    keys |= {f"influx.{key}" for key in ("url", "api", "database", "bucket", "org", "token_file")}
    assert keys <= said


def test_every_mistake_at_once(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        """
        [central]
        host_id = "a/b"
        state_dirr = "state"
        log_bytes = 1000
        log_days = "7"
        checkpoint_s = 0
        [broker]
        url = "http://127.0.0.1:1883"
        mqtt = "4"
        [[influx]]
        url = "127.0.0.1"
        """,
    )
    assert found["central.state_dirr"].nearest == "state_dir"
    assert set(found) == {
        "central.host_id",
        "central.state_dir",
        "central.state_dirr",
        "central.log_bytes",
        "central.log_days",
        "central.checkpoint_s",
        "broker.url",
        "broker.mqtt",
        "influx[0].url",
    }


@pytest.mark.parametrize(
    "url", ["mqtt://", "mqtt://a:b", "mqtt://a/b", "tcp://a", "mqtt://u:p@a", "mqtt://a:70000", ""]
)
def test_a_broker_is_a_scheme_a_host_and_a_port(url: str, tmp_path: Path) -> None:
    assert set(mistakes(tmp_path, GOOD.replace("mqtt://127.0.0.1:1884", url))) == {"broker.url"}


@pytest.mark.parametrize(
    ("url", "host", "port"), [("mqtt://broker", "broker", 1883), ("mqtts://[::1]", "::1", 8883), ("mqtt://a:1", "a", 1)]
)
def test_a_port_may_be_left_out(url: str, host: str, port: int, tmp_path: Path) -> None:
    address = load(write(tmp_path, GOOD.replace("mqtt://127.0.0.1:1884", url))).address()
    assert (address.host, address.port, address.tls) == (host, port, Tls() if url.startswith("mqtts") else None)


def test_files_and_keys_that_belong_together(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        GOOD
        + """
        password_file = "nowhere"
        [broker.tls]
        key_file = "none.key"
        [[influx]]
        url = "http://127.0.0.1:8086"
        bucket = "a"
        [[influx]]
        url = "http://127.0.0.1:8086/"
        bucket = "a"
        token_file = "no.token"
        """,
    )
    assert set(found) == {
        "broker.url",
        "broker.username",
        "broker.tls",
        "broker.password_file",
        "broker.tls.key_file",
        "influx[1]",
        "influx[1].token_file",
    }


def test_the_command_says_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, GOOD.replace("host_id", "hostid"))
    assert run(["central", "check", "-c", str(path), "--json"]) == ExitCode.USAGE
    assert {each["path"] for each in json.loads(capsys.readouterr().out)} == {"central.hostid", "central.host_id"}
    assert run(["central", "check", "-c", str(write(tmp_path, GOOD))]) == ExitCode.DONE
    assert not (tmp_path / "state").exists()


def test_a_state_directory_whose_socket_nobody_could_reach(tmp_path: Path) -> None:
    long = "s" * (107 - len(str(tmp_path)) - len("//control.sock"))
    load(write(tmp_path, GOOD.replace('"state"', f'"{long}"')))
    found = mistakes(tmp_path, GOOD.replace('"state"', f'"{long}sss"'))
    assert "shorter by 3 bytes" in found["central.state_dir"].expected
