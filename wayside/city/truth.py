"""truth.ndjson: what the registers of the city have said, unrolled, so that a proof can compare sums with it."""

from __future__ import annotations

import json
import os
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from edge.model.point import Value
    from edge.runtime.clock import Clock

FLUSH_S = 1.0
_TAIL_BYTES = 4096


class Truth:
    """An append-only file of lines, written once a second and at the end."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open the file; a city that starts again goes on in it, on a line of its own."""
        self._file = path.open("a+b")
        self._file.truncate(_whole_bytes(self._file))
        self._clock = clock
        self._lines: list[str] = []

    def say(self, device: str, point: str, t_ns: int, value: Value) -> None:
        """Note that a point of `site:device` had this value at this instant of event time."""
        line = {"device": device, "point": point, "t_ns": t_ns, "value": value}
        self._lines.append(json.dumps(line, separators=(",", ":")) + "\n")

    def flush(self) -> None:
        """Hand over what is noted to the system."""
        self._file.write("".join(self._lines).encode())
        self._file.flush()
        self._lines.clear()

    async def run(self) -> None:
        """Flush every second, for ever."""
        while True:
            await self._clock.sleep(FLUSH_S)
            self.flush()

    def close(self) -> None:
        """Flush, and close the file."""
        self.flush()
        self._file.close()


def _whole_bytes(file: IO[bytes]) -> int:
    """Give the length without a last line that a kill cut short."""
    size = file.seek(0, os.SEEK_END)
    begin = file.seek(max(0, size - _TAIL_BYTES))
    return begin + file.read().rfind(b"\n") + 1
