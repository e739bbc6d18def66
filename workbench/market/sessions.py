"""Trading sessions: which bars are expected, and when a bar is complete.

One exchange calendar serves all that is traded here, XNYS: US stocks and ETFs keep its hours, and indices are
followed during its sessions. Half days close early (13:00), and so do their after hours (17:00).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from workbench.errors import InvalidInterval
from workbench.market.coverage import parse_moment
from workbench.market.timeframes import TIMEFRAMES, Timeframe

EXCHANGE_ZONE = ZoneInfo("America/New_York")
FIRST_DATE = date(1990, 1, 1)
"""History before this date is not asked for."""
_LAST_DATE = date(2049, 12, 31)
"""A fixed end: the same question has the same answer on any day that it is asked."""

_PRE_MARKET = timedelta(hours=5, minutes=30)  # 04:00 to the open
_POST_MARKET = timedelta(hours=4)  # the close to 20:00; on a half day from 13:00 to 17:00


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day. `begin` and `end` are the hours that were asked for, in UTC."""

    label: date
    begin: datetime
    end: datetime

    @property
    def label_utc(self) -> datetime:
        """The timestamp of the session's daily bar: its date at 00:00 UTC."""
        return datetime(self.label.year, self.label.month, self.label.day, tzinfo=UTC)


class SessionCalendar:
    """The sessions of XNYS, in regular trading hours or with before and after hours."""

    def __init__(self, *, use_rth: bool = True) -> None:
        from exchange_calendars import get_calendar

        calendar = get_calendar("XNYS", start=FIRST_DATE.isoformat(), end=_LAST_DATE.isoformat())
        before, after = (timedelta(0), timedelta(0)) if use_rth else (_PRE_MARKET, _POST_MARKET)
        self.use_rth = use_rth
        self._labels = calendar.sessions.to_numpy().astype("datetime64[us]")
        self._begins = (calendar.opens - before).dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        self._ends = (calendar.closes + after).dt.tz_localize(None).to_numpy().astype("datetime64[us]")

    def during(self, begin: datetime, end: datetime, timeframe: Timeframe) -> list[Session]:
        """Return the sessions of which a part lies in `[begin, end)`, where their bars start.

        A daily bar starts at its session's date, 00:00 UTC; any other within the session's hours.
        """
        left, right = _utc(begin), _utc(end)
        if right <= left:
            return []
        if timeframe.is_daily:
            first, last = np.searchsorted(self._labels, [left, right])
        else:
            first = np.searchsorted(self._ends, left, side="right")
            last = np.searchsorted(self._begins, right)
        return [self._session(index) for index in range(int(first), int(last))]

    def locate(self, stamps: np.ndarray, timeframe: Timeframe) -> np.ndarray:
        """Return the number of the session in which each bar starts, -1 where there is none.

        `stamps` are bar starts as int64 microseconds since 1970 (UTC). Sessions are numbered from the first that the
        calendar has; `numbered` gives them.
        """
        if timeframe.is_daily:
            labels = self._labels.view(np.int64)
            at = np.minimum(np.searchsorted(labels, stamps), len(labels) - 1)
            return np.where(labels[at] == stamps, at, -1)
        at = np.searchsorted(self._begins.view(np.int64), stamps, side="right") - 1
        return np.where(stamps < self._ends.view(np.int64)[at], at, -1)

    def numbered(self, number: int) -> Session:
        """Return the session of that number."""
        return self._session(number)

    def recent(self, as_of: datetime, count: int) -> np.ndarray:
        """Return the numbers of the last `count` sessions that have ended at `as_of`."""
        after = int(np.searchsorted(self._ends, _utc(as_of), side="right"))
        return np.arange(max(0, after - count), after)

    def edges(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the labels, begins and ends of sessions, as int64 microseconds since 1970 (UTC)."""
        labels, begins, ends = (array.view(np.int64)[numbers] for array in (self._labels, self._begins, self._ends))
        return labels, begins, ends

    def complete_until(self, as_of: datetime, timeframe: Timeframe) -> datetime:
        """Return the first instant at which a bar could start that is not complete at `as_of`.

        Every bar whose timestamp lies before it is complete: its interval has passed, on the exchange's clock and
        cut at the session's end.
        """
        closed = self._closed(as_of)
        if closed is None:
            return self._session(0).label_utc
        if timeframe.is_daily:
            return closed.label_utc + timedelta(days=1)
        return max(_floor(as_of, timeframe), closed.end)

    def closed_until(self, as_of: datetime) -> datetime:
        """Return the end of the last session that has ended at `as_of`."""
        closed = self._closed(as_of)
        return self._session(0).begin if closed is None else closed.end

    def first_start(self, moment: datetime, timeframe: Timeframe) -> datetime:
        """Return the first instant from `moment` on at which a bar can start, or a session ends.

        Between the two no bar starts, so the bars that start from the one on are those that start from the other on.
        """
        if timeframe.is_daily:
            midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            return midnight if midnight == moment else midnight + timedelta(days=1)
        edge = _floor(moment, timeframe)
        edge = edge if edge == moment else edge + timeframe.length
        near = self.during(moment - timedelta(days=1), edge, timeframe)
        cuts = [cut for session in near for cut in (session.begin, session.end) if moment <= cut]
        return min([edge, *cuts])

    def _closed(self, as_of: datetime) -> Session | None:
        index = int(np.searchsorted(self._ends, _utc(as_of), side="right")) - 1
        return self._session(index) if index >= 0 else None

    def _session(self, index: int) -> Session:
        label, begin, end = (array[index].item() for array in (self._labels, self._begins, self._ends))
        return Session(label.date(), begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC))


@cache
def session_calendar(*, use_rth: bool = True) -> SessionCalendar:
    """Return the calendar, read once."""
    return SessionCalendar(use_rth=use_rth)


def parse_bound(value: str | date | datetime, timeframe: Timeframe) -> datetime:
    """Return the instant in UTC from which on, or before which, a user wants bars.

    A date is that date on the exchange's clock, so it comes before all its hours, the early ones too; for daily bars,
    which carry their date at 00:00 UTC, it is that.
    """
    return parse_moment(value, UTC if timeframe.is_daily else EXCHANGE_ZONE)


def parse_session(value: str | date) -> date:
    """Return the label of the session that a user means.

    >>> parse_session("2026-11-27")
    datetime.date(2026, 11, 27)
    >>> parse_session("2026-11-26")
    Traceback (most recent call last):
    workbench.errors.InvalidInterval: 2026-11-26 is no session: the exchange is closed on that day
    """
    try:
        label = date.fromisoformat(value.strip()) if isinstance(value, str) else value
    except ValueError as error:
        raise InvalidInterval(f"{value!r} is no date; write 2026-11-20") from error
    label = label.date() if isinstance(label, datetime) else label
    midnight = datetime(label.year, label.month, label.day, tzinfo=UTC)
    if not session_calendar().during(midnight, midnight + timedelta(days=1), TIMEFRAMES["1day"]):
        raise InvalidInterval(f"{label} is no session: the exchange is closed on that day")
    return label


def _floor(moment: datetime, timeframe: Timeframe) -> datetime:
    """Return the step of the exchange's clock that `moment` lies in."""
    midnight = moment.astimezone(EXCHANGE_ZONE).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    return midnight + (moment - midnight) // timeframe.length * timeframe.length


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
