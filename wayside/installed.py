"""What is installed: which version, from where, and whether its five packages belong together."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from dataclasses import dataclass
from pathlib import Path

from edge.errors import ConfigurationError, Mistake

PACKAGES = ("edge", "firmware_bridge", "gateway", "pipelines", "wayside")

EXTRAS: dict[str, tuple[str, ...]] = {
    "gateway": ("pymodbus", "serial"),
    "central": ("influxdb_client", "matplotlib", "numba", "numpy"),
}
"""What `pip install 'wayside[…]'` brings, by the names that are imported."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Version and place of this program."""

    version: str
    python: str
    place: str
    extras: dict[str, bool]


def installed() -> Installed:
    """Look at what this interpreter would import.

    Raises:
        ConfigurationError: the five packages do not come from one place.
    """
    return Installed(_version(), platform.python_version(), str(one_place()), {e: has_extra(e) for e in EXTRAS})


def one_place() -> Path:
    """Name the folder that holds all five packages.

    Their names are generic, so another program's `edge` or `gateway` may stand before ours on the path.

    Raises:
        ConfigurationError: they come from several places.
    """
    places = {package: _place(package) for package in PACKAGES}
    ours = places["wayside"]
    mistakes = [
        Mistake(str(place or "(nowhere)"), package, str(place), f"the package that lies in {ours}")
        for package, place in places.items()
        if place != ours
    ]
    if mistakes or ours is None:
        raise ConfigurationError(mistakes)
    return ours


def has_extra(extra: str) -> bool:
    """Tell whether every package of an extra can be imported; imports none of them."""
    return not missing(extra)


def missing(extra: str) -> list[str]:
    """Name the packages of an extra that are not there."""
    return [name for name in EXTRAS[extra] if importlib.util.find_spec(name) is None]


def _place(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).resolve().parent.parent


def _version() -> str:
    try:
        return importlib.metadata.version("wayside")
    except importlib.metadata.PackageNotFoundError:
        return "unknown (run from a folder, not installed)"
