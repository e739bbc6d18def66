"""Live bars joined to stored ones: the same values as of the whole history at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.display.live.series import LiveSeries
from workbench.indicators.engine import IndicatorEngine
from workbench.market.aggregate import ProvisionalBar
from workbench.market.bars import COLUMNS

ENGINE = IndicatorEngine()
OPEN = int(pd.Timestamp("2026-11-20 14:30", tz="UTC").timestamp())


def make_bars(count: int, *, begin: int = OPEN) -> list[ProvisionalBar]:
    close = 100 + np.random.default_rng(3).normal(0, 0.3, count).cumsum()
    return [
        ProvisionalBar(
            "AAPL", "1min", begin + 60 * at, price, price + 0.2, price - 0.1, price, 10.0, price, 3.0, 11, 12
        )
        for at, price in enumerate(close.tolist())
    ]


def framed(bars: Sequence[ProvisionalBar]) -> pd.DataFrame:
    index = pd.DatetimeIndex(pd.to_datetime([bar.timestamp for bar in bars], unit="s", utc=True), name="timestamp")
    return pd.DataFrame([bar[3:10] for bar in bars], index=index.as_unit("us"), columns=list(COLUMNS), dtype=float)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300), st.integers(0, 60), st.integers(1, 60))
def test_bars_one_by_one_have_the_values_of_the_whole_history(stored: int, live: int, more: int) -> None:
    bars = make_bars(stored + live + more)
    whole = ENGINE.calculate(framed(bars))
    series = LiveSeries(ENGINE, framed(bars[:stored]), bars[stored : stored + live])

    told = []
    for at in range(stored + live, len(bars)):
        (forming,) = series.take([], bars[at])
        (complete,) = series.take([bars[at]], None)
        assert forming["forming"] == 1
        np.testing.assert_array_equal([forming[n] for n in ENGINE.columns], [complete[n] for n in ENGINE.columns])
        told.append(complete)

    np.testing.assert_array_equal(series.study[list(ENGINE.columns)], whole.iloc[: stored + live][list(ENGINE.columns)])
    columns = [*COLUMNS, *ENGINE.columns]
    np.testing.assert_array_equal(
        [[bar[name] for name in columns] for bar in told], whole.iloc[stored + live :][columns]
    )


def test_what_history_has_is_final_and_live_bars_of_that_time_do_not_count() -> None:
    bars = make_bars(50)
    other = [bar._replace(close=bar.close + 0.05) for bar in bars]

    series = LiveSeries(ENGINE, framed(bars[:40]), other[30:45])

    assert series.study["close"].tolist() == [bar.close for bar in [*bars[:40], *other[40:45]]]
    assert series.take(other[30:45], other[39]) == []
    assert series.study["missing"].tolist() == [0.0] * 40 + [1.0] * 5


def test_a_bar_that_is_told_twice_counts_once() -> None:
    bars = make_bars(50)
    series = LiveSeries(ENGINE, framed(bars[:40]))

    first, again = series.take(bars[40:42], None), series.take(bars[41:42], None)

    assert [bar["timestamp"] for bar in first] == [bar.timestamp for bar in bars[40:42]]
    assert again == []
