from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.ib.live.gaps import Gap, Gaps
from workbench.market.sessions import session_calendar

OPEN = int(datetime(2026, 11, 20, 14, 30, tzinfo=UTC).timestamp())
CLOSE = int(datetime(2026, 11, 20, 21, tzinfo=UTC).timestamp())
MONDAY = int(datetime(2026, 11, 23, 14, 30, tzinfo=UTC).timestamp())


def fresh() -> Gaps:
    return Gaps(session_calendar())


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=80))
def test_what_came_and_what_is_missing_are_the_session_up_to_the_newest_bar(numbers: list[int]) -> None:
    gaps = fresh()

    taken = [number for number in numbers if gaps.take("AAPL", OPEN + 5 * number)]

    missing = [(at - OPEN) // 5 for gap in gaps.of("AAPL") for at in range(gap.begin, gap.end, 5)]
    assert len(taken) == len(set(taken))
    assert set(taken) == set(numbers)
    assert sorted([*taken, *missing]) == list(range(max(numbers, default=-1) + 1))


def test_the_time_before_the_first_live_bar_is_a_gap_from_the_open_on() -> None:
    gaps = fresh()

    assert gaps.take("AAPL", OPEN + 600)

    assert gaps.of("AAPL") == [Gap(OPEN, OPEN + 600)]


def test_a_symbol_that_stays_silent_all_day_is_missing_all_day() -> None:
    gaps = fresh()
    gaps.follow("AAPL")

    gaps.pass_time(OPEN + 3600)
    assert gaps.of("AAPL") == []
    gaps.pass_time(CLOSE)

    assert gaps.all() == {"AAPL": [Gap(OPEN, CLOSE)]}


def test_what_is_missing_at_the_end_of_a_session_is_a_gap_once() -> None:
    gaps = fresh()
    gaps.take("AAPL", OPEN)

    for now in (CLOSE, CLOSE + 60, MONDAY + 60):
        gaps.pass_time(now)
    gaps.take("AAPL", MONDAY + 60)

    assert gaps.of("AAPL") == [Gap(OPEN + 5, CLOSE), Gap(MONDAY, MONDAY + 60)]


def test_the_next_session_begins_with_its_first_bar_too() -> None:
    gaps = fresh()
    gaps.take("AAPL", OPEN)

    assert gaps.take("AAPL", MONDAY)

    assert gaps.of("AAPL") == [Gap(OPEN + 5, CLOSE)]


def test_bars_outside_of_sessions_are_not_taken() -> None:
    gaps = fresh()

    assert not gaps.take("AAPL", OPEN - 5)
    assert not gaps.take("AAPL", CLOSE)
    assert gaps.of("AAPL") == []


def test_what_is_settled_is_missing_no_more_and_the_rest_is() -> None:
    gaps = fresh()
    gaps.take("AAPL", OPEN + 100)

    gaps.settle("AAPL", Gap(OPEN + 20, OPEN + 50))

    assert gaps.of("AAPL") == [Gap(OPEN, OPEN + 20), Gap(OPEN + 50, OPEN + 100)]
    assert not gaps.take("AAPL", OPEN + 25)


def test_a_symbol_that_is_not_followed_any_more_misses_nothing() -> None:
    gaps = fresh()
    gaps.take("AAPL", OPEN + 100)

    gaps.forget("AAPL")
    gaps.pass_time(CLOSE)

    assert gaps.all() == {}
