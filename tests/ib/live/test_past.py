"""What lies before the running session, as the store and the journal have it; nothing is fetched here."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.closing.evening import live_bars, session_of
from workbench.ib.live.past import Past
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.bars import COLUMNS
from workbench.market.coverage import Interval
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal

NOON = datetime(2026, 11, 20, 17, tzinfo=UTC)
WEDNESDAY, THURSDAY = session_of(date(2026, 11, 18)), session_of(date(2026, 11, 19))


@pytest.fixture
def past(tmp_path: Path) -> Iterator[Past]:
    with DatabaseManager(f"sqlite:///{tmp_path / 'live.db'}") as database:
        store = HistoricalDataManager(tmp_path / "historical", database=database)
        yield Past(store, LiveJournal(database), Closings(database), 60)


def seeded(past: Past, timeframe: str, now: datetime = NOON) -> pd.DataFrame:
    found: dict[str, pd.DataFrame] = {}
    past.seed(["KO"], now, lambda _symbol, name, bars: found.update({name: bars}))
    return found[timeframe]


def record(past: Past, *days: date) -> pd.DataFrame:
    """Put whole sessions into the journal; return their bars of fifteen minutes."""
    for day in days:
        past.journal.append(live_bars("KO", day))
    return aggregate_bars(past.journal.load("KO"), "15min")[list(COLUMNS)]


def test_bars_that_are_stored_but_not_final_stand_and_those_built_follow(past: Past) -> None:
    told = record(past, WEDNESDAY.label, THURSDAY.label)
    past.store.save_bars("KO", "15min", told.iloc[26:36])

    bars = seeded(past, "15min")

    pd.testing.assert_frame_equal(bars[list(COLUMNS)], told, check_freq=False)
    assert bars["received"].isna().tolist() == 26 * [False] + 10 * [True] + 16 * [False]


def test_where_history_is_final_a_built_bar_that_it_lacks_does_not_count(past: Past) -> None:
    told = record(past, THURSDAY.label)
    final = told.drop(told.index[5])
    past.store.save_bars("KO", "15min", final, covers=Interval(THURSDAY.begin, THURSDAY.end))

    assert seeded(past, "15min").index.equals(final.index)


def test_bars_end_before_the_running_session_a_daily_one_at_its_label(past: Past) -> None:
    record(past, THURSDAY.label, date(2026, 11, 20))
    past.store.save_bars("KO", "1day", aggregate_bars(past.journal.load("KO"), "1day")[list(COLUMNS)])

    assert seeded(past, "1day").index.tolist() == [THURSDAY.label_utc]
    assert seeded(past, "15min").index[-1] < THURSDAY.end
    evening = session_of(date(2026, 11, 20)).end
    assert seeded(past, "15min", evening).index[-1] == evening - pd.Timedelta(minutes=15)


def test_a_session_that_nobody_has_ends_what_can_be_reached(past: Past) -> None:
    record(past, date(2026, 11, 17), THURSDAY.label)

    assert seeded(past, "15min").index[0] == THURSDAY.begin
    assert seeded(past, "1day").index.tolist() == [THURSDAY.label_utc]


def test_a_symbol_that_cannot_be_read_does_not_keep_the_others_from_it(
    past: Past, caplog: pytest.LogCaptureFixture
) -> None:
    told = record(past, THURSDAY.label)
    past.store.save_bars("AAPL", "1min", told.iloc[:1])
    (part,) = (past.store.home("AAPL") / "1min.parquet").glob("*.parquet")
    part.write_bytes(b"no parquet")

    found: list[str] = []
    past.seed(["AAPL", "KO"], NOON, lambda symbol, _name, _bars: found.append(symbol))

    assert "KO" in found
    assert "the bars of AAPL do not reach back" in caplog.text
