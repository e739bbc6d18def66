"""Live recording under each fault of the gateway's streams: at the end the journal is that of a run without faults."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.live_market import Market, assert_same, market_at, until
from workbench.gateway.faults import (
    Action,
    Bust,
    ClientIdStuck,
    Close,
    CompetingSession,
    ConnectivityLost,
    ConnectivityRestored,
    Corrupt,
    Delay,
    Dribble,
    Drop,
    Duplicate,
    FarmBroken,
    FarmInactive,
    Garbage,
    LiveUpdatesFailed,
    NightlyReset,
    PortReset,
    Refuse,
    Reorder,
    Reset,
    Restart,
    ServerBroken,
    Silence,
    Stall,
    Truncate,
    When,
    WrongLength,
)
from workbench.gateway.revise import RevisedTape
from workbench.gateway.simulated import SimulatedTape

SYMBOLS = ["AAPL", "KO", "SPX"]
SPEED = 500.0
BEGIN, TROUBLE, UNTIL, SETTLED = (f"2026-11-20T{time}" for time in ("10:00:00", "10:02:00", "10:14:00", "10:17:00"))
A_BAR = When("realtimeBar", times=3)
A_REQUEST = When("reqRealTimeBars", times=2)

FAULTS: dict[str, tuple[When, Action]] = {
    "bars are lost": (A_BAR, Drop()),
    "bars come several times": (A_BAR, Duplicate(3)),
    "bars come late": (A_BAR, Delay(30)),
    "bars change places": (A_BAR, Reorder(30)),
    "bars without a price": (A_BAR, Corrupt(5)),
    "bars of the far future": (A_BAR, Corrupt(3, "1999999995")),
    "bars of long ago": (A_BAR, Corrupt(3, "1595184700")),
    "a bar cut short": (When("realtimeBar"), Truncate()),
    "garbage": (When("realtimeBar"), Garbage()),
    "a wrong length": (When("realtimeBar"), WrongLength()),
    "byte by byte": (A_BAR, Dribble()),
    "a stall": (When("realtimeBar"), Stall(300)),
    "closed in a bar": (When("realtimeBar"), Close(0.5)),
    "reset": (When("realtimeBar"), Reset()),
    "1100, 1102": (When(), ConnectivityLost(120)),
    "1100, 1102, dead streams": (When(), ConnectivityLost(120, streams="dead")),
    "1100, 1101": (When(), ConnectivityLost(120, data="lost")),
    "1101": (When(), ConnectivityRestored(data="lost")),
    "1102, dead streams": (When(), ConnectivityRestored(streams="dead")),
    "2103, 2104": (When(), FarmBroken("market", 60)),
    "2103, 2104, dead streams": (When(), FarmBroken("market", 60, "dead")),
    "2105, 2106": (When(), FarmBroken("historical", 60)),
    "2108, dead streams": (When(), FarmInactive("market", "dead")),
    "2110, dead streams": (When(), ServerBroken(60, "dead")),
    "10182": (When(), LiveUpdatesFailed()),
    "10197": (When(), CompetingSession(60)),
    "10225": (When(), Bust()),
    "10225 of one": (When(), Bust(symbols=("KO",))),
    "silence": (When(), Silence(120)),
    "silence of one": (When(), Silence(200, symbols=("AAPL",))),
    "another port": (When(), PortReset()),
    "a restart": (When(), Restart(120)),
    "a client id in use": (When(), ClientIdStuck(1e6)),
    "nightly reset": (When(), NightlyReset(120)),
}
REFUSALS = ["real-time-pacing", "real-time-permission", "other-address", "competing", "unknown", "no-subscription"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.ib.supervision.GRACE_S", 0.1)
    for module in ("lines", "recorder", "session"):
        monkeypatch.setattr(f"workbench.ib.live.{module}.LAG_S", 0.25)


def live_market(folder: Path) -> AbstractContextManager[Market]:
    return market_at(BEGIN, SPEED, folder, watchdog_s=0.3, timeout=0.7)


def newest(market: Market) -> float:
    session = market.session(BEGIN)
    starts = [market.recorded(symbol, session).index.max() for symbol in SYMBOLS]
    return min((start.timestamp() for start in starts if not pd.isna(start)), default=0.0)


def assert_nothing_is_lost(market: Market) -> None:
    """Compare what was recorded up to a moment with the gateway's own history."""
    until(lambda: market.live.error is not None or newest(market) >= at(SETTLED))
    assert market.live.error is None
    market.wait_settled(SETTLED)
    session, end = market.session(BEGIN), pd.Timestamp(at(UNTIL), unit="s", tz="UTC")
    for symbol in SYMBOLS:
        recorded, history = (
            bars[bars.index < end]
            for bars in (market.recorded(symbol, session), market.history(symbol, "5sec", session))
        )
        assert_same(recorded, history)
        until(lambda symbol=symbol: _is_whole(market, symbol, end))  # type: ignore[misc]
        minutes = market.history(symbol, "1min", session)
        assert_same(_built(market, symbol, end), minutes[minutes.index < end])
    assert market.live.status().unfilled == []


