"""Bars that were built from live ones, beside those of history: where they differ, and what one of them lacks. Pure.

A bar in which nobody traded is no difference where the other side has none: the stream repeats the last price for every
five seconds, history leaves such bars out. Averages are not compared: they are rounded on their way here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

import numpy as np
import pandas as pd

from workbench.market.bars import PRICES, VOLUME
from workbench.market.coverage import Coverage, Interval

_COUNT = "bar_count"
_FAR_RANGES, _CENT = 0.25, 0.01
"""A price is far off by more than a quarter of the session's usual range of such bars, and a cent."""
_MINUTE = timedelta(minutes=1)
_HOLE_MINUTES = 3
"""So many minutes in a row that history has nothing of, though there was trading: fewer may have been filtered."""


@dataclass(frozen=True, slots=True)
class Differences:
    """How the built bars of one session and timeframe differ from those of history. All but `widest` count bars."""

    bars: int = 0
    """Of history."""
    equal: int = 0
    price: int = 0
    """Some price differs."""
    far: int = 0
    """Some price is far off, though no five-second bar was missing; these are among `price`."""
    volume: int = 0
    """The prices are the same; volume or count differ."""
    missing: int = 0
    """History has trades where nothing was built."""
    extra: int = 0
    """There was trading where history has nothing."""
    partial: int = 0
    """Built from fewer five-second bars than there are in them, whatever they came out like."""
    widest: float = 0.0
    """The largest difference of a price, as a share of the price."""

    @property
    def different(self) -> int:
        """How many bars differ in some way."""
        return self.price + self.volume + self.missing + self.extra


def compare(built: pd.DataFrame, history: pd.DataFrame) -> Differences:
    """Compare the bars of one session and timeframe; `built` may have `received` and `expected` beside its columns."""
    both = built.index.intersection(history.index)
    ours, theirs = built.loc[both], history.loc[both]
    apart = np.abs(ours[list(PRICES)].to_numpy() - theirs[list(PRICES)].to_numpy()).max(axis=1, initial=0.0)
    price = apart > 0
    volume = ~price & (_differ(ours, theirs, VOLUME) | _differ(ours, theirs, _COUNT))
    usual = float((history["high"] - history["low"]).median()) if len(history) else 0.0
    is_whole = ~_partial(ours)
    return Differences(
        bars=len(history),
        equal=int((~price & ~volume).sum()),
        price=int(price.sum()),
        far=int((is_whole & (apart > _FAR_RANGES * usual + _CENT)).sum()),
        volume=int(volume.sum()),
        missing=int(has_trades(history.loc[history.index.difference(both)]).sum()),
        extra=int(has_trades(built.loc[built.index.difference(both)]).sum()),
        partial=int(_partial(built).sum()),
        widest=float((apart / theirs["close"].to_numpy()).max(initial=0.0)),
    )


def has_trades(bars: pd.DataFrame) -> np.ndarray:
    """Return which bars somebody traded in. An index has neither volume nor trades: it moves."""
    traded = (bars[VOLUME] > 0) | (bars[_COUNT] > 0) | (bars["high"] > bars["low"])
    return np.asarray(traded, dtype=bool)


def holes(heard: pd.DataFrame, history: pd.DataFrame) -> Coverage:
    """Return where history has no five-second bar though there was trading for minutes, or all the time."""
    known = set(_minutes(history))
    traded = [(minute, minute in known) for minute in sorted(known | set(_minutes(heard[has_trades(heard)])))]
    lacking = (list(run) for is_known, run in groupby(traded, key=lambda one: one[1]) if not is_known)
    found = [[minute for minute, _ in run] for run in lacking]
    return Coverage(_span(run) for run in found if len(run) >= _HOLE_MINUTES or not known)


def _partial(built: pd.DataFrame) -> np.ndarray:
    if "received" not in built:
        return np.zeros(len(built), dtype=bool)
    return np.asarray(built["received"] < built["expected"], dtype=bool)


def _differ(ours: pd.DataFrame, theirs: pd.DataFrame, name: str) -> np.ndarray:
    left, right = ours[name].to_numpy(), theirs[name].to_numpy()
    return np.asarray((left != right) & ~(np.isnan(left) & np.isnan(right)))


def _minutes(bars: pd.DataFrame) -> Iterator[int]:
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    yield from (bars.index.as_unit("s").asi8 // 60).tolist()


def _span(minutes: list[int]) -> Interval:
    begin, last = (datetime.fromtimestamp(60 * minute, UTC) for minute in (minutes[0], minutes[-1]))
    return Interval(begin, last + _MINUTE)
