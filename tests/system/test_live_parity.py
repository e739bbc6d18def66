"""Every live-built bar equals the gateway's own historical bar: the real ib_insync, over TCP, at high speed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.live_market import Market, assert_same, market_at, session_bars
from workbench.gateway.replay import ReplayTape
from workbench.market.coverage import Interval
from workbench.market.sessions import Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES

SYMBOLS = ["AAPL", "SPY", "KO", "SPX"]
SPEED, SOAK_SPEED = 400.0, 1000.0
SOAK = bool(os.environ.get("WORKBENCH_SOAK"))
"""Whole days and weeks, which take some minutes, are for `make soak`."""

DAYS = {
    "a normal day, joined in the afternoon": ("2026-11-20T15:20:00", "2026-11-20T16:01:00"),
    "a half day": ("2026-11-27T12:25:00", "2026-11-27T13:01:00"),
    "the first day of winter time": ("2026-11-02T15:20:00", "2026-11-02T16:01:00"),
    "the first day of summer time": ("2026-03-09T15:20:00", "2026-03-09T16:01:00"),
}
WHOLE_DAYS = {
    "a whole day from before the open on": ("2026-11-20T09:25:00", "2026-11-20T16:01:00"),
    "a whole half day": ("2026-11-27T09:25:00", "2026-11-27T13:01:00"),
}
REAL_DAYS = {"the end of a day": ("2013-10-09T15:35:00", "2013-10-09T16:01:00")}
WHOLE_REAL_DAYS = {
    f"{day} October": (f"2013-10-{day:02}T09:25:00", f"2013-10-{day:02}T16:01:00") for day in range(7, 12)
}
QUIET = Interval(*(pd.Timestamp(f"2013-10-09T19:{minute}:00Z").to_pydatetime() for minute in (47, 49)))
"""Two minutes, of those before the close that the stream is joined for, from which BAC's trades are taken."""


def assert_parity(market: Market, session: Session, symbols: Sequence[str], end: str) -> None:
    """Wait for the end of a session; compare all that was recorded and built of it with the gateway's history."""
    market.wait_settled(end)
    market.wait_complete(symbols, session)
    assert market.live.status().unfilled == []
    for symbol in symbols:
        recorded = market.recorded(symbol, session)
        assert len(recorded) == session_bars(session)
        assert_same(recorded, market.history(symbol, "5sec", session))
        for timeframe in list(TIMEFRAMES)[1:]:
            built = market.built(symbol, timeframe, session)
            assert (built["received"] == built["expected"]).all()
            assert_same(built, market.history(symbol, timeframe, session))


@pytest.mark.parametrize(("begin", "end"), (DAYS | (WHOLE_DAYS if SOAK else {})).values(),
                         ids=DAYS | (WHOLE_DAYS if SOAK else {}))  # fmt: skip
def test_live_bars_of_every_timeframe_are_the_historical_ones(begin: str, end: str, tmp_path: Path) -> None:
    with market_at(begin, SPEED, tmp_path) as market:
        market.live.start(SYMBOLS)

        assert_parity(market, market.session(begin.replace("T09:25", "T12:00")), SYMBOLS, end)


@pytest.mark.parametrize(("begin", "end"), (WHOLE_REAL_DAYS if SOAK else REAL_DAYS).values(),
                         ids=WHOLE_REAL_DAYS if SOAK else REAL_DAYS)  # fmt: skip
def test_bars_built_of_real_seconds_are_the_historical_ones(
    begin: str, end: str, real_bars: Path, tmp_path: Path
) -> None:
    tape = ReplayTape(tape_of(real_bars / "lean", tmp_path / "tape"))
    with market_at(begin, SPEED, tmp_path, tape=tape) as market:
        market.live.start(["BAC", "SPY"])

        assert_parity(market, market.session(begin.replace("T09:25", "T12:00")), ["BAC", "SPY"], end)


def test_minutes_in_which_nobody_trades_are_the_historical_ones(real_bars: Path, tmp_path: Path) -> None:
    tape = ReplayTape(tape_of(real_bars / "lean", tmp_path / "tape", without=QUIET))
    with market_at("2013-10-09T15:44:00", SPEED, tmp_path, tape=tape) as market:
        market.live.start(["BAC"])
        session = market.session("2013-10-09T15:44:00")

        assert_parity(market, session, ["BAC"], "2013-10-09T16:01:00")

        minutes = market.built("BAC", "1min", session)
        quiet = minutes[(minutes.index >= QUIET.begin) & (minutes.index < QUIET.end)]
        assert quiet["volume"].tolist() == [0.0, 0.0]
        assert quiet["close"].nunique() == 1


@pytest.mark.skipif(not SOAK, reason="a week takes ten minutes; WORKBENCH_SOAK=1, or make soak")
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("friday", ["2026-03-06", "2026-10-30"])
def test_a_week_in_which_the_clocks_change_is_the_historical_one(friday: str, tmp_path: Path) -> None:
    first = pd.Timestamp(friday, tz="UTC").to_pydatetime()
    sessions = session_calendar().during(first, first + timedelta(days=8), TIMEFRAMES["5sec"])
    with market_at(f"{friday}T09:25:00", SOAK_SPEED, tmp_path) as market:
        market.live.start(SYMBOLS)
        assert len(sessions) == 6
        for session in sessions:
            assert_parity(market, session, SYMBOLS, f"{session.label}T16:01:00")


def tape_of(source: Path, folder: Path, *, without: Interval | None = None) -> Path:
    """Return a folder with the five-second bars of BAC and SPY alone: the minutes' file has auctions that they lack."""
    for symbol in ("BAC", "SPY"):
        bars = pd.read_parquet(source / symbol / "5sec.parquet")
        if without:
            bars = bars[(bars["timestamp"] < without.begin) | (bars["timestamp"] >= without.end)]
        (folder / symbol).mkdir(parents=True)
        bars.to_parquet(folder / symbol / "5sec.parquet", index=False)
    return folder
