"""The watchlist of the database leads the streams, through the real gateway and the real database."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.live_market import Market, market_at, until
from workbench.errors import StoreError
from workbench.ib.live.following import WatchlistFollower
from workbench.store.database import DatabaseManager

SPEED, MORNING = 100.0, "2026-11-20T10:00:00"


def save(database: DatabaseManager, *symbols: str) -> None:
    frame = pd.DataFrame({"symbol": symbols, "side": "long", "score": 50.0})
    database.save_watchlist(frame)


def streams(market: Market) -> dict[str, int | None]:
    """Return the number of each symbol's stream."""
    subscriber = market.live._subscriber
    assert subscriber is not None
    return {symbol: stream.number for symbol, stream in list(subscriber._lines.streams.items())}


def test_streams_follow_the_watchlist_by_the_difference_only(tmp_path: Path) -> None:
    with (
        market_at(MORNING, SPEED, tmp_path) as market,
        DatabaseManager(f"sqlite:///{tmp_path / 'live.db'}") as database,
    ):
        with WatchlistFollower(market.live, database.load_watchlist_symbols, always="SPY", every_s=0.02) as follower:
            follower.start()
            until(lambda: set(streams(market)) == {"SPY"})
            save(database, "AAPL", "KO")
            until(lambda: set(streams(market)) == {"SPY", "AAPL", "KO"} and None not in streams(market).values())
            before = streams(market)
            save(database, "KO", "MSFT")
            until(lambda: set(streams(market)) == {"SPY", "KO", "MSFT"})
            until(lambda: len(market.journal.load("MSFT")) > 0)

            assert (streams(market)["SPY"], streams(market)["KO"]) == (before["SPY"], before["KO"])
            assert follower.symbols == ["SPY", "KO", "MSFT"]
            save(database)
            until(lambda: set(streams(market)) == {"SPY"})

        save(database, "PEP")
        assert follower.symbols == ["SPY"]
        assert market.live.is_running


def test_a_watchlist_that_cannot_be_read_is_told_once_and_the_streams_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers: list[Sequence[str] | StoreError] = [["AAPL"], *[StoreError("the server restarts")] * 3, ["AAPL", "KO"]]

    def read() -> Sequence[str]:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, StoreError):
            assert follower.symbols == ["AAPL"]
            raise answer
        return answer

    with market_at(MORNING, SPEED, tmp_path) as market:
        follower = WatchlistFollower(market.live, read, every_s=0.02)
        with caplog.at_level(logging.WARNING, logger="workbench.ib.live.following"), follower.start():
            until(lambda: set(streams(market)) == {"AAPL", "KO"})

    assert caplog.text.count("not followed for now: the server restarts") == 1


def test_following_ends_with_the_session(tmp_path: Path) -> None:
    with market_at(MORNING, SPEED, tmp_path) as market:
        follower = WatchlistFollower(market.live, lambda: ["AAPL"], every_s=0.02).start()

        market.live.stop()

        until(lambda: not follower._thread.is_alive())
