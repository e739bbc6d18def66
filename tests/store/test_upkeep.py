from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from workbench.market.contracts import Contract
from workbench.market.coverage import Interval
from workbench.market.universe import Universe
from workbench.store.catalog import load_coverage
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager

OWN_HOURS = Universe([Contract(symbol, kind="index") for symbol in ("AAPL", "KO", "SPY")])
COVERED = Interval(datetime(2024, 12, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))


def bars(price: float = 10.0) -> pd.DataFrame:
    index = pd.date_range("2024-12-02 15:00", "2026-02-10", freq="24h", tz="UTC", unit="us")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), price), index=index)


def recorded(database: DatabaseManager) -> tuple[list[list[object]], list[list[object]]]:
    series = database.load_series_metadata().drop(columns="id")
    return series.to_numpy().tolist(), load_coverage(database).to_numpy().tolist()


def test_what_saves_record_is_what_reindexing_finds_in_the_files(tmp_path: Path) -> None:
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        store = HistoricalDataManager(tmp_path / "data", universe=OWN_HOURS, database=database)
        store.save_bars("AAPL", "1min", bars(), covers=COVERED, source="IB")
        store.save_bars("AAPL", "1min", bars(), what_to_show="BID")
        store.save_bars("SPY", "15min", bars().iloc[:0], covers=COVERED)
        store.save_bars("KO", "15min", bars())
        by_saves = recorded(database)
        assert [row[:2] for row in by_saves[0]] == [["AAPL", "1min"], ["KO", "15min"]]
        assert by_saves[1] == [
            ["AAPL", "1min", "TRADES", COVERED.begin, COVERED.end],
            ["SPY", "15min", "TRADES", COVERED.begin, COVERED.end],
        ]

        shutil.rmtree(tmp_path / "data" / "stocks" / "KO")
        (tmp_path / "trading.db").rename(tmp_path / "old.db")
        (tmp_path / "trading.db-wal").unlink(missing_ok=True)

    with (
        DatabaseManager(f"sqlite:///{tmp_path / 'new.db'}") as anew,
        DatabaseManager(f"sqlite:///{tmp_path / 'old.db'}") as old,
    ):
        for database in (anew, old):
            store = HistoricalDataManager(tmp_path / "data", universe=OWN_HOURS, database=database)
            assert store.reindex().series == 3
            assert store.reindex().problems == ()
            assert recorded(database) == (by_saves[0][:1], by_saves[1])


def test_reindexing_names_what_cannot_be_read_and_keeps_what_was_recorded_of_it(tmp_path: Path) -> None:
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        store = HistoricalDataManager(tmp_path / "data", universe=OWN_HOURS, database=database)
        store.save_bars("AAPL", "15min", bars(), covers=COVERED)
        store.save_bars("KO", "15min", bars())
        before = recorded(database)
        next((tmp_path / "data" / "stocks" / "AAPL").rglob("2025.parquet")).write_bytes(b"PAR1")

        report = store.reindex()

        assert [problem.split(":")[0] for problem in report.problems] == ["AAPL 15min"]
        assert "2025.parquet" in report.problems[0]
        assert recorded(database) == before


def test_compacting_folds_the_named_series_and_names_those_that_cannot_be(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path, universe=OWN_HOURS)
    for symbol in ("AAPL", "KO", "SPY"):
        store.save_bars(symbol, "1min", bars())
        store.save_bars(symbol, "15min", bars())
    assert store.catalog()["parts"].tolist() == [15, 3] * 3  # December, a year of months, two more; and three years
    part = tmp_path / "stocks" / "KO" / "1min.parquet" / "2025-06.parquet"
    part.write_bytes(part.read_bytes()[:-4])

    one = store.compact("SPY", "1min")
    rest = store.compact()
    nothing = store.compact(["AAPL", "SPY"])

    assert (one.series, one.folded, one.problems) == (1, 11, ())
    assert (rest.series, rest.folded, len(rest.problems)) == (6, 11, 1)
    assert "2025-06.parquet" in rest.problems[0]
    assert (nothing.series, nothing.folded, nothing.problems) == (4, 0, ())
    loaded = store.load_bars("SPY", "1min", columns="close")
    pd.testing.assert_frame_equal(loaded, bars()[["close"]], check_names=False, check_freq=False)


def test_saving_folds_a_year_that_has_passed_once_nobody_fills_it(tmp_path: Path) -> None:
    store, frame = HistoricalDataManager(tmp_path, universe=OWN_HOURS), bars()

    def parts() -> list[str]:
        return sorted(path.name for path in tmp_path.rglob("*.parquet") if path.is_file())

    for month in pd.period_range("2024-12", "2026-01", freq="M")[::-1]:  # a backfill asks for the newest first
        store.save_bars("AAPL", "1min", frame.loc[str(month)])
        assert len([name for name in parts() if name.startswith("2025")]) <= 12

    assert parts()[:-1] == ["2024-12.parquet", "2025.parquet"]
    store.save_bars("AAPL", "1min", frame.loc["2026-02"])
    assert parts() == ["2024.parquet", "2025.parquet", "2026-01.parquet", "2026-02.parquet"]


def test_that_folding_fails_is_no_failure_of_the_save(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, frame = HistoricalDataManager(tmp_path, universe=OWN_HOURS), bars()
    store.save_bars("AAPL", "1min", frame.loc["2025"])
    part = next(tmp_path.rglob("2025-06.parquet"))
    data = bytearray(part.read_bytes())
    data[4:40] = bytes(byte ^ 255 for byte in data[4:40])
    part.write_bytes(bytes(data))

    store.save_bars("AAPL", "1min", frame.loc["2026-01"])

    assert len(store.load_bars("AAPL", "1min", "2026-01-01")) == 31
    assert "the months of a past year stay as they are" in caplog.text
