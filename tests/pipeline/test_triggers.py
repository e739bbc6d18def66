"""Triggers: what a trader writes, and the instants that it means."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidSettings
from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline.triggers import format_duration, parse_duration, parse_trigger


def due(trigger: str, first: str, last: str) -> list[str]:
    """Return, in New York's time, what is due on the days from `first` to `last`."""
    begin, end = (datetime.fromisoformat(day).replace(tzinfo=EXCHANGE_ZONE) for day in (first, last))
    times = parse_trigger(trigger)(begin, end + timedelta(days=1))
    assert all(one.tzinfo is UTC for one in times)
    return [f"{one.astimezone(EXCHANGE_ZONE):%m-%d %H:%M}" for one in times]


@pytest.mark.parametrize(
    ("trigger", "first", "last", "expected"),
    [
        # Thanksgiving on the 26th, a half day on the 27th, the weekend after it
        ("06:00", "2026-11-25", "2026-11-30", ["11-25 06:00", "11-27 06:00", "11-30 06:00"]),
        ("close+30m", "2026-11-25", "2026-11-30", ["11-25 16:30", "11-27 13:30", "11-30 16:30"]),
        ("open-30m", "2026-11-25", "2026-11-27", ["11-25 09:00", "11-27 09:00"]),
        ("open", "2026-11-27", "2026-11-27", ["11-27 09:30"]),
        ("09:00..15:00 every 3h", "2026-11-27", "2026-11-28", ["11-27 09:00", "11-27 12:00", "11-27 15:00"]),
        ("09:00..10:15 every 30m", "2026-11-27", "2026-11-27", ["11-27 09:00", "11-27 09:30", "11-27 10:00"]),
        ("06:00, close+1h30m", "2026-11-27", "2026-11-27", ["11-27 06:00", "11-27 14:30"]),
        ("06:00, open-3h30m", "2026-11-27", "2026-11-27", ["11-27 06:00"]),  # one instant, said twice
        ("close+12h", "2026-11-28", "2026-11-28", ["11-28 01:00"]),  # Friday's, on a day without a session
        ("cron 0 18 * * sun", "2026-11-20", "2026-11-30", ["11-22 18:00", "11-29 18:00"]),
        # the clocks go back on November 1st and forward on March 8th, 2026
        ("06:00", "2026-10-30", "2026-11-02", ["10-30 06:00", "11-02 06:00"]),
        ("close+30m", "2026-03-06", "2026-03-09", ["03-06 16:30", "03-09 16:30"]),
        ("cron 30 1 * * *", "2026-10-31", "2026-11-02", ["10-31 01:30", "11-01 01:30", "11-02 01:30"]),
        (
            "cron 30 */1 * * *",
            "2026-11-01",
            "2026-11-01",
            ["11-01 00:30", "11-01 01:30", *[f"11-01 {hour:02d}:30" for hour in range(1, 24)]],
        ),
        ("cron 30 2 * * sun", "2026-03-08", "2026-03-15", ["03-08 03:30", "03-15 02:30"]),  # 02:30 did not come
    ],
)
def test_a_trigger_means_these_times(trigger: str, first: str, last: str, expected: list[str]) -> None:
    assert due(trigger, first, last) == expected


def test_exchange_time_moves_in_utc_with_the_clocks() -> None:
    [friday, monday] = parse_trigger("06:00")(datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC))

    assert (friday.hour, monday.hour) == (11, 10)


@given(
    trigger=st.sampled_from(
        ["06:00", "09:00..15:00 every 1h", "close+30m, open-45m", "cron */20 3 * * *", "close+30h"]
    ),
    cuts=st.lists(st.integers(0, 14 * 24 * 60), min_size=2, max_size=6, unique=True).map(sorted),
)
def test_nothing_is_due_twice_or_forgotten_wherever_time_is_cut(trigger: str, cuts: list[int]) -> None:
    times = parse_trigger(trigger)
    moments = [datetime(2026, 10, 26, tzinfo=UTC) + timedelta(minutes=cut) for cut in cuts]

    pieces = [one for begin, end in itertools.pairwise(moments) for one in times(begin, end)]

    assert pieces == times(moments[0], moments[-1])
    assert pieces == sorted(set(pieces))


@pytest.mark.parametrize(
    "trigger",
    [
        "",
        "6",
        "25:00",
        "06:60",
        "06:00..05:00 every 1h",
        "06:00..07:00",
        "06:00..07:00 every 0m",
        "noon",
        "open+",
        "close+5",
        "open +5m",
        "cron 0 18",
        "cron 99 * * * *",
        "06:00,",
        "06:00 07:00",
    ],
)
def test_what_is_no_trigger_is_refused_with_one_that_is(trigger: str) -> None:
    with pytest.raises(InvalidSettings, match="write"):
        parse_trigger(trigger)


@given(st.timedeltas(timedelta(0), timedelta(days=3)).map(lambda one: timedelta(seconds=one // timedelta(seconds=1))))
def test_a_duration_survives_being_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "1.5h", "5 m", "1d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match="90s, 30m"):
        parse_duration(text)
