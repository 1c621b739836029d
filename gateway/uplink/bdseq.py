"""bdSeq: one more with each connection, kept across restarts (Sparkplug 3.0 §6.4.19)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edge.durable.salvage import sync_directory
from edge.sparkplug.session import next_bd_seq

if TYPE_CHECKING:
    from pathlib import Path


class BdSeq:
    """The number in a file, replaced whole."""

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self._path = path
        self._last: int | None = None
        self.error = ""
        """Why the last number could not be kept; a full disk must not keep records from leaving it."""

    def advance(self) -> int:
        """Give the next number, kept before it is used if it can be; the file is waited for, so not on the loop."""
        number = next_bd_seq(self._read() if self._last is None else self._last)
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            with fresh.open("w", encoding="ascii") as file:
                file.write(f"{number}\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.rename(self._path)
            sync_directory(self._path.parent)
            self.error = ""
        except OSError as error:
            self.error = f"{self._path}: {error.strerror}"
        self._last = number
        return number

    def _read(self) -> int | None:
        """A file that is gone or damaged costs the order of two deaths at most: begin at 0."""
        try:
            text = self._path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return None
        return int(text) % 256 if text.isdecimal() else None
