from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import nan

import pandas as pd
import pytest

from workbench.errors import AlreadyRecorded
from workbench.market.bars import COLUMNS
from workbench.market.coverage import Interval
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveBar, LiveJournal

BEGIN = int(datetime(2026, 11, 20, 14, 30, tzinfo=UTC).timestamp())
NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)


def bar(symbol: str, number: int, close: float = 10.0) -> LiveBar:
    return LiveBar(symbol, BEGIN + 5 * number, 10.0, 11.0, 9.0, close, 100.0, 10.2, 3.0)


@pytest.fixture
def journal(database_url: str) -> Iterator[LiveJournal]:
    with DatabaseManager(database_url) as database:
        yield LiveJournal(database)


def test_what_is_appended_is_read_in_its_order_and_loaded_by_time(journal: LiveJournal) -> None:
    bars = [bar("AAPL", 1), bar("MSFT", 0), bar("AAPL", 0)]

    journal.append(bars)

    assert journal.read().bars == bars
    assert journal.read(symbols=["AAPL"]).bars == [bars[0], bars[2]]
    frame = journal.load("AAPL")
    assert frame.index.tolist() == [pd.Timestamp(BEGIN + 5 * number, unit="s", tz="UTC") for number in (0, 1)]
    assert list(frame) == list(COLUMNS)
    assert tuple(frame.iloc[0]) == bars[2][2:]


def test_twice_is_once_and_the_first_stands(journal: LiveJournal) -> None:
    journal.append([bar("AAPL", 0), bar("AAPL", 1)])

    journal.append([bar("AAPL", 1, close=9.5), bar("AAPL", 2), bar("AAPL", 2)])
    journal.append([])

    assert [(one.timestamp - BEGIN, one.close) for one in journal.read().bars] == [(0, 10.0), (5, 10.0), (10, 10.0)]


def test_a_follower_reads_each_bar_once(journal: LiveJournal) -> None:
    followed = journal.follow(poll_s=0.0)
    got = [next(followed)]
    for number in range(3):
        journal.append([bar("AAPL", 2 * number), bar("AAPL", 2 * number + 1)])
        got.append(next(followed))

    assert [[(one.timestamp - BEGIN) // 5 for one in batch] for batch in got] == [[], [0, 1], [2, 3], [4, 5]]
    assert next(followed) == []


def test_a_number_that_is_unknown_comes_back_unknown(journal: LiveJournal) -> None:
    journal.append([bar("SPX", 0)._replace(average=nan)])

    assert journal.read().bars[0].average != journal.read().bars[0].average
    assert journal.load("SPX")["average"].isna().all()


def test_only_what_the_store_has_is_forgotten(journal: LiveJournal) -> None:
    journal.append([bar(symbol, number) for symbol in ("AAPL", "MSFT") for number in range(10)])
    span = Interval(NOW, NOW + timedelta(seconds=25))

    gone = journal.forget("AAPL", span)

    assert gone == 5
    assert len(journal.load("AAPL")) == 5
    assert journal.load("AAPL", span).empty
    assert len(journal.load("MSFT", span)) == 5
    assert journal.symbols()["AAPL"] == Interval(NOW + timedelta(seconds=25), NOW + timedelta(seconds=50))


def test_a_second_recorder_of_a_symbol_is_refused_and_told_who_has_it(journal: LiveJournal) -> None:
    minute = timedelta(minutes=1)
    journal.hold(["AAPL", "MSFT"], "process 1 on desk", now=NOW, until=NOW + minute)

    with pytest.raises(AlreadyRecorded, match="MSFT are recorded already, by process 1 on desk"):
        journal.hold(["MSFT", "SPY"], "process 2 on desk", now=NOW, until=NOW + minute)

    journal.hold(["SPY"], "process 2 on desk", now=NOW, until=NOW + minute)
    journal.hold(["AAPL"], "process 1 on desk", now=NOW, until=NOW + 2 * minute)  # it has let MSFT go
    journal.hold(["MSFT", "SPY"], "process 2 on desk", now=NOW, until=NOW + minute)


def test_the_symbols_of_a_recorder_that_died_or_left_are_free(journal: LiveJournal) -> None:
    minute = timedelta(minutes=1)
    journal.hold(["AAPL"], "one that dies", now=NOW, until=NOW + minute)
    journal.hold(["MSFT"], "one that leaves", now=NOW, until=NOW + minute)
    journal.release("one that leaves")

    journal.hold(["MSFT"], "another", now=NOW, until=NOW + minute)
    with pytest.raises(AlreadyRecorded):
        journal.hold(["AAPL"], "a third", now=NOW + minute / 2, until=NOW + 2 * minute)
    journal.hold(["AAPL"], "a third", now=NOW + minute, until=NOW + 2 * minute)


_WRITER = """
import sys
from tests.store.test_journal import bar
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveJournal
with DatabaseManager(sys.argv[1]) as database:
    journal = LiveJournal(database)
    for number in range(60):
        journal.append([bar(sys.argv[2] + str(k), number) for k in range(5)])
"""


def test_a_follower_misses_nothing_of_two_recorders_at_once(database_url: str) -> None:
    with DatabaseManager(database_url) as database:
        journal = LiveJournal(database)
        writers = [subprocess.Popen([sys.executable, "-c", _WRITER, database_url, name]) for name in ("A", "B")]
        seen, followed = list[LiveBar](), journal.follow(poll_s=0.01)
        while any(writer.poll() is None for writer in writers) or len(seen) < 600:
            seen += next(followed)
            if all(writer.poll() is not None for writer in writers):
                seen += next(followed)
                break

        assert [writer.returncode for writer in writers] == [0, 0]
        assert len(seen) == len(set(seen)) == 600
