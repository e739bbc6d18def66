"""Planning: from what is missing to the requests that fetch it. Pure.

A request names an end and a duration that reaches back from it. Durations are chosen so that their reach is certain:
IB counts `N D` in trading days, as the session calendar does, but takes days only with bars up to one hour; four-hour
bars are asked for in weeks and daily bars in years, both by the exchange's calendar and clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import EXCHANGE_ZONE, Session, SessionCalendar
from workbench.market.timeframes import Timeframe

SESSIONS_A_REQUEST = {
    "5sec": 1,
    "1min": 5,
    "5min": 21,
    "15min": 63,
    "1hour": 126,
    "4hour": 245,
    "1day": 2520,
}
"""How many sessions one request spans: a few thousand bars, which IB answers in seconds."""

_WEEK = timedelta(days=7)
_SPARSE_S = 60
"""Bars up to this length are missing wherever nobody traded."""


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Bars that reach back by `duration` (IB's own text) from `end`, which is now when it is None.

    `covers` is what a whole answer would leave no gap in. `first` is the first session in it.
    """

    timeframe: Timeframe
    duration: str
    end: datetime | None = None
    covers: Interval | None = None
    first: Session | None = None


def plan_requests(gaps: Coverage, timeframe: Timeframe, calendar: SessionCalendar) -> list[HistoryRequest]:
    """Return the requests that fill the gaps, oldest first. Where there is no session nothing is asked for."""
    during = ((gap, calendar.during(gap.begin, gap.end, timeframe)) for gap in gaps)
    return [request for gap, sessions in during if sessions for request in _plan_gap(gap, sessions, timeframe)]


def _plan_gap(gap: Interval, sessions: list[Session], timeframe: Timeframe) -> Iterator[HistoryRequest]:
    size = SESSIONS_A_REQUEST[timeframe.name]
    chunks = [sessions[at : at + size] for at in range(0, len(sessions), size)]
    starts = [_start(chunk[0], timeframe) for chunk in chunks[1:]]
    for chunk, (begin, end) in zip(chunks, pairwise([gap.begin, *starts, gap.end]), strict=True):
        until = chunk[-1].end if timeframe.is_daily else min(chunk[-1].end, gap.end)
        duration = _duration(chunk, until, timeframe)
        yield HistoryRequest(timeframe, duration, until, Interval(begin, end), chunk[0])


def _start(session: Session, timeframe: Timeframe) -> datetime:
    return session.label_utc if timeframe.is_daily else session.begin


def _duration(chunk: list[Session], end: datetime, timeframe: Timeframe) -> str:
    if timeframe.is_daily:
        return f"{_years(chunk[0].label_utc, end)} Y"
    if timeframe.name == "4hour":
        # A week later it is the same time on the exchange's clock, not in UTC when the clocks have changed.
        return f"{-(-(_wall(end) - _wall(chunk[0].begin)) // _WEEK)} W"
    return f"{len(chunk)} D"


def _wall(moment: datetime) -> datetime:
    return moment.astimezone(EXCHANGE_ZONE).replace(tzinfo=None)


def complete_until(as_of: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> datetime:
    """Return the first instant at which a bar of IB's could start that may not be complete at `as_of`.

    Where IB cuts its four-hour bars is not verified: by the clock (09:30, 12:00) or from the open on (09:30, 13:30).
    So they are taken for complete when their session has ended.
    """
    if timeframe.name == "4hour":
        return calendar.closed_until(as_of)
    return calendar.complete_until(as_of, timeframe)


def _years(begin: datetime, end: datetime) -> int:
    """Return how many calendar years back from `end` reach `begin`."""
    years = end.year - begin.year
    reached = (end.month, end.day) > (begin.month, begin.day)
    return years + 1 if reached else max(years, 1)


def settled(request: HistoryRequest, first_bar: datetime | None, *, limit: datetime) -> Interval | None:
    """Return the interval of which the answer to a planned request leaves nothing open.

    `first_bar` is the start of the oldest bar in the answer, or None when IB confirmed that there is none. When the
    answer does not reach back to all that was asked for, what lies before it stays open: IB may have counted other
    days than we did. Nothing from `limit` on is settled: IB still revises its newest bars.
    """
    assert request.covers is not None  # noqa: S101  planned requests have both
    assert request.first is not None  # noqa: S101
    begin, end = request.covers.begin, min(request.covers.end, limit)
    if first_bar is not None and first_bar > _reach(request.first, request.timeframe, begin):
        begin = max(begin, first_bar)
    return Interval(begin, end) if begin < end else None


def _reach(first: Session, timeframe: Timeframe, begin: datetime) -> datetime:
    """Return the latest start that the oldest bar of a whole answer may have.

    Bars of a minute and less are missing wherever nobody traded, so anywhere in the first session will do: IB gives
    whole trading days. Longer ones begin with the session; where even they do not, a further request confirms it.
    """
    if timeframe.is_daily:
        return first.label_utc
    return first.end if timeframe.seconds <= _SPARSE_S else max(first.begin, begin)
