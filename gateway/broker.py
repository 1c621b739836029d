"""The uplink of a configuration: which broker, as whom, for which hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import Refused
from edge.runtime.mqtt import Address, Broker, Tls, Version
from gateway.uplink.uplink import Uplink, UplinkSettings

if TYPE_CHECKING:
    from edge.durable.journal import Journal
    from edge.runtime.clock import Clock
    from gateway.config import Configuration
    from gateway.recording.timebase import Timebase


def make_uplink(configuration: Configuration, journal: Journal, timebase: Timebase, clock: Clock) -> Uplink:
    """Make the uplink to the configured broker."""
    gateway, uplink = configuration.file.gateway, configuration.file.uplink
    host, port = uplink.host_and_port
    address = Address(host, port, _tls(configuration), uplink.username, _password(configuration), Version(uplink.mqtt))
    broker = Broker(address, f"wayside-{gateway.group}-{gateway.node}", clock)
    settings = UplinkSettings(
        gateway.group, gateway.node, uplink.acknowledging_host, uplink.primary_host, gateway.publish_s
    )
    return Uplink(settings, journal, broker, timebase, clock, configuration.state_dir / "bdseq")


def _tls(configuration: Configuration) -> Tls | None:
    if not configuration.file.uplink.is_encrypted:
        return None
    tls = configuration.file.uplink.tls
    beside = configuration.beside
    return Tls(beside(tls.ca_file), beside(tls.certificate_file), beside(tls.key_file))


def _password(configuration: Configuration) -> str | None:
    """Read the password.

    Raises:
        Refused: we may not read it.
    """
    path = configuration.beside(configuration.file.uplink.password_file)
    try:
        return None if path is None else path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
