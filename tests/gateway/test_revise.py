"""History that was revised differs a little from what was streamed, and agrees with itself."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import fields
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import GatewayError
from workbench.gateway.asof import AsOf
from workbench.gateway.history import BAR_SIZES, bars_between
from workbench.gateway.hours import bar_starts, hours
from workbench.gateway.revise import RevisedTape, _merged
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import DAY, BarColumns, streamed, told

NEW_YORK = ZoneInfo("America/New_York")
NOW = int(datetime(2026, 11, 20, 20, 0, tzinfo=NEW_YORK).timestamp())


@cache
def plain() -> SimulatedTape:
    return SimulatedTape(1)


@cache
def revised() -> RevisedTape:
    return RevisedTape(plain(), 0.02)


def history(symbol: str, size: str, *, use_rth: bool = True, now: int = NOW, begin: int = 0) -> BarColumns:
    known = AsOf(revised(), hours(), now)
    session = hours()[hours().touching(NOW - 3600, NOW, use_rth=False)[0]]
    return bars_between(known, symbol, BAR_SIZES[size], begin or session.pre_open, now, use_rth=use_rth)


def rows(bars: BarColumns) -> list[tuple[float, ...]]:
    return list(zip(*[getattr(bars, it.name).tolist() for it in fields(BarColumns)], strict=True))


@pytest.mark.parametrize("symbol", ["AAPL", "SEB", "VIX"])
@pytest.mark.parametrize("size", ["10 secs", "1 min", "2 mins", "15 mins", "1 hour", "3 hours", "4 hours", "1 day"])
def test_every_size_aggregates_to_the_last_bit_from_the_revised_five_seconds(symbol: str, size: str) -> None:
    short, longer = history(symbol, "5 secs"), history(symbol, size)
    session = hours()[hours().touching(NOW - 3600, NOW, use_rth=False)[0]]
    starts = bar_starts(session, BAR_SIZES[size], use_rth=True).tolist()
    inside: dict[int, list[int]] = {start: [] for start in starts}
    for i, start in enumerate(short.start.tolist()):
        inside[starts[bisect_right(starts, start) - 1] if size != "1 day" else starts[0]].append(i)

    for start, opened, high, low, close, volume, _, count in rows(longer):
        told_of = [i for i in inside[start] if short.count[i] > 0] or inside[start]
        assert (opened, close) == (short.open[told_of[0]], short.close[told_of[-1]])
        assert high == max(short.high[told_of])
        assert low == min(short.low[told_of])
        assert volume == sum(short.volume[inside[start]].tolist())
        assert count == sum(short.count[inside[start]].tolist())
    assert longer.start.tolist() == starts


def test_history_differs_from_the_stream_by_a_tick_and_by_the_rate_at_most() -> None:
    begin = NOW - 8 * 3600
    sent = streamed(revised(), NOW).bars("AAPL", 5, begin, NOW, use_rth=True)
    later = told(revised(), NOW).bars("AAPL", 5, begin, NOW, use_rth=True)

    assert rows(sent) == rows(plain().bars("AAPL", 5, begin, NOW, use_rth=True))
    assert later.start.tolist() == sent.start.tolist()
    assert later.count.tolist() == sent.count.tolist()
    moved = np.rint((sent.high - later.high) * 100)
    assert set(moved.tolist()) == {0.0, 1.0}
    assert 0.005 < moved.mean() < 0.1
    change = later.volume / sent.volume - 1
    assert 0 < np.abs(change).max() <= 0.02
    assert np.ptp(change) < 1e-9  # one factor for a session


@pytest.mark.parametrize("symbol", ["AAPL", "SEB", "VIX"])
def test_an_average_never_leaves_the_prices_of_its_bar(symbol: str) -> None:
    bars = told(revised(), NOW).bars(symbol, 5, NOW - 8 * 3600, NOW, use_rth=True)

    averages = bars.average[bars.volume > 0]

    assert (averages >= bars.low[bars.volume > 0]).all()
    assert (averages <= bars.high[bars.volume > 0]).all()
    assert not bars.average[bars.volume == 0].any()


def test_sessions_gain_and_lose_volume() -> None:
    begin = NOW - 100 * DAY
    sent = plain().bars("AAPL", DAY, begin, NOW, use_rth=True)
    later = told(revised(), NOW).bars("AAPL", DAY, begin, NOW, use_rth=True)

    change = later.volume / sent.volume - 1
    assert change.min() < -0.01
    assert change.max() > 0.01
    assert len(set(change.tolist())) > 40


def test_history_asked_twice_and_by_another_gateway_is_the_same() -> None:
    again = RevisedTape(SimulatedTape(1), 0.02)
    other = RevisedTape(plain(), 0.02, seed=2)

    first = rows(told(revised(), NOW).bars("AAPL", 60, NOW - 8 * 3600, NOW, use_rth=True))

    assert first == rows(told(again, NOW + 99).bars("AAPL", 60, NOW - 8 * 3600, NOW, use_rth=True))
    assert first != rows(told(other, NOW).bars("AAPL", 60, NOW - 8 * 3600, NOW, use_rth=True))


@given(
    prices=st.lists(st.integers(1, 10_000), min_size=2, max_size=30),
    fraction=st.sampled_from([0.0, 0.003, 0.0099]),
    lowered=st.integers(0, 39),
)
def test_merging_keeps_the_order_of_prices(prices: list[int], fraction: float, lowered: int) -> None:
    price = np.sort(np.array(prices) / 100 + np.array([fraction, 0.0] * 15)[: len(prices)])

    merged = _merged(price, np.full(len(price), lowered), 0.01)

    assert (np.diff(merged) >= 0).all()
    assert (merged > 0).all()
    assert (np.abs(merged - price) < 0.02).all()


@pytest.mark.parametrize("rate", [0.0, -0.1, 0.5, float("nan")])
def test_a_rate_that_is_no_slight_difference_is_refused(rate: float) -> None:
    with pytest.raises(GatewayError):
        RevisedTape(plain(), rate)
