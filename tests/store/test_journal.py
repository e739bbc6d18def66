from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import nan

import pandas as pd
import pytest

from workbench.errors import AlreadyRecorded
from workbench.market.bars import COLUMNS
from workbench.market.coverage import Interval
from workbench.store.database import DatabaseManager
from workbench.store.holders import Holder, process_start, this_process
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


def test_from_its_end_on_a_follower_reads_what_comes(journal: LiveJournal) -> None:
    assert journal.end() == 0
    journal.append([bar("AAPL", 0), bar("AAPL", 1)])
    end = journal.end()

    journal.append([bar("AAPL", 2)])

    assert journal.read(end).bars == [bar("AAPL", 2)]


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


MINUTE = timedelta(minutes=1)


def elsewhere(name: str) -> Holder:
    """Return a holder on another machine: nobody here can tell whether it lives."""
    return Holder(name, "another machine", 1, "then")


def test_a_second_recorder_of_a_symbol_is_refused_and_told_who_has_it_until_when(journal: LiveJournal) -> None:
    first, second = elsewhere("process 1 on desk"), elsewhere("process 2 on desk")
    journal.hold(["AAPL", "MSFT"], first, now=NOW, until=NOW + MINUTE)

    told = "MSFT are recorded already, by process 1 on desk.* free from 14:31:00 UTC on"
    with pytest.raises(AlreadyRecorded, match=told):
        journal.hold(["MSFT", "SPY"], second, now=NOW, until=NOW + MINUTE)

    journal.hold(["SPY"], second, now=NOW, until=NOW + MINUTE)
    journal.hold(["AAPL"], first, now=NOW, until=NOW + 2 * MINUTE)  # it has let MSFT go
    journal.hold(["MSFT", "SPY"], second, now=NOW, until=NOW + MINUTE)


def test_two_recorders_of_one_process_are_two(journal: LiveJournal) -> None:
    journal.hold(["AAPL"], this_process(), now=NOW, until=NOW + MINUTE)

    with pytest.raises(AlreadyRecorded):
        journal.hold(["AAPL"], this_process(), now=NOW, until=NOW + MINUTE)


def test_the_symbols_of_a_recorder_that_fell_silent_or_left_are_free(journal: LiveJournal) -> None:
    leaves, third = elsewhere("one that leaves"), elsewhere("a third")
    journal.hold(["AAPL"], elsewhere("one that dies"), now=NOW, until=NOW + MINUTE)
    journal.hold(["MSFT"], leaves, now=NOW, until=NOW + MINUTE)
    journal.release(leaves)

    journal.hold(["MSFT"], elsewhere("another"), now=NOW, until=NOW + MINUTE)
    with pytest.raises(AlreadyRecorded):
        journal.hold(["AAPL"], third, now=NOW + MINUTE / 2, until=NOW + 2 * MINUTE)
    journal.hold(["AAPL"], third, now=NOW + MINUTE, until=NOW + 2 * MINUTE)


def test_the_symbols_of_a_process_that_is_dead_are_free_at_once(journal: LiveJournal) -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        other = replace(this_process(), pid=process.pid, started=str(process_start(process.pid)), token="other")
        journal.hold(["AAPL"], other, now=NOW, until=NOW + MINUTE)
        with pytest.raises(AlreadyRecorded):
            journal.hold(["AAPL"], this_process(), now=NOW, until=NOW + MINUTE)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, but nobody has asked how it died

        journal.hold(["AAPL"], this_process(), now=NOW, until=NOW + MINUTE)


def test_a_process_whose_number_was_given_again_is_dead(journal: LiveJournal) -> None:
    journal.hold(["AAPL"], replace(this_process(), started="earlier", token="earlier"), now=NOW, until=NOW + MINUTE)

    journal.hold(["AAPL"], this_process(), now=NOW, until=NOW + MINUTE)


def test_what_history_tells_otherwise_replaces_bars_and_is_followed_anew(journal: LiveJournal) -> None:
    journal.append([bar("AAPL", number) for number in range(4)] + [bar("MSFT", 1)])
    cursor = journal.read().cursor

    journal.revise("AAPL", [bar("AAPL", 1, close=9.5)], [BEGIN + 15])

    session = Interval(NOW, NOW + MINUTE)
    assert journal.load("AAPL")["close"].tolist() == [10.0, 9.5, 10.0]
    assert journal.load("MSFT")["close"].tolist() == [10.0]
    assert journal.read(cursor).bars == [bar("AAPL", 1, close=9.5)]
    assert journal.from_history("AAPL", session) == [BEGIN + 5]


def test_what_was_filled_is_told_from_what_came_live(journal: LiveJournal) -> None:
    journal.append([bar("AAPL", 0), bar("AAPL", 3)])

    journal.append([bar("AAPL", 0), bar("AAPL", 1), bar("AAPL", 2)], from_history=True)

    assert journal.from_history("AAPL", Interval(NOW, NOW + MINUTE)) == [BEGIN + 5, BEGIN + 10]


def test_a_follower_misses_nothing_after_the_journal_was_emptied(journal: LiveJournal) -> None:
    journal.append([bar("AAPL", number) for number in range(4)])
    cursor = journal.read().cursor
    journal.forget("AAPL", Interval(NOW, NOW + MINUTE))

    journal.append([bar("AAPL", 20)])

    assert journal.read(cursor).bars == [bar("AAPL", 20)]


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
