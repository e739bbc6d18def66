"""The commands `compact` and `reindex`, as processes over a store on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager


def workbench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"WORKBENCH_DATA_DIR": str(folder), "DATABASE_URL": f"sqlite:///{folder / 'trading.db'}"}
    settings["WORKBENCH_IB__PORT"] = "7497"
    command = [sys.executable, "-m", "workbench", *arguments]
    return subprocess.run(command, env=os.environ | settings, cwd=folder, capture_output=True, text=True, check=False)


def stored_in(folder: Path) -> HistoricalDataManager:
    """Return a store of a year and a month of AAPL, a bar a session."""
    store = HistoricalDataManager(folder / "historical")
    index = pd.bdate_range("2025-01-06", "2026-01-30", tz="America/New_York") + pd.Timedelta(hours=10)
    index = index[~index.strftime("%m-%d").isin(["01-09", "01-20", "02-17", "04-18", "05-26", "06-19", "07-04",
                                                  "09-01", "11-27", "12-25", "01-01", "01-19"])]  # fmt: skip
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 10.0), index=index.tz_convert("UTC"))
    store.save_bars("AAPL", "1min", frame)
    return store


def test_reindex_rebuilds_the_database_and_names_what_cannot_be_read(tmp_path: Path) -> None:
    stored_in(tmp_path)

    done = workbench(tmp_path, "reindex")

    assert (done.returncode, done.stdout) == (0, "1 series recorded\n"), done.stderr
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        assert database.load_series_metadata()["symbol"].tolist() == ["AAPL"]
    next(tmp_path.rglob("2026-01.parquet")).write_bytes(b"PAR1")
    broken = workbench(tmp_path, "reindex")
    assert broken.returncode == 1
    assert "2026-01.parquet cannot be read" in broken.stderr


def test_compact_makes_a_year_of_months_one_file(tmp_path: Path) -> None:
    store = stored_in(tmp_path)
    before = store.load_bars("AAPL", "1min")

    done = workbench(tmp_path, "compact", "AAPL", "-t", "1min")

    assert (done.returncode, done.stdout) == (0, "1 series looked at, 11 parts fewer\n"), done.stderr
    assert sorted(path.name for path in tmp_path.rglob("20*.parquet")) == ["2025.parquet", "2026-01.parquet"]
    pd.testing.assert_frame_equal(store.load_bars("AAPL", "1min"), before)
