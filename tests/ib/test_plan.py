"""Planning: the gaps, and nothing but the gaps, become requests that IB accepts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.durations import begin_of, parse_duration
from workbench.gateway.hours import hours
from workbench.ib.plan import SESSIONS_A_REQUEST, HistoryRequest, plan_requests, settled
from workbench.market.coverage import Coverage, Interval, parse_moment
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES

CALENDAR = session_calendar()
TIMEFRAME = st.sampled_from(list(TIMEFRAMES.values()))
MOMENT = st.datetimes(datetime(2015, 1, 1), datetime(2026, 11, 1), timezones=st.just(UTC))  # noqa: DTZ001
GAP = st.builds(lambda begin, days: Interval(begin, begin + timedelta(days=days)), MOMENT, st.floats(0.01, 400))


def begin_of_answer(request: HistoryRequest) -> datetime:
    """Return where the built-in gateway, which knows nothing of the planner, lets the answer begin."""
    end = int(request.end.timestamp())
    return datetime.fromtimestamp(begin_of(parse_duration(request.duration), end, hours(), use_rth=True), UTC)


def span(begin: str, end: str) -> Coverage:
    return Coverage([Interval(parse_moment(begin), parse_moment(end))])


@pytest.mark.parametrize(
    ("timeframe", "begin", "end", "durations"),
    [
        ("5sec", "2026-11-02", "2026-11-04", ["1 D", "1 D"]),
        ("1min", "2026-11-02", "2026-11-14", ["5 D", "5 D"]),
        ("15min", "2026-08-01", "2026-11-20", ["63 D", "15 D"]),
        ("1hour", "2026-11-02", "2026-11-07", ["5 D"]),
        ("4hour", "2026-11-02", "2026-11-07", ["1 W"]),
        ("4hour", "2026-11-02", "2026-11-14", ["2 W"]),
        ("1day", "2016-11-21", "2026-11-21", ["10 Y"]),
        ("1day", "2026-11-20", "2026-11-21", ["1 Y"]),
    ],
)
def test_durations_are_ibs_own(timeframe: str, begin: str, end: str, durations: list[str]) -> None:
    plan = plan_requests(span(begin, end), TIMEFRAMES[timeframe], CALENDAR)

    assert [request.duration for request in plan] == durations


def test_a_request_ends_with_its_last_session() -> None:
    (request,) = plan_requests(span("2026-11-23", "2026-11-28"), TIMEFRAMES["15min"], CALENDAR)

    assert request.duration == "4 D"  # Thanksgiving is no session
    assert request.end == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)  # and the day after it closes early


@pytest.mark.parametrize("name", list(TIMEFRAMES))
def test_a_weekend_is_never_asked_for(name: str) -> None:
    assert plan_requests(span("2026-11-21", "2026-11-22"), TIMEFRAMES[name], CALENDAR) == []


@given(GAP, TIMEFRAME)
def test_requests_cover_the_gap_once_and_without_a_seam(gap: Interval, timeframe) -> None:
    plan = plan_requests(Coverage([gap]), timeframe, CALENDAR)

    assert all(left.covers.end == right.covers.begin for left, right in pairwise(plan))
    assert Coverage(request.covers for request in plan) == Coverage([gap] if plan else [])
    assert bool(plan) == bool(CALENDAR.during(gap.begin, gap.end, timeframe))


@given(GAP, TIMEFRAME)
def test_a_request_reaches_back_to_all_that_it_covers(gap: Interval, timeframe) -> None:
    for request in plan_requests(Coverage([gap]), timeframe, CALENDAR):
        number, unit = int(request.duration[:-2]), request.duration[-1]
        sessions = CALENDAR.during(request.covers.begin, request.covers.end, timeframe)

        assert len(sessions) <= SESSIONS_A_REQUEST[timeframe.name]
        match unit:
            case "D":
                assert number == len(sessions) <= 365
            case "W":
                assert number <= 52
                assert begin_of_answer(request) <= sessions[0].begin
            case "Y":
                assert begin_of_answer(request) <= sessions[0].begin


def test_an_answer_that_reaches_the_begin_settles_all() -> None:
    (request,) = plan_requests(span("2026-11-02", "2026-11-07"), TIMEFRAMES["15min"], CALENDAR)
    limit = datetime(2027, 1, 1, tzinfo=UTC)

    assert settled(request, datetime(2026, 11, 2, 14, 30, tzinfo=UTC), limit=limit) == request.covers
    assert settled(request, datetime(2026, 10, 30, 19, 45, tzinfo=UTC), limit=limit) == request.covers
    assert settled(request, None, limit=limit) == request.covers


def test_an_answer_without_the_first_bar_leaves_it_open() -> None:
    (request,) = plan_requests(span("2026-11-02", "2026-11-07"), TIMEFRAMES["15min"], CALENDAR)
    second_bar = datetime(2026, 11, 2, 14, 45, tzinfo=UTC)

    assert settled(request, second_bar, limit=datetime(2027, 1, 1, tzinfo=UTC)).begin == second_bar


def test_of_minutes_without_trades_an_answer_may_begin_anywhere_in_its_first_session() -> None:
    (request,) = plan_requests(span("2026-11-02", "2026-11-07"), TIMEFRAMES["1min"], CALENDAR)
    quiet_open = datetime(2026, 11, 2, 15, 10, tzinfo=UTC)

    assert settled(request, quiet_open, limit=datetime(2027, 1, 1, tzinfo=UTC)) == request.covers


def test_an_answer_that_falls_short_leaves_the_rest_open() -> None:
    (request,) = plan_requests(span("2026-11-02", "2026-11-07"), TIMEFRAMES["15min"], CALENDAR)
    first_bar = datetime(2026, 11, 4, 14, 30, tzinfo=UTC)

    assert settled(request, first_bar, limit=datetime(2027, 1, 1, tzinfo=UTC)) == Interval(
        first_bar, request.covers.end
    )


def test_nothing_is_settled_from_the_limit_on() -> None:
    (request,) = plan_requests(span("2026-11-02", "2026-11-07"), TIMEFRAMES["15min"], CALENDAR)
    limit = datetime(2026, 11, 6, 15, 0, tzinfo=UTC)

    assert settled(request, None, limit=limit) == Interval(request.covers.begin, limit)
    assert settled(request, None, limit=request.covers.begin) is None
