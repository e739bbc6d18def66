"""Bars and rules that the screen is tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd
import polars as pl

from workbench.indicators.define import own_indicator
from workbench.indicators.suite import Indicator
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.bars import REQUIRED
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.screening.loading import all_bars
from workbench.screening.screen import WindowsOf
from workbench.screening.windows import Window, newest_bars

TIMEFRAMES_USED = ("1day", "4hour", "1hour", "15min")
USUAL = {"bb_lower": 90.0, "bb_upper": 110.0, "stoch_k": 50.0, "stoch_d": 50.0, "rsi": 50.0, "macd_hist": 0.0,
         "atr": 2.0, "sma_50": 100.0, "sma_200": 100.0}  # fmt: skip
"""Values at which nothing holds."""


def told_suite(**columns: Sequence[float]) -> list[Indicator]:
    """Return indicators that give just these values, so that a test can say what a bar's columns are."""

    def telling(values: Sequence[float]) -> object:
        return lambda close: np.array(values, dtype=float)[len(values) - len(close) :]

    length = max(len(values) for values in columns.values())
    whole = {name: [value] * length for name, value in USUAL.items()} | dict(columns)
    return [own_indicator(name, telling(values), inputs="close") for name, values in whole.items()]  # type: ignore[arg-type]


def sessions_until(end: datetime, count: int) -> list[tuple[int, int, int]]:
    """Return label, begin and end of the last sessions, in microseconds."""
    calendar = session_calendar()
    labels, begins, ends = calendar.edges(calendar.recent(end, count))
    return list(zip(labels.tolist(), begins.tolist(), ends.tolist(), strict=True))


def daily(end: datetime, closes: Sequence[float], volume: float = 1e7) -> pd.DataFrame:
    """Return daily bars of the last sessions, with these closes."""
    close = np.array(closes, dtype=float)
    stamps = np.array([label for label, _, _ in sessions_until(end, len(close))])
    index = pd.DatetimeIndex(stamps.astype("datetime64[us]"), name="timestamp").tz_localize("UTC")
    columns = {"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": volume}
    return pd.DataFrame(columns, index=index)


def quarters(end: datetime, sessions: int, seed: int, drop: float = 0.0) -> pd.DataFrame:
    """Return quarter-hour bars of a random walk over the last sessions; a share of them is not there."""
    random = np.random.default_rng(seed)
    stamps = [at for _, begin, last in sessions_until(end, sessions) for at in range(begin, last, 900_000_000)]
    index = pd.DatetimeIndex(np.array(stamps).astype("datetime64[us]"), name="timestamp").tz_localize("UTC")
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.006, len(index))))
    open_ = np.append(close[:1], close[:-1])
    wick = 1 + np.abs(random.normal(0, 0.002, len(index)))
    bars = pd.DataFrame(
        {"open": open_, "high": np.maximum(open_, close) * wick, "low": np.minimum(open_, close) / wick,
         "close": close, "volume": random.integers(1_000, 99_999, len(index)).astype(float)}, index=index,
    )  # fmt: skip
    return bars[random.random(len(bars)) >= drop]


def all_timeframes(base: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return quarter-hour bars and what they add up to."""
    longer = {
        name: aggregate_bars(base, name, step_s=900)[list(REQUIRED)] for name in TIMEFRAMES_USED if name != "15min"
    }
    return {**longer, "15min": base}


Market = Mapping[str, Mapping[str, pd.DataFrame]]
"""Bars by symbol and timeframe."""


def whole(market: Market, timeframe: str, symbols: Sequence[str]) -> Window:
    """Return all bars of a timeframe."""
    frames = [
        pl.from_pandas(market[symbol][timeframe].reset_index()).with_columns(
            pl.col("timestamp").cast(pl.Datetime("us", "UTC")), pl.lit(symbol).alias("symbol"))
        for symbol in symbols if timeframe in market[symbol]
    ]  # fmt: skip
    empty = pl.DataFrame(
        schema={"timestamp": pl.Datetime("us", "UTC"), **dict.fromkeys(REQUIRED, pl.Float64), "symbol": pl.String}
    )
    return all_bars(pl.concat([empty, *(frame.select(empty.columns) for frame in frames)]), timeframe, symbols)


def windows_of(market: Market) -> WindowsOf:
    """Return what gives a screen the bars of a market."""
    return lambda timeframe, until, bars: newest_bars(whole(market, timeframe, list(market)), until=until, bars=bars)


def seconds_of(timeframe: str) -> int:
    return TIMEFRAMES[timeframe].seconds
