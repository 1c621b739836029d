"""Chance that can be computed again: a hash of a key and a counter, never a generator with a memory."""

from __future__ import annotations

import hashlib

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def key_of(seed: int, *names: str) -> int:
    """Make the 64-bit key of one stream of chance, such as (seed, "port:meter", "L1")."""
    text = "\0".join((str(seed), *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def bits(key: int, n: int) -> int:
    """Draw number `n` of the stream `key`: 64 bits, by the finaliser of SplitMix64."""
    z = (key + n * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def unit(key: int, n: int) -> float:
    """Draw number `n` of the stream `key`, from [0, 1)."""
    return (bits(key, n) >> 11) / (1 << 53)


def wander(key: int, t_ns: int, step_ns: int) -> float:
    """Give a continuous line through a draw from [-1, 1) at every multiple of `step_ns`."""
    n, rest = divmod(t_ns, step_ns)
    here, there = unit(key, n), unit(key, n + 1)
    return 2.0 * (here + (there - here) * (rest / step_ns)) - 1.0
