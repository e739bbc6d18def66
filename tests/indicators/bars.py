"""Bars that indicators are tried on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES

Floats = np.ndarray

_SESSIONS = session_calendar().during(
    pd.Timestamp("2026-01-05", tz="UTC").to_pydatetime(), pd.Timestamp("2026-02-20", tz="UTC").to_pydatetime(),
    TIMEFRAMES["15min"],
)  # fmt: skip
STAMPS = pd.DatetimeIndex(
    [stamp for one in _SESSIONS for stamp in pd.date_range(one.begin, one.end, freq="15min", inclusive="left")],
    name="timestamp",
).as_unit("us")
"""The starts of the quarter-hour bars of some weeks."""


def make_bars(closes: Floats, wick: float = 0.5, seed: int = 7) -> pd.DataFrame:
    """Return quarter-hour bars with these closes."""
    opens = np.roll(closes, 1)
    opens[:1] = closes[:1]
    index = pd.date_range("2026-01-05 14:30", periods=len(closes), freq="15min", tz="UTC", name="timestamp")
    highs, lows = np.maximum(opens, closes) + wick, np.minimum(opens, closes) - wick
    volume = np.random.default_rng(seed).integers(0, 5000, len(closes)).astype(float)
    return pd.DataFrame({"open": opens, "high": highs, "low": lows, "close": closes, "volume": volume}, index=index)


def walk(rows: int, seed: int = 1, start: float = 100.0) -> Floats:
    """Return prices that go up and down at random."""
    return start * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.004, rows)))


HARD = {
    "a walk": make_bars(walk(700)),
    "a flat line": make_bars(np.full(400, 50.0), wick=0.0),
    "100 000 ± 0.01": make_bars(100_000 + 0.01 * (np.arange(500) % 2), wick=0.01),
    "zero volume": make_bars(walk(400, 3)).assign(volume=0.0),
    "one bar": make_bars(walk(1)),
    "a penny stock": make_bars(walk(400, 5, start=0.02), wick=0.0001),
}
"""What indicators break on."""

NOT_OF_PRICES = {"ACOS", "ASIN", "COSH", "EXP", "SINH"}
"""Functions of which the prices of a stock give no finite number."""


def real_bars_of(folder: Path) -> pd.DataFrame:
    """Return a thousand real one-minute bars of a thin and of a busy market."""
    return pd.read_parquet(folder / "nt2011" / "SPY" / "1min.parquet").set_index("timestamp").iloc[:1000]
