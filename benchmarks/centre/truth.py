"""What the rows must say, computed by numpy from the values that were generated (docs/rows.md §3-5).

Exactly, where the arithmetic is exact: counts, extrema, last values, integers. A mean is a sum in another order here:
equal to `TOLERANCE`. Every row that must be there is, and no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.centre.city import COUNTERS, DELTA, DOMAIN, GAUGES, INTERVAL_S, S_NS, SITE, T0_NS, City, Device
from benchmarks.centre.rival import Windows
from pipelines.engine.blocks import RowBlock

TOLERANCE = 1e-12
"""Relative, of a mean and of the mean square that a deviation comes from."""
LENGTHS_S = (60, 300)
_HOLD_NS = 5 * S_NS // 2
_SHOWN = 5
Fields = dict[str, float | int]
Key = tuple[str, str, int, int]
"""Device, lane, window's length [s], window's start since T0_NS [ns]."""
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Good:
    """Samples of one device that arrived."""

    t_ns: I64
    gauges: F64
    counters: I64


def rows_of(city: City) -> dict[Key, Fields]:
    """Compute every final row of the city."""
    found: dict[Key, Fields] = {}
    for device in city.devices:
        good = _Good(device.taken_ns[device.ok], device.gauges[device.ok].astype(float), device.counters[device.ok])
        for length_s in LENGTHS_S:
            for at_s in range(0, city.shape.minutes * 60, length_s):
                for lane, fields in _window(device, good, at_s * S_NS, (at_s + length_s) * S_NS):
                    found[device.name, lane, length_s, at_s * S_NS] = fields
    return found


def _window(device: Device, good: _Good, open_ns: int, close_ns: int) -> Iterator[tuple[str, Fields]]:
    inside = (good.t_ns >= open_ns) & (good.t_ns < close_ns)
    gauges = _gauges(good, inside, open_ns, close_ns)
    counters = [_increase(good.t_ns, register, open_ns, close_ns) for register in np.moveaxis(good.counters, 0, -1)
                .reshape(-1, len(good.t_ns))]  # fmt: skip
    volumes = _volumes(device, open_ns, close_ns)
    for lane in range(device.volume.shape[1]):
        fields: Fields = {}
        for k, name in enumerate(GAUGES):
            fields |= {f"{name}_{stat}": values[lane, k].item() for stat, values in gauges.items()}
        for k, name in enumerate(COUNTERS):
            increase, bridged = counters[lane * len(COUNTERS) + k]
            fields |= {f"{name}_increase": increase, f"{name}_increase_bridged": bridged}
            fields |= {f"{name}_n": int(inside.sum()), f"{name}_last": int(good.counters[inside][-1, lane, k])}
            fields |= {f"{name}_{stat}": 0 for stat in ("rollovers", "discontinuities", "discontinuity")}
        own = volumes[:, lane]
        fields |= {f"{DELTA}_n": len(own), f"{DELTA}_missed": 0}
        fields |= {f"{DELTA}_sum": int(own.sum()), f"{DELTA}_max": int(own.max())}
        yield str(lane + 1), fields


def _gauges(good: _Good, inside: NDArray[np.bool_], open_ns: int, close_ns: int) -> dict[str, NDArray[Any]]:
    own = good.gauges[inside]
    until_ns = np.minimum(np.append(good.t_ns[1:], good.t_ns[-1] + _HOLD_NS), good.t_ns + _HOLD_NS)
    span_ns = np.clip(until_ns, open_ns, close_ns) - np.clip(good.t_ns, open_ns, close_ns)
    every = np.ones(own.shape[1:])
    return {
        "mean": np.tensordot(span_ns.astype(float), good.gauges, 1) / span_ns.sum(),
        "min": own.min(axis=0),
        "max": own.max(axis=0),
        "last": own[-1],
        "stdev": own.std(axis=0),
        "covered_s": every * (span_ns.sum() / 1e9),
        "n": (every * len(own)).astype(np.int64),
    }


def _increase(t_ns: I64, register: I64, open_ns: int, close_ns: int) -> tuple[int, int]:
    """Give (increase, bridged) of a register that only grows."""
    _, begin, bridged = _edge(t_ns, register, open_ns)
    end, _, _ = _edge(t_ns, register, close_ns)
    # A longer window is its minutes put together: what was bridged over an edge inside is bridged (docs/rows.md §6).
    inner = sum(_edge(t_ns, register, edge)[2] for edge in range(open_ns + 60 * S_NS, close_ns, 60 * S_NS))
    return end - begin - inner, bridged + inner


def _edge(t_ns: I64, register: I64, edge_ns: int) -> tuple[int, int, int]:
    """Give the register before an edge, after it, and the step that was bridged over it."""
    after = int(np.searchsorted(t_ns, edge_ns))
    if after == 0:
        return int(register[0]), int(register[0]), 0
    (t0, t1), (r0, r1) = t_ns[after - 1 : after + 1].tolist(), register[after - 1 : after + 1].tolist()
    if t1 - t0 > _HOLD_NS:
        return r0, r1, r1 - r0
    value = r0 + (r1 - r0) * (edge_ns - t0) // (t1 - t0)
    return value, value, 0


def _volumes(device: Device, open_ns: int, close_ns: int) -> I64:
    """Give the volumes, of each interval once, that begin in the window."""
    starts, first = np.unique(device.start_s[device.ok], return_index=True)
    at_ns = starts * S_NS - T0_NS
    own: I64 = device.volume[device.ok][first][(at_ns >= open_ns) & (at_ns < close_ns)]
    assert len(own) == (close_ns - open_ns) // (INTERVAL_S * S_NS)
    return own


def differences(city: City, blocks: Sequence[RowBlock]) -> list[str]:
    """Tell what is not as it must be in the rows of the centre; the first few."""
    expected = rows_of(city)
    found: list[str] = []
    for block in (block for block in blocks if block.shape.measurement == DOMAIN):
        for tags, length_s, t_ns, fields in block.rows():
            names = dict(tags)
            key = (names["device"], names["lane"], length_s, t_ns - T0_NS)
            wanted = expected.pop(key, None)
            found += [f"{key}: a row that must not be"] if wanted is None else _unequal(key, fields, wanted)
    found += [f"{key}: missing" for key in expected]
    return found[:_SHOWN]


def _unequal(key: Key, fields: Fields, wanted: Fields) -> Iterator[str]:
    for name in sorted(fields.keys() | wanted.keys()):
        is_right = name in fields and name in wanted and _is_right(name, fields, wanted)
        if not is_right:
            yield f"{key}: {name} is {fields.get(name)}, and must be {wanted.get(name)}"


def _is_right(name: str, fields: Fields, wanted: Fields) -> bool:
    value, right = fields[name], wanted[name]
    if name.endswith("_mean"):
        return abs(value - right) <= TOLERANCE * abs(right)
    if name.endswith("_stdev"):
        square = right * right + wanted[name.removesuffix("_stdev") + "_max"] ** 2
        return abs(value * value - right * right) <= TOLERANCE * square
    return value == right and type(value) is type(right)


def rival_differences(city: City, windows: Windows) -> list[str]:
    """Tell what is not as it must be in the rival's gauges; the first few."""
    by_name = {(name, minute): window for (_, name, minute), window in windows.items()}
    found: list[str] = []
    for device in city.devices:
        for n in range(city.shape.minutes):
            inside = device.ok & (device.taken_ns >= n * 60 * S_NS) & (device.taken_ns < (n + 1) * 60 * S_NS)
            own = device.gauges[inside].astype(float)
            for lane, k in np.ndindex(own.shape[1:]):
                name = f"{SITE}:{device.name}/{GAUGES[k]}/{lane + 1}"
                window = by_name.get((name, T0_NS // (60 * S_NS) + n), [])
                if not _is_window(window, own[:, lane, k]):
                    found.append(f"{name}, minute {n}: {window}")
    return found[:_SHOWN]


def _is_window(window: Sequence[float], values: F64) -> bool:
    exact = [len(values), values.min(), values.max(), values[-1]]
    return [*window[:1], *window[2:]] == exact and abs(window[1] - values.sum()) <= TOLERANCE * values.sum()
