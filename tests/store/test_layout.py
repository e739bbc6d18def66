from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.market.coverage import Interval
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.layout import (
    Unit,
    foldable,
    overlapping,
    parse_part_name,
    part_name,
    period_at,
    periods_of,
)

moments = st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001
units = st.sampled_from(["M", "Y"])
NONE = np.array([], dtype=np.int64)


def micros(*moments: datetime) -> np.ndarray:
    return np.array([moment.replace(tzinfo=None) for moment in moments], dtype="datetime64[us]").view(np.int64)


def period(name: str) -> Interval:
    found = parse_part_name(f"{name}.parquet")
    assert found
    return found


@given(moments, units)
def test_every_moment_lies_in_one_period_which_its_parts_name_tells(moment: datetime, unit: Unit) -> None:
    found = period_at(moment, unit)

    assert found.begin <= moment < found.end
    assert found.end - found.begin <= timedelta(days=31 if unit == "M" else 366)
    assert period_at(found.end - timedelta(microseconds=1), unit) == found
    assert period_at(found.end, unit).begin == found.end
    assert parse_part_name(part_name(found)) == found


@pytest.mark.parametrize(
    "name", ["notes.parquet", "2026-13.parquet", "2026-1.parquet", ".2026.parquet", "2026", "x/2026.parquet"]
)
def test_other_files_are_no_parts(name: str) -> None:
    assert parse_part_name(name) is None


def test_fine_timeframes_have_a_part_a_month_and_others_one_a_year() -> None:
    when = micros(datetime(2026, 11, 20, tzinfo=UTC))

    names = [part_name(*periods_of(timeframe, when, None, [])) for timeframe in TIMEFRAMES.values()]

    assert names == ["2026-11.parquet"] * 2 + ["2026.parquet"] * 5


@given(st.lists(moments, max_size=5), st.none() | st.tuples(moments, moments), st.sets(st.integers(1899, 2199)))
def test_what_is_saved_has_parts_that_hold_all_of_it_and_share_no_time(
    stamps: list[datetime], covers: tuple[datetime, datetime] | None, sealed: set[int]
) -> None:
    span = Interval(min(covers), min(max(covers), min(covers) + timedelta(days=900)) + timedelta(1)) if covers else None
    held = [period_at(datetime(year, 1, 1, tzinfo=UTC), "Y") for year in sealed]

    found = periods_of(TIMEFRAMES["1min"], micros(*stamps), span, held)

    assert overlapping({*found, *held}) is None
    for moment in [*stamps, *((span.begin, span.end - timedelta(microseconds=1)) if span else ())]:
        assert sum(one.begin <= moment < one.end for one in found) == 1
    assert all(
        any(one.begin <= moment < one.end for moment in stamps) or (span and span.clip(one.begin, one.end))
        for one in found
    )


def test_a_year_is_folded_once_a_younger_one_has_begun_and_only_if_it_has_months() -> None:
    held = [period(name) for name in ("2023", "2024-01", "2024-11", "2025-02", "2026-01", "2026-02")]

    assert foldable(held) == {
        period("2024"): [period("2024-01"), period("2024-11")],
        period("2025"): [period("2025-02")],
    }
    assert foldable(held[:3]) == {}
    assert foldable([]) == {}


def test_a_year_shares_time_with_its_months_and_months_with_no_other() -> None:
    assert overlapping([period("2025"), period("2026"), period("2024-12"), period("2024-11")]) is None
    assert overlapping([period("2025-12"), period("2025")]) == (period("2025"), period("2025-12"))
    assert overlapping([period("2025-01"), period("2025")]) is not None
