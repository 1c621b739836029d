"""Where things are: configuration, state directories, the store, control sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edge.errors import ConfigurationError, Mistake, PeerUnreachable

GATEWAY_CONFIG = "/etc/wayside/gateway.toml"
CENTRAL_CONFIG = "/etc/wayside/central.toml"
SITES = "/etc/wayside/sites.toml"
_STORE = "store.db"
_DEMO = Path(".wayside")


def state_dir(config: Path, table: str) -> Path:
    """Read `state_dir` of a configuration file and nothing else, so that a half-right file can still be asked about.

    Raises:
        ConfigurationError: the file can't be read, or has no such key.
    """
    from edge.settings import tree_of  # noqa: PLC0415 -- imported late

    try:
        text = config.read_text(encoding="utf-8")
    except OSError as error:
        expected = f"a readable file ({error.strerror}); name it with -c"
        raise ConfigurationError([Mistake(str(config), "(whole file)", None, expected)]) from error
    found = tree_of(text, str(config)).get(table, {}).get("state_dir")
    if not isinstance(found, str):
        raise ConfigurationError([Mistake(str(config), f"{table}.state_dir", found, "a directory")])
    return config.parent / found


def store_path(config: Path | None, store: Path | None) -> Path:
    """Find the embedded store: what is named, else the centre's, else the newest that a demo made here."""
    if store is not None:
        try:
            return store / _STORE if store.is_dir() else store
        except OSError as error:
            raise click.BadParameter(f"{store}: {error.strerror}", param_hint="--store") from error
    if config is not None:
        return state_dir(config, "central") / _STORE
    if Path(CENTRAL_CONFIG).exists():
        return state_dir(Path(CENTRAL_CONFIG), "central") / _STORE
    found = sorted(_DEMO.glob(f"**/{_STORE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise click.UsageError("there is no store here: name one with --store, or a central.toml with -c")
    return found[-1]


def ask(config: Path, table: str, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the running process of a configuration file through its control socket.

    Raises:
        PeerUnreachable: it does not run; the message says how to start it.
    """
    from edge.runtime.control import call  # noqa: PLC0415 -- imported late

    path = control_socket(config, table)
    try:
        return call(path, request)
    except PeerUnreachable as error:
        start = f"start it with `wayside {table} run -c {config}`"
        raise PeerUnreachable(error.peer, f"{error.reason}; the {table} does not run here: {start}") from error


def control_socket(config: Path, table: str) -> Path:
    """Name the control socket of the process that runs with this configuration."""
    return state_dir(config, table) / "control.sock"
