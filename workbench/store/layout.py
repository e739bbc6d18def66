"""Where a bar lies: the periods of parts, and their names. Pure.

Timeframes above a minute have a part a year. Finer ones have a part a month, so that adding a session rewrites little;
years that have passed are folded into a part of their own, so that a long read opens few files. Whatever the
timeframe, a bar of a year that has a part lies in that part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Literal

import numpy as np

from workbench.market.coverage import Interval
from workbench.market.timeframes import Timeframe

Unit = Literal["M", "Y"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FINE_S = 60
"""Timeframes up to this length have a part a month, until the year is folded."""
_NAME = re.compile(r"([12]\d{3})(?:-(0[1-9]|1[0-2]))?\.parquet")


def period_at(moment: datetime, unit: Unit) -> Interval:
    """Return the month or the year that `moment` (UTC) lies in."""
    begin = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if unit == "M":
        return Interval(begin, begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1))
    begin = begin.replace(month=1)
    return Interval(begin, begin.replace(year=begin.year + 1))


def is_year(period: Interval) -> bool:
    """Tell a year from a month."""
    return period.end.year == period.begin.year + 1 and period.end.month == period.begin.month


def part_name(period: Interval) -> str:
    """Return the file name of a period's part: `2026-11.parquet` or `2026.parquet`."""
    return f"{period.begin:%Y}.parquet" if is_year(period) else f"{period.begin:%Y-%m}.parquet"


@lru_cache(maxsize=8192)
def parse_part_name(name: str) -> Interval | None:
    """Return the period that a file's name tells, or None when it is not the name of a part.

    >>> print(parse_part_name("2026-11.parquet"), parse_part_name("notes.parquet"))
    [2026-11-01 00:00:00, 2026-12-01 00:00:00) UTC None
    """
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return period_at(datetime(int(found[1]), int(found[2] or 1), 1, tzinfo=UTC), "M" if found[2] else "Y")


def periods_of(timeframe: Timeframe, stamps: np.ndarray, covers: Interval | None, held: Sequence[Interval]) -> list[
    Interval
]:  # fmt: skip
    """Return the periods, in order, of the parts that hold bars at `stamps` (µs) or cover some of `covers`.

    `held` are the periods of the parts there are.
    """
    sealed = {period.begin.year for period in held if is_year(period)}
    is_long = timeframe.seconds > _FINE_S
    return sorted({period_at(one, "Y" if is_long or one.year in sealed else "M") for one in _months(stamps, covers)})


def _months(stamps: np.ndarray, covers: Interval | None) -> Iterable[datetime]:
    """Return a moment of each month that has a stamp or is touched by `covers`."""
    ends = [
        _EPOCH + timedelta(microseconds=int(stamp)) for stamp in ((stamps.min(), stamps.max()) if len(stamps) else ())
    ]
    ends += [covers.begin, covers.end - timedelta(microseconds=1)] if covers else []
    if len({(one.year, one.month) for one in ends}) <= 1:  # as when a day is added
        return ends[:1]
    months = stamps.view("datetime64[us]").astype("datetime64[M]")
    if covers is not None:
        first, last = (np.datetime64(moment.replace(tzinfo=None), "M") for moment in ends[-2:])
        months = np.concatenate([months, np.arange(first, last + 1)])
    return [month.astype("datetime64[us]").item().replace(tzinfo=UTC) for month in np.unique(months)]


def foldable(held: Iterable[Interval]) -> dict[Interval, list[Interval]]:
    """Return the years before the newest part's whose months can be folded into one part, each with its months."""
    periods = sorted(held)
    years: dict[Interval, list[Interval]] = {}
    for period in periods:
        if not is_year(period) and period.begin.year < periods[-1].begin.year:
            years.setdefault(period_at(period.begin, "Y"), []).append(period)
    return years


def overlapping(held: Iterable[Interval]) -> tuple[Interval, Interval] | None:
    """Return two periods that share time, or None: parts are disjoint."""
    return next(((left, right) for left, right in pairwise(sorted(held)) if right.begin < left.end), None)
