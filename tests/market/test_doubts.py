from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InvalidBars
from workbench.market.bars import to_table
from workbench.market.doubts import find_doubts, protrusion, usual_range
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import parse_timeframe

DAY, QUARTER, MINUTE, HOUR = (parse_timeframe(name) for name in ("1day", "15min", "1min", "1hour"))
REGULAR, ALL = session_calendar(use_rth=True), session_calendar(use_rth=False)


def table(index: pd.DatetimeIndex, closes: np.ndarray) -> pa.Table:
    """Return bars that range by one per cent around their close."""
    frame = pd.DataFrame({"open": closes, "high": closes * 1.005, "low": closes * 0.995, "close": closes}, index=index)
    return to_table(frame.assign(volume=100.0))


def days(count: int = 60, **changed: float) -> pa.Table:
    """Return daily bars of sessions from 2026-02-02 on, at 100; `close_7=50.0` changes one of them, and its range."""
    index = pd.bdate_range("2026-02-02", periods=count + 2, tz="UTC", unit="us")
    index = index[~index.isin(pd.to_datetime(["2026-02-16", "2026-04-03"], utc=True))][:count]
    closes = np.full(count, 100.0)
    for name, value in changed.items():
        closes[int(name.rpartition("_")[2])] = value
    return table(index, closes)


def test_steady_bars_raise_no_doubt() -> None:
    assert find_doubts(days(), DAY, REGULAR) == {}


@pytest.mark.parametrize("price", [10.0, 60.0, 160.0, 1000.0])
def test_a_bar_that_sticks_out_of_both_its_neighbours_is_doubted_and_they_are_not(price: float) -> None:
    doubts = find_doubts(days(close_30=price), DAY, REGULAR)

    assert list(doubts) == [30]
    assert "sticks out of the bars beside it" in doubts[30]


def test_a_bad_low_within_a_good_bar_is_doubted() -> None:
    frame = days().to_pandas().set_index("timestamp")
    frame.iloc[30, frame.columns.get_loc("low")] = 10.59

    assert list(find_doubts(to_table(frame), DAY, REGULAR)) == [30]


@pytest.mark.parametrize("factor", [0.25, 0.6, 1.5, 7.0])
def test_a_move_that_stays_is_no_doubt(factor: float) -> None:
    closes = np.full(60, 100.0)
    closes[30:] *= factor
    index = pd.DatetimeIndex(days().column("timestamp").to_pandas())

    assert find_doubts(table(index, closes), DAY, REGULAR) == {}


def test_the_newest_bar_is_doubted_until_the_next_one_confirms_it() -> None:
    gap = days(61, close_59=50.0, close_60=50.0)

    assert list(find_doubts(gap.slice(0, 60), DAY, REGULAR)) == [59]
    assert find_doubts(gap, DAY, REGULAR) == {}


def test_stored_bars_around_are_what_a_single_bar_is_compared_with() -> None:
    whole = days(close_30=10.0)
    one, around = whole.slice(30, 1), pa.concat_tables([whole.slice(0, 30), whole.slice(31)])

    assert find_doubts(one, DAY, REGULAR) == {}
    assert list(find_doubts(one, DAY, REGULAR, lambda: around)) == [0]
    assert find_doubts(whole.slice(29, 1), DAY, REGULAR, lambda: around) == {}


def test_what_is_stored_of_the_same_bars_is_not_compared_with() -> None:
    good, bad = days(), days(close_30=10.0)

    assert find_doubts(good, DAY, REGULAR, lambda: bad) == {}
    assert list(find_doubts(bad, DAY, REGULAR, lambda: good)) == [30]


@given(st.floats(0.6, 1.7), st.integers(1, 58))
def test_no_gap_within_the_limit_is_doubted_wherever_it_is(factor: float, row: int) -> None:
    closes = np.full(60, 100.0)
    closes[row:] *= factor

    assert set(find_doubts(table(pd.DatetimeIndex(days().column("timestamp").to_pandas()), closes), DAY, REGULAR)) <= {
        59 if row == 59 else -1
    }


@pytest.mark.parametrize(
    ("timeframe", "start", "regular", "extended"),
    [
        (QUARTER, "2026-11-20 09:30", True, True),
        (QUARTER, "2026-11-20 15:45", True, True),
        (QUARTER, "2026-11-20 16:00", False, True),
        (QUARTER, "2026-11-20 04:00", False, True),
        (QUARTER, "2026-11-20 03:45", False, False),
        (QUARTER, "2026-11-27 12:45", True, True),  # a half day: it closes at 13:00, after hours end at 17:00
        (QUARTER, "2026-11-27 13:00", False, True),
        (QUARTER, "2026-11-27 17:00", False, False),
        (QUARTER, "2026-11-26 10:00", False, False),  # Thanksgiving
        (QUARTER, "2026-11-21 10:00", False, False),  # a Saturday
        (QUARTER, "2026-03-09 09:30", True, True),  # the clocks went forward the day before
        (HOUR, "2026-11-27 13:00", False, True),
        (DAY, "2026-11-27", True, True),
        (DAY, "2026-11-26", False, False),
        (QUARTER, "1985-01-01 10:00", True, True),  # the calendar does not know
        (DAY, "1962-01-01", True, True),
    ],
)
def test_a_bar_outside_of_the_hours_is_doubted(timeframe: object, start: str, regular: bool, extended: bool) -> None:
    zone = "UTC" if timeframe is DAY else "America/New_York"
    bars = table(pd.DatetimeIndex([pd.Timestamp(start, tz=zone)]).tz_convert("UTC"), np.array([100.0]))

    assert (find_doubts(bars, timeframe, REGULAR) == {}) is regular  # type: ignore[arg-type]
    assert (find_doubts(bars, timeframe, ALL) == {}) is extended  # type: ignore[arg-type]
    assert find_doubts(bars, timeframe, None) == {}  # type: ignore[arg-type]


