"""Planning: from what is missing to the fewest requests that fetch it. Pure.

A request names an end and a duration that reaches back from it. Each unit of duration takes some bar sizes only (IB's
table of valid steps), and its reach must be certain: seconds within one session; days, which IB counts in sessions as
the calendar does, for bars up to one hour; weeks for four-hour bars; years for daily bars and for what is longer than
the others reach, both by the exchange's calendar and clock.

Requests are as long as IB accepts, but for the number of bars: more than some thousands IB is slow to answer, and
decoding them would keep live bars waiting. The newest come first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import EXCHANGE_ZONE, Session, SessionCalendar
from workbench.market.timeframes import Timeframe

MOST_BARS = 5000
"""About so many bars a request, at most."""

_WEEK = timedelta(days=7)
_SECONDS_UNTIL_S, _DAYS_UNTIL_S, _WEEKS_UNTIL_S = 60, 3600, 14_400
"""The longest bars of which IB takes a duration in seconds, days and weeks; in years it takes all from a minute on."""
_MOST_SECONDS, _MOST_DAYS, _MOST_WEEKS, _MOST_YEARS = 86_400, 365, 52, 68
_FEWEST_SECONDS = 60
_SESSIONS_A_YEAR, _SESSIONS_A_WEEK = 253, 5
_TOLERANCE = 1.1
"""Years are coarse: the last one may take a request a little over the number of bars."""
_SPARSE_S = 60
"""Bars up to this length are missing wherever nobody traded."""
_WORTH_A_REQUEST = 1000
"""So many stored bars are rather fetched again than that another request is made; of small bars, as many as fit."""
_SMALL_S = 30


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """Bars that reach back by `duration` (IB's own text) from `end`, which is now when it is None.

    `covers` is what a whole answer would leave no gap in. `first` is the first session in it. `bars` is about how many
    bars the answer has.
    """

    timeframe: Timeframe
    duration: str
    end: datetime | None = None
    covers: Interval | None = None
    first: Session | None = None
    bars: int = 0


def plan_requests(
    gaps: Coverage, timeframe: Timeframe, calendar: SessionCalendar, *, bars: int = MOST_BARS
) -> Iterator[HistoryRequest]:
    """Yield the requests that fill the gaps, newest first, of about so many bars each at most.

    Where there is no session nothing is asked for. What lies between near gaps is asked for again when that saves a
    request.
    """
    open_ = [_Gap(gap, calendar.during(gap.begin, gap.end, timeframe)) for gap in gaps]
    open_ = [gap for gap in open_ if gap.sessions]
    while open_:
        request = _newest(open_, timeframe, calendar, bars)
        yield request
        assert request.covers is not None  # noqa: S101  planned requests say what they cover
        open_ = [left for gap in open_ if (left := gap.before(request.covers.begin, timeframe))]


@dataclass(frozen=True, slots=True)
class _Gap:
    """What is missing, and the sessions of which a part is."""

    span: Interval
    sessions: Sequence[Session]

    def before(self, moment: datetime, timeframe: Timeframe) -> _Gap | None:
        """Return the part before a moment that a request begins to cover."""
        if moment <= self.span.begin:
            return None
        sessions = [session for session in self.sessions if _start(session, timeframe) < moment]
        span = Interval(self.span.begin, min(self.span.end, moment))
        return _Gap(span, sessions) if sessions else None


def _newest(gaps: Sequence[_Gap], timeframe: Timeframe, calendar: SessionCalendar, bars: int) -> HistoryRequest:
    """Return the request that fills as much as it may, back from the newest end."""
    newest = gaps[-1]
    last = newest.sessions[-1]
    end = last.end if timeframe.is_daily else min(last.end, newest.span.end)
    gap, first = _oldest_in_reach(gaps, _reach_back(end, timeframe, calendar, bars), timeframe, calendar)
    if first == last and timeframe.seconds <= _SECONDS_UNTIL_S:
        begin = max(_begin_within(gaps, last), end - timedelta(seconds=min(bars * timeframe.seconds, _MOST_SECONDS)))
        if (begin, end) != (last.begin, last.end):
            return _in_seconds(gaps, last, Interval(begin, end), timeframe)
    begin = gap.span.begin if first == gap.sessions[0] else _start(first, timeframe)
    duration, expected = _duration(first, end, timeframe, calendar)
    return HistoryRequest(timeframe, duration, end, Interval(begin, newest.span.end), first, expected)


def _in_seconds(gaps: Sequence[_Gap], session: Session, part: Interval, timeframe: Timeframe) -> HistoryRequest:
    """Return the request for a part of one session."""
    seconds = math.ceil((part.end - part.begin).total_seconds())
    gap = next(gap for gap in gaps if gap.span.end > part.begin)
    is_rest = gap.sessions[0] == session and part.begin <= max(session.begin, gap.span.begin)
    covers = Interval(gap.span.begin if is_rest else part.begin, gaps[-1].span.end)
    duration = f"{max(seconds, _FEWEST_SECONDS)} S"
    return HistoryRequest(timeframe, duration, part.end, covers, session, seconds // timeframe.seconds)


def _begin_within(gaps: Sequence[_Gap], session: Session) -> datetime:
    """Return where in a session the first gap begins."""
    return min(max(session.begin, gap.span.begin) for gap in gaps if gap.sessions[-1] == session)


def _oldest_in_reach(
    gaps: Sequence[_Gap], reach: datetime, timeframe: Timeframe, calendar: SessionCalendar
) -> tuple[_Gap, Session]:
    """Return the oldest missing session that a request may reach, and its gap.

    Where much is stored in between, the older gap is left to a request of its own.
    """
    found, newer = (gaps[-1], gaps[-1].sessions[-1]), gaps[-1]
    for gap in reversed(gaps):
        if gap is not newer and not _is_near(gap.span.end, newer.span.begin, timeframe, calendar):
            break
        reached = [session for session in gap.sessions if _start(session, timeframe) >= reach]
        if not reached:
            break
        found, newer = (gap, reached[0]), gap
    return found


def _is_near(begin: datetime, end: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> bool:
    """Return whether what is stored in between is rather fetched again than that another request is made."""
    if timeframe.seconds <= _SMALL_S:
        return True
    between = calendar.during(begin, end, timeframe)
    if timeframe.is_daily:
        return len(between) <= _WORTH_A_REQUEST
    seconds = sum((min(end, one.end) - max(begin, one.begin)).total_seconds() for one in between)
    return seconds <= _WORTH_A_REQUEST * timeframe.seconds


def _reach_back(end: datetime, timeframe: Timeframe, calendar: SessionCalendar, bars: int) -> datetime:
    """Return the instant that a request of so many bars may reach back to from `end`, in its coarsest unit."""
    a_session = _bars_a_session(timeframe, calendar)
    years = min(int(bars * _TOLERANCE / (_SESSIONS_A_YEAR * a_session)), _MOST_YEARS)
    if timeframe.seconds <= _DAYS_UNTIL_S:
        days = max(1, bars // a_session)
        if days <= _MOST_DAYS or years * _SESSIONS_A_YEAR <= _MOST_DAYS:
            return _sessions_back(min(days, _MOST_DAYS), end, timeframe, calendar)
    elif timeframe.seconds <= _WEEKS_UNTIL_S and years < 1:
        weeks = max(1, min(bars // (_SESSIONS_A_WEEK * a_session), _MOST_WEEKS))
        return _instant(_wall(end) - weeks * _WEEK)
    return _instant(_years_before(_wall(end), max(1, years)))


def _sessions_back(count: int, end: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> datetime:
    near = calendar.during(end - timedelta(days=10 + 1.6 * count), end, timeframe)
    return near[-count:][0].begin


def _duration(first: Session, end: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> tuple[str, int]:
    """Return the shortest duration that reaches from `end` back to the first session, and about how many bars it has.

    Days are counted in sessions. Weeks and years go by the wall clock: a week later it is the same time there, not in
    UTC when the clocks have changed.
    """
    a_session = _bars_a_session(timeframe, calendar)
    if timeframe.seconds <= _DAYS_UNTIL_S:
        days = len(calendar.during(first.begin, end, timeframe))
        if days <= _MOST_DAYS:
            return f"{days} D", days * a_session
    elif timeframe.seconds <= _WEEKS_UNTIL_S:
        weeks = -(-(_wall(end) - _wall(first.begin)) // _WEEK)
        if weeks <= _MOST_WEEKS:
            return f"{weeks} W", weeks * _SESSIONS_A_WEEK * a_session
    years = _years(first, end, timeframe)
    return f"{years} Y", years * _SESSIONS_A_YEAR * a_session


def _years(first: Session, end: datetime, timeframe: Timeframe) -> int:
    """Return how many calendar years back from `end` reach the first session, at the whole of its date for a day."""
    wall = _wall(end)
    begin = datetime.combine(first.label, datetime.min.time()) if timeframe.is_daily else _wall(first.begin)
    years = max(1, wall.year - begin.year)
    return years if _years_before(wall, years) <= begin else years + 1


def _years_before(wall: datetime, years: int) -> datetime:
    """Return the same date and time so many years before; the 28th for a 29th of February that was none."""
    try:
        return wall.replace(year=wall.year - years)
    except ValueError:
        return wall.replace(year=wall.year - years, day=28)


def _bars_a_session(timeframe: Timeframe, calendar: SessionCalendar) -> int:
    return math.ceil((23_400 if calendar.use_rth else 57_600) / timeframe.seconds)


def _start(session: Session, timeframe: Timeframe) -> datetime:
    return session.label_utc if timeframe.is_daily else session.begin


def _wall(moment: datetime) -> datetime:
    return moment.astimezone(EXCHANGE_ZONE).replace(tzinfo=None)


def _instant(wall: datetime) -> datetime:
    return wall.replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)


def complete_until(as_of: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> datetime:
    """Return the first instant at which a bar of IB's could start that may not be complete at `as_of`.

    Where IB cuts its four-hour bars is not verified: by the clock (09:30, 12:00) or from the open on (09:30, 13:30).
    So they are taken for complete when their session has ended.
    """
    if timeframe.name == "4hour":
        return calendar.closed_until(as_of)
    return calendar.complete_until(as_of, timeframe)


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
