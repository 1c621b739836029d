"""Final rows as column blocks: what a checkpoint keeps and every follower reads.

Layout of the encoded form: a msgpack header (shape, keys, counts), its length as 4 bytes
little-endian before it, then the raw arrays in the order of the fields below, little-endian,
C order. Not compressed; equal rows in equal order give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Tags = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RowShape:
    """The columns that a block's rows share."""

    measurement: str
    floats: tuple[str, ...]
    ints: tuple[str, ...]


class _Header(msgspec.Struct, array_like=True):
    measurement: str
    floats: tuple[str, ...]
    ints: tuple[str, ...]
    keys: tuple[Tags, ...]
    rows: int


@dataclass(frozen=True, slots=True)
class RowBlock:
    """n final rows of one shape (docs/rows.md §7)."""

    shape: RowShape
    keys: tuple[Tags, ...]
    """Distinct tag sets, without `window`, each sorted by tag name."""
    key: NDArray[np.int32]
    """(n,) index into `keys`."""
    window_s: NDArray[np.int32]
    """(n,) window length. [s]"""
    t_ns: NDArray[np.int64]
    """(n,) window start. [ns since 1970, UTC]"""
    floats: NDArray[np.float64]
    """(n, len(shape.floats)); NaN = the row has no such field."""
    ints: NDArray[np.int64]
    """(n, len(shape.ints))."""
    has_int: NDArray[np.bool_]
    """(n, len(shape.ints)); False = the row has no such field."""

    def encode(self) -> bytes:
        """Make the bytes that a checkpoint keeps."""
        header = msgspec.msgpack.encode(
            _Header(self.shape.measurement, self.shape.floats, self.shape.ints, self.keys, len(self.key))
        )
        arrays = (self.key, self.window_s, self.t_ns, self.floats, self.ints, self.has_int)
        return b"".join(
            [len(header).to_bytes(4, "little"), header, *(np.ascontiguousarray(a).tobytes() for a in arrays)]
        )

    @classmethod
    def decode(cls, data: bytes) -> RowBlock:
        """Read a block back.

        Raises:
            msgspec.DecodeError: the header is no block header.
            ValueError: the arrays are cut short.
        """
        size = int.from_bytes(data[:4], "little")
        head = msgspec.msgpack.decode(data[4 : 4 + size], type=_Header)
        at = 4 + size

        def take(dtype: Any, columns: int | None = None) -> NDArray[Any]:
            nonlocal at
            count = head.rows * (1 if columns is None else columns)
            flat = np.frombuffer(data, dtype=dtype, count=count, offset=at)
            at += flat.nbytes
            return flat if columns is None else flat.reshape(head.rows, columns)

        return cls(
            RowShape(head.measurement, head.floats, head.ints),
            head.keys,
            take(np.int32),
            take(np.int32),
            take(np.int64),
            take(np.float64, len(head.floats)),
            take(np.int64, len(head.ints)),
            take(np.bool_, len(head.ints)),
        )

    def rows(self) -> Iterator[tuple[Tags, int, int, dict[str, float | int]]]:
        """Yield (tags, window_s, t_ns, fields) row by row; for followers and tests, not for speed."""
        for r in range(len(self.key)):
            fields: dict[str, float | int] = {
                name: float(self.floats[r, i])
                for i, name in enumerate(self.shape.floats)
                if not np.isnan(self.floats[r, i])
            }
            fields.update((name, int(self.ints[r, i])) for i, name in enumerate(self.shape.ints) if self.has_int[r, i])
            yield self.keys[self.key[r]], int(self.window_s[r]), int(self.t_ns[r]), fields
