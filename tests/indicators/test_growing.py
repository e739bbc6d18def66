from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indicators.bars import make_bars, walk
from workbench.indicators.batch import compute
from workbench.indicators.define import own_indicator
from workbench.indicators.growing import GrowingValues
from workbench.indicators.suite import SUITE

BARS = make_bars(walk(400))


def columns_of(bars: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(bars[name].to_numpy(np.float64)) for name in ("high", "low", "close")}


def over(growing: GrowingValues, bars: pd.DataFrame) -> dict[str, np.ndarray]:
    return growing.over(pd.DatetimeIndex(bars.index), columns_of(bars))


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from(["append", "revise", "drop", "same", "earlier"]), st.integers(1, 120))))
def test_whatever_happens_to_the_bars_the_values_are_those_of_a_fresh_computation(
    steps: list[tuple[str, int]],
) -> None:
    growing, begin, end, bars = GrowingValues(SUITE), 100, 150, BARS
    for what, number in steps:
        if what == "append":
            end = min(400, end + number)
        elif what == "drop":
            end = max(begin, end - number)
        elif what == "earlier":
            begin = max(0, begin - number)
        elif what == "revise" and end > begin:
            bars = bars.copy()
            bars.iloc[max(begin, end - number), 3] += 0.25
        now = bars.iloc[begin:end]

        values = over(growing, now)

        np.testing.assert_equal(values, compute(SUITE, columns_of(now)))


def test_appended_bars_are_carried_on() -> None:
    growing = GrowingValues(SUITE)
    for end in (300, 326, 352):
        over(growing, BARS.iloc[:end])

    assert growing.extended == 52


def test_an_indicator_of_ones_own_is_computed_anew() -> None:
    suite = (*SUITE, own_indicator("double", lambda close: close * 2, inputs="close"))
    growing = GrowingValues(suite)
    for end in (300, 326):
        values = growing.over(pd.DatetimeIndex(BARS.index[:end]), columns_of(BARS.iloc[:end]))

    assert growing.extended == 0
    np.testing.assert_equal(values, compute(suite, columns_of(BARS.iloc[:326])))


def test_writing_to_what_went_in_or_came_out_changes_nothing_later() -> None:
    growing, columns = GrowingValues(SUITE), {name: column.copy() for name, column in columns_of(BARS).items()}
    index = pd.DatetimeIndex(BARS.index)
    values = growing.over(index, columns)
    for column in (*values.values(), *columns.values()):
        column[50:] += 7.0

    revised = growing.over(index, columns)
    again = growing.over(index, columns)
    next(iter(again.values()))[:] = 7.0

    np.testing.assert_equal(revised, compute(SUITE, columns))
    np.testing.assert_equal(growing.over(index, columns), compute(SUITE, columns))
