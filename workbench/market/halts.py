"""Market-wide halts: minutes of a session in which no US stock could trade. Data, of the exchanges' own announcements.

Level 1 of the market-wide circuit breakers, a fall of the S&P 500 by 7 %, stops all trading for fifteen minutes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from workbench.market.coverage import Interval

_FIFTEEN = timedelta(minutes=15)

MARKET_WIDE = tuple(
    Interval(begin, begin + _FIFTEEN)
    for begin in (
        datetime(2020, 3, 9, 13, 34, 13, tzinfo=UTC),
        datetime(2020, 3, 12, 13, 35, 44, tzinfo=UTC),
        datetime(2020, 3, 16, 13, 30, 1, tzinfo=UTC),
        datetime(2020, 3, 18, 16, 56, 17, tzinfo=UTC),
    )
)
"""Since 2013, when the breakers were made what they are."""
