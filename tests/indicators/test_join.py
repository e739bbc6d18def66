from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from tests.indicators.bars import walk
from workbench.errors import InvalidBars
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.join import join_timeframes
from workbench.indicators.suite import SUITE
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.aggregate.grid import bar_ends
from workbench.market.bars import REQUIRED
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import TIMEFRAMES

NEW_YORK = "America/New_York"


def quarters(first: date, last: date, seed: int = 1) -> pd.DataFrame:
    """Return quarter-hour bars of all sessions from one day to another."""
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=EXCHANGE_ZONE) for day in (first, last))
    sessions = session_calendar().during(begin, end + timedelta(days=1), TIMEFRAMES["15min"])
    index = pd.DatetimeIndex(
        np.concatenate([pd.date_range(one.begin, one.end, freq="15min", inclusive="left") for one in sessions]),
        name="timestamp",
    ).as_unit("us")
    closes = walk(len(index), seed)
    opens = np.append(closes[:1], closes[:-1])
    return pd.DataFrame(
        {"open": opens, "high": np.maximum(opens, closes) + 0.1, "low": np.minimum(opens, closes) - 0.1,
         "close": closes, "volume": 100.0},
        index=index.tz_localize("UTC") if index.tz is None else index.tz_convert("UTC"),
    )  # fmt: skip


# Two DST changes' sides, a half day (2025-11-28) and Thanksgiving before it.
BASE = quarters(date(2025, 10, 20), date(2026, 3, 20))


def longer(timeframe: str, base: pd.DataFrame = BASE) -> pd.DataFrame:
    bars = aggregate_bars(base, timeframe, step_s=900)[list(REQUIRED)]
    return IndicatorEngine.calculate_all_indicators(bars)


def test_the_longer_bar_beside_a_row_is_the_newest_that_was_complete_then() -> None:
    joined = join_timeframes(BASE, "15min", {"1hour": longer("1hour"), "1day": longer("1day")})

    # At 10:45 the bar of 10:30-10:45 is the newest; of hours only 09:30-10:00 is complete, of days yesterday's.
    row = joined.loc[pd.Timestamp("2025-11-20 10:30", tz=NEW_YORK)]
    assert row["timestamp_1hour"] == pd.Timestamp("2025-11-20 09:30", tz=NEW_YORK)
    assert row["timestamp_1day"] == pd.Timestamp("2025-11-19", tz="UTC")
    # The last quarter of an hour, and of a day, completes them.
    assert joined.loc[pd.Timestamp("2025-11-20 10:45", tz=NEW_YORK), "timestamp_1hour"] == pd.Timestamp(
        "2025-11-20 10:00", tz=NEW_YORK
    )
    for last in ("2025-11-20 15:45", "2025-11-28 12:45", "2026-03-09 15:45"):
        stamp = pd.Timestamp(last, tz=NEW_YORK)
        assert joined.loc[stamp, "timestamp_1day"] == pd.Timestamp(stamp.date(), tz="UTC")
        assert joined.loc[stamp, "timestamp_1hour"] == stamp.floor("h")


def test_no_row_knows_of_a_bar_that_was_not_complete() -> None:
    ends = bar_ends(BASE.index.as_unit("s").asi8, TIMEFRAMES["15min"])
    for timeframe in ("1hour", "4hour", "1day"):
        frame = longer(timeframe)
        joined = join_timeframes(BASE, "15min", {timeframe: frame})
        stamps = joined[f"timestamp_{timeframe}"].dropna()
        known = bar_ends(frame.index.as_unit("s").asi8, TIMEFRAMES[timeframe])[frame.index.get_indexer(stamps)]
        assert (known <= ends[-len(stamps) :]).all()
        # … and the next one was not complete yet.
        rows = frame.index.get_indexer(stamps) + 1
        rows, at = rows[rows < len(frame)], ends[-len(stamps) :][rows < len(frame)]
        assert (bar_ends(frame.index.as_unit("s").asi8, TIMEFRAMES[timeframe])[rows] > at).all()


