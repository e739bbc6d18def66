"""What bars tell of a gateway: units of volume, and where bars are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.ib.doctor import bar_checks
from workbench.ib.doctor.checks import State
from workbench.ib.units import unit_of
from workbench.market.timeframes import TIMEFRAMES

HOUR, FOUR_HOURS = TIMEFRAMES["1hour"], TIMEFRAMES["4hour"]


def quarter_hours(*days: str, close: str = "16:00") -> pd.DataFrame:
    """Return bars of 15 minutes of some sessions, all different."""
    index = pd.DatetimeIndex(
        [
            start
            for day in days
            for start in pd.date_range(
                f"{day} 09:30", f"{day} {close}", freq="15min", inclusive="left", tz="America/New_York"
            )
        ]
    ).tz_convert("UTC")
    at = np.arange(len(index), dtype=float)
    columns = {"open": at, "high": at + 2, "low": at - 1, "close": at + 1, "volume": at + 10}
    return pd.DataFrame(columns, index=index)


def with_volume(volumes: list[float], counts: list[int]) -> pd.DataFrame:
    index = pd.date_range("2026-11-20 14:30", periods=len(volumes), freq="5s", tz="UTC")
    return pd.DataFrame({"volume": volumes, "bar_count": counts}, index=index)


@pytest.mark.parametrize(
    ("timeframe", "cuts"),
    [("1hour", ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]), ("4hour", ["09:30", "12:00"])],
)
def test_bars_are_cut_on_the_exchanges_clock_and_at_the_open(timeframe: str, cuts: list[str]) -> None:
    made = bar_checks.cut(quarter_hours("2026-11-20"), TIMEFRAMES[timeframe])

    assert list(pd.DatetimeIndex(made.index).tz_convert("America/New_York").strftime("%H:%M")) == cuts


@pytest.mark.parametrize("days", [("2026-03-06", "2026-03-09"), ("2026-10-30", "2026-11-02")])
def test_the_cuts_stay_when_the_clocks_change(days: tuple[str, str]) -> None:
    made = bar_checks.cut(quarter_hours(*days), FOUR_HOURS)

    times = pd.DatetimeIndex(made.index).tz_convert("America/New_York").strftime("%H:%M")
    assert list(times) == ["09:30", "12:00"] * 2


def test_nothing_is_lost_by_cutting() -> None:
    bars = quarter_hours("2026-11-19", "2026-11-20")
    made = bar_checks.cut(bars, HOUR)

    assert made["volume"].sum() == bars["volume"].sum()
    assert (made["open"].iloc[0], made["close"].iloc[-1]) == (bars["open"].iloc[0], bars["close"].iloc[-1])
    assert (made["high"].max(), made["low"].min()) == (bars["high"].max(), bars["low"].min())


def test_bars_as_the_workbench_cuts_them_are_well() -> None:
    finer = quarter_hours("2026-11-19", "2026-11-20")

    check = bar_checks.alignment(HOUR, bar_checks.cut(finer, HOUR), finer)

    assert check.state is State.OK
    assert "09:30, 10:00, 11:00, …, 15:00" in check.found


def test_a_half_day_is_told() -> None:
    finer = pd.concat([quarter_hours("2026-11-25"), quarter_hours("2026-11-27", close="13:00")])

    check = bar_checks.alignment(FOUR_HOURS, bar_checks.cut(finer, FOUR_HOURS), finer)

    assert check.state is State.OK
    assert "a half day" in check.found


def test_bars_cut_from_the_open_on_are_a_problem_and_both_cuts_are_told() -> None:
    finer = quarter_hours("2026-11-20")
    theirs = bar_checks.cut(finer, FOUR_HOURS)
    theirs.index = theirs.index[:1].append(theirs.index[1:] + pd.Timedelta("90min"))

    check = bar_checks.alignment(FOUR_HOURS, theirs, finer)

    assert check.state is State.PROBLEM
    assert "at 09:30, 13:30; the workbench at 09:30, 12:00" in check.found


def test_prices_that_differ_from_those_of_shorter_bars_are_told() -> None:
    finer = quarter_hours("2026-11-20")
    theirs = bar_checks.cut(finer, HOUR)
    theirs.iloc[2, theirs.columns.get_loc("high")] += 1

    check = bar_checks.alignment(HOUR, theirs, finer)

    assert check.state is State.LOOK
    assert "1 of 7" in check.found


def test_without_a_session_in_common_nothing_is_claimed() -> None:
    one, other = quarter_hours("2026-11-19"), quarter_hours("2026-11-20")

    assert bar_checks.alignment(HOUR, bar_checks.cut(one, HOUR), other).state is State.UNKNOWN
    assert bar_checks.alignment(HOUR, one.iloc[:0], other).state is State.UNKNOWN


@given(
    each=st.floats(30, 800),
    counts=st.lists(st.integers(1, 10_000), min_size=1, max_size=30),
    is_lots=st.booleans(),
)
def test_the_volume_a_trade_tells_shares_from_lots_or_nothing(each: float, counts: list[int], *, is_lots: bool) -> None:
    """US stocks trade some 30 to 800 shares at a time."""
    volumes = [count * each / (100 if is_lots else 1) for count in counts]

    assert unit_of(with_volume(volumes, counts)) in (("lots", "") if is_lots else ("shares",))


def test_bars_without_trades_tell_no_unit() -> None:
    assert unit_of(with_volume([0, 0], [0, 0])) == ""
    assert unit_of(with_volume([0, 500], [0, 5])) == "shares"


def test_real_shares_are_taken_for_shares(real_bars: Path) -> None:
    """Trades of a real session, as they were printed."""
    trades = pd.read_parquet(real_bars / "lean" / "BAC" / "tick.parquet")
    volumes, counts = [float(trades["size"].sum())], [len(trades)]

    assert unit_of(with_volume(volumes, counts)) == "shares"


@given(factor=st.sampled_from([0.01, 1.0, 100.0]), seed=st.integers(0, 1000))
def test_the_factor_between_stream_and_history_is_found_where_both_traded(factor: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    stream = with_volume([float(it) for it in random.integers(0, 2, 30) * random.integers(100, 900, 30)], [1] * 30)
    twin = (stream * factor).iloc[5:]

    found = bar_checks.factor(stream, twin)

    assert found is None if not (twin["volume"] > 0).any() else found == pytest.approx(factor)


def test_bars_without_a_twin_have_no_factor() -> None:
    stream = with_volume([5, 6], [1, 1])

    assert bar_checks.factor(stream, stream.iloc[:0]) is None
    assert bar_checks.factor(stream, stream * 0) is None


@pytest.mark.parametrize(
    ("history", "times", "state", "answer"),
    [
        ("shares", 1.0, State.OK, "shares"),
        ("shares", 0.93, State.OK, "shares"),
        ("shares", 100.0, State.PROBLEM, "history shares, live lots"),
        ("shares", 7.0, State.LOOK, "history shares"),
        ("shares", None, State.UNKNOWN, "history shares"),
        ("lots", 1.0, State.LOOK, "lots"),
        ("lots", 0.01, State.PROBLEM, "history lots, live shares"),
        ("lots", None, State.LOOK, "history lots"),
        ("", 1.0, State.UNKNOWN, ""),
    ],
)
def test_a_mixture_of_units_is_a_problem(history: str, times: float | None, state: State, answer: str) -> None:
    check = bar_checks.volume_unit(history, times, is_open=True)

    assert (check.state, check.answer) == (state, answer)
    assert bool(check.remedy) is (state in (State.LOOK, State.PROBLEM) or not history)


def test_a_unit_is_not_guessed_where_the_volume_a_trade_lies_between() -> None:
    assert unit_of(with_volume([1000.0], [100])) == ""
