"""The readings of one series for the table: RSI, StochRSI and whether MACD turns, carried on bar by bar. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import numpy as np

from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import Indicator
from workbench.market.aggregate import ProvisionalBar
from workbench.market.aggregate.ring import Rows
from workbench.market.bars import COLUMNS

_SHOWN = ("rsi", "stoch_k", "macd_hist")
_TURN_BARS = 3


class Reading(NamedTuple):
    """RSI and %K as of now, the forming bar included; `turn` of complete bars only, so that none comes and goes."""

    rsi: float
    stoch_k: float
    turn: int


NOTHING = Reading(nan, nan, 0)


def needed(suite: Sequence[Indicator]) -> tuple[Indicator, ...]:
    """Return the indicators of a suite that the table shows, and those that they need, in its order."""
    wanted, chosen = set(_SHOWN), list[Indicator]()
    for indicator in reversed(suite):
        if wanted & set(indicator.outputs):
            chosen.insert(0, indicator)
            wanted |= set(indicator.inputs)
    return tuple(chosen)


class Track:
    """One series: its complete bars are `rows`, as an aggregator keeps them; then come those that are taken."""

    def __init__(self, suite: Sequence[Indicator], rows: Rows) -> None:
        known, last = rows[:-_TURN_BARS], rows[-_TURN_BARS:]
        columns = {name: np.ascontiguousarray(known[:, at]) for at, name in enumerate(COLUMNS, start=1)}
        self._indicators = LiveIndicators(suite, columns)
        self._newest = -1.0
        self._histograms = [nan] * _TURN_BARS
        for row in last:
            self._take(row[0], dict(zip(COLUMNS, row[1 : 1 + len(COLUMNS)].tolist(), strict=True)))

    def take(self, bar: ProvisionalBar) -> None:
        """Take in a complete bar."""
        self._take(bar.timestamp, bar._asdict())

    def read(self, forming: ProvisionalBar | None) -> Reading:
        """Return the readings as of now."""
        is_newer = forming is not None and forming.timestamp > self._newest
        values = self._indicators.peek(forming._asdict()) if forming and is_newer else self._indicators.values
        return Reading(values.get("rsi", nan), values.get("stoch_k", nan), turn_of(self._histograms))

    def _take(self, start: float, bar: dict[str, float]) -> None:
        if start <= self._newest:
            return
        values = self._indicators.update(bar)
        self._newest = start
        self._histograms = [*self._histograms[1:], values.get("macd_hist", nan)]


def turn_of(histograms: Sequence[float]) -> int:
    """Return 1 when the MACD histogram has risen two bars in a row and is below zero, -1 for the mirror, else 0.

    >>> turn_of([-0.3, -0.2, -0.1]), turn_of([0.3, 0.2, 0.1]), turn_of([-0.1, 0.2, 0.3]), turn_of([nan, -0.2, -0.1])
    (1, -1, 0, 0)
    """
    before, last, now = histograms
    if before < last < now < 0:
        return 1
    return -1 if before > last > now > 0 else 0
