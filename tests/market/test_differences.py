"""Built bars beside those of history, in small examples."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.market.bars import COLUMNS
from workbench.market.differences import Differences, compare, holes

OPEN = pd.Timestamp("2026-11-20T14:30Z")


def bars(*rows: tuple[float, ...], step_s: int = 60) -> pd.DataFrame:
    """Return bars of open, high, low, close, volume and count, one after the other."""
    index = pd.DatetimeIndex([OPEN + pd.Timedelta(seconds=step_s * k) for k in range(len(rows))], name="timestamp")
    frame = pd.DataFrame(
        rows, columns=["open", "high", "low", "close", "volume", "bar_count"], index=index, dtype=float
    )
    return frame.assign(average=frame["close"])[list(COLUMNS)]


PLAIN = (10.0, 10.2, 9.9, 10.1, 300.0, 4.0)
QUIET = (10.1, 10.1, 10.1, 10.1, 0.0, 0.0)


def test_equal_bars_are_equal_whatever_their_averages() -> None:
    both = bars(PLAIN, PLAIN)

    assert compare(both, both.assign(average=7.0)) == Differences(bars=2, equal=2)


def test_a_cent_is_a_price_and_a_quarter_of_the_usual_range_is_far() -> None:
    history = bars(PLAIN, PLAIN, PLAIN)
    built = history.copy()
    built.iloc[1, 3] += 0.01
    built.iloc[2, 3] -= 0.09  # 0.3 of range, so 0.075 and a cent are near

    found = compare(built, history)

    assert (found.equal, found.price, found.far, found.volume) == (1, 2, 1, 0)
    assert np.isclose(found.widest, 0.09 / 10.1)


def test_a_bar_of_which_parts_were_missing_is_partial_and_not_far() -> None:
    history = bars(PLAIN)
    built = bars((10.0, 11.0, 9.0, 10.9, 50.0, 1.0)).assign(received=5, expected=12)

    found = compare(built, history)

    assert (found.price, found.far, found.partial) == (1, 0, 1)


def test_volume_and_count_are_looked_at_where_prices_are_the_same_and_unknown_equals_unknown() -> None:
    history = bars(PLAIN, PLAIN, PLAIN)
    built = history.copy()
    built.iloc[0, built.columns.get_loc("volume")] += 1
    built.iloc[1, built.columns.get_loc("bar_count")] = np.nan
    built.iloc[2, built.columns.get_loc("bar_count")] = history.iloc[2, built.columns.get_loc("bar_count")] = np.nan

    assert compare(built, history) == Differences(bars=3, equal=1, volume=2)


def test_what_one_side_lacks_counts_where_somebody_traded() -> None:
    whole = bars(PLAIN, QUIET, PLAIN, PLAIN)

    assert compare(whole.iloc[:2], whole.iloc[2:]) == Differences(bars=2, missing=2, extra=1)
    assert compare(whole.iloc[:0], whole.iloc[:0]) == Differences()


def test_three_minutes_in_a_row_without_history_are_a_hole_and_two_are_not() -> None:
    heard = bars(*[PLAIN] * 6)
    minute = pd.Timedelta(minutes=1)

    def hole(*lacking: int) -> list[tuple[float, float]]:
        history = heard.drop(heard.index[list(lacking)])
        return [((one.begin - OPEN) / minute, (one.end - OPEN) / minute) for one in holes(heard, history)]

    assert hole(1, 2) == hole(0, 2, 4) == []
    assert hole(1, 2, 3) == [(1, 4)]
    assert hole(*range(6)) == [(0, 6)]


def test_quiet_minutes_are_no_hole_and_split_none() -> None:
    heard = bars(PLAIN, PLAIN, QUIET, PLAIN, QUIET, QUIET, QUIET, PLAIN)

    assert len(holes(heard, heard.iloc[[0, 7]])) == 0
    (found,) = holes(heard.iloc[:4], heard.iloc[:0])
    assert found.end - found.begin == pd.Timedelta(minutes=4)


@settings(deadline=None)
@given(built=st.sets(st.integers(0, 59)), history=st.sets(st.integers(0, 59)), wrong=st.sets(st.integers(0, 59)))
def test_every_bar_is_counted_once(built: set[int], history: set[int], wrong: set[int]) -> None:
    whole = bars(*[PLAIN] * 60)
    ours, theirs = whole.iloc[sorted(built)].copy(), whole.iloc[sorted(history)]
    ours.loc[ours.index.isin(whole.index[sorted(wrong)]), "close"] = 10.0

    found = compare(ours, theirs)

    assert found.equal + found.price + found.volume + found.missing == found.bars == len(history)
    assert found.equal + found.price + found.volume + found.extra == len(built)
    assert found.price == len(built & history & wrong)
