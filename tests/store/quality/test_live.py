"""What a check tells of live recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from workbench.market.bars import empty_bars
from workbench.market.coverage import Interval
from workbench.market.differences import Differences
from workbench.market.sessions import Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.closings import Closing, Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveBar, LiveJournal
from workbench.store.quality.findings import Finding
from workbench.store.quality.live import find_live

EVENING = datetime(2026, 11, 20, 22, tzinfo=UTC)
(FRIDAY,) = session_calendar().during(EVENING - timedelta(hours=8), EVENING, TIMEFRAMES["5sec"])
ALIKE = Differences(bars=390, equal=300, price=90)


class Desk:
    def __init__(self, folder: Path) -> None:
        self.database = DatabaseManager(f"sqlite:///{folder / 'live.db'}")
        self.store = HistoricalDataManager(folder / "historical")
        self.closings = Closings(self.database)

    def close(self, found: Differences, provisional: int = 0, timeframe: str = "1min") -> None:
        closing = Closing(FRIDAY, "AAPL", 4680, {timeframe: found}, {timeframe: provisional})
        self.closings.close(closing, until=0)

    def find(self, as_of: datetime = EVENING, **choices: object) -> list[Finding]:
        given = {"symbols": (), "timeframes": (), "since": None} | choices
        return list(find_live(self.store, self.closings, as_of=as_of, **given))  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.database.close()


def test_a_session_waits_unsaved_from_the_next_open_on(desk: Desk) -> None:
    start = int(FRIDAY.begin.timestamp())
    LiveJournal(desk.database).append([LiveBar("AAPL", start, 10, 11, 9, 10, 100, 10, 3)])

    assert desk.find(datetime(2026, 11, 23, 14, 29, tzinfo=UTC)) == []
    (found,) = desk.find(datetime(2026, 11, 23, 14, 31, tzinfo=UTC))
    assert (found.kind, found.symbol, found.begin) == ("unsaved", "AAPL", FRIDAY.begin)
    assert "workbench save-session" in found.step
    assert not found.is_refetched


def test_small_differences_are_usual_and_large_ones_are_told(desk: Desk) -> None:
    desk.close(replace(ALIKE, far=19))
    assert desk.find() == []

    desk.close(replace(ALIKE, far=19, missing=300))  # nobody recorded
    assert desk.find() == []

    desk.close(replace(ALIKE, far=19, extra=1))
    (found,) = desk.find()

    assert found.kind == "built otherwise"
    assert found.what == "19 of 390 bars of 2026-11-20 were built far from history; 1 not in it"
    assert desk.find(symbols=["MSFT"]) == desk.find(timeframes=["1day"]) == []
    assert desk.find(since=date(2026, 11, 21)) == []


def test_sessions_of_long_ago_are_not_told(desk: Desk) -> None:
    desk.close(replace(ALIKE, far=100))

    assert len(desk.find(EVENING + timedelta(days=10))) == 1
    assert desk.find(EVENING + timedelta(days=30)) == []


@pytest.mark.parametrize(("timeframe", "span"), [
    ("1min", Interval(FRIDAY.begin, FRIDAY.end)),
    ("1day", Interval(FRIDAY.label_utc, FRIDAY.label_utc + timedelta(days=1))),
])  # fmt: skip
def test_provisional_bars_are_told_until_history_has_taken_their_place(
    desk: Desk, timeframe: str, span: Interval
) -> None:
    desk.close(Differences(extra=390), 390, timeframe)
    (found,) = desk.find()

    assert (found.kind, found.is_refetched, found.interval) == ("provisional", True, span)
    desk.store.save_bars("AAPL", timeframe, empty_bars(), covers=span)
    assert desk.find() == []


def test_the_session_of_the_tests_is_a_friday() -> None:
    assert isinstance(FRIDAY, Session)
    assert FRIDAY.label == date(2026, 11, 20)
