"""What volumes count: shares, or round lots of them. A setting of TWS decides it, for US stocks. Pure."""

from __future__ import annotations

import pandas as pd

LOTS_AT_MOST, SHARES_AT_LEAST = 6.0, 25.0
"""Volume a trade. US stocks trade some 40 to 800 shares at a time: in lots of 100 that is 0.4 to 8."""


def unit_of(bars: pd.DataFrame) -> str:
    """Return whether a stock's bars count shares or lots, by their volume a trade; empty when that tells nothing."""
    traded = bars[bars["bar_count"] > 0]
    if traded.empty:
        return ""
    each = float((traded["volume"] / traded["bar_count"]).median())
    return "lots" if each <= LOTS_AT_MOST else "shares" if each >= SHARES_AT_LEAST else ""
