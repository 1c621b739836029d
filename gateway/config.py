"""`gateway.toml`: one frozen tree, or every mistake in it and in the profiles that it names (docs/gateway.md)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field

from edge.errors import ConfigurationError, Mistake
from edge.runtime import settings
from edge.settings import Settings, tree_of
from edge.sparkplug.topic import is_legal_id
from gateway.crosscheck import check, host_and_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.profile.load import Profile

LONGEST_PERIOD_S = 300.0
"""The longest base window (docs/rows.md §1): a slower group would have none."""


def _id(text: str) -> str:
    if not is_legal_id(text):
        raise ValueError("a Sparkplug id: not empty, without / + #")
    return text


def _name(text: str) -> str:
    """Sparkplug's device id is `<site>:<device>`."""
    if not is_legal_id(text) or ":" in text:
        raise ValueError("a name that is not empty, without / + # :")
    return text


def _host(text: str) -> str:
    return _id(text) if text else text


def _port(text: str) -> str:
    host_and_port(text)
    return text


def _broker(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if scheme not in {"mqtt", "mqtts"}:
        raise ValueError("mqtt://host:port, or mqtts://host:port")
    host_and_port(rest)
    return text


Id = Annotated[str, AfterValidator(_id)]
Name = Annotated[str, AfterValidator(_name)]
Host = Annotated[str, AfterValidator(_host)]


class GatewaySettings(Settings):
    """Who the gateway is, and how it keeps its records."""

    group: Id
    node: Id
    state_dir: Path
    commit_s: float = Field(1.0, gt=0, le=60)
    publish_s: float = Field(1.0, gt=0, le=3600)
    journal_bytes: int = Field(1 << 30, ge=1 << 18)


class TlsSettings(Settings):
    """Whom to trust, and who we are."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


class UplinkSettings(Settings):
    """The broker, and the hosts behind it."""

    broker: Annotated[str, AfterValidator(_broker)]
    mqtt: Literal["auto", "5", "3.1.1"] = "auto"
    tls: TlsSettings = TlsSettings()
    username: str | None = None
    password_file: Path | None = None
    acknowledging_host: Host
    primary_host: Host = ""

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self.broker.startswith("mqtts:")

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where the broker is."""
        return host_and_port(self.broker.partition("://")[2])


class ClockSettings(Settings):
    """Where dates come from, the best first."""

    sources: tuple[Literal["host", "ntp", "rtc"], ...] = Field(("ntp",), min_length=1)


class RtuBus(Settings):
    """A serial line with Modbus RTU."""

    name: Name
    port: str = Field(min_length=1)
    protocol: Literal["rtu"]
    baud: int = Field(9600, ge=300, le=4_000_000)
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    late_s: float = Field(0.4, ge=0, le=10)


class TcpBus(Settings):
    """A Modbus TCP server, or a gateway with units behind it."""

    name: Name
    port: Annotated[str, AfterValidator(_port)]
    protocol: Literal["tcp"]


BusSettings = Annotated[RtuBus | TcpBus, Field(discriminator="protocol")]


class DeviceSettings(Settings):
    """One device on a bus."""

    name: Name
    site: Name
    bus: str
    unit_id: int = Field(ge=0, le=255)
    profile: str
    period_s: float | None = Field(None, ge=0.1, le=LONGEST_PERIOD_S)

    @property
    def id(self) -> str:
        """Sparkplug's device id."""
        return f"{self.site}:{self.name}"

    @property
    def period_ns(self) -> int | None:
        """The default of its groups; None = the profile's own."""
        return None if self.period_s is None else round(self.period_s * 1e9)


class File(Settings):
    """The file as it is written."""

    gateway: GatewaySettings
    uplink: UplinkSettings
    clock: ClockSettings = ClockSettings()
    bus: tuple[BusSettings, ...] = ()
    """None: a gateway that reads nothing any more, and delivers what it has."""
    device: tuple[DeviceSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """The file, its place, and the profiles that its devices name."""

    path: Path
    file: File
    profiles: Mapping[str, Profile]
    """By the name that stands in the file."""

    @property
    def state_dir(self) -> Path:
        """Where everything that lasts is kept."""
        return self.path.parent / self.file.gateway.state_dir

    def beside(self, path: Path | None) -> Path | None:
        """A path of the file, which is relative to the file."""
        return None if path is None else self.path.parent / path

    def devices_on(self, bus: str) -> list[DeviceSettings]:
        """The devices of one bus, in the order of the file."""
        return [device for device in self.file.device if device.bus == bus]


def load(path: Path) -> Configuration:
    """Read `gateway.toml` and the profiles that it names.

    Raises:
        ConfigurationError: every mistake in any of them.
    """
    mistakes: list[Mistake] = []
    file: File | None = None
    profiles: dict[str, Profile] = {}
    try:
        file = settings.load(path, File)
    except ConfigurationError as error:
        mistakes.extend(error.mistakes)
    with contextlib.suppress(ConfigurationError):  # told above
        more, profiles = check(tree_of(settings.read(path), str(path)), path)
        mistakes.extend(more)
    if mistakes or file is None:
        raise ConfigurationError(mistakes)
    return Configuration(path, file, profiles)
