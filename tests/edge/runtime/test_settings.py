"""Every mistake in a file is reported at once, each where a person finds it."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from pydantic import Field, model_validator

from edge.errors import ConfigurationError, ExitCode, Mistake
from edge.runtime.settings import load
from edge.settings import WHOLE_FILE, Settings, parse

if TYPE_CHECKING:
    from pathlib import Path


class Protocol(enum.StrEnum):
    RTU = "modbus-rtu"
    TCP = "modbus-tcp"


class Bus(Settings):
    name: str
    protocol: Protocol = Protocol.TCP
    baud: int = Field(default=9600, gt=0)


class Serial(Settings):
    type: Literal["serial"]
    parity: str

    @model_validator(mode="after")
    def _parity_is_known(self) -> Serial:
        if self.parity not in {"N", "E", "O"}:
            raise ValueError("parity N, E or O")
        return self


class Socket(Settings):
    type: Literal["socket"]
    port: int


class Config(Settings):
    node: str
    commit_s: float = 1.0
    bus: tuple[Bus, ...] = ()
    line: Annotated[Serial | Socket, Field(discriminator="type")] | None = None
    rate: dict[str, Bus] = Field(default_factory=dict)
    maybe: Bus | None = None
    sources: tuple[Literal["ntp", "rtc"], ...] = Field(default=("ntp",), min_length=1)
    spare: tuple[Bus, ...] | None = Field(default=None, min_length=2)

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        if len({bus.name for bus in self.bus}) < len(self.bus):
            raise ValueError("bus names that differ")
        return self


def mistakes(text: str) -> dict[str, Mistake]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "gateway.toml", Config)
    assert caught.value.exit_code is ExitCode.USAGE
    assert all(m.file == "gateway.toml" for m in caught.value.mistakes)
    return {m.path: m for m in caught.value.mistakes}


def test_a_right_file_is_one_frozen_tree(tmp_path: Path) -> None:
    path = tmp_path / "gateway.toml"
    path.write_text(
        'node = "n"\ncommit_s = 2\n[[bus]]\nname = "b"\nprotocol = "modbus-rtu"\n[line]\ntype="socket"\nport=1'
    )
    config = load(path, Config)
    assert config.bus == (Bus(name="b", protocol=Protocol.RTU),)
    assert config.commit_s == 2.0
    assert config.line == Socket(type="socket", port=1)
    with pytest.raises(ValueError, match="frozen"):
        config.node = "m"  # type: ignore[misc] # the point of the test


def test_all_mistakes_come_at_once_with_their_place() -> None:
    found = mistakes("""
        nodee = "n"
        commit_s = "soon"
        [[bus]]
        name = "a"
        [[bus]]
        name = "b"
        baudd = 9600
        baud = -1
        protocol = "modbus-rtuu"
        [rate.x]
        nam = "y"
    """)
    assert set(found) == {
        "nodee", "node", "commit_s", "bus[1].baudd", "bus[1].baud", "bus[1].protocol", "rate.x.nam", "rate.x.name",
    }  # fmt: skip
    assert found["nodee"].nearest == "node"
    assert found["node"].value is None
    assert found["commit_s"].value == "soon"
    assert found["bus[1].baudd"].nearest == "baud"
    assert found["bus[1].baud"].expected == "greater than 0"
    assert found["bus[1].protocol"].nearest == "modbus-rtu"
    assert found["rate.x.nam"].nearest == "name"


@pytest.mark.parametrize("text", ['baud = "9600"', "baud = true", "baud = 9600.0"])
def test_a_value_of_another_type_is_refused_not_converted(text: str) -> None:
    found = mistakes(f'node = "n"\n[[bus]]\nname = "a"\n{text}')
    assert set(found) == {"bus[0].baud"}


def test_a_place_in_a_union_is_the_place_in_the_file() -> None:
    found = mistakes('node = "n"\n[line]\ntype = "serial"\nparityy = "N"\n[maybe]\nnam = "x"')
    assert set(found) == {"line.parityy", "line.parity", "maybe.nam", "maybe.name"}
    assert found["line.parityy"].nearest == "parity"
    assert found["maybe.nam"].nearest == "name"


def test_a_wrong_union_tag_names_the_right_one() -> None:
    found = mistakes('node = "n"\n[line]\ntype = "seriall"\nparity = "N"')
    assert found["line.type"].nearest == "serial"


def test_a_rule_of_a_union_member_stands_at_its_table() -> None:
    assert mistakes('node = "n"\n[line]\ntype = "serial"\nparity = "X"')["line"].expected == "parity N, E or O"


def test_a_rule_over_the_whole_file_is_a_mistake_too() -> None:
    found = mistakes('node = "n"\n[[bus]]\nname = "a"\n[[bus]]\nname = "a"')
    assert found[WHOLE_FILE].expected == "bus names that differ"


def test_an_array_whose_items_are_wrong_is_not_also_too_short() -> None:
    found = mistakes('node = "n"\nsources = ["gps"]\nspare = [{ name = "a" }, { nam = "b" }]')
    assert set(found) == {"sources[0]", "spare[1].nam", "spare[1].name"}
    assert found["sources[0]"].expected == "'ntp' or 'rtc'"


def test_an_array_that_is_too_short_says_so() -> None:
    found = mistakes('node = "n"\nsources = []\nspare = [{ nam = "a" }]')
    assert set(found) == {"sources", "spare", "spare[0].nam", "spare[0].name"}
    assert {path: found[path].expected for path in ("sources", "spare")} == {
        "sources": "at least 1 item(s)",
        "spare": "at least 2 item(s)",
    }


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ('node = "n"\nbus = = 3\n', "line 2", "bus = = 3"),
        ('node = "n"\n[[bus]\n', "line 2", "[[bus]"),
        ('node = "n"\nx = [1,\n', "line 2", "x = [1,"),
    ],
)
def test_a_syntax_error_names_its_line(text: str, path: str, value: str) -> None:
    found = mistakes(text)
    assert found[path].value == value


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        load(tmp_path / "none.toml", Config)
    (tmp_path / "latin.toml").write_bytes(b'node = "n"\n# caf\xe9\n')
    with pytest.raises(ConfigurationError, match="line 2"):
        load(tmp_path / "latin.toml", Config)
