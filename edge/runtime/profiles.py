"""Profiles in files: those shipped with the product, and the operator's own."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from edge.errors import ConfigurationError, Mistake
from edge.profile.load import Profile, parse
from edge.runtime.settings import read
from edge.settings import WHOLE_FILE, nearest

if TYPE_CHECKING:
    from pathlib import Path

_LIBRARY = "edge.profile"
_SUFFIX = ".toml"


def library() -> dict[str, Profile]:
    """Read every shipped profile, by name."""
    found = {}
    for name in _shipped():
        found[name] = _read_shipped(name)
    return found


def find(name: str, base: Path) -> Profile:
    """Read a shipped profile by its name, or the file at a path that ends with .toml, relative to `base`.

    Raises:
        ConfigurationError: there is none, or it has mistakes.
    """
    if name.endswith(_SUFFIX):
        path = base / name
        return parse(read(path), str(path))
    shipped = _shipped()
    if name not in shipped:
        expected = f"a shipped profile ({', '.join(shipped)}), or the path of a .toml file"
        raise ConfigurationError([Mistake(name, WHOLE_FILE, name, expected, nearest(name, shipped))])
    return _read_shipped(name)


def _shipped() -> list[str]:
    files = (resources.files(_LIBRARY) / "library").iterdir()
    return sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX))


def _read_shipped(name: str) -> Profile:
    file = resources.files(_LIBRARY) / "library" / f"{name}{_SUFFIX}"
    return parse(file.read_text("utf-8"), str(file))
