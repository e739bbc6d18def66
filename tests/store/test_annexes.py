"""What goes with bars through an export and an import, or a backup: verdicts, bars held back, the record of splits."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest

from tests.store.test_rebuild import days, filled, stage, switched
from workbench.errors import InvalidInput
from workbench.market.coverage import Interval
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.backup import backup, restore
from workbench.store.exchange import Layout, export, find_files, save, understand
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import load_events
from workbench.store.verdict import judge

DAY = TIMEFRAMES["1day"]


def judged(folder: Path) -> HistoricalDataManager:
    """Return a store of one split, one wild bar that was accepted and one that is held back."""
    store = filled(folder)
    for row, high in ((-40, 9000.0), (-20, 8000.0)):
        at = days().index[row].to_pydatetime()
        store.save_bars("AAPL", "1day", days().loc[[at]].assign(high=high), covers=Interval(at, at + timedelta(1)))
    judge(store, "AAPL", "1day", "accepted", starts=[days().index[-40].to_pydatetime()])
    stage(store)
    switched(store)
    return store


def verdicts(store: HistoricalDataManager) -> list[tuple[object, ...]]:
    rows = store.review.of("AAPL", "1day", "TRADES").sort_values("timestamp")
    return list(rows[["timestamp", "high", "judgement", "reason"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_export_that_is_imported_brings_bars_verdicts_and_splits(
    tmp_path: Path, kind: Literal["csv", "parquet"]
) -> None:
    store, again = judged(tmp_path), HistoricalDataManager(tmp_path / "other" / "historical")
    names = [path.name for path, _ in export(store, ["AAPL"], "1day", tmp_path / "out", kind=kind)]
    assert names == [f"AAPL_1day.{kind}", "AAPL_1day.review.parquet", "AAPL.splits.json"]

    for path in find_files(tmp_path / "out"):
        for found in understand(path, Layout(DAY)):
            save(again, found, DAY)

    pd.testing.assert_frame_equal(again.load_bars("AAPL", "1day"), store.load_bars("AAPL", "1day"), check_exact=True)
    assert len(verdicts(store)) == 2
    assert verdicts(again) == verdicts(store)
    assert load_events(again, "AAPL") == load_events(store, "AAPL") != []


def test_a_backup_brings_verdicts_and_splits(tmp_path: Path) -> None:
    store = judged(tmp_path)

    backup(store, tmp_path / "backup")
    restore(tmp_path / "backup", tmp_path / "back" / "historical")

    again = HistoricalDataManager(tmp_path / "back" / "historical")
    assert verdicts(again) == verdicts(store)
    assert load_events(again, "AAPL") == load_events(store, "AAPL") != []


def test_bars_that_were_held_back_are_not_imported_as_bars(tmp_path: Path) -> None:
    store = judged(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "review.parquet").write_bytes((store.data_dir / "review.parquet").read_bytes())

    with pytest.raises(InvalidInput, match="holds no files"):
        find_files(tmp_path / "out")
