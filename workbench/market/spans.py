"""How much of a series somebody wants, in a user's words: between two dates, the newest `60d`, or 260 bars. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime

import pandas as pd

from workbench.errors import InvalidInterval
from workbench.market.sessions import EXCHANGE_ZONE, parse_bound
from workbench.market.timeframes import parse_timeframe

Bound = str | date | datetime | None
Last = str | int | None

_UNITS = {
    "d": pd.DateOffset(days=1), "w": pd.DateOffset(weeks=1), "mo": pd.DateOffset(months=1), "y": pd.DateOffset(years=1)
}  # fmt: skip
_TEXT = re.compile(r"(\d{1,4}) ?(d|w|mo|y)")


def cut(bars: pd.DataFrame, timeframe: str, start: Bound = None, end: Bound = None, last: Last = None) -> pd.DataFrame:
    """Return the bars whose timestamp lies in `[start, end)`, of these the `last` ones.

    A date alone is that date on the exchange's clock, or the label of a daily bar. `last` is a number of bars, or a
    span that ends with the newest bar's date: `"1d"` is that date alone, `"60d"` sixty dates, `"2w" "6mo" "1y"`.
    """
    length, starts = parse_timeframe(timeframe), pd.DatetimeIndex(bars.index)
    begin = None if start is None else parse_bound(start, length)
    until = None if end is None else parse_bound(end, length)
    if begin is not None and until is not None and until <= begin:
        raise InvalidInterval(f"the end {until} does not lie after the begin {begin}")
    first = 0 if begin is None else int(starts.searchsorted(begin))
    stop = len(bars) if until is None else int(starts.searchsorted(until))
    if last is not None and stop > first:
        first = max(first, _first_of(starts[:stop], _checked(last), is_daily=length.is_daily))
    return bars.iloc[first:stop]


def _checked(last: str | int) -> int | tuple[int, pd.DateOffset]:
    """Return a number of bars, or a number and its unit."""
    found = _TEXT.fullmatch(last.strip().lower()) if isinstance(last, str) else None
    if found and int(found[1]) > 0:
        return int(found[1]), _UNITS[found[2]]
    if isinstance(last, int) and not isinstance(last, bool) and last > 0:
        return last
    raise InvalidInterval(f"last is a number of bars, or a span such as 60d, 8w, 6mo, 2y; not {last!r}")


def _first_of(starts: pd.DatetimeIndex, last: int | tuple[int, pd.DateOffset], *, is_daily: bool) -> int:
    if isinstance(last, int):
        return max(0, len(starts) - last)
    count, unit = last
    newest = starts[-1] if is_daily else starts[-1].tz_convert(EXCHANGE_ZONE)
    back = newest.tz_localize(None).normalize() - count * unit + _UNITS["d"]
    return int(starts.searchsorted(back.tz_localize(newest.tz)))
