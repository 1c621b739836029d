"""`central.toml`: one frozen tree, or every mistake in it (docs/central.md)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from edge.errors import ConfigurationError, Mistake
from edge.runtime import settings
from edge.runtime.wire import Address, Tls, Version
from edge.settings import Settings
from edge.sparkplug.topic import is_legal_id
from pipelines.sinks.settings import InfluxSettings

DAY_NS = 86_400 * 10**9
SOCKET = "control.sock"
"""Name of the control socket in `state_dir`."""
_SOCKET_BYTES = 107
"""What the kernel takes for the name of a socket."""
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def _id(text: str) -> str:
    if not is_legal_id(text):
        raise ValueError("a Sparkplug id: not empty, without / + #")
    return text


def _broker(text: str) -> str:
    _split(text)
    return text


def _split(text: str) -> tuple[str, str, int]:
    """Take a broker's address apart: scheme, host, port."""
    expected = "mqtt://HOST[:PORT] or mqtts://HOST[:PORT]"
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise ValueError(expected) from error
    if url.scheme not in _PORTS or not url.hostname or url.path or url.query or url.username is not None:
        raise ValueError(expected)
    return url.scheme, url.hostname, port or _PORTS[url.scheme]


class CentralSettings(Settings):
    """Who the centre is, and how it keeps what it gets."""

    host_id: Annotated[str, AfterValidator(_id)]
    state_dir: Path = Field(strict=False)
    log_bytes: int = Field(64 << 30, ge=64 << 20)
    log_days: float = Field(7.0, ge=0, le=3650)
    checkpoint_s: float = Field(10.0, ge=0.1, le=600)


class TlsSettings(Settings):
    """Whom to trust, and who we are."""

    ca_file: Path | None = Field(default=None, strict=False)
    certificate_file: Path | None = Field(default=None, strict=False)
    key_file: Path | None = Field(default=None, strict=False)


class BrokerSettings(Settings):
    """Where the gateways' messages are."""

    url: Annotated[str, AfterValidator(_broker)]
    mqtt: Literal["auto", "5", "3.1.1"] = "auto"
    tls: TlsSettings = TlsSettings()
    username: str | None = None
    password_file: Path | None = Field(default=None, strict=False)


class File(Settings):
    """The file as it is written."""

    central: CentralSettings
    broker: BrokerSettings
    influx: tuple[InfluxSettings, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """The file and its place: paths in it are relative to it."""

    path: Path
    file: File

    @property
    def state_dir(self) -> Path:
        """Where everything that lasts is kept."""
        return self.path.parent / self.file.central.state_dir

    @property
    def keep_ns(self) -> int:
        """How long the log is kept. [ns of event time]."""
        return round(self.file.central.log_days * DAY_NS)

    @property
    def influx(self) -> tuple[InfluxSettings, ...]:
        """The databases to feed."""
        return tuple(each.model_copy(update={"token_file": self._beside(each.token_file)}) for each in self.file.influx)

    def address(self) -> Address:
        """Where the broker is, and as whom it is spoken to; reads the password.

        Raises:
            ConfigurationError: the password's file can't be read.
        """
        broker = self.file.broker
        scheme, host, port = _split(broker.url)
        files = broker.tls
        tls = Tls(*map(self._beside, (files.ca_file, files.certificate_file, files.key_file)))
        return Address(
            host,
            port,
            tls if scheme == "mqtts" else None,
            broker.username,
            self._password(),
            Version(broker.mqtt),
        )

    def _beside(self, path: Path | None) -> Path | None:
        return None if path is None else self.path.parent / path

    def _password(self) -> str | None:
        path = self._beside(self.file.broker.password_file)
        if path is None:
            return None
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            mistake = Mistake(str(self.path), "broker.password_file", str(path), f"a readable file ({error})")
            raise ConfigurationError([mistake]) from error


def load(path: Path) -> Configuration:
    """Read `central.toml`.

    Raises:
        ConfigurationError: every mistake in it, also between keys, and files it names that are not there.
    """
    file = settings.load(path, File)
    configuration = Configuration(path, file)
    mistakes = [*_crosscheck(configuration), *_missing_files(configuration)]
    if mistakes:
        raise ConfigurationError(mistakes)
    return configuration


def _crosscheck(configuration: Configuration) -> list[Mistake]:
    file, name = configuration.file, str(configuration.path)
    broker = file.broker
    mistakes = []
    if (over := len(os.fsencode(configuration.state_dir / SOCKET)) - _SOCKET_BYTES) > 0:
        expected = f"a path shorter by {over} bytes: {SOCKET} in it must be reachable"
        mistakes.append(Mistake(name, "central.state_dir", str(file.central.state_dir), expected))
    if broker.tls != TlsSettings() and not broker.url.startswith("mqtts://"):
        mistakes.append(Mistake(name, "broker.url", broker.url, "mqtts://HOST[:PORT], since broker.tls is there"))
    if broker.password_file is not None and broker.username is None:
        mistakes.append(Mistake(name, "broker.username", None, "a name, since broker.password_file is there"))
    if (broker.tls.key_file is None) != (broker.tls.certificate_file is None):
        mistakes.append(Mistake(name, "broker.tls", None, "certificate_file and key_file, or none of both"))
    targets = [influx.name for influx in file.influx]
    for n, target in enumerate(targets):
        if target in targets[:n]:
            mistakes.append(Mistake(name, f"influx[{n}]", target, "another url or database: this one is fed already"))
    return mistakes


def _missing_files(configuration: Configuration) -> list[Mistake]:
    broker = configuration.file.broker
    named = {f"broker.tls.{key}": path for key, path in broker.tls if path is not None}
    if broker.password_file is not None:
        named["broker.password_file"] = broker.password_file
    for n, influx in enumerate(configuration.file.influx):
        if influx.token_file is not None:
            named[f"influx[{n}].token_file"] = influx.token_file
    base = configuration.path.parent
    return [
        Mistake(str(configuration.path), place, str(path), "a file that is there")
        for place, path in named.items()
        if not (base / path).is_file()
    ]
