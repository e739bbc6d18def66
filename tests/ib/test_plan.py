"""Planning: the gaps, and nothing but the gaps, become requests that IB accepts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway.durations import begin_of, parse_duration
from workbench.gateway.hours import hours
from workbench.ib.plan import MOST_BARS, HistoryRequest, plan_requests, settled
from workbench.market.coverage import Coverage, Interval, parse_moment
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES

CALENDAR = session_calendar()
MOMENT = st.datetimes(datetime(2015, 1, 1), datetime(2026, 11, 1), timezones=st.just(UTC))  # noqa: DTZ001
GAP = st.builds(lambda begin, days: Interval(begin, begin + timedelta(days=days)), MOMENT, st.floats(0.01, 400))
GAPS = st.lists(GAP, min_size=1, max_size=6).map(Coverage)
NEAR = st.lists(
    st.tuples(st.floats(0, 30), st.floats(0.001, 3)).map(
        lambda pair: Interval(
            parse_moment("2026-03-01") + timedelta(days=pair[0]),
            parse_moment("2026-03-01") + timedelta(days=sum(pair)),
        )
    ),
    min_size=1,
    max_size=8,
).map(Coverage)
BARS = st.sampled_from([625, 2500, MOST_BARS])
FINE = st.sampled_from([TIMEFRAMES["5sec"], TIMEFRAMES["1min"]])
COARSE = st.sampled_from([it for it in TIMEFRAMES.values() if it.seconds > 60])
WORK = st.tuples(NEAR, FINE, BARS) | st.tuples(NEAR | GAPS, COARSE, BARS)
"""What is missing, of which timeframe, and how many bars a request may have."""
STEPS = {"S": (1, 60), "D": (5, 3600), "W": (10, 14_400), "M": (30, 28_800), "Y": (60, 86_400)}
"""IBKR Campus, "Valid duration string units": the finest and the coarsest bar of each."""
LONGEST = {"S": 86_400, "D": 365, "W": 52, "M": 12, "Y": 68}


def begin_of_answer(request: HistoryRequest, *, use_rth: bool = True) -> datetime:
    """Return where the built-in gateway, which knows nothing of the planner, lets the answer begin."""
    end = int(request.end.timestamp())
    return datetime.fromtimestamp(begin_of(parse_duration(request.duration), end, hours(), use_rth=use_rth), UTC)


def span(*bounds: str) -> Coverage:
    return Coverage(Interval(parse_moment(a), parse_moment(b)) for a, b in zip(bounds[::2], bounds[1::2], strict=True))


def planned(gaps: Coverage, timeframe: str, bars: int = MOST_BARS) -> list[HistoryRequest]:
    return list(plan_requests(gaps, TIMEFRAMES[timeframe], CALENDAR, bars=bars))


@pytest.mark.parametrize(
    ("timeframe", "begin", "end", "durations"),
    [
        ("5sec", "2026-11-02", "2026-11-04", ["1 D", "1 D"]),
        ("1min", "2026-11-02", "2026-11-21", ["12 D", "3 D"]),
        ("15min", "2026-01-01", "2026-11-20", ["192 D", "31 D"]),
        ("15min", "2024-11-20", "2026-11-20", ["192 D", "192 D", "117 D"]),
        ("1hour", "2026-11-02", "2026-11-07", ["5 D"]),
        ("1hour", "2024-11-20", "2026-11-20", ["2 Y"]),
        ("4hour", "2026-11-02", "2026-11-07", ["1 W"]),
        ("4hour", "2026-11-02", "2026-11-14", ["2 W"]),
        ("4hour", "2020-11-21", "2026-11-21", ["6 Y"]),
        ("1day", "2016-11-21", "2026-11-21", ["10 Y"]),
        ("1day", "2026-11-20", "2026-11-21", ["1 Y"]),
        ("1day", "1990-01-01", "2026-11-21", ["21 Y", "16 Y"]),
    ],
)
def test_requests_are_few_and_as_long_as_ib_accepts(timeframe: str, begin: str, end: str, durations: list[str]) -> None:
    assert [request.duration for request in planned(span(begin, end), timeframe)] == durations


def test_the_newest_come_first() -> None:
    plan = planned(span("2026-09-01", "2026-10-01", "2026-11-02", "2026-11-04"), "1min")

    assert all(later.end > earlier.end for later, earlier in pairwise(plan))


def test_a_part_of_a_session_is_asked_for_in_seconds() -> None:
    (hole,) = planned(span("2026-11-18T15:00Z", "2026-11-18T15:30Z"), "1min")
    (moment,) = planned(span("2026-11-18T15:00Z", "2026-11-18T15:00:10Z"), "5sec")

    assert (hole.duration, hole.end) == ("1800 S", parse_moment("2026-11-18T15:30Z"))
    assert moment.duration == "60 S"


def test_a_session_that_is_too_long_is_asked_for_in_parts() -> None:
    days = span("2026-11-18T05:00Z", "2026-11-20T05:00Z")
    plan = list(plan_requests(days, TIMEFRAMES["5sec"], session_calendar(use_rth=False)))

    assert [request.duration for request in plan] == ["25000 S", "25000 S", "7600 S"] * 2


def test_holes_that_are_near_each_other_are_one_request() -> None:
    holes = span(*[f"2026-11-{day:02d}T{at}Z" for day in (16, 17, 18) for at in ("15:00", "15:05", "18:00", "18:20")])

    (minutes,) = planned(holes, "1min")
    (quarters,) = planned(holes, "15min")
    (small,) = planned(holes.clip(parse_moment("2026-11-18"), parse_moment("2026-11-19")), "5sec")

    assert (minutes.duration, quarters.duration, small.duration) == ("3 D", "3 D", "12000 S")
    assert minutes.covers == Interval(parse_moment("2026-11-16T15:00Z"), parse_moment("2026-11-18T18:20Z"))


def test_holes_with_much_in_between_are_requests_of_their_own() -> None:
    plan = planned(span("2026-03-02", "2026-03-04", "2026-11-18", "2026-11-20"), "15min")

    assert [request.duration for request in plan] == ["2 D", "2 D"]


def test_a_size_that_was_halved_makes_shorter_requests() -> None:
    gap = span("2026-11-02", "2026-11-14")

    assert [request.duration for request in planned(gap, "1min", 2500)] == ["6 D", "4 D"]
    assert [request.duration for request in planned(gap, "1min", 200)][:3] == ["12000 S", "11400 S", "12000 S"]
    assert [request.duration for request in planned(gap, "5min", 10)] == ["1 D"] * 10


def test_a_request_ends_with_its_last_session() -> None:
    (request,) = planned(span("2026-11-23", "2026-11-28"), "15min")

    assert request.duration == "4 D"  # Thanksgiving is no session
    assert request.end == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)  # and the day after it closes early


@pytest.mark.parametrize("name", list(TIMEFRAMES))
def test_a_weekend_is_never_asked_for(name: str) -> None:
    assert planned(span("2026-11-21", "2026-11-22"), name) == []


@settings(deadline=None)
@given(WORK)
def test_all_that_is_missing_of_any_session_is_covered_once(work) -> None:
    gaps, timeframe, bars = work
    plan = list(plan_requests(gaps, timeframe, CALENDAR, bars=bars))

    assert all(older.covers.end <= newer.covers.begin for newer, older in pairwise(plan))
    covered = Coverage(request.covers for request in plan)
    left = [hole for gap in gaps for hole in covered.missing(gap)]
    assert not any(CALENDAR.during(hole.begin, hole.end, timeframe) for hole in left)


@settings(deadline=None)
@given(WORK)
def test_nothing_but_what_is_missing_is_asked_for_unless_it_lies_between(work) -> None:
    gaps, timeframe, bars = work
    begun = set()
    for request in plan_requests(gaps, timeframe, CALENDAR, bars=bars):
        begins, ends = {gap.begin for gap in gaps}, {gap.end for gap in gaps}
        at_edge = {session.label_utc if timeframe.is_daily else session.begin for session in (request.first,)}
        missing = gaps.clip(request.covers.begin, request.covers.end)
        assert len(missing) > 0
        assert request.covers.end in ends | begun
        assert next(iter(missing)).begin == request.covers.begin
        assert list(missing)[-1].end == request.covers.end
        assert request.covers.begin in begins | at_edge or request.duration.endswith("S")
        begun.add(request.covers.begin)


@settings(deadline=None)
@given(WORK, st.booleans())
def test_a_request_is_valid_and_reaches_back_to_all_that_it_covers(work, use_rth: bool) -> None:
    gaps, timeframe, bars = work
    calendar = session_calendar(use_rth=use_rth)
    for request in plan_requests(gaps, timeframe, calendar, bars=bars):
        number, unit = int(request.duration[:-2]), request.duration[-1]
        sessions = calendar.during(request.covers.begin, request.covers.end, timeframe)
        first_bar = sessions[0].begin if timeframe.is_daily else max(sessions[0].begin, request.covers.begin)

        assert STEPS[unit][0] <= timeframe.seconds <= STEPS[unit][1]
        assert number <= LONGEST[unit]
        assert begin_of_answer(request, use_rth=use_rth) <= first_bar
        assert request.end >= min(request.covers.end, sessions[-1].end)


@settings(deadline=None)
@given(GAP, COARSE)
def test_no_answer_is_much_longer_than_it_should_be(gap: Interval, timeframe) -> None:
    for request in plan_requests(Coverage([gap]), timeframe, CALENDAR):
        begin = begin_of_answer(request)
        sessions = CALENDAR.during(begin, request.end, timeframe)
        seconds = [(min(request.end, one.end) - max(begin, one.begin)).seconds for one in sessions]
        bars = sum(-(-one // timeframe.seconds) for one in seconds)
        assert (len(sessions) if timeframe.is_daily else bars) <= MOST_BARS * 1.1


def test_an_answer_that_reaches_the_begin_settles_all() -> None:
    (request,) = planned(span("2026-11-02", "2026-11-07"), "15min")
    limit = datetime(2027, 1, 1, tzinfo=UTC)

    assert settled(request, datetime(2026, 11, 2, 14, 30, tzinfo=UTC), limit=limit) == request.covers
    assert settled(request, datetime(2026, 10, 30, 19, 45, tzinfo=UTC), limit=limit) == request.covers
    assert settled(request, None, limit=limit) == request.covers


def test_an_answer_without_the_first_bar_leaves_it_open() -> None:
    (request,) = planned(span("2026-11-02", "2026-11-07"), "15min")
    second_bar = datetime(2026, 11, 2, 14, 45, tzinfo=UTC)

    assert settled(request, second_bar, limit=datetime(2027, 1, 1, tzinfo=UTC)).begin == second_bar


def test_of_minutes_without_trades_an_answer_may_begin_anywhere_in_its_first_session() -> None:
    (request,) = planned(span("2026-11-02", "2026-11-07"), "1min")
    quiet_open = datetime(2026, 11, 2, 15, 10, tzinfo=UTC)

    assert settled(request, quiet_open, limit=datetime(2027, 1, 1, tzinfo=UTC)) == request.covers


def test_an_answer_that_falls_short_leaves_the_rest_open() -> None:
    (request,) = planned(span("2026-11-02", "2026-11-07"), "15min")
    first_bar = datetime(2026, 11, 4, 14, 30, tzinfo=UTC)

    assert settled(request, first_bar, limit=datetime(2027, 1, 1, tzinfo=UTC)) == Interval(
        first_bar, request.covers.end
    )


def test_nothing_is_settled_from_the_limit_on() -> None:
    (request,) = planned(span("2026-11-02", "2026-11-07"), "15min")
    limit = datetime(2026, 11, 6, 15, 0, tzinfo=UTC)

    assert settled(request, None, limit=limit) == Interval(request.covers.begin, limit)
    assert settled(request, None, limit=request.covers.begin) is None
