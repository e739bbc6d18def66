"""Every live-built bar equals the gateway's own historical bar: the real ib_insync, over TCP, at high speed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.ib.live_market import assert_same, market_at
from workbench.market.timeframes import TIMEFRAMES

SYMBOLS = ["AAPL", "SPY", "KO", "SPX"]
SPEED = 400.0

DAYS = {
    "a normal day, joined in the afternoon": ("2026-11-20T15:20:00", "2026-11-20T16:01:00", 6.5 * 720),
    "a half day": ("2026-11-27T12:25:00", "2026-11-27T13:01:00", 3.5 * 720),
    "the first day of winter time": ("2026-11-02T15:20:00", "2026-11-02T16:01:00", 6.5 * 720),
    "the first day of summer time": ("2026-03-09T15:20:00", "2026-03-09T16:01:00", 6.5 * 720),
}
WHOLE_DAYS = {
    "a whole day from before the open on": ("2026-11-20T09:25:00", "2026-11-20T16:01:00", 6.5 * 720),
    "a whole half day": ("2026-11-27T09:25:00", "2026-11-27T13:01:00", 3.5 * 720),
}
if os.environ.get("WORKBENCH_SOAK"):
    DAYS |= WHOLE_DAYS


@pytest.mark.parametrize(("begin", "end", "bars"), DAYS.values(), ids=DAYS)
def test_live_bars_of_every_timeframe_are_the_historical_ones(
    begin: str, end: str, bars: float, tmp_path: Path
) -> None:
    with market_at(begin, SPEED, tmp_path) as market:
        market.live.start(SYMBOLS)
        session = market.session(begin.replace("T09:25", "T12:00"))

        market.wait_settled(end)
        market.wait_complete(SYMBOLS, session)

        assert market.live.status().unfilled == []
        for symbol in SYMBOLS:
            recorded = market.recorded(symbol, session)
            assert len(recorded) == bars
            assert_same(recorded, market.history(symbol, "5sec", session))
            for timeframe in list(TIMEFRAMES)[1:]:
                built = market.built(symbol, timeframe, session)
                assert (built["received"] == built["expected"]).all()
                assert_same(built, market.history(symbol, timeframe, session))
