"""What a board knows of its symbols: over a real journal, beside the twin that works on whole columns."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import isnan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.display.board.market import History, Market
from workbench.ib.live.past import Seed
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import SUITE
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.bars import COLUMNS
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveBar, LiveJournal

ENGINE = IndicatorEngine()
OPEN = int(pd.Timestamp("2026-11-20 14:30", tz="UTC").timestamp())
PRICES = (100 + np.random.default_rng(5).normal(0, 0.02, 5000).cumsum()).round(2).tolist()
EARLIER = aggregate_bars(
    pd.DataFrame(
        dict.fromkeys(COLUMNS[:4], PRICES[:4680]) | {"volume": 5.0, "average": PRICES[:4680], "bar_count": 1.0},
        index=pd.date_range("2026-11-19 14:30", periods=4680, freq="5s", tz="UTC").as_unit("us"),
    ),
    "1min",
)[list(COLUMNS)]


class Stored:
    """Bars of the session before, once they are there."""

    def __init__(self) -> None:
        self.is_there = False

    def seed(self, symbols: list[str], now: datetime, seed: Seed) -> None:
        assert now > datetime(2026, 11, 20, tzinfo=UTC)
        for symbol in symbols if self.is_there else ():
            seed(symbol, "1min", EARLIER)
            seed(symbol, "1day", EARLIER.iloc[-1:].set_axis(pd.DatetimeIndex(["2026-11-19"], tz="UTC").as_unit("us")))

    def version(self, symbol: str, timeframe: str) -> bool:
        return self.is_there


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[LiveJournal]:
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        yield LiveJournal(database)


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def market(journal: LiveJournal, stored: Stored) -> Market:
    return Market(journal, History(stored.seed, stored.version), SUITE, ["1min", "5min"])


def bars(first: int, after: int, symbol: str = "KO") -> list[LiveBar]:
    """Return the five-second bars number `first` up to `after` of the session."""
    return [
        LiveBar(symbol, OPEN + 5 * at, price, price + 0.01, price - 0.01, price, 10.0, price, 2.0)
        for at, price in list(enumerate(PRICES))[first:after]
    ]


def look(market: Market) -> None:
    """Look until nothing is left to be opened."""
    market.look()
    while market.opening:
        market.look()


def tells_what_there_is(market: Market, journal: LiveJournal, *, earlier: bool = False) -> None:
    """Compare with all bars of the journal, as one frame."""
    live = journal.load("KO")
    stock = market.stocks["KO"]
    assert stock.last == live["close"].iloc[-1]
    assert stock.newest == live.index[-1].timestamp() + 5
    assert stock.received == len(live)
    assert stock.due == (stock.newest - OPEN) // 5
    for name in ("1min", "5min"):
        whole = aggregate_bars(live, name)[list(COLUMNS)]
        study = ENGINE.calculate(pd.concat([EARLIER, whole]) if earlier and name == "1min" else whole)
        np.testing.assert_allclose(stock.readings[name][:2], study[["rsi", "stoch_k"]].iloc[-1], rtol=1e-9)


def test_the_values_are_those_of_all_bars(market: Market, journal: LiveJournal) -> None:
    journal.append(bars(0, 333))
    market.follow(["KO"])
    look(market)
    tells_what_there_is(market, journal)

    for first in range(333, 620, 7):
        journal.append(bars(first, first + 7))
        market.look()

    tells_what_there_is(market, journal)


def test_bars_that_are_filled_in_later_are_taken_into_account_but_are_not_live(
    market: Market, journal: LiveJournal
) -> None:
    market.follow(["KO"])
    look(market)
    journal.append(bars(400, 410))
    look(market)
    assert (market.stocks["KO"].received, market.stocks["KO"].missing) == (10, 400)
    rate, heard = market.rate(), market.heard_at

    journal.append(bars(0, 400), from_history=True)
    look(market)

    assert market.stocks["KO"].missing == 0
    assert (market.rate(), market.heard_at) == (pytest.approx(rate, rel=0.5), heard)
    tells_what_there_is(market, journal)


def test_history_that_comes_later_is_taken_into_account(
    market: Market, journal: LiveJournal, stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.display.board.market._VERSION_EVERY_S", 0.0)
    journal.append(bars(0, 70))
    market.follow(["KO"])
    look(market)
    assert isnan(market.stocks["KO"].readings["1min"].rsi)
    assert isnan(market.stocks["KO"].change)

    stored.is_there = True
    look(market)
    look(market)

    tells_what_there_is(market, journal, earlier=True)
    assert market.stocks["KO"].change == pytest.approx(PRICES[69] / EARLIER["close"].iloc[-1] - 1)


def test_ages_are_seconds_of_the_session(market: Market, journal: LiveJournal) -> None:
    journal.append([*bars(0, 50), *bars(0, 10, "XOM")])
    market.follow(["KO", "XOM", "JPM"])
    look(market)

    at = OPEN + 250
    assert market.ages(at + 3.0) == {"KO": 3.0, "XOM": 203.0, "JPM": float("inf")}
    overnight = market.ages(at + 12 * 3600.0)
    assert overnight["KO"] == 23_400 - 250


def test_who_is_told_of_complete_bars(journal: LiveJournal, stored: Stored) -> None:
    told: list[set[tuple[str, str]]] = []
    market = Market(journal, History(stored.seed, stored.version), SUITE, ["1min", "5min"], on_bars=told.append)
    market.follow(["KO"])
    look(market)
    told.clear()

    journal.append(bars(0, 13))
    market.look()

    assert told == [{("KO", "1min")}]
    assert len(market.complete_rows("KO", "1min")) == 1


def test_who_is_not_wanted_any_more_is_not_followed(market: Market, journal: LiveJournal) -> None:
    market.follow(["KO", "XOM"])
    look(market)
    market.follow(["XOM"])
    journal.append([*bars(0, 5), *bars(0, 5, "XOM")])

    assert market.look() == {"XOM"}
    assert list(market.stocks) == ["XOM"]


def test_the_change_is_counted_from_the_session_before_when_this_one_is_complete(
    market: Market, journal: LiveJournal, stored: Stored
) -> None:
    stored.is_there = True
    journal.append(bars(0, 4670))
    market.follow(["KO"])
    look(market)
    journal.append(bars(4670, 4680))
    look(market)

    stock = market.stocks["KO"]
    assert (stock.received, stock.due, stock.last) == (4680, 4680, PRICES[4679])
    assert stock.change == pytest.approx(PRICES[4679] / EARLIER["close"].iloc[-1] - 1)
    look(market)
    market.follow([])
    market.follow(["KO"])
    look(market)
    assert market.stocks["KO"].change == pytest.approx(PRICES[4679] / EARLIER["close"].iloc[-1] - 1)
