"""A TOML file → one frozen pydantic tree, or every mistake in it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.errors import ConfigurationError, Mistake
from edge.settings import WHOLE_FILE, Model, parse

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path, model: type[Model]) -> Model:
    """Read the TOML file at `path` as a `model`.

    Raises:
        ConfigurationError: the file can't be read, is no TOML, or does not fit; every mistake is in it.
    """
    return parse(read(path), str(path), model)


def read(path: Path) -> str:
    """Read the text of a file.

    Raises:
        ConfigurationError: the file can't be read, or is no text.
    """
    try:
        return path.read_bytes().decode()
    except OSError as error:
        raise ConfigurationError(
            [Mistake(str(path), WHOLE_FILE, None, f"a readable file ({error.strerror})")]
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        mistake = Mistake(str(path), f"line {line}", error.object[error.start : error.end], "UTF-8 text")
        raise ConfigurationError([mistake]) from error