def test_the_past_does_not_change_when_the_future_is_appended() -> None:
    whole = join_timeframes(BASE, "15min", {"1hour": longer("1hour"), "1day": longer("1day")}, forming=SUITE)
    whole = join_timeframes(whole, "15min", {"4hour": longer("4hour")})
    for cut in (700, 1111, 1500):
        known = BASE.iloc[:cut]
        now = datetime.fromtimestamp(bar_ends(known.index.as_unit("s").asi8, TIMEFRAMES["15min"])[-1], EXCHANGE_ZONE)
        higher = {
            name: IndicatorEngine.calculate_all_indicators(
                aggregate_bars(known, name, step_s=900, as_of=now)[list(REQUIRED)]
            )
            for name in ("1hour", "4hour", "1day")
        }
        of_four_hours = {"4hour": higher.pop("4hour")}

        joined = join_timeframes(known, "15min", higher, forming=SUITE)
        joined = join_timeframes(joined, "15min", of_four_hours)

        pd.testing.assert_frame_equal(joined, whole.iloc[:cut], check_exact=True, check_dtype=False)


def test_a_missing_bar_leaves_the_one_before_with_its_own_start() -> None:
    hours = longer("1hour")
    gone = pd.Timestamp("2025-11-20 11:00", tz=NEW_YORK)

    joined = join_timeframes(BASE, "15min", {"1hour": hours.drop(gone.tz_convert("UTC"))})

    assert joined.loc[gone + pd.Timedelta("75min"), "timestamp_1hour"] == pd.Timestamp("2025-11-20 10:00", tz=NEW_YORK)


def test_rows_before_the_first_longer_bar_have_nothing() -> None:
    joined = join_timeframes(BASE, "15min", {"1day": longer("1day")})

    assert joined["close_1day"].iloc[:25].isna().all()
    assert joined["close_1day"].iloc[25] == BASE["close"].iloc[25]


def test_four_hour_bars_are_known_at_the_end_of_their_session_and_not_shown_forming() -> None:
    joined = join_timeframes(BASE, "15min", {"4hour": longer("4hour")})

    at_two = joined.loc[pd.Timestamp("2025-11-20 14:00", tz=NEW_YORK), "timestamp_4hour"]
    at_the_end = joined.loc[pd.Timestamp("2025-11-20 15:45", tz=NEW_YORK), "timestamp_4hour"]
    assert at_two == pd.Timestamp("2025-11-19 12:00", tz=NEW_YORK)
    assert at_the_end == pd.Timestamp("2025-11-20 12:00", tz=NEW_YORK)
    with pytest.raises(InvalidBars, match="not verified"):
        join_timeframes(BASE, "15min", {"4hour": longer("4hour")}, forming=SUITE)


def test_forming_bars_give_what_a_live_chart_shows() -> None:
    joined = join_timeframes(BASE, "15min", {"1hour": longer("1hour")}, forming=SUITE)

    complete = joined.loc[pd.Timestamp("2026-01-20 10:45", tz=NEW_YORK)]
    forming = joined.loc[pd.Timestamp("2026-01-20 11:15", tz=NEW_YORK)]
    hours = longer("1hour")[list(REQUIRED)]
    so_far = hours.loc[: pd.Timestamp("2026-01-20 10:00", tz=NEW_YORK)]
    half = BASE.loc[pd.Timestamp("2026-01-20 11:00", tz=NEW_YORK) : pd.Timestamp("2026-01-20 11:15", tz=NEW_YORK)]
    bar = [half["open"].iloc[0], half["high"].max(), half["low"].min(), half["close"].iloc[-1], half["volume"].sum()]
    so_far = pd.concat([so_far, pd.DataFrame([bar], columns=so_far.columns, index=half.index[:1])])
    expected = IndicatorEngine.calculate_all_indicators(so_far).iloc[-1]
    for name in ("rsi", "macd_hist", "bb_lower", "atr", "stoch_k"):
        assert complete[f"{name}_1hour_forming"] == complete[f"{name}_1hour"]
        assert forming[f"{name}_1hour_forming"] == expected[name]


def test_an_empty_frame_joins_as_nothing() -> None:
    joined = join_timeframes(BASE.iloc[:0], "15min", {"1hour": longer("1hour")})
    beside = join_timeframes(BASE.iloc[:5], "15min", {"1hour": longer("1hour").iloc[:0]})

    assert joined.empty
    assert beside["close_1hour"].isna().all()


def test_what_cannot_be_joined_is_refused() -> None:
    with pytest.raises(InvalidBars, match="not longer"):
        join_timeframes(BASE, "15min", {"5min": BASE})
    with pytest.raises(InvalidBars, match="not sorted"):
        join_timeframes(BASE, "15min", {"1hour": longer("1hour").iloc[::-1]})
    with pytest.raises(InvalidBars, match="not indexed"):
        join_timeframes(BASE, "15min", {"1hour": longer("1hour").reset_index()})