def _is_whole(market: Market, symbol: str, end: pd.Timestamp) -> bool:
    return bool(_built(market, symbol, end)["received"].eq(12).all())


def _built(market: Market, symbol: str, end: pd.Timestamp) -> pd.DataFrame:
    bars = market.built(symbol, "1min", market.session(BEGIN))
    return bars[bars.index < end]


@pytest.mark.parametrize(("when", "action"), FAULTS.values(), ids=FAULTS)
def test_nothing_is_lost_through(when: When, action: Action, tmp_path: Path) -> None:
    with live_market(tmp_path) as market:
        market.live.start(SYMBOLS)
        market.wait_until(TROUBLE)

        market.strike(action, when)

        assert_nothing_is_lost(market)


@pytest.mark.parametrize("action", [ConnectivityRestored(data="lost"), Bust()], ids=["1101", "10225"])
def test_what_ib_says_is_dead_is_requested_again_before_it_falls_silent(action: Action, tmp_path: Path) -> None:
    with live_market(tmp_path) as market:
        market.live.start(SYMBOLS)
        market.wait_until(TROUBLE)

        market.strike(action)

        assert_nothing_is_lost(market)
        assert market.live.status().streams.renewed == 0


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_stream_that_is_refused_is_tried_again_and_what_it_missed_is_filled(reason: str, tmp_path: Path) -> None:
    with live_market(tmp_path) as market:
        market.strike(Refuse(reason), A_REQUEST)

        market.live.start(SYMBOLS)

        until(lambda: len(market.live.status().streams.refused) == 2)
        assert_nothing_is_lost(market)
        assert market.live.status().streams.refused == {}


def test_bars_before_an_annulled_trade_are_those_that_history_tells_afterwards(tmp_path: Path) -> None:
    tape = RevisedTape(SimulatedTape(1, start=int(at(BEGIN))), 0.1)  # its history is not what it streamed
    with market_at(BEGIN, SPEED, tmp_path, tape=tape, watchdog_s=0.3, timeout=0.7) as market:
        market.live.start(["AAPL", "KO"])
        counts = market.live.status().counts
        assert counts is not None
        until(lambda: counts.received > 100 and market.live.status().open_gaps == 0)
        session = market.session(BEGIN)
        streamed = market.recorded("KO", session)
        annulled = streamed.index[-1].floor("min")
        market.strike(Bust(symbols=("KO",)))

        until(lambda: counts.revised > 0)
        before = slice(None, annulled - pd.Timedelta(seconds=5))
        until(lambda: market.history("KO", "5sec", session).index[-1] >= annulled)  # it lags the streams a little
        history = market.history("KO", "5sec", session).loc[before]
        assert not streamed.loc[before].equals(history)
        until(lambda: market.recorded("KO", session).loc[before, "volume"].equals(history["volume"]))
        assert_same(market.recorded("KO", session).loc[before], history)
        minutes = slice(None, annulled - pd.Timedelta(minutes=1))
        expected = market.history("KO", "1min", session).loc[minutes, "volume"]
        until(lambda: market.built("KO", "1min", session).loc[minutes, "volume"].equals(expected))
        assert (market.built("KO", "1min", session).loc[minutes, "filled"] == 12).all()
        assert market.live.status().unfilled == []


def test_what_history_refuses_is_reported_with_its_reason(tmp_path: Path) -> None:
    with live_market(tmp_path) as market:
        market.live.start(SYMBOLS)
        market.wait_settled(TROUBLE)
        market.strike(Refuse("no-permission"), When("reqHistoricalData", symbol="KO", times=0))
        market.strike(Drop(), When("realtimeBar", symbol="KO", times=3))

        until(lambda: len(market.live.status().unfilled) > 0)

        [lost] = market.live.status().unfilled
        assert (lost.symbol, lost.gap.bars) == ("KO", 3)
        assert "permission" in lost.reason
        assert "NOT FILLED" in str(market.live.status())
