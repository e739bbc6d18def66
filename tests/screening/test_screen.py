"""Scores on bars made by hand, of which the answer is told by hand; and the laws of time over real ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.screening.bars import TIMEFRAMES_USED, all_timeframes, daily, quarters, told_suite, whole, windows_of
from workbench.market.aggregate.grid import bar_ends
from workbench.market.timeframes import TIMEFRAMES
from workbench.screening.conditions import condition
from workbench.screening.history import run_history
from workbench.screening.rules import CONDITIONS, GATES, TREND, make_rule
from workbench.screening.screen import ScreenResult, run_screen
from workbench.screening.windows import complete_until, newest_bars

CLOSE = datetime(2026, 11, 20, 21, tzinfo=UTC)
DAY = {"1day": 1.0}

BESIDE = [60.0, 60.0, 60.0]
"""%D that %K does not cross."""

# name, columns of the newest bars, points of a long, points of a short
CASES: list[tuple[str, dict[str, list[float]], float, float]] = [
    ("nothing", {"rsi": [50, 50, 50]}, 0, 0),
    ("stretched: on the band", {"close": [100, 100, 90]}, 30, 0),
    ("stretched: a hair above the band", {"close": [100, 100, 90.001]}, 0, 0),
    ("stretched: two bars ago", {"close": [90, 100, 100]}, 30, 0),
    ("stretched: three bars ago", {"close": [90, 100, 100, 100]}, 0, 0),
    ("stretched: on the upper band", {"close": [100, 100, 110]}, 0, 30),
    ("a line that stands still", {"close": [90] * 3, "bb_upper": [90] * 3, "rsi": [0] * 3, "stoch_k": [0] * 3,
                                  "stoch_d": [0] * 3}, 0, 0),
    ("exhausted", {"stoch_k": [50, 50, 19.9], "stoch_d": BESIDE, "rsi": [50, 50, 34.9]}, 30, 0),
    ("exhausted: %K at its limit", {"stoch_k": [50, 50, 20], "stoch_d": BESIDE, "rsi": [50, 50, 34.9]}, 0, 0),
    ("exhausted: RSI at its limit", {"stoch_k": [50, 50, 19.9], "stoch_d": BESIDE, "rsi": [50, 50, 35]}, 0, 0),
    ("exhausted: never both at one bar", {"stoch_k": [50, 19, 50], "stoch_d": BESIDE, "rsi": [50, 50, 34]}, 0, 0),
    ("exhausted: two bars ago", {"stoch_k": [10, 50, 50], "stoch_d": BESIDE, "rsi": [30, 50, 50]}, 30, 0),
    ("exhausted: short", {"stoch_k": [50, 50, 80.1], "stoch_d": [40, 40, 40], "rsi": [50, 50, 65.1]}, 0, 30),
    ("exhausted: short at its limits", {"stoch_k": [60, 60, 80], "stoch_d": [50, 50, 50], "rsi": [50, 50, 65.1]}, 0, 0),
    ("turning: %K crosses above %D", {"stoch_k": [50, 40, 51], "stoch_d": [50, 45, 50]}, 40, 0),
    ("turning: from equal to above", {"stoch_k": [50, 50, 51], "stoch_d": [50, 50, 50]}, 40, 0),
    ("turning: only touches", {"stoch_k": [50, 40, 50], "stoch_d": [50, 45, 50]}, 0, 0),
    ("turning: crossed a bar ago", {"stoch_k": [40, 51, 55], "stoch_d": [50, 50, 50]}, 0, 0),
    ("turning: %K crosses below %D", {"stoch_k": [50, 60, 49], "stoch_d": [50, 55, 50]}, 0, 40),
    ("turning: histogram rises twice", {"macd_hist": [-3, -2, -1]}, 40, 0),
    ("turning: histogram rises once", {"macd_hist": [-2, -3, -1]}, 0, 0),
    ("turning: histogram stands, then rises", {"macd_hist": [-2, -2, -1]}, 0, 0),
    ("turning: histogram rises to zero", {"macd_hist": [-2, -1, 0]}, 0, 0),
    ("turning: histogram falls twice", {"macd_hist": [3, 2, 1]}, 0, 40),
    ("all of a long", {"close": [90, 95, 95], "stoch_k": [10, 15, 19], "stoch_d": [15, 16, 18],
                       "rsi": [30, 34, 40]}, 100, 0),
    ("all of a short", {"close": [110, 105, 105], "stoch_k": [90, 85, 81], "stoch_d": [85, 84, 82],
                        "rsi": [70, 66, 60]}, 0, 100),
    ("no %K yet: turning is not known, the others are", {"close": [90, 100, 100], "stoch_k": [nan, nan, 10]}, 30, 0),
    ("no histogram yet, but a cross", {"macd_hist": [nan, nan, nan], "stoch_k": [50, 40, 51], "stoch_d": [50, 45, 50]},
     40, 0),
]  # fmt: skip


def scored(columns: dict[str, list[float]], **changes: object) -> ScreenResult:
    """Screen one symbol whose newest daily bars have these columns, with open gates and no trend."""
    length = max(len(values) for values in columns.values())
    closes = columns.pop("close", [100.0] * length) if "close" in columns else [100.0] * length
    suite = told_suite(**(columns or {"rsi": [50.0] * length}))
    rule = make_rule(suite=suite, weights=DAY, **({"trend": (), "gates": {}} | changes))  # type: ignore[arg-type]
    return run_screen(rule, ["X"], windows_of({"X": {"1day": daily(CLOSE, closes)}}), CLOSE)


@pytest.mark.parametrize(("columns", "long", "short"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_score_is_the_one_reckoned_by_hand(columns: dict[str, list[float]], long: float, short: float) -> None:
    table = scored(dict(columns)).table

    found = dict(zip(table["side"], table["score"], strict=True))
    assert found == pytest.approx({side: score for side, score in (("long", long), ("short", short)) if score})


def test_the_total_is_the_weighted_mean_and_what_lacks_counts_as_nothing() -> None:
    """1day scores 30, 15min 30 of 100; no bars of 1hour and 4hour: their .30 and .20 are lost, not shared out."""
    bars = {
        "1day": daily(CLOSE, [100, 100, 90]),
        "15min": quarters(CLOSE, 1, 1).tail(3).assign(close=[100, 100, 90.0], open=100.0, high=101.0, low=89.0),
    }
    rule = make_rule(suite=told_suite(rsi=[50, 50, 50]), trend=(), gates={})

    result = run_screen(rule, ["X"], windows_of({"X": bars}), CLOSE)

    row = result.table.iloc[0]
    assert row["score"] == pytest.approx(0.35 * 30 + 0.15 * 30)
    assert row[["score_1day", "score_4hour", "score_1hour", "score_15min"]].tolist() == pytest.approx([30, 0, 0, 30])
    assert row["lacking"] == "4hour: no bars; 1hour: no bars"
    assert row["why"] == "1day: stretched; 15min: stretched"


@pytest.mark.parametrize(
    ("sma_50", "sma_200", "left"),
    [(80.0, 80.0, 1.0), (95.0, 80.0, 0.9), (80.0, 90.0, 0.9), (95.0, 95.0, 0.8), (80.0, nan, 0.9)],
)
def test_a_close_that_is_not_above_its_averages_takes_off_up_to_a_fifth(
    sma_50: float, sma_200: float, left: float
) -> None:
    found = scored({"close": [100, 100, 90], "sma_50": [sma_50] * 3, "sma_200": [sma_200] * 3}, trend=TREND)

    assert found.table["score"].iloc[0] == pytest.approx(30 * left)


@pytest.mark.parametrize(
    ("closes", "volume", "atr", "shut"),
    [
        ([100] * 30, 1e6, 1.0, {}),
        ([4.99] * 30, 1e7, 1.0, {"price": "no"}),
        ([5.0] * 30, 2e6, 0.05, {}),
        ([100] * 30, 99_999.0, 1.0, {"turnover": "no"}),
        ([100] * 30, 100_000.0, 1.0, {}),
        ([100] * 19, 1e6, 1.0, {"turnover": "not known"}),
        ([100] * 30, 1e6, 0.99, {"range": "no"}),
        ([100] * 30, 1e6, nan, {"range": "not known"}),
    ],
)
def test_a_gate_is_shut_unless_it_is_known_to_be_open(
    closes: list[float], volume: float, atr: float, shut: dict[str, str]
) -> None:
    suite = told_suite(
        atr=[atr] * len(closes), stoch_k=[40.0] * (len(closes) - 1) + [51], stoch_d=[45.0] * (len(closes) - 1) + [50]
    )
    rule = make_rule(suite=suite, weights=DAY, trend=(), gates=GATES)

    result = run_screen(rule, ["X"], windows_of({"X": {"1day": daily(CLOSE, closes, volume)}}), CLOSE)

    assert dict(zip(result.shut["gate"], result.shut["answer"], strict=True)) == shut
    assert len(result.table) == (not shut)


def test_it_is_told_since_when_a_condition_holds_however_long() -> None:
    short = scored({"close": [100.0] * 40 + [90.0] + [100.0] * 2})
    long = scored({"close": [100.0] * 10 + [90.0] * 60})

    days = daily(CLOSE, [1.0] * 70).index
    assert short.reasons["since"].tolist() == [pd.Timestamp("2026-11-18 21:00", tz="UTC")]
    assert long.reasons["since"].tolist() == [
        pd.Timestamp(days[10].date(), tz="America/New_York") + pd.Timedelta("16h")
    ]
    assert long.table["since"].iloc[0] == long.reasons["since"].iloc[0]


def test_bars_that_are_older_than_the_last_session_are_stale_and_count_as_nothing() -> None:
    bars = {"X": {"1day": daily(CLOSE, [100, 100, 90])}}
    rule = make_rule(suite=told_suite(rsi=[50, 50, 50]), weights=DAY, trend=(), gates={})
    lax = make_rule(suite=told_suite(rsi=[50, 50, 50]), weights=DAY, trend=(), gates={}, stale_after=2)
    before_the_close, after = datetime(2026, 11, 23, 20, 59, tzinfo=UTC), datetime(2026, 11, 23, 21, tzinfo=UTC)

    assert len(run_screen(rule, ["X"], windows_of(bars), before_the_close).table) == 1
    stale = run_screen(rule, ["X"], windows_of(bars), after)
    assert len(stale.table) == 0
    assert stale.lacking["what"].tolist() == ["1day: stale, the newest bar is of 2026-11-20"]
    assert len(run_screen(lax, ["X"], windows_of(bars), after).table) == 1


def test_a_jump_as_after_a_split_is_no_stretch_and_is_told() -> None:
    closes = [100.0] * 60 + [14.2, 14.3, 14.1]
    rule = make_rule(weights=DAY, trend=(), gates={})

    result = run_screen(rule, ["X"], windows_of({"X": {"1day": daily(CLOSE, closes)}}), CLOSE)

    assert len(result.table) == 0
    assert (
        "the price jumps on 2026-11-18, as after a split; too few bars for stretched" in result.lacking["what"].iloc[0]
    )


def test_equal_scores_stand_in_the_order_of_names_and_top_cuts_the_list() -> None:
    market = {name: {"1day": daily(CLOSE, [100, 100, 90])} for name in ("ZZ", "AA", "MM")}
    rule = make_rule(suite=told_suite(rsi=[50, 50, 50]), weights=DAY, trend=(), gates={})

    result = run_screen(rule, list(market), windows_of(market), CLOSE, top=2)

    assert result.table[["rank", "symbol"]].to_numpy().tolist() == [[1, "AA"], [2, "MM"]]
    assert result.to_records()["reasons"].iloc[0][0]["condition"] == "stretched"


def test_a_rule_that_asks_nothing_of_daily_bars_needs_none() -> None:
    rule = make_rule(conditions=[condition("up", "close > open")], weights={"15min": 1}, trend=(), gates={})
    bars = quarters(CLOSE, 2, 1)

    result = run_screen(rule, ["X"], windows_of({"X": {"15min": bars}}), CLOSE)

    assert len(result.table) == (bars["close"].iloc[-1] > bars["open"].iloc[-1])
    history = run_history(
        rule, lambda name, _: whole({"X": {"15min": bars}}, name, ["X"]), [["X"]], CLOSE - timedelta(days=5), CLOSE,
        timeframe="15min", horizons=(1,), min_score=1.0,
    )  # fmt: skip
    assert history.bars == 51  # of two sessions, but the one that ends with the interval


def test_a_condition_of_ones_own_counts_at_its_timeframes_only() -> None:
    mine = [
        condition("low", "close < 95", points=20, timeframes="1day"),
        condition("elsewhere", "close < 95", points=500, timeframes="1hour"),
    ]

    table = scored({"close": [100, 100, 90]}, conditions=[*CONDITIONS, *mine]).table

    assert table["score"].iloc[0] == pytest.approx(100 * 50 / 120)


MARKET = {f"S{seed}": all_timeframes(quarters(CLOSE, 60, seed, drop=0.02 * seed)) for seed in range(3)}
RULE = make_rule(bars=120, gates={"range": "100 * atr / close >= 0.1"})


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 18 * 24 * 60), st.data())
def test_no_later_bar_changes_what_a_screen_says_of_a_moment(minutes: int, data: st.DataObject) -> None:
    """Half days and the end of daylight saving lie within these weeks; later bars are cut off at random."""
    as_of = CLOSE - timedelta(minutes=minutes)
    known = {}
    for symbol, frames in MARKET.items():
        known[symbol] = {}
        for name, bars in frames.items():
            ends = bar_ends(bars.index.as_unit("s").asi8, TIMEFRAMES[name])
            complete = int((ends <= as_of.timestamp()).sum())
            known[symbol][name] = bars.iloc[: data.draw(st.integers(complete, min(complete + 3, len(bars))))]

    then, now = (run_screen(RULE, list(MARKET), windows_of(market), as_of) for market in (known, MARKET))

    pd.testing.assert_frame_equal(then.table, now.table)
    pd.testing.assert_frame_equal(then.reasons, now.reasons)
    assert all(now.reasons["since"] <= as_of)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40 * 24 * 60), st.sampled_from(TIMEFRAMES_USED))
def test_complete_is_what_has_ended(minutes: int, timeframe: str) -> None:
    """`complete_until` and the ends of bars are two ways to say the same."""
    as_of = CLOSE - timedelta(minutes=minutes)
    bars = MARKET["S0"][timeframe]
    ends = bar_ends(bars.index.as_unit("s").asi8, TIMEFRAMES[timeframe])

    starts = bars.index.as_unit("us").asi8
    assert ((starts < complete_until(as_of, timeframe)) == (ends <= as_of.timestamp())).all()


def test_no_later_real_day_changes_what_a_screen_says_of_a_day(real_bars: Path) -> None:
    """Of twenty years of real bars, with splits and a missing day here and there."""
    names = ["AAPL", "BAC", "SPY"]
    days = {name: pd.read_parquet(real_bars / "lean" / name / "1day.parquet").set_index("timestamp") for name in names}
    hours = {
        name: pd.read_parquet(real_bars / "lean" / name / "1hour.parquet").set_index("timestamp") for name in names
    }
    market = {name: {"1day": days[name].astype(float), "1hour": hours[name].astype(float)} for name in names}
    rule = make_rule(weights={"1day": 0.6, "1hour": 0.4})
    random, found = np.random.default_rng(3), 0

    for day in random.choice(days["SPY"].index[250:], 12, replace=False):
        as_of = (pd.Timestamp(day) + pd.Timedelta(minutes=int(random.integers(13 * 60, 24 * 60)))).to_pydatetime()
        cut = {
            name: {length: bars[bars.index < as_of] for length, bars in frames.items()}
            for name, frames in market.items()
        }
        then, now = (run_screen(rule, names, windows_of(one), as_of) for one in (cut, market))
        pd.testing.assert_frame_equal(then.table, now.table)
        found += len(now.table)
    assert found > 5


def test_a_window_has_the_newest_bars_of_each_symbol_and_no_others() -> None:
    window = whole(MARKET, "15min", list(MARKET))
    until = complete_until(CLOSE - timedelta(days=9), "15min")

    cut = newest_bars(window, until=until, bars=50)

    for number, symbol in enumerate(MARKET):
        frame = MARKET[symbol]["15min"]
        expected = frame[frame.index.as_unit("us").asi8 < until].tail(50)
        rows = cut.of(number)
        assert cut.stamps[rows].tolist() == expected.index.as_unit("us").asi8.tolist()
        assert cut.columns["close"][rows].tolist() == expected["close"].tolist()
