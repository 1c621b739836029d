"""From a table's aliases to the engine's groups and series: arrays that the wire's kernel looks into.

What a point is reaches the engine with the schedule records, which are numbered, so log order decides; a table only
says which alias stands for which name. An alias whose group or point the engine does not know has -1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from edge.model.point import Datatype
from pipelines.engine.engine import Engine
from pipelines.ingest.births import KnownTable
from pipelines.kernels import wire
from pipelines.kernels.layout import Ints

_KINDS = {
    "": wire.OUTCOME,
    Datatype.FLOAT.value: wire.FLOAT,
    Datatype.DOUBLE.value: wire.DOUBLE,
    Datatype.INT64.value: wire.INT64,
    Datatype.BOOLEAN.value: wire.BOOLEAN,
    Datatype.STRING.value: wire.STRING,
}
_FIRST_ROWS = 1024


class Place(NamedTuple):
    """Where a table's aliases stand in `Series.aliases`."""

    at: int
    first: int
    span: int


class Series:
    """Places of the tables in use; made anew when a device's groups change."""

    def __init__(self, engine: Engine) -> None:
        """Look things up in `engine`."""
        self.aliases: Ints = np.zeros((_FIRST_ROWS, wire.ALIAS_WORDS), np.int64)
        """(rows, wire.ALIAS_WORDS)."""
        self._engine = engine
        self._used = self._left = 0
        self._places: dict[tuple[str, str], dict[bytes, Place]] = {}

    def place(self, table: KnownTable) -> Place:
        """Give the place of a table; it holds until `changed` is called for its device."""
        own = self._places.setdefault((table.site, table.device), {})
        found = own.get(table.name)
        if found is None:
            found = own[table.name] = self._put(table)
        return found

    def changed(self, site: str, device: str) -> None:
        """Learn that a device's groups were declared anew. No run may be waiting for `decode`."""
        self._left += sum(place.span for place in self._places.pop((site, device), {}).values())
        if 2 * self._left > self._used:
            self._places.clear()
            self._used = self._left = 0

    def _put(self, table: KnownTable) -> Place:
        at = self._used
        self._used += table.span
        if self._used > len(self.aliases):
            grown = np.zeros((max(self._used, 2 * len(self.aliases)), wire.ALIAS_WORDS), np.int64)
            grown[: len(self.aliases)] = self.aliases
            self.aliases = grown
        rows = self.aliases[at : self._used]
        rows[:] = wire.HOLE
        groups: dict[str, tuple[int, int, dict[str, int]]] = {}
        for offset, name, point, datatype in table.shape:
            if name not in groups:
                groups[name] = (len(groups), *self._known((table.site, table.device, name)))
            local, g, series = groups[name]
            rows[offset] = (local, g, _KINDS[datatype], series.get(point, -1))
        return Place(at, table.first, table.span)

    def _known(self, key: tuple[str, str, str]) -> tuple[int, dict[str, int]]:
        g = self._engine.group(key)
        return (-1, {}) if g is None else (g, self._engine.series_by_name(g))
