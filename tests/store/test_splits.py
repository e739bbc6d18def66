"""A split is told from revisions, bad prints, spin-offs and chance; a symbol is rebuilt as one step."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.store.splits import Ratio, Suspicion, adjusted, find_split


def bars(count: int = 20, seed: int = 1, price: float = 100.0) -> pd.DataFrame:
    """Return daily bars of a random walk, prices in cents."""
    random = np.random.default_rng(seed)
    close = np.round(price * np.exp(np.cumsum(random.normal(0, 0.02, count))), 2)
    opened = np.round(close * np.exp(random.normal(0, 0.01, count)), 2)
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    volume = random.integers(10_000, 1_000_000, count).astype(float)
    values = {"open": opened, "high": high, "low": low, "close": close, "volume": volume, "average": close}
    index = pd.date_range("2020-08-03", periods=count, freq="D", tz="UTC", unit="us", name="timestamp")
    return pd.DataFrame(values | {"bar_count": 10.0}, index=index)


def rounded(frame: pd.DataFrame, decimals: int) -> pd.DataFrame:
    return frame.round(dict.fromkeys(("open", "high", "low", "close"), decimals)).assign(volume=frame["volume"].round())


RATIOS = [Ratio(2, 1), Ratio(3, 1), Ratio(3, 2), Ratio(7, 1), Ratio(20, 1), Ratio(1, 20), Ratio(1, 8), Ratio(28, 1)]


@given(st.sampled_from(RATIOS), st.integers(0, 1000), st.sampled_from([2, 4]), st.integers(5, 40))
def test_a_split_is_found_whatever_its_ratio_and_however_prices_are_rounded(
    ratio: Ratio, seed: int, decimals: int, count: int
) -> None:
    stored = bars(count, seed, price=300.0)

    assert find_split(stored, rounded(adjusted(stored, ratio), decimals)) == ratio


@given(st.sampled_from(RATIOS), st.integers(0, 1000))
def test_the_other_way_round_is_the_inverse_split(ratio: Ratio, seed: int) -> None:
    stored = bars(seed=seed, price=300.0)

    assert find_split(adjusted(stored, ratio), stored) == Ratio(ratio.old, ratio.new)


@given(st.integers(0, 1000), st.floats(0, 0.002))
def test_revised_bars_are_no_split(seed: int, share: float) -> None:
    stored = bars(seed=seed)
    revised = stored.assign(close=stored["close"] * (1 + np.random.default_rng(seed).uniform(-share, share, 20)))

    assert find_split(stored, revised) is None


def test_a_few_bars_that_ib_revised_after_the_split_do_not_hide_it() -> None:
    stored = bars()
    fresh = adjusted(stored, Ratio(4, 1))
    fresh.loc[fresh.index[3], "close"] *= 1.02

    assert find_split(stored, fresh) == Ratio(4, 1)


@pytest.mark.parametrize("column", ["open", "high", "low", "close"])
def test_a_bad_print_is_reported_and_is_no_split(column: str) -> None:
    stored = bars()
    stored.loc[stored.index[7], column] *= 0.5

    found = find_split(stored, bars())

    assert isinstance(found, Suspicion)
    assert not found.is_of_all
    assert "1 of 20 bars" in found.reason
    assert "2020-08-10" in found.reason


@pytest.mark.parametrize("factor", [0.366, 1.0732, 1.7181, 11 / 20 + 0.03])
def test_a_factor_that_no_split_explains_is_reported(factor: float) -> None:
    stored = bars()
    prices = {name: stored[name] / factor for name in ("open", "high", "low", "close")}

    found = find_split(stored, stored.assign(**prices, volume=stored["volume"] * factor))

    assert isinstance(found, Suspicion)
    assert found.is_of_all
    assert f"{factor:.4g}"[:4] in found.reason


def test_prices_of_a_split_with_the_volumes_of_none_are_reported() -> None:
    stored = bars()

    found = find_split(stored, adjusted(stored, Ratio(2, 1)).assign(volume=stored["volume"]))

    assert isinstance(found, Suspicion)
    assert found.is_of_all
    assert "volumes" in found.reason


def test_quotes_have_no_volume_and_tell_a_split_by_their_prices() -> None:
    stored = bars().assign(volume=0.0)

    assert find_split(stored, adjusted(stored, Ratio(2, 1))) == Ratio(2, 1)


def test_factors_that_change_from_bar_to_bar_are_reported() -> None:
    found = find_split(bars(seed=1), bars(seed=2, price=50.0))

    assert isinstance(found, Suspicion)
    assert found.is_of_all


@pytest.mark.parametrize("count", [1, 4])
def test_a_few_bars_do_not_make_a_split(count: int) -> None:
    stored = bars(count)

    found = find_split(stored, adjusted(stored, Ratio(2, 1)))

    assert isinstance(found, Suspicion)
    assert found.is_of_all
    assert f"{count} bars" in found.reason


def test_bars_of_other_times_cannot_be_compared() -> None:
    stored = bars()

    found = find_split(stored.iloc[:10], stored.iloc[10:])

    assert isinstance(found, Suspicion)
    assert not found.is_of_all
