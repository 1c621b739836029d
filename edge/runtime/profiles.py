"""Profiles in files: those shipped with the product, and the operator's own."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from edge.errors import ConfigurationError, Mistake
from edge.profile.fixture import Fixture, verify
from edge.profile.load import Profile, parse
from edge.runtime.settings import read
from edge.settings import WHOLE_FILE, nearest, tree_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_LIBRARY = "edge.profile"
_SUFFIX = ".toml"


def library() -> dict[str, Profile]:
    """Read every shipped profile, by name."""
    return {name: _read_shipped(name) for name in _shipped()}


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


def check(paths: Iterable[Path]) -> tuple[list[Profile], list[Fixture]]:
    """Read profiles and fixtures, in any order; a fixture is held against its profile among them, or a shipped one.

    Raises:
        ConfigurationError: every mistake in any of the files.
    """
    mistakes: list[Mistake] = []
    profiles: dict[str, Profile | None] = dict(library())
    checked: list[Profile] = []
    recordings: list[tuple[str, str, str]] = []
    for path in paths:
        try:
            text = read(path)
            tree = tree_of(text, str(path))
            if "poll" in tree:
                recordings.append((str(path), text, str(tree.get("profile"))))
                continue
            profiles[str(tree.get("name"))] = None  # until it is known to be right
            checked.append(parse(text, str(path)))
            profiles[checked[-1].name] = checked[-1]
        except ConfigurationError as error:
            mistakes += error.mistakes
    fixtures: list[Fixture] = []
    for file, text, name in recordings:
        try:
            fixtures += _verified(text, file, name, profiles)
        except ConfigurationError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ConfigurationError(mistakes)
    return checked, fixtures


def _verified(text: str, file: str, name: str, profiles: Mapping[str, Profile | None]) -> list[Fixture]:
    """A profile with mistakes says nothing about its fixture."""
    if name not in profiles:
        expected = "the name of a profile among these files, or of a shipped one"
        raise ConfigurationError([Mistake(file, "profile", name, expected, nearest(name, profiles))])
    profile = profiles[name]
    return [verify(profile, text, file)] if profile else []


def _shipped() -> list[str]:
    files = (resources.files(_LIBRARY) / "library").iterdir()
    return sorted(file.name.removesuffix(_SUFFIX) for file in files if file.name.endswith(_SUFFIX))


def _read_shipped(name: str) -> Profile:
    file = resources.files(_LIBRARY) / "library" / f"{name}{_SUFFIX}"
    return parse(file.read_text("utf-8"), str(file))
