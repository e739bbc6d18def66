"""The windows of IB's resets, in the zones in which they are told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.ib.resets import RESETS, Region, reset_end

WINDOWS: list[tuple[Region, str, str, str]] = [
    ("america", "2026-11-20T05:15", "2026-11-20T06:45", "winter: New York is five hours behind"),
    ("america", "2026-07-20T04:15", "2026-07-20T05:45", "summer: four"),
    ("america", "2026-11-21T04:00", "2026-11-21T08:00", "the weekend, Friday 23:00 to Saturday 03:00"),
    ("europe", "2026-11-20T05:25", "2026-11-20T06:45", "winter: one hour ahead"),
    ("europe", "2026-07-20T04:25", "2026-07-20T05:45", "summer: two"),
    ("europe", "2026-11-21T04:00", "2026-11-21T08:00", "the weekend is the same everywhere, by New York's clock"),
    ("asia", "2026-11-19T20:45", "2026-11-19T22:05", "04:45 in Hong Kong, on the next day"),
    ("asia", "2026-11-20T12:15", "2026-11-20T13:15", "20:15 in Hong Kong"),
]


@pytest.mark.parametrize(("region", "begin", "end", "why"), WINDOWS, ids=[f"{it[0]} {it[1]}" for it in WINDOWS])
def test_a_window_holds_its_begin_and_not_its_end(region: Region, begin: str, end: str, why: str) -> None:
    first, after = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (begin, end))

    assert reset_end(first, region) == after, why
    assert reset_end(after - timedelta(seconds=1), region) == after
    assert reset_end(first - timedelta(seconds=1), region) is None
    assert reset_end(after, region) is None


def test_the_weekend_outlasts_the_night_that_lies_in_it() -> None:
    saturday_night = datetime(2026, 11, 21, 5, 30, tzinfo=UTC)  # 00:30 in New York

    assert reset_end(saturday_night, "america") == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


@given(moment=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_window_ends_after_its_moments_and_within_four_hours(moment: datetime) -> None:
    for region in RESETS:
        end = reset_end(moment, region)
        assert end is None or timedelta(0) < end - moment <= timedelta(hours=5)  # the clocks may change within


def test_a_gateway_that_is_not_ibs_has_no_resets() -> None:
    assert reset_end(datetime(2026, 11, 20, 5, 30, tzinfo=UTC), None) is None
