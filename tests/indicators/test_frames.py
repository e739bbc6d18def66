"""Frames in: whatever would give a wrong value in silence is refused, and the message names the row and the cure."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from tests.indicators.bars import STAMPS, make_bars, walk
from workbench.errors import InvalidBars
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import COLUMNS
from workbench.store.historical import HistoricalDataManager

BARS = make_bars(walk(100))
LONG = pd.concat({"A": BARS, "B": BARS}, names=["symbol"]).reset_index()
OTHER_NUMBERS = {
    "float32": BARS.astype("float32"),
    "whole": (BARS * 100).astype("int64"),
    "nullable": BARS.astype("Float64"),
    "of Arrow": BARS.astype("float64[pyarrow]"),
    "decimal": BARS.map(lambda value: Decimal(str(value))),
    "read-only": pd.DataFrame(np.frombuffer(BARS.to_numpy().tobytes()).reshape(100, 5), BARS.index, BARS.columns),
    "every other row": make_bars(walk(200)).iloc[::2],
}


def calculate(bars: pd.DataFrame) -> pd.DataFrame:
    return IndicatorEngine.calculate_all_indicators(bars)


def to_polars(bars: pd.DataFrame) -> pl.DataFrame:
    return pl.from_pandas(bars.reset_index() if bars.index.name else bars)


def with_null(frame: pl.DataFrame, column: str, row: int) -> pl.DataFrame:
    return frame.with_columns(pl.when(pl.int_range(len(frame)) == row).then(None).otherwise(column).alias(column))


@pytest.mark.parametrize("kind", OTHER_NUMBERS)
def test_numbers_of_any_kind_are_taken(kind: str) -> None:
    bars = OTHER_NUMBERS[kind]

    values = calculate(bars)

    plain = pd.DataFrame({name: [float(value) for value in bars[name]] for name in bars}, index=bars.index)
    pd.testing.assert_frame_equal(values[list(COLUMNS)], calculate(plain)[list(COLUMNS)], check_exact=True)


@pytest.mark.parametrize(
    ("bars", "told"),
    [
        (BARS.iloc[::-1], r"row 1 \(2026-01-06 15:.*not later than the one before.*sort_index"),
        (BARS.reset_index().iloc[::-1].reset_index(drop=True), r"row 1 \(2026-01-06 15:.*not later"),
        (BARS.reset_index(drop=True).iloc[::-1], "row 1 is not later"),
        (pd.concat([BARS, BARS.iloc[-1:]]), r"row 100 .*none twice"),
        (BARS.set_axis(BARS.index.where(np.arange(100) != 7)), "row 7 has no time"),
        (BARS.set_axis(BARS.index.astype(str)), r"times are str.*pd\.to_datetime"),
        (BARS.set_axis(np.arange(100) * 60), r"times are int64.*pd\.to_datetime"),
        (pd.concat({"A": BARS, "B": BARS}, names=["symbol"]), "several symbols.*calculate_universe"),
        (pd.concat({"A": BARS, "B": BARS}), r"levels of the index are .*name them symbol and timestamp"),
        (LONG.assign(timestamp=STAMPS[:200]), "several symbols.*calculate_universe"),
        (BARS.drop(columns="high"), "high is missing"),
        (BARS.rename(columns=str.title), "close, high, low are missing, but High, Low, Close is there.*small"),
        (pd.concat({"AAPL": BARS}, axis=1), r"several levels.*bars\['AAPL'\]"),
        (pd.concat([BARS, BARS[["close"]]], axis=1), "a column occurs twice"),
        (BARS.assign(close="dear"), "close holds str"),
        (BARS.assign(close=BARS["close"].astype(str)), "close holds str"),
        (BARS.assign(close=BARS["close"].astype(str).astype(object)), "close holds object"),
        (BARS.assign(close=BARS["close"] > 100), "close holds bool"),
        (BARS.assign(close=BARS["close"] + 1j), "close holds complex"),
        (BARS.assign(close=BARS.index), "close holds datetime"),
        (BARS.assign(close=BARS["close"].where(np.arange(100) != 41)), r"row 41 \(2026.*no finite close"),
        (BARS.assign(close=BARS["close"].where(np.arange(100) != 41, np.inf)), "row 41 .*no finite close"),
        (None, "not as NoneType"),
        (BARS["close"], "not as Series"),
        (to_polars(BARS).lazy(), "not as LazyFrame"),
        (to_polars(BARS).reverse(), "row 1 .*not later than the one before"),
        (to_polars(BARS).drop("timestamp"), "column timestamp; there is none"),
        (to_polars(BARS).with_columns(pl.col("timestamp").cast(str)), r"timestamp holds String.*to_datetime"),
        (with_null(to_polars(BARS), "timestamp", 7), "row 7 has no time"),
        (with_null(to_polars(BARS), "close", 7), "row 7 .*no finite close"),
        (to_polars(BARS).with_columns(pl.col("close").cast(str)), "close holds String"),
    ],
)  # fmt: skip
def test_what_would_give_wrong_values_is_refused(bars: pd.DataFrame, told: str) -> None:
    with pytest.raises(InvalidBars, match=told):
        calculate(bars)


@pytest.mark.parametrize("convert", [lambda frame: frame, to_polars], ids=["pandas", "polars"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "do not lie together"),
        (lambda frame: frame.sort_values("timestamp", kind="stable"), "do not lie together"),
        (lambda frame: frame.iloc[[1, 0, *range(2, 200)]], r"row 1 \(A, 2026.*not later"),
        (lambda frame: frame.iloc[[*range(198), 199, 198]], r"row 199 \(B, 2026.*not later"),
        (lambda frame: frame.drop(columns="symbol"), "a column symbol; there is none"),
        (lambda frame: frame.assign(symbol=frame["symbol"].where(frame.index != 199)), "row 199 has no symbol"),
        (lambda frame: frame.assign(close=frame["close"].where(frame.index != 150)), r"row 150 \(B, .*no finite close"),
        (lambda frame: frame.drop(columns="timestamp"), "time"),
    ],
)
def test_a_universe_in_disorder_is_refused(
    convert: Callable[[pd.DataFrame], pd.DataFrame], change: Callable[[pd.DataFrame], pd.DataFrame], told: str
) -> None:
    with pytest.raises(InvalidBars, match=told):
        IndicatorEngine().calculate_universe(convert(change(LONG)))


def test_a_universe_may_be_indexed_by_symbol_and_time() -> None:
    indexed = LONG.set_index(["symbol", "timestamp"])

    values = IndicatorEngine().calculate_universe(indexed)

    assert values.index.equals(indexed.index)
    np.testing.assert_array_equal(values[[*COLUMNS]], IndicatorEngine().calculate_universe(LONG)[[*COLUMNS]])
    assert IndicatorEngine().calculate_universe(LONG.iloc[:0]).empty


@pytest.mark.parametrize("rows", [(60, 60, 60), (60, 57, 1)], ids=["whole", "with rows that begin later"])
def test_over_a_panel_of_the_store_each_row_has_its_own_values(tmp_path: Path, rows: tuple[int, ...]) -> None:
    store, symbols = HistoricalDataManager(tmp_path), "ABC"
    for seed, (symbol, count) in enumerate(zip(symbols, rows, strict=True)):
        store.save_bars(symbol, "15min", make_bars(walk(count, seed)).set_axis(STAMPS[:count]))

    values = IndicatorEngine().calculate_panel(store.panel("15min", list(symbols), 60))

    assert tuple(values) == COLUMNS
    for row, (symbol, count) in enumerate(zip(symbols, rows, strict=True)):
        alone = calculate(store.load_bars(symbol, "15min"))
        for name in COLUMNS:
            np.testing.assert_array_equal(values[name][row, 60 - count :], alone[name])
            assert np.isnan(values[name][row, : 60 - count]).all()
