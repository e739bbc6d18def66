"""Random numbers without a state: each is a hash of what it is for.

Any number can be had without those before it, so a bar does not depend on which bars were asked for earlier. Only
integer arithmetic and the operations that IEEE 754 rounds alike everywhere (+ - * / sqrt) are used; the library's
exp and log differ in the last bit between machines.
"""

from __future__ import annotations

import math
import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
LANE = np.uint64(0xFFFF)
LANE_MEAN = 65_535 / 2
LANE_VARIANCE = (65_536**2 - 1) / 12


def root(seed: int, name: str) -> Hashes:
    """Return the key that all noise of `name` under `seed` grows from, an array of one."""
    word = zlib.crc32(name.encode()) | (seed % (1 << 32)) << 32
    return _mixed(np.array([word], dtype=np.uint64) + GOLDEN)


def keys(key: Hashes, index: Integers | int) -> Hashes:
    """Return the keys below `key`, one for each index; the two are broadcast."""
    return _mixed(key ^ (_purpose(index) if isinstance(index, int) else _spread(index)))


@lru_cache(maxsize=256)
def _purpose(index: int) -> Hashes:
    return _spread(np.array([index], dtype=np.int64))


def _spread(index: Integers) -> Hashes:
    return _mixed(index.astype(np.uint64) * GOLDEN + GOLDEN)


def uniforms(key: Hashes) -> Floats:
    """Return numbers spread evenly over [0, 1)."""
    return np.asarray((key >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def normals(key: Hashes) -> Floats:
    """Return nearly normal numbers (mean 0, variance 1): sums of four 16-bit lanes, so never beyond ±3.5."""
    total = (key & LANE) + (key >> np.uint64(16) & LANE) + (key >> np.uint64(32) & LANE) + (key >> np.uint64(48))
    return np.asarray((total.astype(np.float64) - 4 * LANE_MEAN) / math.sqrt(4 * LANE_VARIANCE))


def energies(key: Hashes) -> Floats:
    """Return sums of two squared, nearly normal numbers (mean 2): what the extreme of a random walk needs."""
    first = (key & LANE) + (key >> np.uint64(16) & LANE)
    second = (key >> np.uint64(32) & LANE) + (key >> np.uint64(48))
    squares = (first.astype(np.float64) - 2 * LANE_MEAN) ** 2 + (second.astype(np.float64) - 2 * LANE_MEAN) ** 2
    return squares / (2 * LANE_VARIANCE)


def exp(x: Floats) -> Floats:
    """Return e to the x for moderate x, the same to the last bit on every machine."""
    t = x / 64
    total = np.ones_like(t)
    for term in range(9, 0, -1):
        total = 1 + total * t / term
    for _ in range(6):
        total = total * total
    return total


def _mixed(x: Hashes) -> Hashes:
    """Return the finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    shifted = x >> np.uint64(30)
    x = x ^ shifted
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= np.right_shift(x, np.uint64(27), out=shifted)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= np.right_shift(x, np.uint64(31), out=shifted)
    return x
