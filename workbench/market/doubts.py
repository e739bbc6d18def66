"""Doubts: bars that keep every rule and still look wrong. They are held back for review, not stored, not lost. Pure.

Two kinds. A bar outside of the hours that its series follows may be a late print, or the calendar does not know a
session. And a bar may stick out of both its neighbours much further than bars of its series usually range: a bad
print. A move that stays, an earnings gap or a split, does not come back with the next bar and is no doubt; only the
newest bar of all, which has no next one yet, is held back by a move as large until there is.

How far is too far was set on real bars, 1998 to 2021. Of some 500 000 daily bars, the true ones of the wildest days
(2010-05-06, 2015-08-24, March 2020) stick out by 12 usual ranges at most, and bad prints by up to 73.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.errors import InvalidBars
from workbench.market.bars import PRICES, TIMESTAMP
from workbench.market.sessions import SessionCalendar
from workbench.market.timeframes import Timeframe

HELD_BACK_FROM = 20.0
"""How many usual ranges a bar may stick out of its neighbours before it is held back; see `protrusion`."""

_SESSION_S = 23_400
_USUAL_BARS = 41
_FEW = 10
_LEAST_RANGE, _LEAST_MOVE = 2e-4, 0.05
"""A bill fund may stand still for hours and then move by a tick, a penny stock by a fifth: neither is a bad print."""
_STRAYS, _STRAY_SHARE = 20, 0.05
"""Up to this many bars outside of the hours are glitches; more, and above this share, are bars of other hours."""


def find_doubts(
    bars: pa.Table,
    timeframe: Timeframe,
    calendar: SessionCalendar | None,
    around: Callable[[], pa.Table] | None = None,
) -> dict[int, str]:
    """Return the rows that look wrong, each with the reason.

    `around` gives the stored bars around, for comparison; it is called only when the bars are few or not calm. Without
    a calendar no hours are kept: an index is calculated at hours of its own. Raises `InvalidBars` when the bars as a
    whole are of other hours.
    """
    doubts = dict.fromkeys(_outside(bars, timeframe, calendar), _describe_stray(timeframe))
    if bars.num_rows and not _is_calm(bars, timeframe):
        merged, rows = _between(around() if around else bars.slice(0, 0), bars)
        found = protrusion(merged, timeframe)[rows]
        for row in np.flatnonzero(found >= HELD_BACK_FROM):
            doubts.setdefault(
                int(row), f"it sticks out of the bars beside it by {found[row]:.0f} times the usual range"
            )
    return doubts


def outside_hours(stamps: np.ndarray, timeframe: Timeframe, calendar: SessionCalendar) -> np.ndarray:
    """Return which bars start outside of the calendar's sessions. Of years that it does not know, none do."""
    located = calendar.locate(stamps, timeframe)
    if located.min(initial=0) >= 0:
        return np.zeros(len(stamps), dtype=bool)
    known = stamps >= calendar.numbered(0).label_utc.timestamp() * 1e6
    return np.asarray(known & (located < 0))


def usual_range(bars: pa.Table, timeframe: Timeframe) -> np.ndarray:
    """Return the median true range around each bar, over three sessions or 41 bars, as a share of the price before."""
    window = max(_USUAL_BARS, round(3 * bars_a_session(timeframe)))
    if bars.num_rows <= window // 2:  # each window has all the bars
        return np.full(bars.num_rows, max(np.median(_true_range(bars)), _LEAST_RANGE) if bars.num_rows else np.nan)
    median = pd.Series(_true_range(bars)).rolling(window, center=True, min_periods=1).median().to_numpy()
    return np.asarray(np.maximum(median, _LEAST_RANGE))


