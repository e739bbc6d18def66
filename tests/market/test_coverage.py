from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInterval
from workbench.market.coverage import Coverage, Interval, as_utc, parse_moment

DAY = datetime(2026, 11, 2, tzinfo=UTC)


def at(hour: int) -> datetime:
    return DAY + timedelta(hours=hour)


# The model: a coverage is the set of the hours in it.
hours = st.integers(0, 30)
spans = st.tuples(hours, hours).filter(lambda span: span[0] < span[1])


def hours_of(coverage: Coverage) -> set[int]:
    return {hour for hour in range(31) for span in coverage if span.begin <= at(hour) < span.end}


def coverage_of(pairs: list[tuple[int, int]]) -> Coverage:
    return Coverage(Interval(at(begin), at(end)) for begin, end in pairs)


def model_of(pairs: list[tuple[int, int]]) -> set[int]:
    return {hour for begin, end in pairs for hour in range(begin, end)}


@given(st.lists(spans))
def test_a_coverage_holds_what_its_intervals_hold_and_no_more(pairs: list[tuple[int, int]]) -> None:
    assert hours_of(coverage_of(pairs)) == model_of(pairs)


@given(st.lists(spans))
def test_intervals_are_sorted_and_leave_room_between_them(pairs: list[tuple[int, int]]) -> None:
    intervals = list(coverage_of(pairs))

    assert all(left.end < right.begin for left, right in pairwise(intervals))


@given(st.lists(spans), st.lists(spans), st.randoms())
def test_the_order_of_a_union_does_not_matter_and_twice_is_once(
    some: list[tuple[int, int]], others: list[tuple[int, int]], random: st.Random
) -> None:
    a, b, shuffled = coverage_of(some), coverage_of(others), some + others
    random.shuffle(shuffled)

    assert a | b == b | a == coverage_of(shuffled)
    assert a | b | b == a | b
    assert hash(a | b) == hash(b | a)


@given(st.lists(spans), spans)
def test_what_is_missing_and_what_is_held_make_up_what_is_wanted(
    pairs: list[tuple[int, int]], wanted: tuple[int, int]
) -> None:
    held, span = coverage_of(pairs), Interval(at(wanted[0]), at(wanted[1]))

    missing, inside = held.missing(span), held.clip(span.begin, span.end)

    assert hours_of(missing) == set(range(*wanted)) - model_of(pairs)
    assert hours_of(inside) == set(range(*wanted)) & model_of(pairs)
    assert missing | inside == Coverage([span])


def test_touching_intervals_become_one() -> None:
    assert list(coverage_of([(4, 6), (2, 4)])) == [Interval(at(2), at(6))]


def test_an_interval_without_length_or_turned_round_is_refused() -> None:
    with pytest.raises(InvalidInterval, match="does not lie after"):
        Interval(at(2), at(2))
    with pytest.raises(InvalidInterval, match="does not lie after"):
        Interval(at(3), at(2))


def test_an_interval_is_the_same_in_every_zone() -> None:
    new_york = ZoneInfo("America/New_York")

    assert Interval(at(2).astimezone(new_york), at(3).astimezone(new_york)) == Interval(at(2), at(3))


@pytest.mark.parametrize(
    ("meant", "moment"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        (" 2026-11-20 ", datetime(2026, 11, 20, tzinfo=UTC)),
        (date(2026, 11, 20), datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T14:30Z", datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
        ("2026-11-20 09:30:00-05:00", datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
        (
            datetime(2026, 11, 20, 9, 30, tzinfo=ZoneInfo("America/New_York")),
            datetime(2026, 11, 20, 14, 30, tzinfo=UTC),
        ),
        (pd.Timestamp("2026-11-20 09:30", tz="America/New_York"), datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
    ],
)
def test_a_moment_is_understood_and_put_in_utc(meant: str | date | datetime, moment: datetime) -> None:
    parsed = parse_moment(meant)

    assert parsed == moment
    assert type(parsed) is datetime
    assert parsed.tzinfo is UTC


@pytest.mark.parametrize(
    "meant",
    ["", "soon", "2026-13-01", "2026-11-20T14:30", "20.11.2026", datetime(2026, 11, 20), pd.NaT, None, 20261120],  # noqa: DTZ001
)
def test_what_is_no_moment_is_refused(meant: object) -> None:
    with pytest.raises(InvalidInterval):
        parse_moment(meant)  # type: ignore[arg-type]


def test_a_moment_outside_of_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidInterval, match="years 1 to 9999"):
        as_utc(datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))))
