from __future__ import annotations

import pickle
import sys
import tomllib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import talib

from tests.indicators.bars import HARD, NOT_OF_PRICES, real_bars_of
from workbench.errors import InvalidIndicator
from workbench.indicators.checks import check_lookahead, check_warmup
from workbench.indicators.define import check_suite, own_indicator, parse_indicators, talib_indicator
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import STOCH_RSI_TRADINGVIEW, SUITE, Indicator
from workbench.settings import load_settings


@pytest.mark.parametrize(
    ("name", "function", "parameters"),
    [
        ("sma_20", "SMA", {"timeperiod": 20}),
        ("ema_9", "EMA", {"timeperiod": 9}),
        ("adx_14", "ADX", {"timeperiod": 14}),
        ("macd_5_35_5", "MACD", {"fastperiod": 5, "slowperiod": 35, "signalperiod": 5}),
        ("ht_dcperiod", "HT_DCPERIOD", {}),
        ("bbands_20_2.5", "BBANDS", {"timeperiod": 20, "nbdevup": 2.5, "nbdevdn": 2.0, "matype": 0}),
    ],
)
def test_a_name_says_function_and_parameters(name: str, function: str, parameters: dict[str, float]) -> None:
    indicator = talib_indicator(name)

    assert (indicator.function, dict(indicator.parameters)) == (function, parameters)


def test_outputs_are_named_after_the_indicator_unless_they_are_named() -> None:
    assert talib_indicator("sma_20").outputs == ("sma_20",)
    assert talib_indicator("aroon_14").outputs == ("aroon_14_aroondown", "aroon_14_aroonup")
    assert talib_indicator("a", "AROON", outputs="down up").outputs == ("down", "up")


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: talib_indicator("smaa_20"), "did you mean SMA"),
        (lambda: talib_indicator("fast", "ENA", timeperiod=9), "did you mean EMA"),
        (lambda: talib_indicator("fast", "EMA", timeperoid=9), "did you mean timeperiod"),
        (lambda: talib_indicator("fast", "EMA", timeperiod=9.5), "not a whole number"),
        (lambda: talib_indicator("fast", "EMA", timeperiod=True), "not a number"),
        (lambda: talib_indicator("fast", "EMA", timeperiod=-3), "refuses"),
        (lambda: talib_indicator("sma_20_30"), "not 2 numbers"),
        (lambda: talib_indicator("ad_5"), "AD has no parameters"),
        (lambda: talib_indicator("a", "ADX", inputs="close"), "takes 3 columns, such as high low close"),
        (lambda: talib_indicator("a", "AROON", outputs="down"), "name as many outputs"),
        (lambda: own_indicator("mine", abs, inputs=""), "has no inputs"),
        (lambda: parse_indicators({"sma_20": 20}), "write {} or a table"),
        (lambda: parse_indicators({"x": {"expression": "close +"}}), "cannot be read"),
        (lambda: parse_indicators({"x": {"expression": "close", "window": 3}}), "has no window"),
        (lambda: parse_indicators({"x": {"expression": 5}}), "expression is 5, not a text"),
        (
            lambda: parse_indicators({"x": {"expression": "close", "warm_up": "a"}}),
            "warm_up is 'a', not a number of bars",
        ),
        (lambda: parse_indicators({"x": {"expression": "close", "warm_up": -1}}), "warm_up is -1"),
        (lambda: parse_indicators({"x": {"expression": "upper(close)"}}), "cannot be computed: invalid series dtype"),
        (lambda: parse_indicators({"x": {"expression": "sum(close)"}}), "gives 1 value for 3 bars"),
        (lambda: parse_indicators({"x": {"function": 5}}), "function is 5, not a text"),
        (lambda: parse_indicators({"x": {"function": "EMA", "inputs": [1]}}), r"inputs is \[1\], not a text"),
        (lambda: parse_indicators({"x": {"function": "EMA", "name": "y"}}), "leave name = 'y' out"),
        (lambda: talib_indicator("fast", "EMA", timeperiod=float("nan")), "not a finite number"),
        (lambda: talib_indicator(""), "without a name"),
        (lambda: own_indicator("x", pl.col("opne") - 1, inputs="open close"), "column opne, .*; did you mean open"),
        (lambda: own_indicator("x", pl.col("close"), inputs="close", length=3), "has no parameter length"),
        (lambda: own_indicator("x", "close * 2", inputs="close"), "neither a function over columns nor"),  # type: ignore[arg-type]
        (lambda: own_indicator("x", lambda c, length=3: c, inputs="close", lenght=4), "did you mean length"),
        (lambda: own_indicator("x", lambda a, b: a, inputs="close"), "cannot be called with 1 columns"),
        (lambda: check_suite(["sma_20"], ["close"]), "'sma_20' is no indicator"),  # type: ignore[list-item]
        (
            lambda: check_suite([talib_indicator("a", "AROON", outputs="x x")], ["high", "low"]),
            "gives x, .*there already",
        ),
        (lambda: check_suite([talib_indicator("x", "SMA", inputs="clsoe")], ["close"]), "did you mean close"),
        (lambda: check_suite([talib_indicator("sma_20"), talib_indicator("sma_20")], ["close"]), "there already"),
    ],
)
def test_a_wrong_definition_is_refused_with_the_nearest_right_one(make, hint: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidIndicator, match=hint):
        make()


