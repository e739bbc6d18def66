"""Live equals batch, for the whole suite and for every function of TA-Lib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indicators.bars import HARD, NOT_OF_PRICES, make_bars, real_bars_of, walk
from workbench.errors import InvalidBars
from workbench.indicators.batch import compute
from workbench.indicators.define import own_indicator, talib_indicator
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import STOCH_RSI_TRADINGVIEW, SUITE, Indicator

FUNCTIONS = talib.get_functions()


def columns_of(bars: pd.DataFrame) -> dict[str, np.ndarray]:
    columns = {name: np.ascontiguousarray(bars[name].to_numpy(np.float64)) for name in bars}
    return columns | {"periods": np.full(len(bars), 9.0)}


def assert_live_equals_batch(suite: tuple[Indicator, ...], bars: pd.DataFrame, begin: int) -> None:
    """Open on the first `begin` bars and go on bar by bar; each value, and each peek before it, is the batch's."""
    columns = columns_of(bars)
    batch = compute(suite, columns)
    live = LiveIndicators(suite, {name: column[:begin].copy() for name, column in columns.items()})
    peeked, updated = [], []
    for row in range(begin, len(bars)):
        bar = {name: float(column[row]) for name, column in columns.items()}
        peeked.append(live.peek(bar))
        updated.append(live.update(bar))

    for name, column in batch.items():
        np.testing.assert_array_equal([values[name] for values in updated], column[begin:], err_msg=name)
        np.testing.assert_array_equal([values[name] for values in peeked], column[begin:], err_msg=name)


@pytest.mark.parametrize("begin", [0, 1, 200, 399])
@pytest.mark.parametrize("kind", HARD)
def test_the_suite_goes_on_bit_for_bit(kind: str, begin: int) -> None:
    assert_live_equals_batch(SUITE, HARD[kind], min(begin, len(HARD[kind])))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_talib_goes_on_bit_for_bit(real_bars: Path, function: str) -> None:
    suite = (talib_indicator(function.lower()),)
    bars = real_bars_of(real_bars).iloc[:500]
    if function in NOT_OF_PRICES:
        bars = bars / 1000

    for begin in (0, 300):
        assert_live_equals_batch(suite, bars, begin)
    for kind in ("a flat line", "100 000 ± 0.01", "zero volume", "one bar"):
        assert_live_equals_batch(suite, HARD[kind] / (1000 if function in NOT_OF_PRICES else 1), len(HARD[kind]) // 2)


def without_some(close: np.ndarray) -> np.ndarray:
    """Return a column with holes: at the begin, of one bar, of many, and one that is infinite."""
    row = np.arange(len(close))
    missing = (row < 5) | (row == 150) | ((row >= 240) & (row < 260))
    return np.where(missing, np.nan, np.where(row == 380, np.inf, close))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_no_function_of_talib_reaches_over_a_hole_in_its_input(real_bars: Path, function: str) -> None:
    usual, bars = talib_indicator(function.lower()), real_bars_of(real_bars).iloc[:400]
    hole = own_indicator("hole", without_some, inputs="close")
    over = talib_indicator("over", function, inputs=[name if name == "periods" else "hole" for name in usual.inputs])

    values = compute((hole, over), columns_of(bars))

    for begin, end in ((5, 150), (151, 240), (260, 380), (381, 400)):
        alone = compute((over,), {"hole": values["hole"][begin:end], "periods": np.full(end - begin, 9.0)})
        for name in over.outputs:
            np.testing.assert_array_equal(values[name][begin:end], alone[name])
    for name in over.outputs:
        assert np.isnan(values[name][~np.isfinite(values["hole"])]).all()
    assert_live_equals_batch((hole, over), bars, 200)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), begin=st.integers(0, 300))
def test_one_rebuilt_from_stored_bars_carries_on_as_if_never_stopped(seed: int, begin: int) -> None:
    columns = columns_of(make_bars(walk(320, seed)))
    bars = [{name: float(column[row]) for name, column in columns.items()} for row in range(320)]
    never_stopped = LiveIndicators(SUITE, {name: column[:0] for name, column in columns.items()})
    for bar in bars[:begin]:
        never_stopped.update(bar)
    rebuilt = LiveIndicators(SUITE, {name: column[:begin].copy() for name, column in columns.items()})

    np.testing.assert_equal(rebuilt.values, never_stopped.values)
    for bar in bars[begin:]:
        np.testing.assert_equal(rebuilt.update(bar), never_stopped.update(bar))


def test_an_indicator_of_ones_own_goes_on_like_batch() -> None:
    own = own_indicator(
        "range_3", lambda high, low: pd.Series(high - low).rolling(3).mean().to_numpy(), inputs="high low"
    )

    assert_live_equals_batch((*SUITE, STOCH_RSI_TRADINGVIEW, own), HARD["a walk"].iloc[:120], 60)


@pytest.mark.parametrize(
    "bar",
    [
        {},
        {"high": 1.0, "low": 1.0},
        {"high": 2.0, "low": 1.0, "close": np.nan},
        {"high": np.inf, "low": 1.0, "close": 1.0},
        {"high": "x", "low": 1.0, "close": 1.0},
    ],
)
def test_a_bar_without_finite_prices_is_refused_and_leaves_no_trace(bar: dict[str, float]) -> None:
    columns = columns_of(HARD["a walk"])
    live, untouched = (LiveIndicators(SUITE, columns) for _ in range(2))

    for take in (live.update, live.peek):
        with pytest.raises(InvalidBars, match="need"):
            take(bar)

    good = {"high": 101.0, "low": 99.0, "close": 100.0}
    assert live.update(good) == untouched.update(good)


def test_a_column_with_a_missing_price_is_refused() -> None:
    columns = columns_of(HARD["a walk"])
    columns["close"] = np.where(np.arange(700) == 33, np.nan, columns["close"])

    with pytest.raises(InvalidBars, match="row 33 has no finite close"):
        LiveIndicators(SUITE, columns)


def test_after_a_failure_midway_it_says_so_until_it_is_opened_anew() -> None:
    def fails_at_high_prices(close: np.ndarray) -> np.ndarray:
        if len(close) and close[-1] > 1000:
            raise ZeroDivisionError("too high")
        return close

    suite = (*SUITE, own_indicator("mine", fails_at_high_prices, inputs="close"))
    live = LiveIndicators(suite, columns_of(HARD["a walk"].iloc[:50]))

    with pytest.raises(ZeroDivisionError):
        live.update({"high": 2000.0, "low": 1999.0, "close": 2000.0})
    with pytest.raises(InvalidBars, match="open the indicators anew"):
        live.update({"high": 101.0, "low": 99.0, "close": 100.0})