def protrusion(bars: pa.Table, timeframe: Timeframe) -> np.ndarray:
    """Return how far each bar's high or low lies outside of both its neighbours, in usual ranges.

    Short bars, unlike days, now and then reach many times their usual range, so the unit grows with the cube root of
    their number in a session: an hour of the crash of 2010-05-06 sticks out by 7, not by 14. The first bar's left
    neighbour is its own open; the last has none to its right.
    """
    opens, highs, lows, _ = prices_of(bars)
    if not len(opens):
        return opens
    left_high, left_low = (np.concatenate([opens[:1], side[:-1]]) for side in (highs, lows))
    right_high, right_low = np.append(highs[1:], -np.inf), np.append(lows[1:], np.inf)
    top, bottom = np.maximum(left_high, right_high), np.minimum(left_low, right_low)
    excess = np.maximum(highs / top - 1, 1 - lows / bottom)
    moved = np.maximum(highs - top, bottom - lows) >= _LEAST_MOVE
    return np.asarray(np.where(moved, excess, 0) / _unit(bars, timeframe))


def bars_a_session(timeframe: Timeframe) -> float:
    """Return how many bars a full regular session has; of daily bars one."""
    return 1.0 if timeframe.is_daily else max(1.0, _SESSION_S / timeframe.seconds)


def _unit(bars: pa.Table, timeframe: Timeframe) -> np.ndarray:
    return np.asarray(usual_range(bars, timeframe) * math.cbrt(bars_a_session(timeframe)))


def _true_range(bars: pa.Table) -> np.ndarray:
    opens, highs, lows, closes = prices_of(bars)
    before = np.concatenate([opens[:1], closes[:-1]])
    return np.asarray((np.maximum(highs, before) - np.minimum(lows, before)) / before)


def _is_calm(bars: pa.Table, timeframe: Timeframe) -> bool:
    """Tell whether no bar moves so far that it could stick out, whatever is around; of few bars that is unknown."""
    if bars.num_rows < _FEW:
        return False
    _, highs, lows, _ = prices_of(bars)
    if highs.max() / lows.min() - 1 < HELD_BACK_FROM * _LEAST_RANGE * math.cbrt(bars_a_session(timeframe)):
        return True  # all of them together move less than one may
    return bool((_true_range(bars) / _unit(bars, timeframe)).max() < HELD_BACK_FROM)


def _outside(bars: pa.Table, timeframe: Timeframe, calendar: SessionCalendar | None) -> list[int]:
    """Return the rows outside of the sessions, unless they are so many that the whole is of other hours."""
    if calendar is None or not bars.num_rows:
        return []
    stamps = _stamps(bars)
    rows = np.flatnonzero(outside_hours(stamps, timeframe, calendar))
    if len(rows) > max(_STRAYS, _STRAY_SHARE * bars.num_rows):
        first = pd.Timestamp(stamps[rows[0]], unit="us", tz="UTC")
        hours = "regular hours" if calendar.use_rth else "all hours of XNYS"
        step = "save them with use_rth=False" if calendar.use_rth else "are their timestamps the bars' start, in UTC?"
        raise InvalidBars(
            f"row {rows[0]} ({first}) and {len(rows) - 1} more of {bars.num_rows} lie outside of {hours}: {step}. "
            "Nothing was stored"
        )
    return [int(row) for row in rows]


def _describe_stray(timeframe: Timeframe) -> str:
    return "its date is no session" if timeframe.is_daily else "it starts outside of the session's hours"


def _between(around: pa.Table, bars: pa.Table) -> tuple[pa.Table, slice]:
    """Return the bars among those around that lie before and after them, and where they are in there."""
    stamps, others = _stamps(bars), _stamps(around)
    first, last = np.searchsorted(others, stamps[0]), np.searchsorted(others, stamps[-1], side="right")
    parts = [around.slice(0, int(first)), bars, around.slice(int(last))]
    merged = pa.concat_tables([part.select([TIMESTAMP, *PRICES]) for part in parts])
    return merged, slice(int(first), int(first) + bars.num_rows)


def prices_of(bars: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return open, high, low and close as numpy arrays."""
    opens, highs, lows, closes = (bars.column(name).to_numpy() for name in PRICES)
    return opens, highs, lows, closes


def _stamps(bars: pa.Table) -> np.ndarray:
    return np.asarray(bars.column(TIMESTAMP).cast(pa.int64()).to_numpy())
