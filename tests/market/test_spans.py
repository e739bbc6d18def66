"""Which part of a series a user means."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidInterval
from workbench.market.spans import cut


def quarters(first: str = "2026-10-01", last: str = "2026-11-20") -> pd.DataFrame:
    """Return bars of a quarter of an hour from 09:30 to 16:00 New York, on working days."""
    days = pd.bdate_range(first, last)
    starts = [day + pd.Timedelta(hours=9.5) + pd.Timedelta(minutes=15 * at) for day in days for at in range(26)]
    index = pd.DatetimeIndex(starts).tz_localize("America/New_York").tz_convert("UTC")
    return pd.DataFrame({"close": range(len(index))}, index=index)


def days() -> pd.DataFrame:
    index = pd.bdate_range("2025-11-20", "2026-11-20", tz="UTC")
    return pd.DataFrame({"close": range(len(index))}, index=index)


def dates(bars: pd.DataFrame) -> list[str]:
    local = pd.DatetimeIndex(bars.index).tz_convert("America/New_York")
    return list(dict.fromkeys(local.strftime("%m-%d")))


@pytest.mark.parametrize(
    ("last", "first"), [("1d", "11-20"), ("5d", "11-16"), ("7 D", "11-16"), ("2w", "11-09"), ("1mo", "10-21")]
)
def test_a_span_counts_dates_and_takes_whole_sessions(last: str, first: str) -> None:
    chosen = cut(quarters(), "15min", last=last)

    assert dates(chosen)[0] == first
    assert len(chosen) == 26 * len(dates(chosen))
    assert chosen.index[-1] == quarters().index[-1]


def test_a_span_of_daily_bars_counts_their_labels() -> None:
    assert list(cut(days(), "1day", last="3d").index.strftime("%d")) == ["18", "19", "20"]
    assert cut(days(), "1day", last="1y").index[0] == pd.Timestamp("2025-11-21", tz="UTC")


def test_a_span_over_the_change_of_clocks_begins_at_midnight_in_new_york() -> None:
    assert dates(cut(quarters("2026-10-26", "2026-11-03"), "15min", last="5d"))[0] == "10-30"


def test_an_evening_in_new_york_belongs_to_its_date_there() -> None:
    starts = pd.DatetimeIndex(["2026-11-19 16:45", "2026-11-19 19:45", "2026-11-20 04:00", "2026-11-20 19:45"])
    index = starts.tz_localize("America/New_York").tz_convert("UTC")
    bars = pd.DataFrame({"close": range(4)}, index=index)

    assert cut(bars, "15min", last="1d")["close"].tolist() == [2, 3]


def test_a_date_is_the_exchanges() -> None:
    chosen = cut(quarters(), "15min", "2026-11-19", "2026-11-20")

    assert dates(chosen) == ["11-19"]
    assert len(chosen) == 26


@given(st.integers(1, 2000), st.integers(0, 60), st.integers(1, 60))
def test_bars_are_counted_back_from_the_end(last: int, begin: int, length: int) -> None:
    first, stop = (pd.Timestamp("2026-10-01", tz="UTC") + pd.Timedelta(days=at) for at in (begin, begin + length))
    bars = quarters()

    chosen = cut(bars, "15min", first.to_pydatetime(), stop.to_pydatetime(), last)

    within = bars[(bars.index >= first) & (bars.index < stop)]
    assert chosen.equals(within.iloc[-last:])


@pytest.mark.parametrize("last", ["", "60", "60m", "0d", "-3d", "3q", 0, -1, True, 1.5])
def test_what_is_no_span_is_refused(last: object) -> None:
    with pytest.raises(InvalidInterval, match="60d, 8w, 6mo, 2y"):
        cut(quarters(), "15min", last=last)  # type: ignore[arg-type]


def test_an_end_before_its_begin_is_refused() -> None:
    with pytest.raises(InvalidInterval, match="does not lie after"):
        cut(quarters(), "15min", "2026-11-20", "2026-11-01")


def test_no_bars_have_no_newest_ones() -> None:
    assert cut(quarters().iloc[:0], "15min", last="60d").empty