def test_bars_of_other_hours_are_refused_as_a_whole_and_the_remedy_named() -> None:
    evening = pd.date_range("2026-11-20 21:00", periods=60, freq="1min", tz="UTC")

    with pytest.raises(InvalidBars, match=r"row 0 \(2026-11-20 21:00.*59 more of 60.*use_rth=False.*Nothing was sto"):
        find_doubts(table(evening, np.full(60, 100.0)), MINUTE, REGULAR)
    assert find_doubts(table(evening, np.full(60, 100.0)), MINUTE, ALL) == {}


def test_what_is_stored_around_calm_bars_is_not_even_read(real_bars: Path) -> None:
    bars = to_table(pd.read_parquet(real_bars / "lean/SPY/1min.parquet").set_index("timestamp"), MINUTE)

    assert find_doubts(bars, MINUTE, ALL, lambda: pytest.fail("read")) == {}


@pytest.mark.parametrize(("price", "tick"), [(91.5, 0.01), (0.05, 0.01), (0.2, 0.04)])
def test_a_tick_after_hours_of_standing_still_is_no_doubt(price: float, tick: float) -> None:
    index = pd.date_range("2026-11-20 14:30", periods=390, freq="1min", tz="UTC")
    closes = np.full(390, price)
    closes[200] += tick
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), closes), index=index).assign(volume=1.0)

    assert find_doubts(to_table(frame), MINUTE, REGULAR) == {}


def test_no_bars_raise_no_doubt() -> None:
    empty = days().slice(0, 0)

    assert find_doubts(empty, DAY, REGULAR, days) == {}
    assert len(protrusion(empty, DAY)) == 0


def test_the_usual_range_is_a_share_of_the_price_before() -> None:
    assert usual_range(days(), DAY)[30] == pytest.approx(0.01)


HELD = {
    "lean/AAPL/1day": ["2009-09-21", "2010-08-31", "2011-01-03"],
    "lean/IWM/1day": ["2008-09-19"],
    "av_daily/AIZ/1day": ["2007-04-16"],
    "av_daily/C/1day": ["2002-01-16", "2005-02-04"],
    "av_daily/ETR/1day": ["2005-10-25"],
    "av_daily/IRM/1day": ["2006-02-02"],
}
"""Every real daily bar that is held back; each is a bad print, not a market move."""


def test_of_half_a_million_real_daily_bars_the_bad_prints_are_held_back_and_no_wild_day(real_bars: Path) -> None:
    held = {}
    for path in sorted(real_bars.glob("*/*/1day.parquet")):
        bars = to_table(pd.read_parquet(path).set_index("timestamp"), DAY)
        doubts = find_doubts(bars, DAY, REGULAR)
        if doubts:
            dates = bars.column("timestamp").to_pandas().dt.strftime("%Y-%m-%d")
            held["/".join(path.with_suffix("").parts[-3:])] = [dates[row] for row in sorted(doubts)]

    assert held == HELD


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("lean/SPY/1min", []), ("lean/AAPL/1min", []), ("lean/BAC/5sec", []), ("nt2011/SPY/1min", []),
        ("av2019/PPLT/1min", []), ("av2019/SPY/15min", []),
        ("lean/AAPL/1hour", ["2009-09-21 09:30", "2010-08-31 14:00", "2011-01-03 13:00"]),
        ("lean/SPY/1hour", ["2002-04-02 15:00", "2005-09-06 15:00"]),
        ("lean/BAC/1hour", ["2001-11-12 11:00"]),
    ],
)  # fmt: skip
def test_real_bars_of_all_hours_are_held_back_only_where_they_are_bad(
    real_bars: Path, name: str, reasons: list[str]
) -> None:
    timeframe = parse_timeframe(name.rpartition("/")[2])
    bars = to_table(pd.read_parquet(real_bars / f"{name}.parquet").set_index("timestamp"), timeframe)

    doubts = find_doubts(bars, timeframe, ALL)

    wall = bars.column("timestamp").to_pandas().dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d %H:%M")
    assert [wall[row] for row in sorted(doubts)] == reasons


def test_late_prints_after_an_early_close_are_held_back_in_regular_hours(real_bars: Path) -> None:
    bars = to_table(pd.read_parquet(real_bars / "lean/SPY/1hour.parquet").set_index("timestamp"), HOUR)

    doubts = find_doubts(bars, HOUR, REGULAR)

    assert sum("outside of the session" in reason for reason in doubts.values()) == 47
