"""What in `gateway.toml` must fit together.

Works on plain tables, so that a file with a wrong key elsewhere still hears of everything at once; a value of a wrong
type is passed over here, since the schema names it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConfigurationError, Mistake
from edge.runtime import profiles
from edge.settings import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.profile.load import Profile

_FILES = ("ca_file", "certificate_file", "key_file")
_RTU_UNITS = range(1, 248)
_SOCKET_BYTES = 107

SOCKET = "control.sock"
"""Name of the control socket in `state_dir`."""


def host_and_port(text: str) -> tuple[str, int]:
    """Take `host:port` or `[::1]:port` apart.

    Raises:
        ValueError: it is not that.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not host or "/" in text or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError("host:port")
    return host, int(port)


def check(tree: dict[str, Any], path: Path) -> tuple[list[Mistake], dict[str, Profile]]:
    """Find every mistake that no single key makes, and the profiles that are named.

    Args:
        tree: the file as plain tables.
        path: where it stands.
    """
    file = str(path)
    buses, devices = _tables(tree, "bus"), _tables(tree, "device")
    found, broken = _profiles(devices, path)
    mistakes = [
        *_repeated(file, "bus", buses, ("name",), "a name that no other bus has"),
        *_repeated(file, "bus", buses, ("port",), "a port that no other bus has: a line has one owner"),
        *_repeated(file, "device", devices, ("name", "site"), "a name that no other device of the site has"),
        *_repeated(file, "device", devices, ("unit_id", "bus"), "a unit id that no other device of the bus has"),
        *_placed(file, buses, devices),
        *broken,
        *_socket(_table(tree, "gateway").get("state_dir"), path),
        *_uplink(_table(tree, "uplink"), path),
    ]
    return mistakes, found


def _tables(tree: dict[str, Any], name: str) -> list[dict[str, Any]]:
    tables = tree.get(name)
    return [table if isinstance(table, dict) else {} for table in tables] if isinstance(tables, list) else []


def _table(tree: dict[str, Any], name: str) -> dict[str, Any]:
    table = tree.get(name)
    return table if isinstance(table, dict) else {}


def _repeated(
    file: str, name: str, tables: list[dict[str, Any]], keys: tuple[str, ...], expected: str
) -> Iterator[Mistake]:
    first: dict[tuple[Any, ...], int] = {}
    for n, table in enumerate(tables):
        value = tuple(table.get(key) for key in keys)
        if not all(isinstance(part, str | int) for part in value):
            continue
        if value in first:
            yield Mistake(file, f"{name}[{n}].{keys[0]}", value[0], f"{expected} ({name}[{first[value]}] has it)")
        first.setdefault(value, n)


def _placed(file: str, buses: list[dict[str, Any]], devices: list[dict[str, Any]]) -> Iterator[Mistake]:
    by_name = {bus["name"]: bus for bus in buses if isinstance(bus.get("name"), str)}
    for n, device in enumerate(devices):
        name, unit_id = device.get("bus"), device.get("unit_id")
        if isinstance(name, str) and name not in by_name:
            expected = f"the name of a bus ({', '.join(sorted(by_name)) or 'there is none'})"
            yield Mistake(file, f"device[{n}].bus", name, expected, nearest(name, by_name))
        on_rtu = isinstance(name, str) and by_name.get(name, {}).get("protocol") == "rtu"
        if on_rtu and isinstance(unit_id, int) and unit_id not in _RTU_UNITS:
            yield Mistake(file, f"device[{n}].unit_id", unit_id, "1 to 247, on a serial line")


def _profiles(devices: Iterable[dict[str, Any]], path: Path) -> tuple[dict[str, Profile], list[Mistake]]:
    found: dict[str, Profile] = {}
    mistakes: list[Mistake] = []
    broken: set[str] = set()
    for n, device in enumerate(devices):
        name = device.get("profile")
        if not isinstance(name, str) or name in found or name in broken:
            continue
        try:
            found[name] = profiles.find(name, path.parent)
        except ConfigurationError as error:
            if _is_file(path.parent / name):
                broken.add(name)
                mistakes.extend(error.mistakes)
            else:  # the mistake is that it is named here
                mistakes += [
                    replace(each, file=str(path), path=f"device[{n}].profile", value=name) for each in error.mistakes
                ]
    return found, mistakes


def _socket(state_dir: object, path: Path) -> Iterator[Mistake]:
    """The kernel takes 107 bytes for the name of a socket."""
    if isinstance(state_dir, str) and (n := len(os.fsencode(path.parent / state_dir / SOCKET))) > _SOCKET_BYTES:
        expected = f"a path shorter by {n - _SOCKET_BYTES} bytes: {SOCKET} in it must be reachable"
        yield Mistake(str(path), "gateway.state_dir", state_dir, expected)


def _is_file(path: Path) -> bool:
    with contextlib.suppress(OSError):  # a directory that we may not enter
        return path.is_file()
    return False


def _uplink(uplink: dict[str, Any], path: Path) -> Iterator[Mistake]:
    tls, file = _table(uplink, "tls"), str(path)
    broker = uplink.get("broker")
    if tls and isinstance(broker, str) and broker.startswith("mqtt:"):
        yield Mistake(file, "uplink.tls", None, "no TLS files with mqtt://; mqtts:// to use them", "mqtts://")
    if ("certificate_file" in tls) != ("key_file" in tls):
        yield Mistake(file, "uplink.tls", None, "certificate_file and key_file, both or none")
    if "password_file" in uplink and "username" not in uplink:
        yield Mistake(file, "uplink.password_file", uplink["password_file"], "a username beside it")
    named = [(f"uplink.tls.{name}", tls.get(name)) for name in _FILES]
    for place, name in [*named, ("uplink.password_file", uplink.get("password_file"))]:
        if isinstance(name, str) and not _is_file(path.parent / name):
            yield Mistake(file, place, name, "a file that is there, and that we may read")
