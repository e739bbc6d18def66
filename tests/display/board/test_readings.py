"""Readings bar by bar are those of the whole history."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.display.board.readings import Track, needed, turn_of
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import SUITE
from workbench.market.aggregate import ProvisionalBar
from workbench.market.bars import COLUMNS

ENGINE = IndicatorEngine()
OPEN = 1_795_185_000


def rows_of(closes: list[float]) -> np.ndarray:
    """Return bars as an aggregator keeps them: start, columns, received, expected."""
    rows = [(OPEN + 60 * at, one, one + 1, one - 1, one, 5.0, one, 2.0, 12, 12) for at, one in enumerate(closes)]
    return np.array(rows, dtype=np.float64).reshape(-1, 10)


def bar_of(row: np.ndarray) -> ProvisionalBar:
    return ProvisionalBar("KO", "1min", int(row[0]), *row[1:8].tolist(), 12, 12)


def study_of(rows: np.ndarray) -> pd.DataFrame:
    index = pd.DatetimeIndex(rows[:, 0].astype("datetime64[s]").astype("datetime64[us]")).tz_localize("UTC")
    return ENGINE.calculate(pd.DataFrame(rows[:, 1:8], index=index, columns=list(COLUMNS)))


@settings(max_examples=60)
@given(st.lists(st.floats(50, 60), min_size=1, max_size=90), st.integers(0, 90), st.booleans())
def test_bar_by_bar_equals_all_at_once(closes: list[float], known: int, forms: bool) -> None:
    rows = rows_of(closes)
    complete = rows[:-1] if forms else rows
    track = Track(needed(SUITE), complete[:known])

    for row in complete[known:]:
        track.take(bar_of(row))
    read = track.read(bar_of(rows[-1]) if forms else None)

    whole, turned = study_of(rows), study_of(complete)["macd_hist"].to_list()
    np.testing.assert_equal([read.rsi, read.stoch_k], whole[["rsi", "stoch_k"]].iloc[-1].to_list())
    assert read.turn == turn_of(([float("nan")] * 3 + turned)[-3:])


def test_a_bar_that_is_known_already_changes_nothing() -> None:
    rows = rows_of([50 + at % 7 for at in range(60)])
    track = Track(needed(SUITE), rows)
    before = track.read(None)

    track.take(bar_of(rows[-1])._replace(close=99.0))

    assert track.read(bar_of(rows[-2])) == before


def test_only_the_indicators_that_are_shown_are_carried_on() -> None:
    assert {name for one in needed(SUITE) for name in one.outputs} == {
        "rsi", "stoch_k", "stoch_d", "macd", "macd_signal", "macd_hist",
    }  # fmt: skip
