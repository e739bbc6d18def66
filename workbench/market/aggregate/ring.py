"""The newest complete bars of one series, in a few flat numbers each: a thousand symbols fit into memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from struct import Struct

import numpy as np
import numpy.typing as npt

from workbench.market.bars import COLUMNS

WIDTH = 1 + len(COLUMNS) + 2
"""Start in epoch seconds, the columns of a bar, received, expected."""

_pack = Struct(f"{WIDTH}d").pack  # twice as fast as `array.extend`

Rows = npt.NDArray[np.float64]


class Ring:
    """At least the newest `size` bars that were appended, and never more than twice as many."""

    __slots__ = ("_most", "_numbers", "_size")

    def __init__(self, size: int) -> None:
        self._numbers = array("d")
        self._size, self._most = size, 2 * size * WIDTH

    def append(self, row: Sequence[float]) -> None:
        """Add the newest bar."""
        self._numbers.frombytes(_pack(*row))
        if len(self._numbers) > self._most:
            del self._numbers[: -self._size * WIDTH]

    def lay_before(self, rows: Rows) -> None:
        """Put bars in the place of all up to their last one."""
        kept = self._all()
        kept = kept[kept[:, 0] > rows[-1, 0]]
        self._numbers = array("d", np.vstack([rows[-self._size :], kept]).tobytes())

    def first_from(self, stamp: int) -> float | None:
        """Return the start of the first bar that starts at `stamp` or later."""
        starts = self._all()[:, 0]
        place = int(np.searchsorted(starts, stamp))
        return float(starts[place]) if place < len(starts) else None

    def forget_from(self, stamp: int) -> None:
        """Drop the bars that start at `stamp` or later."""
        kept = int(np.searchsorted(self._all()[:, 0], stamp))
        del self._numbers[kept * WIDTH :]

    def rows(self) -> Rows:
        """Return a copy of the newest bars, a row each, oldest first."""
        return self._all()[-self._size :]

    def _all(self) -> Rows:
        """Return a copy of all bars that are there, more than are asked for at times."""
        return np.array(self._numbers).reshape(-1, WIDTH)
