"""The screen over history, held to a slow implementation that shares no code with it: bar by bar, in plain Python."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
import polars as pl
import pytest
import talib
from exchange_calendars import get_calendar
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.screening.bars import Market, all_timeframes, daily, quarters, whole, windows_of
from workbench.gateway.simulated import SimulatedTape
from workbench.market.timeframes import TIMEFRAMES
from workbench.screening.conditions import condition
from workbench.screening.history import ScreenHistory, run_history
from workbench.screening.outcomes import outcomes
from workbench.screening.rules import Rule, make_rule
from workbench.screening.screen import run_screen

CLOSE = datetime(2026, 11, 20, 21, tzinfo=UTC)
HORIZONS = (1, 5, 20)
Hits = dict[tuple[str, str, str, pd.Timestamp, str], tuple[float, ...]]


def of(market: Market, rule: Rule, start: datetime, end: datetime, timeframe: str, min_score: float) -> ScreenHistory:
    symbols = list(market)
    groups = [symbols[:2], symbols[2:]] if len(symbols) > 2 else [symbols]
    return run_history(
        rule, lambda name, some: whole(market, name, some), groups, start, end,
        timeframe=timeframe, horizons=HORIZONS, min_score=min_score,
    )  # fmt: skip


# -- the slow way


def slow_study(bars: pd.DataFrame, ends: list[pd.Timestamp]) -> list[dict[str, object]]:
    """Return, bar by bar, the conditions that hold; a series begins anew where it jumps."""
    rows: list[dict[str, object]] = []
    begin = 0
    opens, closes = bars["open"].tolist(), bars["close"].tolist()
    cuts = [at for at in range(1, len(bars)) if is_split(closes[at - 1] / opens[at])]
    for cut in [*cuts, len(bars)]:
        rows += slow_piece(bars.iloc[begin:cut], ends[begin:cut])
        begin = cut
    return rows


def is_split(fall: float) -> bool:
    return fall >= 1.9 or fall <= 1 / 1.9 or 1.4625 <= fall <= 1.5375


def slow_piece(bars: pd.DataFrame, ends: list[pd.Timestamp]) -> list[dict[str, object]]:
    close, high, low = (bars[name].to_numpy(dtype=float) for name in ("close", "high", "low"))
    if len(close) < 2:
        return [{"end": end, "first": True, "held": set(), "passes": False, "above": {}} for end in ends]
    upper, _, lower = talib.BBANDS(close, 20, 2, 2, 0)
    rsi = talib.RSI(close, 14)
    k, d = talib.STOCH(rsi, rsi, rsi, 14, 3, 0, 3, 0)
    hist = talib.MACD(close, 12, 26, 9)[2]
    atr, fifty, long = talib.ATR(high, low, close, 14), talib.SMA(close, 50), talib.SMA(close, 200)
    worth = talib.SMA(close * bars["volume"].to_numpy(dtype=float), 20)
    rows = []
    for at, end in enumerate(ends):
        held = set()
        for back in range(3):
            one = at - back
            if one < 0 or math.isnan(lower[one]) or lower[one] == upper[one]:
                continue
            held |= {("stretched", "long")} if close[one] <= lower[one] else set()
            held |= {("stretched", "short")} if close[one] >= upper[one] else set()
            held |= {("exhausted", "long")} if k[one] < 20 and rsi[one] < 35 else set()
            held |= {("exhausted", "short")} if k[one] > 80 and rsi[one] > 65 else set()
        if at >= 1 and not math.isnan(k[at - 1]):
            held |= {("turning", "long")} if k[at - 1] <= d[at - 1] + 1e-6 and k[at] > d[at] + 1e-6 else set()
            held |= {("turning", "short")} if k[at - 1] >= d[at - 1] - 1e-6 and k[at] < d[at] - 1e-6 else set()
        if at >= 2 and not math.isnan(hist[at - 2]):
            held |= {("turning", "long")} if hist[at - 2] < hist[at - 1] < hist[at] < 0 else set()
            held |= {("turning", "short")} if hist[at - 2] > hist[at - 1] > hist[at] > 0 else set()
        passes = close[at] >= 5 and worth[at] >= 10_000_000 and 100 * atr[at] / close[at] >= 1  # NaN is no
        above = {
            "long": [close[at] > fifty[at], close[at] > long[at]],
            "short": [close[at] < fifty[at], close[at] < long[at]],
        }
        rows.append({"end": end, "first": at == 0, "held": held, "passes": passes, "above": above})
    return rows


POINTS = {"stretched": 30, "exhausted": 30, "turning": 40}


Prices = dict[str, list[float]]


def slow_outcome(bars: Prices, at: int, count: int, side: str) -> tuple[float, float, float] | None:
    """Return gain, adverse and favourable excursion over the next bars; None where they are not all there."""
    opens, closes = bars["open"], bars["close"]
    ahead = range(at + 1, at + count + 1)
    if ahead[-1] >= len(closes) or any(is_split(closes[one - 1] / opens[one]) for one in ahead):
        return None
    entry, last = opens[at + 1], closes[ahead[-1]]
    lowest, highest = min(bars["low"][one] for one in ahead), max(bars["high"][one] for one in ahead)
    if side == "long":
        return last / entry - 1, lowest / entry - 1, highest / entry - 1
    return -(last / entry - 1), -(highest / entry - 1), -(lowest / entry - 1)


class Slow:
    """All hits and figures of a market, the slow way."""

    def __init__(
        self, market: Market, ends: dict[str, dict[str, list[pd.Timestamp]]], weights: dict[str, float],
        clock: str, start: datetime, end: datetime, min_score: float,
    ) -> None:  # fmt: skip
        self.hits: Hits = {}
        self.gains: dict[tuple[str, int], list[float]] = defaultdict(list)
        self.counted: dict[tuple[str, str, str, int], list[float]] = defaultdict(list)
        schedule = get_calendar("XNYS", start="1999-01-01", end="2030-12-31").schedule
        self.closes, self.opens = list(schedule["close"]), list(schedule["open"])
        self.labels = list(schedule.index.tz_localize("UTC"))
        for symbol, frames in market.items():
            self._symbol(symbol, frames, ends[symbol], weights, clock, start, end, min_score)

    def _symbol(self, symbol, frames, ends, weights, clock, start, end, min_score) -> None:  # type: ignore[no-untyped-def]
        studies = {name: slow_study(bars, ends[name]) for name, bars in frames.items()}
        newest = dict.fromkeys(frames, -1)
        before: set[tuple[str, str, str]] = set()
        last: dict[tuple[str, str, str, int], int] = {}
        base = {name: frames[clock][name].tolist() for name in ("open", "high", "low", "close")}
        starts = {name: list(frame.index) for name, frame in frames.items()}
        for at, moment in enumerate(ends[clock]):
            now, scores = set(), {"long": 0.0, "short": 0.0}
            fresh_day = None
            for name in frames:
                while newest[name] + 1 < len(ends[name]) and ends[name][newest[name] + 1] <= moment:
                    newest[name] += 1
                row = studies[name][newest[name]] if newest[name] >= 0 else None
                if row is None or not self._is_fresh(name, starts[name][newest[name]], moment):
                    continue
                fresh_day = row if name == "1day" else fresh_day
                if name in weights:
                    now |= {(what, name, side) for what, side in row["held"]}
                    for what, side in row["held"]:
                        scores[side] += weights[name] * POINTS[what]
            for side in scores:
                against = 2 - sum(fresh_day["above"].get(side, [])) if fresh_day else 2
                scores[side] *= 1 - 0.1 * against
            now |= {("score", "", side) for side in scores if scores[side] >= min_score}
            if fresh_day and fresh_day["passes"] and start <= moment < end:
                self._count(
                    symbol, base, at, moment, now - before if not studies[clock][at]["first"] else set(), scores, last
                )
            before = now

    def _count(self, symbol, base, at, moment, begun, scores, last) -> None:  # type: ignore[no-untyped-def]
        found = {(side, count): slow_outcome(base, at, count, side) for side in scores for count in HORIZONS}
        for key, one in found.items():
            if one is not None:
                self.gains[key].append(one[0])
        for what, name, side in begun:
            told = [found[side, count] or (math.nan,) * 3 for count in HORIZONS]
            self.hits[symbol, what, name, moment, side] = tuple(number for one in told for number in one)
            for count in HORIZONS:
                if found[side, count] and at >= last.get((what, name, side, count), -count) + count:
                    last[what, name, side, count] = at
                    self.counted[what, name, side, count].append(found[side, count][0])

    def _is_fresh(self, name: str, stamp: pd.Timestamp, moment: pd.Timestamp) -> bool:
        newest = bisect_right(self.closes, moment) - 1
        return bool(stamp >= (self.labels if name == "1day" else self.opens)[newest])


def assert_same(history: ScreenHistory, slow: Slow) -> None:
    fast: Hits = {}
    for row in history.hits.to_dict("records"):
        figures = tuple(row[f"{what}_{count}"] for count in HORIZONS for what in ("return", "adverse", "favourable"))
        fast[row["symbol"], row["what"], row["timeframe"], row["at"], row["side"]] = figures
    assert set(fast) == set(slow.hits)
    np.testing.assert_allclose([fast[key] for key in fast], [slow.hits[key] for key in fast], rtol=0, atol=1e-12)
    for row in history.stats.to_dict("records"):
        mine = slow.counted.get((row["what"], row["timeframe"], row["side"], row["bars"]), [])
        base = slow.gains[row["side"], row["bars"]]
        assert row["counted"] == len(mine)
        assert row["base_mean"] == pytest.approx(fmean(base), abs=1e-12)
        assert row["base_wins"] == pytest.approx(sum(gain > 0 for gain in base) / len(base))
        if mine:
            assert row["mean"] == pytest.approx(fmean(mine), abs=1e-12)
            assert row["edge"] == pytest.approx(fmean(mine) - fmean(base), abs=1e-12)
            assert row["wins"] == pytest.approx(sum(gain > 0 for gain in mine) / len(mine))


def test_on_real_days_it_finds_what_the_slow_way_finds(real_bars: Path) -> None:
    """Twenty years of daily bars; all hundred symbols by an environment variable, as `make soak` sets it."""
    names = sorted(path.name for path in (real_bars / "av_daily").iterdir() if path.is_dir())
    some = names if os.environ.get("WORKBENCH_SCREEN_ALL") else [names[7], "C"]
    read = {name: pd.read_parquet(real_bars / "av_daily" / name / "1day.parquet") for name in some}
    market = {name: {"1day": bars.set_index("timestamp").astype(float)} for name, bars in read.items()}
    closes = get_calendar("XNYS", start="1990-01-01", end="2049-12-31").schedule["close"]
    ends = {name: {"1day": list(closes.loc[frames["1day"].index.tz_localize(None)])} for name, frames in market.items()}
    start, end = datetime(2001, 1, 1, tzinfo=UTC), datetime(2019, 1, 1, tzinfo=UTC)

    history = of(market, make_rule(weights={"1day": 1.0}), start, end, "1day", 60.0)

    slow = Slow(market, ends, {"1day": 1.0}, "1day", start, end, 60.0)
    assert_same(history, slow)
    assert len(slow.hits) > 2000
    splits = pl.read_csv(real_bars / "splits.csv", try_parse_dates=True).filter(pl.col("ratio") >= 2)
    cut = set(zip(history.jumps["symbol"], history.jumps["at"].dt.date, strict=True))
    for symbol, day in splits.select("symbol", "date").iter_rows():
        if symbol in market and pd.Timestamp(day, tz="UTC") > market[symbol]["1day"].index[0]:
            assert (symbol, day) in cut


MARKET = {
    f"S{seed}": all_timeframes(quarters(CLOSE, 80, seed, drop=0.01 * seed).assign(volume=2e5)) for seed in range(3)
}
WEIGHTS = {"1day": 0.35, "4hour": 0.30, "1hour": 0.20, "15min": 0.15}


def slow_ends(frame: pd.DataFrame, timeframe: str) -> list[pd.Timestamp]:
    """Return when bars were complete, session by session."""
    schedule = get_calendar("XNYS", start="2020-01-01", end="2030-12-31").schedule["close"]
    days = (
        frame.index.tz_localize(None)
        if timeframe == "1day"
        else frame.index.tz_convert("America/New_York").tz_localize(None)
    )
    closes = list(schedule.loc[days.normalize()])
    if timeframe in ("1day", "4hour"):
        return closes
    length = pd.Timedelta(timeframe)
    return [min(stamp.floor(length) + length, close) for stamp, close in zip(frame.index, closes, strict=True)]


def test_at_four_timeframes_it_finds_what_the_slow_way_finds() -> None:
    ends = {symbol: {name: slow_ends(bars, name) for name, bars in frames.items()} for symbol, frames in MARKET.items()}
    start, end = CLOSE - timedelta(days=60), CLOSE - timedelta(days=5)

    history = of(MARKET, make_rule(), start, end, "15min", 20.0)

    slow = Slow(MARKET, ends, WEIGHTS, "15min", start, end, 20.0)
    assert_same(history, slow)
    assert {name for _, _, name, _, _ in slow.hits} == {"", *WEIGHTS}
    assert len(slow.hits) > 500


def simulated(tape: SimulatedTape, symbol: str, timeframe: str, sessions: int) -> pd.DataFrame:
    """Return bars of the simulated market as they are stored, of the last sessions before `CLOSE`."""
    begin, end = int((CLOSE - timedelta(days=sessions * 7 // 5)).timestamp()), int(CLOSE.timestamp())
    bars = tape.bars(symbol, TIMEFRAMES[timeframe].seconds, begin, end, use_rth=True)
    index = pd.DatetimeIndex(bars.start.astype("datetime64[s]"), name="timestamp").as_unit("us").tz_localize("UTC")
    columns = {name: getattr(bars, name).astype(float) for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(columns, index=index)


def test_on_the_simulated_market_it_finds_what_the_slow_way_finds() -> None:
    tape, reach = SimulatedTape(), {"1day": 320, "4hour": 90, "1hour": 60, "15min": 60}
    market = {
        symbol: {name: simulated(tape, symbol, name, sessions) for name, sessions in reach.items()}
        for symbol in ("AAPL", "TSLA", "KO")
    }
    ends = {symbol: {name: slow_ends(bars, name) for name, bars in frames.items()} for symbol, frames in market.items()}
    start, end = CLOSE - timedelta(days=50), CLOSE - timedelta(days=5)

    history = of(market, make_rule(), start, end, "15min", 20.0)

    slow = Slow(market, ends, WEIGHTS, "15min", start, end, 20.0)
    assert_same(history, slow)
    assert {name for _, _, name, _, _ in slow.hits} == {"", *WEIGHTS}
    assert len(slow.hits) > 500


def test_a_hit_of_the_score_is_where_a_screen_of_that_moment_finds_it() -> None:
    """A screen sees the newest 300 bars, history all: their averages differ by a millionth."""
    start = CLOSE - timedelta(days=20)
    hits = of(MARKET, make_rule(), start, CLOSE, "15min", 25.0).hits
    hits = hits[hits["what"] == "score"]

    for _, hit in hits.iloc[:: max(1, len(hits) // 10)].iterrows():
        then = run_screen(make_rule(), list(MARKET), windows_of(MARKET), hit["at"].to_pydatetime()).table
        mine = then[(then["symbol"] == hit["symbol"]) & (then["side"] == hit["side"])]
        assert mine["score"].tolist() == pytest.approx([hit["score"]])
    assert len(hits) > 10


def test_no_later_bar_changes_a_hit() -> None:
    """What came of it is of the future, and may not be known yet."""
    day = CLOSE - timedelta(days=15)
    cut = {symbol: {name: bars[bars.index < day] for name, bars in frames.items()} for symbol, frames in MARKET.items()}
    start, end = CLOSE - timedelta(days=50), day - timedelta(days=1)

    then, now = (of(market, make_rule(), start, end, "15min", 25.0).hits for market in (cut, MARKET))

    told = ["at", "symbol", "side", "what", "timeframe", "score"]
    pd.testing.assert_frame_equal(then[told], now[told])


def columns(bars: pd.DataFrame) -> dict[str, np.ndarray]:
    return {name: bars[name].to_numpy(dtype=float) for name in ("open", "high", "low", "close")}


def test_an_outcome_begins_at_the_next_open_and_is_mirrored_for_a_short() -> None:
    bars = pd.DataFrame(
        {"open": [10.0, 20.0, 22.0], "high": [11.0, 24.0, 23.0], "low": [9.0, 18.0, 21.0], "close": [10.0, 21.0, 22.0]}
    )

    found = outcomes(columns(bars), np.array([0, 3]), 2)

    assert found.gain[:, 0].tolist() == pytest.approx([0.10, -0.10])  # 20 to 22
    assert found.adverse[:, 0].tolist() == pytest.approx([-0.10, -0.20])  # 18; for the short 24
    assert found.favourable[:, 0].tolist() == pytest.approx([0.20, 0.10])
    assert np.isnan(found.gain[:, 1:]).all()  # two bars are not there yet


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 10**6))
def test_outcomes_never_reach_into_another_series(bars: int, lengths: list[int], seed: int) -> None:
    random = np.random.default_rng(seed)
    pieces = [
        pd.DataFrame(random.uniform(90, 110, (length, 4)), columns=["open", "high", "low", "close"])
        for length in lengths
    ]
    bounds = np.concatenate([[0], np.cumsum(lengths)])

    found = outcomes(columns(pd.concat(pieces)), bounds, bars)

    for piece, begin, end in zip(pieces, bounds[:-1], bounds[1:], strict=True):
        alone = outcomes(columns(piece), np.array([0, len(piece)]), bars)
        np.testing.assert_array_equal(found.gain[:, begin:end], alone.gain)
        np.testing.assert_array_equal(found.adverse[:, begin:end], alone.adverse)


def test_hits_of_one_path_count_once_and_many_on_one_day_are_one_draw() -> None:
    """Ten symbols that move alike tell no more than one: the standard error does not shrink."""
    closes = 100 + 8 * np.sin(np.arange(300) / 6)
    bars = daily(CLOSE, closes.tolist())
    rule = make_rule(weights={"1day": 1.0}, trend=(), gates={})
    start, end = CLOSE - timedelta(days=420), CLOSE

    one = of({"A": {"1day": bars}}, rule, start, end, "1day", 60.0).stats
    ten = of({f"A{number}": {"1day": bars} for number in range(10)}, rule, start, end, "1day", 60.0).stats

    assert (ten["counted"] == 10 * one["counted"]).all()
    np.testing.assert_allclose(ten["edge"], one["edge"], atol=1e-12)
    np.testing.assert_allclose(ten["se"], one["se"], atol=1e-12)
    long = one[one["bars"] == 20]
    assert (long["counted"] <= 420 * 5 / 7 / 20 + 1).all()
    assert (long["hits"] > long["counted"]).any()


def test_what_was_before_the_first_bar_is_not_known_so_nothing_begins_there() -> None:
    """Not even where the bar before, of another symbol or of before a split, says no."""
    rule = make_rule(conditions=[condition("on", "close > 50")], weights={"1day": 1.0}, trend=(), gates={})
    closes = [100.0] * 5 + [40.0] * 5 + [80.0] * 5 + [20.0] * 5
    market = {"X": {"1day": daily(CLOSE, closes)}, "Y": {"1day": daily(CLOSE, [100.0] * 20)}}

    history = of(market, rule, CLOSE - timedelta(days=60), CLOSE, "1day", 60.0)

    assert len(history.hits) == 0
    assert history.jumps["at"].tolist() == market["X"]["1day"].index[[5, 10, 15]].tolist()


def test_a_trend_up_is_no_edge_of_a_rule() -> None:
    """What any bar brings is taken off: a rule that says yes at random has none."""
    random = np.random.default_rng(5)
    closes = 100 * np.exp(np.cumsum(random.normal(0.004, 0.01, 2500)))
    rule = make_rule(weights={"1day": 1.0}, trend=(), gates={})

    stats = of(
        {"UP": {"1day": daily(CLOSE, closes.tolist())}}, rule, datetime(2018, 1, 1, tzinfo=UTC), CLOSE, "1day", 60.0
    ).stats

    turning = stats[(stats["what"] == "turning") & (stats["side"] == "long") & (stats["bars"] > 1)]
    assert (turning["mean"] > 0.003).all()
    assert (turning["edge"].abs() < 3 * turning["se"]).all()
