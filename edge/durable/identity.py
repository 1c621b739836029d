"""Whose journal it is (written once, twice over), and hints that outlive a restart (rewritten now and then)."""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING

import msgspec

from edge.durable.salvage import sync_directory
from edge.durable.sqlitefile import meaning
from edge.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

_NAMES = ("identity.json", "identity.copy.json")
_HINT = "hint.json"


class Identity(msgspec.Struct, frozen=True):
    """A journal, and the edge node that it belongs to."""

    journal: uuid.UUID
    group: str
    edge_node: str


class Hint(msgspec.Struct, frozen=True):
    """What is good to know after a restart, and harmless if it is old or gone."""

    acknowledged: int = 0
    """Offset up to which everything was acknowledged."""
    lost: int = 0
    """Unacknowledged records evicted, ever."""
    evicted: int = 0
    """Offset up to which `lost` counts."""
    next_schedule: int = 1
    before: tuple[int, int] | None = None
    """The epoch before the oldest one held, and its first offset."""


def identify(directory: Path, group: str, edge_node: str) -> Identity:
    """Find the identity of the journal in `directory`, or make one where there is no journal.

    Raises:
        Refused: it belongs to another edge node.
        StorageError: it can't be written.
    """
    found = find(directory)
    if found is None:
        found = Identity(uuid.uuid4(), group, edge_node)
    if (found.group, found.edge_node) != (group, edge_node):
        raise Refused(
            f"{directory} is the journal of {found.group}/{found.edge_node}, not of {group}/{edge_node}: "
            "configure the former names; once everything is delivered (backlog 0), move the folder away and start anew"
        )
    for name in _NAMES:
        if _read(directory / name) != found:
            _replace(directory / name, msgspec.json.encode(found))
    return found


def find(directory: Path) -> Identity | None:
    """Read the identity of the journal in `directory`; None if there is none that can be read."""
    return next((found for name in _NAMES if (found := _read(directory / name)) is not None), None)


def load_hint(directory: Path) -> Hint:
    """Read the hints; none are fine."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode((directory / _HINT).read_bytes(), type=Hint)
    return Hint()


def save_hint(directory: Path, hint: Hint) -> None:
    """Replace the hints, durably.

    Raises:
        StorageError: they could not be written; the former ones stand.
    """
    _replace(directory / _HINT, msgspec.json.encode(hint))


def _read(path: Path) -> Identity | None:
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=Identity)
    return None


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        sync_directory(path.parent)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise meaning(error, path.name) from error
