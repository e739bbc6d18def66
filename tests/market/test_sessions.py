"""Sessions against a slow calculation from the exchange's rules, and against the sessions of real data."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.market.sessions import FIRST_DATE, SessionCalendar, session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe

NEW_YORK = ZoneInfo("America/New_York")
INTRADAY = [timeframe for timeframe in TIMEFRAMES.values() if not timeframe.is_daily]
DAY = TIMEFRAMES["1day"]

# Autumn 2026, by the exchange's published calendar: weekends, Thanksgiving and Christmas shut, two half days.
SHUT = {date(2026, 11, 26), date(2026, 12, 25), date(2027, 1, 1)}
HALF = {date(2026, 11, 27), date(2026, 12, 24)}
AUTUMN = [date(2026, 10, 26) + timedelta(days=day) for day in range(70)]


def new_york(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), NEW_YORK).astimezone(UTC)


def slow_sessions(*, use_rth: bool) -> list[tuple[date, datetime, datetime]]:
    """Return label, begin and end of each session of the autumn."""
    days = [day for day in AUTUMN if day.weekday() < 5 and day not in SHUT]
    begin = (9, 30) if use_rth else (4, 0)
    full, half = (16, 13) if use_rth else (20, 17)
    return [(day, new_york(day, *begin), new_york(day, half if day in HALF else full)) for day in days]


def slow_bars(timeframe: Timeframe, *, use_rth: bool) -> list[tuple[datetime, datetime]]:
    """Return begin and end of each bar of the autumn: cut by the exchange's clock, the open and the close."""
    if timeframe.is_daily:
        return [(datetime.combine(label, time(), UTC), end) for label, _, end in slow_sessions(use_rth=use_rth)]
    found = []
    for label, begin, end in slow_sessions(use_rth=use_rth):
        cuts = [new_york(label, 0) + step * timeframe.length for step in range(86_400 // timeframe.seconds)]
        found += pairwise([begin, *(cut for cut in cuts if begin < cut < end), end])
    return found


moments = st.datetimes(datetime(2026, 10, 27), datetime(2026, 12, 30)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
edges = st.sampled_from([edge for _, begin, end in slow_sessions(use_rth=True) for edge in (begin, end)])
near_edges = st.builds(
    lambda edge, micros: edge + timedelta(microseconds=micros), edges, st.sampled_from([-1, 0, 1, 600_000])
).filter(lambda moment: moment < datetime(2026, 12, 30, tzinfo=UTC))


@settings(deadline=None)
@given(moments | near_edges, moments | near_edges, st.booleans())
def test_the_sessions_of_an_interval_are_those_that_a_slow_search_finds(
    begin: datetime, end: datetime, use_rth: bool
) -> None:
    calendar = session_calendar(use_rth=use_rth)

    found = calendar.during(begin, end, TIMEFRAMES["1min"])
    daily = calendar.during(begin, end, DAY)

    slow = slow_sessions(use_rth=use_rth)
    assert [(s.label, s.begin, s.end) for s in found] == (
        [session for session in slow if session[1] < end and begin < session[2]] if begin < end else []
    )
    assert [s.label for s in daily] == [
        label for label, _, _ in slow if begin <= datetime.combine(label, time(), UTC) < end
    ]


@settings(deadline=None, max_examples=60)
@given(moments | near_edges, st.sampled_from(list(TIMEFRAMES.values())[2:]), st.booleans())
def test_bars_are_complete_exactly_when_their_time_has_passed(
    as_of: datetime, timeframe: Timeframe, use_rth: bool
) -> None:
    limit = session_calendar(use_rth=use_rth).complete_until(as_of, timeframe)

    bars = slow_bars(timeframe, use_rth=use_rth)
    assert [begin for begin, _ in bars if begin < limit] == [begin for begin, end in bars if end <= as_of]


@pytest.mark.parametrize(
    ("as_of", "timeframe", "limit"),
    [
        (new_york(date(2026, 11, 20), 9, 30), "15min", new_york(date(2026, 11, 20), 9, 30)),
        (new_york(date(2026, 11, 20), 9, 59), "1hour", new_york(date(2026, 11, 20), 9)),
        (new_york(date(2026, 11, 20), 10), "1hour", new_york(date(2026, 11, 20), 10)),
        (new_york(date(2026, 11, 20), 15, 59), "4hour", new_york(date(2026, 11, 20), 12)),
        (new_york(date(2026, 11, 20), 16), "4hour", new_york(date(2026, 11, 20), 16)),
        (new_york(date(2026, 11, 27), 12, 59), "4hour", new_york(date(2026, 11, 27), 12)),
        (new_york(date(2026, 11, 27), 13), "4hour", new_york(date(2026, 11, 27), 13)),
        (new_york(date(2026, 11, 20), 16), "1day", datetime(2026, 11, 21, tzinfo=UTC)),
        (new_york(date(2026, 11, 20), 15, 59), "1day", datetime(2026, 11, 20, tzinfo=UTC)),
        (new_york(date(2026, 11, 23), 9), "1day", datetime(2026, 11, 21, tzinfo=UTC)),
    ],
)
def test_the_limit_of_complete_bars_on_days_of_every_kind(as_of: datetime, timeframe: str, limit: datetime) -> None:
    assert session_calendar().complete_until(as_of, TIMEFRAMES[timeframe]) == limit


@pytest.mark.parametrize("timeframe", TIMEFRAMES.values(), ids=str)
def test_before_the_first_session_nothing_is_complete(timeframe: Timeframe) -> None:
    first = datetime(FIRST_DATE.year, FIRST_DATE.month, FIRST_DATE.day, tzinfo=UTC)

    limit = session_calendar().complete_until(first, timeframe)

    assert session_calendar().during(datetime(1900, 1, 1, tzinfo=UTC), limit, timeframe) == []


def test_the_clock_changes_move_the_open_in_utc() -> None:
    sessions = session_calendar().during(
        datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC), TIMEFRAMES["1min"]
    )

    assert [session.begin.hour for session in sessions] == [13, 14]


def test_a_session_begins_at_its_open_to_the_microsecond_and_does_not_include_its_close() -> None:
    friday = date(2026, 11, 20)
    opened, closed, micro = new_york(friday, 9, 30), new_york(friday, 16), timedelta(microseconds=1)
    during = session_calendar().during

    assert [s.label for s in during(opened, opened + micro, TIMEFRAMES["1min"])] == [friday]
    assert [s.label for s in during(closed - micro, closed, TIMEFRAMES["1min"])] == [friday]
    assert during(closed, closed + timedelta(hours=1), TIMEFRAMES["1min"]) == []
    assert during(opened - timedelta(hours=1), opened, TIMEFRAMES["1min"]) == []


def test_an_interval_turned_round_has_no_sessions() -> None:
    begin, end = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 10, tzinfo=UTC)

    assert session_calendar().during(begin, end, DAY) == []


def test_the_calendar_knows_sessions_years_ahead_whatever_today_is() -> None:
    sessions = session_calendar().during(datetime(2040, 1, 1, tzinfo=UTC), datetime(2040, 1, 8, tzinfo=UTC), DAY)

    assert [session.label.day for session in sessions] == [3, 4, 5, 6]


def test_every_session_of_the_real_data_opens_and_closes_as_recorded(real_bars: Path) -> None:
    with (real_bars / "sessions.csv").open(newline="") as file:
        recorded = [
            (
                date.fromisoformat(row["session"]),
                datetime.fromisoformat(row["open_utc"]),
                datetime.fromisoformat(row["close_utc"]),
            )
            for row in csv.DictReader(file)
        ]
    calendar = SessionCalendar()

    found = [calendar.during(begin, end, TIMEFRAMES["1min"]) for _, begin, end in recorded]

    assert len(recorded) > 50
    assert [[(s.label, s.begin, s.end) for s in sessions] for sessions in found] == [[entry] for entry in recorded]


def test_a_bar_is_located_in_the_session_that_during_names() -> None:
    calendar, minute = session_calendar(use_rth=True), TIMEFRAMES["1min"]
    moments = [datetime(2026, 11, 27, hour, past, tzinfo=UTC) for hour in range(13, 20) for past in (0, 29, 30, 59)]

    found = calendar.locate(np.array([int(moment.timestamp()) * 1_000_000 for moment in moments]), minute)

    for moment, number in zip(moments, found, strict=True):
        (session,) = calendar.during(moment, moment + minute.length, minute) or [None]
        assert session == (calendar.numbered(number) if number >= 0 else None)
    assert {calendar.numbered(number).label for number in found if number >= 0} == {date(2026, 11, 27)}


def test_instants_before_and_after_the_calendars_years_are_in_no_session() -> None:
    far = np.array([-(10**15), 4 * 10**15])

    for name in ("1min", "1day"):
        assert session_calendar(use_rth=True).locate(far, TIMEFRAMES[name]).tolist() == [-1, -1]