def test_a_table_of_the_settings_defines_indicators() -> None:
    table = tomllib.loads("""
        sma_100 = {}
        fast = { function = "EMA", timeperiod = 9 }
        spread = { expression = "(high - low) / close" }
    """)
    engine = IndicatorEngine((*SUITE, *parse_indicators(table)))
    bars = HARD["a walk"]

    values = engine.calculate(bars)

    close = bars["close"].to_numpy()
    np.testing.assert_array_equal(values["sma_100"], talib.SMA(close, 100))
    np.testing.assert_array_equal(values["fast"], talib.EMA(close, 9))
    np.testing.assert_array_equal(values["spread"], (bars["high"] - bars["low"]) / bars["close"])


def test_an_expression_of_polars_is_an_indicator() -> None:
    gap = own_indicator("gap", pl.col("open") / pl.col("close").shift(1) - 1, inputs="open close", warm_up=1)
    bars = HARD["a walk"]

    values = IndicatorEngine([gap]).calculate(bars)["gap"]

    np.testing.assert_allclose(values, bars["open"] / bars["close"].shift(1) - 1, rtol=1e-15)


def test_an_unknown_parameter_of_a_definition_made_by_hand_is_not_ignored() -> None:
    wrong = Indicator("x", "SMA", ("close",), ("x",), 4, {"timeperoid": 5})

    with pytest.raises(InvalidIndicator, match="SMA has timeperiod"):
        IndicatorEngine([wrong]).calculate(HARD["a walk"])


def test_a_function_of_ones_own_is_found_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_indicators.py").write_text(
        "def body(open, close, scale=1):\n    return scale * abs(close - open)\n"
    )
    (tmp_path / "my_broken_indicators.py").write_text("body = nothing\n")
    (tmp_path / "workbench.toml").write_text(
        '[indicators]\nbody = { function = "my_own_indicators:body", inputs = "open close", scale = 2 }\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", sys.path.copy())

    [body] = parse_indicators(load_settings().indicators)
    bars = HARD["a walk"]

    values = IndicatorEngine([body]).calculate(bars)["body"]
    np.testing.assert_array_equal(values, 2 * (bars["close"] - bars["open"]).abs())
    for place, told in {
        "my_own_indicators:bodi": "did you mean body",
        "my_broken_indicators:body": "'nothing' is not defined",
        "my_missing_indicators:body": "into the folder of workbench.toml",
    }.items():
        with pytest.raises(InvalidIndicator, match=told):
            parse_indicators({"body": {"function": place, "inputs": "open close"}})
    with pytest.raises(InvalidIndicator, match="no parameter scal; did you mean scale"):
        parse_indicators({"body": {"function": "my_own_indicators:body", "inputs": "open close", "scal": 2}})


def test_tradingviews_stochrsi_has_a_name_in_the_settings() -> None:
    assert parse_indicators({"stochrsi_tv": {}}) == (STOCH_RSI_TRADINGVIEW,)


def test_one_that_gives_another_number_of_rows_is_refused() -> None:
    short = own_indicator("short", lambda close: close[1:], inputs="close")

    with pytest.raises(InvalidIndicator, match=r"must give 1 columns of 700 rows; it gave \(699,\)"):
        IndicatorEngine([short]).calculate(HARD["a walk"])


def test_definitions_survive_pickling() -> None:
    assert pickle.loads(pickle.dumps(SUITE)) == SUITE


def test_tradingviews_form_of_stochrsi_is_its_definition() -> None:
    bars = HARD["a walk"]
    rsi = talib.RSI(bars["close"].to_numpy(), 14)
    expected_k = np.full(len(bars), np.nan)
    raw = [
        100 * (rsi[i] - min(rsi[i - 13 : i + 1])) / (max(rsi[i - 13 : i + 1]) - min(rsi[i - 13 : i + 1]))
        for i in range(27, 700)
    ]
    expected_k[29:] = [sum(raw[i - 2 : i + 1]) / 3 for i in range(2, len(raw))]

    values = IndicatorEngine((*SUITE, STOCH_RSI_TRADINGVIEW)).calculate(bars)

    np.testing.assert_allclose(values["stochrsi_tv_k"], expected_k, rtol=1e-9, atol=1e-9)
    # From bar 31 on it is TA-Lib's as well.
    np.testing.assert_allclose(values["stochrsi_tv_d"].iloc[31:], values["stoch_d"].iloc[31:], rtol=1e-9, atol=1e-9)


NO_VALUE = {("zero volume", "VWMA"), ("zero volume", "RVOL")}
"""What divides by a volume of zero."""


@pytest.mark.parametrize("function", talib.get_functions())
def test_no_function_of_talib_looks_ahead_and_each_warms_up_as_stated(real_bars: Path, function: str) -> None:
    bars = real_bars_of(real_bars).assign(periods=9.0)
    if function in NOT_OF_PRICES:
        bars = bars / 1000
    indicator = talib_indicator(function.lower())

    assert check_lookahead(indicator, bars, cuts=20)
    warm_up = check_warmup(indicator, bars)
    assert warm_up.first_value == indicator.warm_up == warm_up.stated
    for kind in ("a flat line", "100 000 ± 0.01", "zero volume", "one bar"):
        hard = HARD[kind].assign(periods=9.0) / (1e6 if function in NOT_OF_PRICES else 1)
        assert len(hard) == 1 or check_lookahead(indicator, hard, cuts=5), kind
        has_values = len(hard) > indicator.warm_up and (kind, function) not in NO_VALUE
        assert check_warmup(indicator, hard).first_value == (indicator.warm_up if has_values else None), kind


@pytest.mark.parametrize("number", range(len(SUITE)), ids=[one.name for one in SUITE])
def test_the_suite_does_not_look_ahead_and_warms_up_as_stated(real_bars: Path, number: int) -> None:
    suite = SUITE[: number + 1]

    assert check_lookahead(suite, real_bars_of(real_bars))
    assert check_warmup(suite, real_bars_of(real_bars))
