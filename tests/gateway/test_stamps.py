"""Many instants at once against each by itself."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.stamps import dates, wall_times

ZONES = st.sampled_from(["US/Eastern", "UTC", "Asia/Kolkata", "Europe/Berlin", "Australia/Lord_Howe", "Pacific/Apia"])
INSTANTS = st.lists(st.integers(631_152_000, 4_102_444_800))  # 1990 to 2100


@given(INSTANTS)
def test_dates_are_those_of_each_instant(instants: list[int]) -> None:
    expected = [f"{datetime.fromtimestamp(it, UTC):%Y%m%d}" for it in instants]

    assert dates(np.array(instants, dtype=np.int64)) == expected


@given(INSTANTS, ZONES)
def test_wall_times_are_those_of_each_instant(instants: list[int], zone: str) -> None:
    expected = [f"{datetime.fromtimestamp(it, ZoneInfo(zone)):%Y%m%d %H:%M:%S} {zone}" for it in instants]

    assert wall_times(np.array(instants, dtype=np.int64), ZoneInfo(zone)) == expected


@pytest.mark.parametrize("change", ["2026-03-08", "2026-11-01"])
@pytest.mark.parametrize("zone", ["US/Eastern", "Australia/Lord_Howe"])
def test_wall_times_follow_the_clock_through_its_changes(change: str, zone: str) -> None:
    middle = int(datetime.fromisoformat(change).replace(tzinfo=UTC).timestamp())
    instants = np.arange(middle - 40 * 86_400, middle + 40 * 86_400, 1800)

    expected = [f"{datetime.fromtimestamp(it, ZoneInfo(zone)):%Y%m%d %H:%M:%S} {zone}" for it in instants.tolist()]

    assert wall_times(instants, ZoneInfo(zone)) == expected
