"""Blocks and incidents that are known by a number."""

from __future__ import annotations

import numpy as np

from pipelines.engine.blocks import RowBlock, RowShape
from pipelines.engine.incident import Incident


def block(n: int) -> RowBlock:
    """Two rows; the second has no float and no integer but its place."""
    return RowBlock(
        RowShape("energy", ("p_mean",), ("p_n",)),
        ((("device", "d"), ("site", "s")),),
        np.zeros(2, np.int32),
        np.full(2, 60, np.int32),
        np.array([n, n + 60], np.int64),
        np.array([[n / 3], [np.nan]]),
        np.array([[n], [0]], np.int64),
        np.array([[True], [False]]),
    )


def incident(n: int) -> Incident:
    """One incident."""
    return Incident(n, "jumped", {"journal": "j", "end": n})
