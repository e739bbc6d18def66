"""Charts that follow a journal: a real database, a real thread; bars are appended as a recorder appends them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.display.live import LiveChart, LiveFeed
from workbench.errors import UnknownTimeframe
from workbench.indicators.engine import IndicatorEngine
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.bars import COLUMNS, empty_bars
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveBar, LiveJournal

ENGINE = IndicatorEngine()
OPEN = int(pd.Timestamp("2026-11-20 14:30", tz="UTC").timestamp())
PRICES = (100 + np.random.default_rng(5).normal(0, 0.02, 5000).cumsum()).round(2).tolist()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[LiveJournal]:
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        yield LiveJournal(database)


@pytest.fixture
def feed(journal: LiveJournal) -> Iterator[LiveFeed]:
    feed = LiveFeed(journal, ENGINE, lambda *_: empty_bars(), poll_s=0.01)
    yield feed
    feed.close()


def bars(first: int, after: int, symbol: str = "AAPL") -> list[LiveBar]:
    """Return the five-second bars number `first` up to `after` of the session."""
    return [
        LiveBar(symbol, OPEN + 5 * at, price, price + 0.01, price - 0.01, price, 10.0, price, 2.0)
        for at, price in list(enumerate(PRICES))[first:after]
    ]


def expected(journal: LiveJournal, timeframe: str, symbol: str = "AAPL") -> pd.DataFrame:
    """Return the longer bars of all that the journal has, by the twin that works on whole columns."""
    return aggregate_bars(journal.load(symbol), timeframe)[list(COLUMNS[:5])]


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "this did not come about"
        time.sleep(0.01)


def shows(chart: LiveChart, wanted: pd.DataFrame) -> bool:
    drawn = chart.bars[list(COLUMNS[:5])]
    return len(drawn) == len(wanted) and np.allclose(drawn, wanted, rtol=1e-12) and (drawn.index == wanted.index).all()


def test_charts_show_what_the_journal_has_and_what_comes(journal: LiveJournal, feed: LiveFeed) -> None:
    journal.append(bars(0, 50))
    minutes, quarters = feed.open("AAPL", "1min"), feed.open("AAPL", "5min")
    assert shows(minutes, expected(journal, "1min"))

    for first in range(50, 500, 7):
        journal.append(bars(first, first + 7))

    until(lambda: shows(minutes, expected(journal, "1min")) and shows(quarters, expected(journal, "5min")))
    complete = minutes.bars[minutes.bars["forming"] == 0]
    np.testing.assert_array_equal(complete["rsi"], ENGINE.calculate(complete[list(COLUMNS[:5])])["rsi"])
    assert minutes.bars["forming"].tolist() == [0.0] * len(complete) + [1.0]


def test_bars_that_are_filled_in_later_change_the_bars_that_they_belong_to(
    journal: LiveJournal, feed: LiveFeed
) -> None:
    journal.append(bars(30, 60))
    chart = feed.open("AAPL", "1min")
    assert chart.bars["missing"].tolist() == [6.0, 0.0, 0.0]

    journal.append(bars(60, 80))
    journal.append(bars(0, 30))

    until(lambda: shows(chart, expected(journal, "1min")))
    assert chart.bars["missing"].tolist() == [0.0] * 7


def test_a_session_that_the_store_does_not_have_yet_is_drawn_from_the_journal(
    journal: LiveJournal, feed: LiveFeed
) -> None:
    day_before = [bar._replace(timestamp=bar.timestamp - 86_400) for bar in bars(0, 4680)]
    journal.append([*day_before, *bars(0, 40)])

    chart = feed.open("AAPL", "1min")
    assert shows(chart, expected(journal, "1min"))
    journal.append(bars(50, 70))
    journal.append(bars(40, 50))

    until(lambda: shows(chart, expected(journal, "1min")))
    assert len(chart.bars) == 390 + 6


def test_a_chart_that_turns_to_another_symbol_shows_only_that(journal: LiveJournal, feed: LiveFeed) -> None:
    journal.append([*bars(0, 40), *bars(0, 30, "MSFT")])
    chart = feed.open("AAPL", "1min")

    feed.turn(chart, "MSFT", "5min")
    journal.append([*bars(40, 70), *bars(30, 100, "MSFT")])

    until(lambda: shows(chart, expected(journal, "5min", "MSFT")))
    assert (chart.symbol, chart.timeframe) == ("MSFT", "5min")


def test_a_timeframe_that_is_not_built_from_live_bars_is_refused_and_harms_no_other_chart(
    journal: LiveJournal, feed: LiveFeed
) -> None:
    journal.append(bars(0, 40))
    chart = feed.open("AAPL", "1min")

    with pytest.raises(UnknownTimeframe, match="5sec bars come from IB"):
        feed.open("AAPL", "5sec")
    with pytest.raises(UnknownTimeframe, match="did you mean 15min"):
        feed.turn(chart, timeframe="15mins")

    for first in (40, 50, 60):
        journal.append(bars(first, first + 10))
        until(lambda: shows(chart, expected(journal, "1min")))
    assert not chart.notice


def test_a_closed_chart_costs_nothing_more(journal: LiveJournal, feed: LiveFeed) -> None:
    journal.append(bars(0, 40))
    closed, other = feed.open("AAPL", "1min"), feed.open("AAPL", "1min")
    before = closed.bars

    closed.close()
    journal.append(bars(40, 60))

    until(lambda: shows(other, expected(journal, "1min")))
    pd.testing.assert_frame_equal(closed.bars, before)


def test_a_journal_that_cannot_be_read_is_told_in_the_chart_until_it_can(journal: LiveJournal, feed: LiveFeed) -> None:
    journal.append(bars(0, 40))
    chart = feed.open("AAPL", "1min")
    rename(journal, "live_bars", "gone")
    until(lambda: "the live journal cannot be read" in chart.notice)

    rename(journal, "gone", "live_bars")
    journal.append(bars(40, 60))

    until(lambda: shows(chart, expected(journal, "1min")) and not chart.notice)


def rename(journal: LiveJournal, table: str, name: str) -> None:
    from sqlalchemy import text

    with journal._database.transaction() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO {name}"))
