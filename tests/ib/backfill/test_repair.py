"""Repair of what cannot be read: set aside, fetched again, and whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from workbench.ib.backfill import BackfillReport, download_historical_universe, repair
from workbench.ib.connection import IBDataManager
from workbench.market.coverage import Interval, parse_moment
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import QualityReport, check_store

SINCE, UNTIL = "2026-10-01", "2026-11-19"


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path / "historical")


def backfilled(ib: IBDataManager, store: HistoricalDataManager) -> Callable[..., BackfillReport]:
    def one(symbol: str, timeframe: str, within: Interval, *, what_to_show: str, use_rth: bool) -> BackfillReport:
        asked: list[list[str]] = [[symbol], [timeframe]]
        return download_historical_universe(
            ib, store, *asked, since=within.begin, until=within.end, progress=False,
            what_to_show=what_to_show, use_rth=use_rth,
        )  # fmt: skip

    return one


def checked(store: HistoricalDataManager) -> QualityReport:
    return check_store(store, as_of=parse_moment(f"{UNTIL}T05:00Z"))


def damage_pages(part: Path) -> None:
    whole = part.read_bytes()
    part.write_bytes(whole[:4] + bytes(byte ^ 255 for byte in whole[4:60]) + whole[60:])


def damage_footer(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-20])


def replace_by_folder(part: Path) -> None:
    part.unlink()
    part.mkdir()
    (part / "note.txt").write_text("not a part")


@pytest.mark.parametrize("damage", [damage_pages, damage_footer, replace_by_folder])
def test_a_part_that_cannot_be_read_is_kept_aside_and_the_series_is_whole_again(
    ib: IBDataManager, store: HistoricalDataManager, damage: Callable[[Path], None]
) -> None:
    download_historical_universe(ib, store, ["KO"], ["1hour", "1min"], since=SINCE, until=UNTIL, progress=False)
    before = {name: store.load_bars("KO", name) for name in ("1hour", "1min")}
    assert checked(store).is_clean
    damage(next(store.data_dir.rglob("2026-10.parquet")))
    report = checked(store)
    assert [(one.timeframe, one.kind) for one in report.findings] == [("1min", "unreadable")]

    repair(store, report.findings, backfilled(ib, store))

    assert checked(store).is_clean
    for name, bars in before.items():
        pd.testing.assert_frame_equal(store.load_bars("KO", name), bars, check_exact=True)
    (aside,) = store.data_dir.rglob(".corrupt-*")
    assert aside.is_dir() == (damage is replace_by_folder)


def test_what_is_not_ours_to_repair_is_told_and_keeps_nothing_else_from_being_mended(
    ib: IBDataManager, store: HistoricalDataManager, caplog: pytest.LogCaptureFixture
) -> None:
    download_historical_universe(ib, store, ["KO", "AAPL"], ["1hour"], since=SINCE, until=UNTIL, progress=False)
    damage_pages(store.data_dir / "stocks" / "AAPL" / "1hour.parquet" / "2026.parquet")
    copied = store.data_dir / "stocks" / "KO" / "1hour.parquet"
    (copied / "2026-10.parquet").write_bytes((copied / "2026.parquet").read_bytes())

    repair(store, checked(store).findings, backfilled(ib, store))

    assert [(one.symbol, one.kind) for one in checked(store).findings] == [("KO", "unreadable")]
    assert "KO 1hour was not repaired" in caplog.text
    assert "share time" in caplog.text


def test_what_was_set_aside_and_not_fetched_again_is_fetched_by_a_repair(
    ib: IBDataManager, store: HistoricalDataManager
) -> None:
    download_historical_universe(ib, store, ["KO"], ["1hour"], since=SINCE, until=UNTIL, progress=False)
    before = store.load_bars("KO", "1hour")
    damage_pages(next(store.data_dir.rglob("2026.parquet")))
    store.set_aside_corrupt("KO", "1hour", source=store.source or "", pages=True)
    report = checked(store)
    assert [one.kind for one in report.findings][:1] == ["unreadable"]

    repair(store, report.findings, backfilled(ib, store))

    assert checked(store).is_clean
    pd.testing.assert_frame_equal(store.load_bars("KO", "1hour"), before, check_exact=True)
