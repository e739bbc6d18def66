"""The newest complete bars of one series, in a few flat numbers each: a thousand symbols fit into memory."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from workbench.market.bars import COLUMNS

WIDTH = 1 + len(COLUMNS) + 2
"""Start in epoch seconds, the columns of a bar, received, expected."""

Rows = npt.NDArray[np.float64]


class Ring:
    """At least the newest `size` bars that were appended, and never more than twice as many."""

    __slots__ = ("_numbers", "_size")

    def __init__(self, size: int) -> None:
        self._numbers = array("d")
        self._size = size

    @property
    def first(self) -> float | None:
        """The start of the oldest bar."""
        return self._numbers[0] if self._numbers else None

    def append(self, row: Sequence[float]) -> None:
        """Add the newest bar."""
        self._numbers.extend(row)
        if len(self._numbers) > 2 * self._size * WIDTH:
            del self._numbers[: -self._size * WIDTH]

    def prepend(self, rows: Rows) -> None:
        """Put older bars before all others."""
        self._numbers = array("d", np.ascontiguousarray(rows[-self._size :]).tobytes()) + self._numbers

    def forget_from(self, stamp: int) -> None:
        """Drop the bars that start at `stamp` or later."""
        kept = int(np.searchsorted(self.rows()[:, 0], stamp))
        del self._numbers[kept * WIDTH :]

    def rows(self) -> Rows:
        """Return a copy of the newest bars, a row each, oldest first."""
        return np.array(self._numbers).reshape(-1, WIDTH)[-self._size :]
