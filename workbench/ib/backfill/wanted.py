"""Of which span bars are wanted: from bar edge to bar edge, within what IB keeps and what is complete."""

from __future__ import annotations

import logging
from datetime import date, datetime, timedelta

from workbench.errors import InvalidInterval
from workbench.ib.pacing import SMALL_BARS_S
from workbench.ib.plan import complete_until
from workbench.market.coverage import Interval
from workbench.market.sessions import FIRST_DATE, parse_bound, session_calendar
from workbench.market.timeframes import Timeframe

logger = logging.getLogger(__name__)

DEFAULT_TIMEFRAMES = ("15min", "1hour", "4hour", "1day")

DEFAULT_DAYS = {
    "5sec": 5,
    "1min": 30,
    "5min": 90,
    "15min": 730,
    "1hour": 730,
    "4hour": 730,
    "1day": 3650,
}
"""How many calendar days a backfill reaches back when it is not told since when."""

SETTLE = timedelta(minutes=15)
"""IB goes on revising its newest bars: those younger than this are stored, and asked for again next time."""

SMALL_BARS_KEPT = timedelta(days=180)
"""IB keeps bars up to 30 seconds for six months. What is older is not asked for: it would seem to be empty."""

Bound = str | date | datetime | None


def wanted_span(timeframe: Timeframe, since: Bound, until: Bound, now: datetime, *, use_rth: bool) -> Interval | None:
    """Return the span in which complete bars are wanted, from bar edge to bar edge; None when no bar is complete yet.

    A request that ended within a bar might get that bar cut off.
    """
    calendar = session_calendar(use_rth=use_rth)
    asked_end = None if until is None else parse_bound(until, timeframe)
    last = now if asked_end is None else min(asked_end, now)
    first = last - timedelta(days=DEFAULT_DAYS[timeframe.name]) if since is None else parse_bound(since, timeframe)
    if asked_end is not None and asked_end <= first:
        raise InvalidInterval(f"the end {asked_end} does not lie after the begin {first}")
    if first >= now:
        raise InvalidInterval(f"{since} lies in the future: it is {now:%Y-%m-%d %H:%M} UTC at the gateway")
    begin = calendar.first_start(max(first, _oldest(timeframe, first, now)), timeframe)
    end = min(calendar.first_start(last, timeframe), complete_until(now, timeframe, calendar))
    return Interval(begin, end) if begin < end else None


def _oldest(timeframe: Timeframe, first: datetime, now: datetime) -> datetime:
    """Return the instant before which nothing is asked for, and say so where `first` lies before it."""
    oldest = parse_bound(FIRST_DATE, timeframe)
    if first < oldest:
        logger.warning("history before %s is not kept; the backfill begins there", FIRST_DATE)
    if timeframe.seconds <= SMALL_BARS_S and first < now - SMALL_BARS_KEPT:
        oldest = now - SMALL_BARS_KEPT
        logger.warning("IB keeps %s bars for six months; the backfill begins at %s", timeframe, oldest.date())
    return oldest
