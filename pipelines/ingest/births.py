"""What births declare: metric tables by hash, and the journal, lineage and host of an edge node.

Tables are part of the checkpointed state, so a restart needs no birth. Devices of one profile have the same names in
the same order, so a table is kept as (first alias, shape), and each shape once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import msgspec

from edge.errors import ProtocolError
from edge.sparkplug import payload as pl
from edge.sparkplug.birth import BirthError, parse
from edge.sparkplug.sparkplug_b_pb2 import Payload

TABLES_OF_A_DEVICE: Final = 16
"""Tables kept of one device; aliases are given anew with each session, so older ones name nothing that is sent."""
_ALIAS_SPAN_MAX: Final = 1 << 16
_EPOCH_HEX: Final = 16
_OFFSET_MAX: Final = 1 << 62

Shape = tuple[tuple[int, str, str, str], ...]
"""(alias less the first, group, point, datatype) of each alias; the last two are empty for a group's outcome."""


class NodeBirth(msgspec.Struct, frozen=True):
    """What an NBIRTH of ours says."""

    bd_seq: int
    journal: UUID
    lineage: tuple[tuple[int, int], ...]
    """(epoch, first offset), oldest first."""
    acknowledging_host: str


class LineageError(ProtocolError):
    """An NBIRTH whose `wayside/…` metrics do not follow docs/wire.md §4."""


@dataclass(frozen=True, slots=True)
class KnownTable:
    """What a table's aliases mean."""

    name: bytes
    """Its hash."""
    site: str
    device: str
    first: int
    shape: Shape

    @property
    def span(self) -> int:
        """How far the last alias lies behind the first, plus one."""
        return self.shape[-1][0] + 1


class _State(msgspec.Struct, array_like=True):
    shapes: list[Shape]
    tables: list[tuple[bytes, str, str, int, int]]


class Tables:
    """Metric tables by their hash."""

    def __init__(self) -> None:
        """Know none."""
        self._by_hash: dict[bytes, KnownTable] = {}
        self._of_device: dict[tuple[str, str], list[bytes]] = {}
        self._shapes: dict[Shape, Shape] = {}

    def __len__(self) -> int:
        """Count the tables."""
        return len(self._by_hash)

    def get(self, table: bytes) -> KnownTable | None:
        """Give the table of a hash."""
        return self._by_hash.get(table)

    def learn(self, payload: Payload, device_id: str | None) -> None:
        """Take a DBIRTH.

        Raises:
            BirthError: it does not follow docs/wire.md §4, or is of another device than its topic says.
        """
        if not _is_text(payload):
            raise BirthError("names that are no UTF-8")
        table = parse(payload)
        if table.device_id != device_id:
            raise BirthError(f"a birth of {table.device_id} under the name of {device_id}")
        aliases = [entry.alias for entry in table.entries]
        if len(set(aliases)) != len(aliases) or aliases[-1] - aliases[0] >= _ALIAS_SPAN_MAX:
            raise BirthError("aliases that are given twice, or lie far apart")
        shape = tuple(
            (e.alias - aliases[0], e.group, e.point.name if e.point else "", e.point.datatype.value if e.point else "")
            for e in table.entries
        )
        self._keep(KnownTable(table.hash, table.site, table.device, aliases[0], shape))

    def snapshot(self) -> bytes:
        """Make bytes of all tables, equal for equal states."""
        numbers: dict[Shape, int] = {}
        tables = [
            (name, known.site, known.device, known.first, numbers.setdefault(known.shape, len(numbers)))
            for name, known in self._by_hash.items()
        ]
        return msgspec.msgpack.encode(_State(list(numbers), tables))

    @classmethod
    def restore(cls, data: bytes) -> Tables:
        """Go on from a snapshot.

        Raises:
            msgspec.DecodeError: the bytes are no snapshot.
        """
        state = msgspec.msgpack.decode(data, type=_State)
        tables = cls()
        for name, site, device, first, shape in state.tables:
            tables._keep(KnownTable(name, site, device, first, state.shapes[shape]))
        return tables

    def _keep(self, known: KnownTable) -> None:
        """Keep a table as its device's newest."""
        shape = self._shapes.setdefault(known.shape, known.shape)
        own = self._of_device.setdefault((known.site, known.device), [])
        if known.name in own:
            own.remove(known.name)
            del self._by_hash[known.name]
        own.append(known.name)
        self._by_hash[known.name] = replace(known, shape=shape)
        if len(own) > TABLES_OF_A_DEVICE:
            del self._by_hash[own.pop(0)]


def node_birth(payload: Payload) -> NodeBirth | None:
    """Read an NBIRTH; None if it is no gateway of ours.

    Raises:
        LineageError: it names a journal and does not follow docs/wire.md §4.
    """
    if not _is_text(payload):
        raise LineageError("names that are no UTF-8")
    texts = pl.texts_of(payload)
    if "wayside/journal" not in texts:
        return None
    try:
        journal = UUID(texts["wayside/journal"])
        pairs = msgspec.json.decode(texts.get("wayside/lineage", "[]"), type=list[tuple[str, int]])
        lineage = tuple((_epoch(epoch), min(max(first, 0), _OFFSET_MAX)) for epoch, first in pairs)
    except (ValueError, msgspec.DecodeError) as error:
        raise LineageError(f"journal or lineage: {error}") from error
    return NodeBirth(bd_seq(payload), journal, lineage, texts.get("wayside/acknowledging_host", ""))


def bd_seq(payload: Payload) -> int:
    """Read bdSeq from a birth or death; -1 if there is none."""
    return next((int(m.long_value) for m in payload.metrics if m.name == pl.BDSEQ), -1)


def _epoch(text: str) -> int:
    if len(text) != _EPOCH_HEX:
        raise ValueError(f"epoch {text!r}")
    return int(text, 16)


def _is_text(payload: Payload) -> bool:
    """Tell whether strings are strings: proto2 gives bytes for what is no UTF-8, whatever its types say."""
    found: list[Any] = []
    for metric in payload.metrics:
        found += (metric.name, metric.string_value, *metric.properties.keys)
        found += (value.string_value for value in metric.properties.values)
    return all(isinstance(text, str) for text in found)
