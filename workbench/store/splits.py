"""Splits, found by comparing what is stored with what IB tells today of the same bars. Pure.

IB tells the past in today's shares: after a split of 7:1 all earlier prices are divided by seven and volumes
multiplied. Stored bars and fresh ones of the same times then differ by one steady factor, and prices of both kinds
must never stand in one series. A factor that no split explains (a spin-off, a change of currency) and single bars that
differ (a bad print that IB has put right) are no split, and are told as what they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
import pandas as pd

from workbench.market.bars import PRICES, VOLUME

FEWEST_BARS = 5
"""Fewer bars in common do not tell a split from chance."""

_MOST_OF_BOTH, _MOST_OF_ONE = 10, 100
_STEADY = 0.9
"""So large a share of the bars has the same factor; a few may have been revised."""
_SAME, _REVISED = 0.002, 0.01
"""Factors this near to 1 are none, and so far a single price may be revised without being reported."""
_TICK, _ROUGHLY, _COARSEST = 0.006, 1e-4, 0.01
_VOLUME_OFF = 0.1


@dataclass(frozen=True, slots=True)
class Ratio:
    """A split: `new` shares for `old` ones.

    >>> str(Ratio(7, 1)), Ratio(1, 20).factor
    ('7:1', 0.05)
    """

    new: int
    old: int

    @property
    def factor(self) -> float:
        """What earlier prices are divided by, and volumes multiplied."""
        return self.new / self.old

    def __str__(self) -> str:
        return f"{self.new}:{self.old}"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A disagreement that needs a look. `is_of_all`: it is of the bars as a whole, so nothing may be added to them."""

    reason: str
    is_of_all: bool


def find_split(old: pd.DataFrame, new: pd.DataFrame) -> Ratio | Suspicion | None:
    """Return what makes bars differ that were stored once and fetched again: a split, nothing, or something else.

    Both are indexed by timestamp; those that both have are compared.
    """
    shared = old.index.intersection(new.index)
    before, after = old.loc[shared], new.loc[shared]
    if before.empty:
        return Suspicion("no bar is in both, so they cannot be compared", is_of_all=False)
    factors = np.asarray(before["close"] / after["close"])
    rounding = np.minimum(_TICK / before["close"].to_numpy() + _TICK / after["close"].to_numpy() + _ROUGHLY, _COARSEST)
    factor = float(np.median(factors))
    if abs(factor - 1) <= _SAME:
        return _differing(before, after)
    if np.mean(np.abs(factors / factor - 1) <= 2 * rounding) < _STEADY:  # the median, too, is of rounded prices
        return _unsteady(before, after, factors)
    return _explained(before, after, factor, float(np.median(rounding)))


def adjusted(bars: pd.DataFrame, ratio: Ratio) -> pd.DataFrame:
    """Return bars in the shares after a split, for those that IB does not have any more."""
    prices = {name: bars[name] / ratio.factor for name in (*PRICES, "average")}
    return bars.assign(**prices, **{VOLUME: bars[VOLUME] * ratio.factor})


def share_adjusted(old: pd.DataFrame, new: pd.DataFrame, ratio: Ratio) -> float:
    """Return the share of the bars in common whose closes differ by the ratio; 1 when there are none."""
    shared = old.index.intersection(new.index)
    if shared.empty:
        return 1.0
    factors = old.loc[shared, "close"] / new.loc[shared, "close"] / ratio.factor
    coarse = _REVISED + _TICK / new.loc[shared, "close"]
    return float(np.mean(np.abs(factors - 1) <= coarse))


def _differing(before: pd.DataFrame, after: pd.DataFrame) -> Suspicion | None:
    """Return what to say of bars that agree as a whole: which single ones do not."""
    factors = before[list(PRICES)].to_numpy() / after[list(PRICES)].to_numpy()
    off = np.flatnonzero((np.abs(factors - 1) > _REVISED).any(axis=1))
    if not len(off):
        return None
    count = f"{len(off)} of {len(before)} bars differ by more than {_REVISED:.0%}"
    return Suspicion(f"{count}, {_shown(before, after, int(off[0]))}", is_of_all=False)


def _unsteady(before: pd.DataFrame, after: pd.DataFrame, factors: np.ndarray) -> Suspicion:
    low, high = float(factors.min()), float(factors.max())
    return Suspicion(
        f"their closes differ by factors from {low:.4g} to {high:.4g}, {_shown(before, after, 0)}",
        is_of_all=True,
    )


def _explained(before: pd.DataFrame, after: pd.DataFrame, factor: float, rounding: float) -> Ratio | Suspicion:
    """Return the split that a steady factor is, if it is one."""
    told = f"their prices differ by the factor {factor:.4g}"
    ratio = _near(factor, rounding)
    if ratio is None:
        return Suspicion(f"{told}, which no split n:m explains; a spin-off?", is_of_all=True)
    if len(before) < FEWEST_BARS:
        return Suspicion(f"{told}, but only {len(before)} bars could be compared", is_of_all=True)
    traded = ((before[VOLUME] > 0) & (after[VOLUME] > 0)).to_numpy()
    if traded.any():
        volumes = float(np.median(after.loc[traded, VOLUME] / before.loc[traded, VOLUME]))
        if abs(volumes / ratio.factor - 1) > _VOLUME_OFF:
            return Suspicion(f"{told}, as after a split of {ratio}, but their volumes by {volumes:.4g}", is_of_all=True)
    return ratio


def _near(factor: float, rounding: float) -> Ratio | None:
    """Return the simplest split as near to a factor as prices can tell."""
    near = [ratio for ratio in _RATIOS if abs(factor / ratio.factor - 1) <= rounding]
    return near[0] if near else None


def _shown(before: pd.DataFrame, after: pd.DataFrame, row: int) -> str:
    """Return both bars of a row, as open, high, low and close."""
    stored, told = (" ".join(f"{price:g}" for price in bars[list(PRICES)].iloc[row]) for bars in (before, after))
    return f"such as {before.index[row]}: stored {stored}, IB has {told}"


def _ratios() -> list[Ratio]:
    """Return the ratios of splits, simple ones first: n:m up to ten, and n:1 and 1:n up to a hundred."""
    small = range(1, _MOST_OF_BOTH + 1)
    pairs = {(new, old) for new in small for old in small if gcd(new, old) == 1 and new != old}
    for many in range(_MOST_OF_BOTH + 1, _MOST_OF_ONE + 1):
        pairs |= {(many, 1), (1, many)}
    return [Ratio(*pair) for pair in sorted(pairs, key=sum)]


_RATIOS = _ratios()
