"""RowBlock → InfluxDB line protocol; equal rows give equal bytes, and floats come back bit for bit.

`repr` of a float is the shortest text that reads back as the same number, also -0.0 and subnormal ones.
Line protocol has no way to say NaN (here: the row has no such field) or infinity (the database refuses
the line, which the follower then sets aside), nor an empty tag, nor a tag that ends in a backslash.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipelines.engine.blocks import RowBlock, Tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_UNSAYABLE = re.compile(r"[\x00-\x1f\x7f]|\\$")


def window_name(window_s: int) -> str:
    """Name a window length as the tag `window` does: `1m`, `15m`, `60m`; seconds where it is no whole minute."""
    minutes, seconds = divmod(window_s, 60)
    return f"{window_s}s" if seconds else f"{minutes}m"


def window_seconds(name: str) -> int:
    """Read a window's name back; hours and days are understood too.

    Raises:
        ValueError: it is no window's name.
    """
    found = re.fullmatch(r"([1-9][0-9]*)([smhd])", name)
    if found is None:
        raise ValueError(f"{name!r} is no window: write 1m or 5m, and 15m, 1h or 1d where points are read as rarely")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def encode(block: RowBlock) -> list[bytes]:
    """Make one line for each row of `block` that has a field, in its order, without line ends."""
    prefixes = _prefixes(block)
    times = block.t_ns.tolist()
    return [
        f"{prefixes[key, window_s]}{text[:-1]} {t_ns}".encode()
        for key, window_s, t_ns, text in zip(
            block.key.tolist(), block.window_s.tolist(), times, _field_texts(block), strict=True
        )
        if text
    ]


INCIDENT_TAGS = ("kind", "site", "device", "group", "edge_node", "reason")
"""Few and bounded; everything else about an incident is a field."""


def encode_incident(seq: int, incident: Mapping[str, Any]) -> bytes:
    """Make the line of an incident: its time, told apart from others of the same millisecond by `seq`."""
    tags = [(name, str(incident[name])) for name in INCIDENT_TAGS if incident.get(name) is not None]
    fields = [
        ("seq", seq),
        *((name, value) for name, value in incident.items() if name not in {*INCIDENT_TAGS, "t_ns"}),
    ]
    text = ",".join(f"{_escape_key(name)}={_field(value)}" for name, value in fields if value is not None)
    t_ns = int(incident["t_ns"]) // 10**6 * 10**6 + seq % 10**6
    return f"incident{_pairs(tags)} {text} {t_ns}".encode()


def _field(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value}i" if isinstance(value, int) else repr(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return '"' + re.sub(r'(["\\])', r"\\\1", text).replace("\n", " ") + '"'


def _field_texts(block: RowBlock) -> Iterable[str]:
    """Each row's fields, every one followed by a comma; column by column, because that halves the time."""
    columns = [
        [f"{name}={value!r}," if value == value else "" for value in block.floats[:, i].tolist()]  # noqa: PLR0124 -- NaN
        for i, name in enumerate(map(_escape_key, block.shape.floats))
    ]
    columns += [
        [
            f"{name}={value}i," if has else ""
            for value, has in zip(block.ints[:, i].tolist(), block.has_int[:, i].tolist(), strict=True)
        ]
        for i, name in enumerate(map(_escape_key, block.shape.ints))
    ]
    return map("".join, zip(*columns, strict=True)) if columns else [""] * len(block.key)


def _prefixes(block: RowBlock) -> dict[tuple[int, int], str]:
    """Measurement and tags, once for each series of the block."""
    measurement = _escape(block.shape.measurement, ", ")
    pairs = set(zip(block.key.tolist(), block.window_s.tolist(), strict=True))
    return {
        (key, window_s): f"{measurement}{_tags(block.keys[key], window_name(window_s))} " for key, window_s in pairs
    }


def _tags(tags: Tags, window: str) -> str:
    return _pairs([*tags, ("window", window)])


def _pairs(tags: Iterable[tuple[str, str]]) -> str:
    return "".join(f",{_escape_key(name)}={_escape_key(value)}" for name, value in sorted(tags) if value)


def _escape_key(text: str) -> str:
    return _escape(text, ",= ")


def _escape(text: str, special: str) -> str:
    return re.sub(f"([{special}])", r"\\\1", _UNSAYABLE.sub("_", text))
