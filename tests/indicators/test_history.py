"""A million bars: what is carried on behind them is what the whole history gives, and holds none of them."""

from __future__ import annotations

import os

import numpy as np
import pytest
import talib

from tests.indicators.bars import make_bars, walk
from workbench.indicators.batch import compute
from workbench.indicators.define import talib_indicator
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import SUITE, Indicator

ROWS, NEW = 1_000_000, 5
"""Bars in all, and how many of them come one by one."""

_ALL = "WORKBENCH_EVERY_FUNCTION" in os.environ  # `make soak` sets it
_GROUPS = ("Momentum Indicators", "Volatility Indicators", "Volume Indicators")
FUNCTIONS = talib.get_functions() if _ALL else [name for one in _GROUPS for name in talib.get_function_groups()[one]]


@pytest.fixture(scope="module")
def columns() -> dict[str, np.ndarray]:
    bars = make_bars(walk(ROWS))
    return {name: np.ascontiguousarray(bars[name]) for name in bars} | {"periods": np.full(ROWS, 9.0)}


def test_enough_functions_are_tried() -> None:
    assert len(FUNCTIONS) >= 60


@pytest.mark.parametrize("suite", [SUITE, *[(talib_indicator(name.lower()),) for name in FUNCTIONS]],
                         ids=["the suite", *FUNCTIONS])  # fmt: skip
def test_behind_a_million_bars_each_goes_on_bit_for_bit(
    columns: dict[str, np.ndarray], suite: tuple[Indicator, ...]
) -> None:
    batch = compute(suite, columns)
    live = LiveIndicators(suite, {name: column[:-NEW] for name, column in columns.items()})
    updated = [live.update({name: float(column[row]) for name, column in columns.items()}) for row in range(-NEW, 0)]

    for name, column in batch.items():
        np.testing.assert_array_equal([values[name] for values in updated], column[-NEW:], err_msg=name)
    assert not any(step.__self__._bars for *_, step in live._updates)  # type: ignore[attr-defined]
