"""Bars into longer bars, in whole columns.

The rule of IB's bars: a bar in which nobody traded repeats the last price, so inside a longer bar that has
trades it sets neither open nor high nor low nor close. An index has no volume: its updates are its trades. Where a
longer bar has neither volume nor updates, all its bars count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.gateway.hours import Hours, bar_starts
from workbench.gateway.tape import DAY, BarColumns, Floats, Seconds

Rows = slice | npt.NDArray[np.bool_] | npt.NDArray[np.int64]


def nothing() -> BarColumns:
    """Return no bars."""
    none = np.empty(0, dtype=np.int64)
    empty = np.empty(0, dtype=np.float64)
    return BarColumns(none, empty, empty, empty, empty, empty, empty, none)


def select(bars: BarColumns, rows: Rows) -> BarColumns:
    """Return some rows of `bars`: a slice, a mask or indices."""
    return BarColumns(
        start=bars.start[rows],
        open=bars.open[rows],
        high=bars.high[rows],
        low=bars.low[rows],
        close=bars.close[rows],
        volume=bars.volume[rows],
        average=bars.average[rows],
        count=bars.count[rows],
    )


def concatenate(*runs: BarColumns) -> BarColumns:
    """Return runs of bars as one."""
    return BarColumns(
        start=np.concatenate([bars.start for bars in runs]),
        open=np.concatenate([bars.open for bars in runs]),
        high=np.concatenate([bars.high for bars in runs]),
        low=np.concatenate([bars.low for bars in runs]),
        close=np.concatenate([bars.close for bars in runs]),
        volume=np.concatenate([bars.volume for bars in runs]),
        average=np.concatenate([bars.average for bars in runs]),
        count=np.concatenate([bars.count for bars in runs]),
    )


def between(bars: BarColumns, begin: int, end: int) -> BarColumns:
    """Return the bars whose start lies in `[begin, end)`."""
    first, last = np.searchsorted(bars.start, [begin, end])
    return select(bars, slice(int(first), max(int(first), int(last))))


def aggregate(bars: BarColumns, labels: Seconds) -> BarColumns:
    """Return one bar for each run of equal labels.

    `labels` has the start of the longer bar for each bar, ascending. `average` is weighted by volume, or the plain
    mean where there is none; `volume` and `count` are summed.
    """
    if not len(bars):
        return nothing()
    everything = _runs(labels)
    traded = (bars.volume > 0) | (bars.count > 0)
    has_trades = np.logical_or.reduceat(traded, everything)
    counts = traded | ~np.repeat(has_trades, np.diff(everything, append=len(bars)))
    kept, first = select(bars, counts), _runs(labels[counts])
    return BarColumns(
        start=labels[everything],
        open=kept.open[first],
        high=np.maximum.reduceat(kept.high, first),
        low=np.minimum.reduceat(kept.low, first),
        close=kept.close[np.append(first[1:], len(kept)) - 1],
        volume=np.add.reduceat(bars.volume, everything),
        average=_averages(kept, first),
        count=np.add.reduceat(bars.count, everything),
    )


def _runs(labels: Seconds) -> Seconds:
    """Return the index where each run of equal labels begins."""
    return np.flatnonzero(np.diff(labels, prepend=labels[0] - 1))


def _averages(bars: BarColumns, first: Seconds) -> Floats:
    volume = np.add.reduceat(bars.volume, first)
    weights = np.where(np.repeat(volume, np.diff(first, append=len(bars))) > 0, bars.volume, 1.0)
    averages: Floats = np.add.reduceat(bars.average * weights, first) / np.add.reduceat(weights, first)
    return averages


def grid(calendar: Hours, sessions: range, step: int, *, use_rth: bool) -> Seconds:
    """Return the starts of all bars of some sessions, in epoch seconds; labels where `step` is a day."""
    if step >= DAY:
        return calendar.labels[sessions.start : sessions.stop]
    starts = [bar_starts(calendar[index], step, use_rth=use_rth) for index in sessions]
    return np.concatenate(starts) if starts else np.empty(0, dtype=np.int64)


def to_grid(bars: BarColumns, calendar: Hours, sessions: range, step: int, *, use_rth: bool) -> BarColumns:
    """Return the bars of some sessions as bars of `step` seconds on the exchange's clock.

    What lies outside the sessions' hours belongs to no bar and is left out.
    """
    starts = grid(calendar, sessions, step, use_rth=use_rth)
    opens = (calendar.opens if use_rth else calendar.pre_opens)[sessions.start : sessions.stop]
    closes = (calendar.closes if use_rth else calendar.post_closes)[sessions.start : sessions.stop]
    session = np.searchsorted(opens, bars.start, side="right") - 1
    inside = (session >= 0) & (bars.start < closes[session]) if len(opens) else np.zeros(len(bars), dtype=bool)
    kept = select(bars, inside)
    if step >= DAY:
        return aggregate(kept, starts[session[inside]])
    return aggregate(kept, starts[np.searchsorted(starts, kept.start, side="right") - 1])
