"""The newest complete bars of many symbols at one timeframe, in flat numbers: a thousand symbols fit into memory."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.market.aggregate.parts import Floats, Numbers, grown
from workbench.market.bars import COLUMNS

WIDTH = 1 + len(COLUMNS) + 2
"""Start in epoch seconds, the columns of a bar, received, expected."""

Rows = npt.NDArray[np.float64]


class Rings:
    """The newest `size` bars of each symbol; a place a symbol."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._numbers: Floats = np.zeros((0, size, WIDTH))
        self._count = np.zeros(0, dtype=np.int64)  # of all that were appended; the newest lies before it, modulo size

    def grow(self, places: int) -> None:
        """Have room for so many symbols."""
        self._numbers, self._count = grown(self._numbers, places), grown(self._count, places)

    def append(self, places: Numbers, rows: Rows) -> None:
        """Add the newest bar of each place."""
        self._numbers[places, self._count[places] % self._size] = rows
        self._count[places] += 1

    def extend(self, place: int, rows: Rows) -> None:
        """Add the newest bars of one place."""
        self._put(place, np.vstack([self.rows(place), rows]))

    def rows(self, place: int) -> Rows:
        """Return a copy of the bars of a place, a row each, oldest first."""
        count = int(self._count[place])
        numbers: Rows = self._numbers[place]
        if count <= self._size:
            return numbers[:count].copy()
        return np.roll(numbers, -(count % self._size), axis=0)

    def lay_before(self, place: int, rows: Rows) -> None:
        """Put bars in the place of all up to their last one."""
        kept = self.rows(place)
        self._put(place, np.vstack([rows, kept[kept[:, 0] > rows[-1, 0]]]))

    def first_from(self, place: int, stamp: int) -> float | None:
        """Return the start of the first bar that starts at `stamp` or later."""
        starts = self.rows(place)[:, 0]
        found = int(np.searchsorted(starts, stamp))
        return float(starts[found]) if found < len(starts) else None

    def forget_from(self, place: int, stamp: int) -> None:
        """Drop the bars that start at `stamp` or later."""
        kept = self.rows(place)
        self._put(place, kept[kept[:, 0] < stamp])

    def _put(self, place: int, rows: Rows) -> None:
        newest = rows[-self._size :]
        self._numbers[place, : len(newest)] = newest
        self._count[place] = len(newest)
