from __future__ import annotations

import numpy as np
import pytest

from tests.indicators.bars import HARD
from workbench.errors import InvalidBars, InvalidInput
from workbench.indicators.checks import check_lookahead, check_warmup
from workbench.indicators.define import own_indicator, talib_indicator
from workbench.indicators.suite import SUITE

BARS = HARD["a walk"]


def test_a_centred_mean_is_caught_looking_ahead() -> None:
    centred = own_indicator("centred", lambda close: np.convolve(close, np.ones(3) / 3, "same"), inputs="close")

    report = check_lookahead(centred, BARS)

    assert not report
    assert str(report).startswith("centred LOOKS AHEAD: its past changes when later bars come, first centred at 2026-")


@pytest.mark.parametrize(
    "peeks",
    [
        lambda close: np.append(close[1:], np.nan),
        lambda close: (close - close.mean()) / close.std(),
        lambda close: close / close.max(),
    ],
    ids=["tomorrow's close", "a score over the whole history", "a share of the highest"],
)
def test_other_looks_into_the_future_are_caught(peeks) -> None:  # type: ignore[no-untyped-def]
    assert not check_lookahead(own_indicator("peeks", peeks, inputs="close"), BARS)


def test_a_look_ahead_of_one_bar_at_the_very_end_is_caught() -> None:
    def last_one(close: np.ndarray) -> np.ndarray:
        values = close.copy()
        values[-2:-1] = close[-1:]
        return values

    assert not check_lookahead(own_indicator("last_one", last_one, inputs="close"), BARS)


@pytest.mark.parametrize("rows", [0, 1, 10])
def test_too_few_bars_prove_nothing(rows: int) -> None:
    with pytest.raises(InvalidBars, match="prove nothing about peeks"):
        check_lookahead(own_indicator("peeks", lambda close: np.append(close[1:], 0), inputs="close"), BARS[:rows])


def test_the_suite_passes() -> None:
    assert str(check_lookahead(SUITE, BARS)) == (
        "sma_200 does not look ahead: the future was taken away 60 times, no value changed"
    )


def test_a_moving_average_is_stable_with_its_first_value() -> None:
    report = check_warmup(talib_indicator("sma_20"), BARS)

    assert (report.first_value, report.stated) == (19, 19)
    assert report.stable_after is not None
    assert 20 <= report.stable_after <= 21


def test_a_recursive_one_needs_more_bars_than_its_first_value() -> None:
    report = check_warmup(talib_indicator("rsi_14"), BARS, tolerance=1e-9)

    assert report.first_value == 14
    assert report.stable_after is not None
    assert 150 < report.stable_after < 500


def test_one_that_depends_on_the_first_bar_is_never_stable() -> None:
    report = check_warmup(talib_indicator("obv"), BARS)

    assert not report
    assert report.stable_after is None
    assert "depends on the first of them" in str(report)


def test_a_wrong_statement_is_found() -> None:
    report = check_warmup(own_indicator("late", lambda close: np.where(np.arange(len(close)) < 7, np.nan, close),
                                        inputs="close", warm_up=3), BARS)  # fmt: skip

    assert not report
    assert "after 7 bars (stated: 3)" in str(report)


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (lambda: check_lookahead(talib_indicator("adx_14"), BARS, cuts=0), "cuts is 0: .* nothing is compared"),
        (lambda: check_lookahead([], BARS), "no indicator is given"),
        (lambda: check_lookahead("adx_14", BARS), "'adx_14' is no indicator"),
        (lambda: check_warmup(talib_indicator("adx_14"), BARS, tolerance=-1), "tolerance is -1"),
        (lambda: check_warmup(talib_indicator("adx_14"), BARS, tolerance=float("nan")), "tolerance is nan"),
    ],
)
def test_what_would_prove_nothing_is_refused(check, told: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=told):
        check()


def test_an_indicator_without_a_value_is_told() -> None:
    report = check_warmup(talib_indicator("adx_14"), BARS[:20])

    assert not report
    assert str(report) == "adx_14 has no value over 20 bars (stated: the first one after 27)"
