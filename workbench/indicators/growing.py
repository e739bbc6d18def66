"""A computed frame that grows with its bars: what is appended is carried on, what is revised computed anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from workbench.indicators.batch import compute
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import Floats, Indicator


class GrowingValues:
    """The values of a suite over the bars of one series, and what carries them on."""

    def __init__(self, suite: Sequence[Indicator]) -> None:
        self._suite = tuple(suite)
        self._carries_on = all(isinstance(indicator.function, str) for indicator in suite)
        self._index = pd.DatetimeIndex([])
        self._columns: dict[str, Floats] = {}
        self._values: dict[str, Floats] = {}
        self._live: LiveIndicators | None = None
        self.extended = 0
        """How many bars were carried on instead of computed anew."""

    def over(self, index: pd.DatetimeIndex, columns: dict[str, Floats]) -> dict[str, Floats]:
        """Return the values over these bars, those of before included."""
        known = len(self._index)
        if self._carries_on and known and self._begins_with_known(index, columns):
            if len(index) > known:
                self._extend(known, columns)
        else:
            self._values, self._live = compute(self._suite, columns), None
        self._index, self._columns = index, _copied(columns)  # who has the frame may write to it
        return _copied(self._values)

    def _begins_with_known(self, index: pd.DatetimeIndex, columns: dict[str, Floats]) -> bool:
        known = len(self._index)
        return (
            len(index) >= known
            and np.array_equal(index[:known].asi8, self._index.asi8)
            and all(np.array_equal(columns[name][:known], column) for name, column in self._columns.items())
        )

    def _extend(self, known: int, columns: dict[str, Floats]) -> None:
        live = self._live or LiveIndicators(self._suite, self._columns)
        self._live = None  # were it to fail midway, it would be opened anew
        added = {name: column[known:].tolist() for name, column in columns.items()}
        rows = [live.update(dict(zip(added, bar, strict=True))) for bar in zip(*added.values(), strict=True)]
        self._values = {
            name: np.append(column, np.array([row[name] for row in rows])) for name, column in self._values.items()
        }
        self._live = live
        self.extended += len(rows)


def _copied(columns: dict[str, Floats]) -> dict[str, Floats]:
    return {name: column.copy() for name, column in columns.items()}
