"""A live session: who records, what is kept, and how it ends."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.live_market import assert_same, market_at, until
from workbench.errors import AlreadyRecorded, Disconnected, InvalidSymbol, UnknownContract
from workbench.gateway.faults import Bust, Refuse, When
from workbench.ib.live.session import LiveSession
from workbench.store.holders import Holder, this_process
from workbench.store.journal import LiveBar, LiveJournal

SPEED = 100.0
MORNING = "2026-11-20T10:00:00"
LATE_S = 3.0
"""A second is promised; on a machine that is busy with other tests it may be more."""


def test_a_second_recorder_of_a_symbol_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start(["AAPL", "KO"])
        second = LiveSession(lambda: market.ib, lambda: market.journal)

        with pytest.raises(AlreadyRecorded, match=f"KO are recorded already, by process {os.getpid()}"):
            second.start(["KO", "MSFT"])

        assert not second.is_running
        market.live.stop()
        second.start(["KO", "MSFT"])
        assert second.is_running
        second.stop()


def test_a_recorder_that_starts_again_goes_on_and_fills_what_it_missed(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start(["AAPL"])
        market.wait_settled("2026-11-20T10:03:00")
        market.live.stop()
        time.sleep(0.5)
        held = len(market.recorded("AAPL", market.session(MORNING)))

        market.live.start(["AAPL"])
        counts = market.live.status().counts
        assert counts is not None
        until(lambda: counts.filled > 0)
        market.wait_settled("2026-11-20T10:08:00")

        session, end = market.session(MORNING), pd.Timestamp(at("2026-11-20T10:05:00"), unit="s", tz="UTC")
        recorded, history = market.recorded("AAPL", session), market.history("AAPL", "5sec", session)
        assert counts.filled < held
        assert_same(recorded[recorded.index < end], history[history.index < end])


def test_bars_are_committed_within_a_second_of_their_arrival(tmp_path: Path) -> None:
    with market_at(MORNING, 5.0, tmp_path) as market:
        market.live.start(["AAPL", "KO"])
        followed = market.journal.follow(poll_s=0.01)
        first_live = at(MORNING) + 10
        for _ in range(3):
            live: list[LiveBar] = []
            while not live:
                live = [bar for bar in next(followed) if bar.timestamp >= first_live]

            assert market.now - (live[-1].timestamp + 5) < 5 * LATE_S


def test_symbols_come_and_go_while_it_records(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start("AAPL")
        until(lambda: not market.live.status().streams.waiting)

        market.live.update(["KO"])

        until(lambda: len(market.journal.load("KO")) > 0)
        assert market.live.status().streams.wanted == ("KO",)
        second = LiveJournal(market.journal._database)
        until(lambda: "KO" in second.symbols())


def test_a_connection_that_is_ended_ends_the_recording_and_says_so(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start("AAPL")
        until(lambda: len(market.journal.load("AAPL")) > 0)

        market.ib.disconnect()

        until(lambda: not market.live.is_running)
        assert isinstance(market.live.error, Disconnected)
        with pytest.raises(Disconnected, match="nothing is recorded"):
            market.live.update(["KO"])


def test_a_symbol_that_ib_does_not_know_is_told_and_left_out_while_the_others_go_on(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start(["AAPL", "NOSUCH"])

        until(lambda: market.live.status().unknown == ["NOSUCH"])
        held = len(market.journal.load("AAPL"))
        until(lambda: len(market.journal.load("AAPL")) > held)
        assert "IB does NOT KNOW NOSUCH" in str(market.live.status())
        assert market.live.symbols == ["AAPL"]
        mine, now = this_process(), datetime.now(UTC)
        until(lambda: holds(market.journal, ["NOSUCH"], mine, now))
        with pytest.raises(AlreadyRecorded):
            market.journal.hold(["AAPL"], mine, now=now, until=now)

        market.live.update(["AAPL", "NOSUCH", "KO"])  # as a watchlist does that goes on to name it
        until(lambda: market.live.symbols == ["AAPL", "KO"])


def test_a_session_of_nothing_but_unknown_symbols_ends_and_says_why(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start(["NOSUCH"])

        until(lambda: not market.live.is_running)
        assert isinstance(market.live.error, UnknownContract)
        assert "NOSUCH" in str(market.live.error)
        assert "workbench universe list" in str(market.live.error)


def test_while_ib_resets_its_servers_a_symbol_is_not_unknown_for_good(tmp_path: Path) -> None:
    with market_at("2026-11-20T01:40:00", SPEED, tmp_path, reset_region="america") as market:
        market.live.start(["NOSUCH"])

        until(lambda: "NOSUCH" in market.live.status().streams.refused)
        until(lambda: market.now >= at("2026-11-20T01:44:00"))
        assert market.live.is_running
        assert market.live.status().unknown == []
        until(lambda: not market.live.is_running)
        assert market.now >= at("2026-11-20T01:45:00")


def test_what_was_heard_once_is_never_given_up(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start(["AAPL", "KO"])
        until(market.flows)

        market.strike(Refuse("unknown"), When("reqRealTimeBars", symbol="KO", times=4))
        market.strike(Bust(symbols=("KO",)))

        until(lambda: "KO" in market.live.status().streams.refused)
        held = len(market.journal.load("KO"))
        until(lambda: len(market.journal.load("KO")) > held + 100)
        assert market.live.status().unknown == []


def holds(journal: LiveJournal, symbols: list[str], holder: Holder, now: datetime) -> bool:
    try:
        journal.hold(symbols, holder, now=now, until=now)
    except AlreadyRecorded:
        return False
    return True


def test_what_is_no_symbol_is_refused_before_anything_is_held(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        with pytest.raises(InvalidSymbol):
            market.live.start(["AAPL", "../x"])

        assert not market.live.is_running
        market.journal.hold(["AAPL"], this_process(), now=datetime.now(UTC), until=datetime.now(UTC))
