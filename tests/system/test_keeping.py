"""The commands import, export, drop, backup and restore, as a user calls them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

DAYS = """Date,Open,High,Low,Close,Vol
2021-11-18,10,11,9,10.5,100
2025-11-19,10,11,9,10.5,100
2025-11-20,10,11,9,10.6,100
"""


def run(folder: Path, *words: str, code: int = 0) -> str:
    environment = os.environ | {"WORKBENCH_DATA_DIR": str(folder / "data")}
    command = [sys.executable, "-m", "workbench", *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_files_come_in_go_out_are_thinned_saved_and_restored(tmp_path: Path) -> None:
    (tmp_path / "AAPL.csv").write_text(DAYS)
    words = ("import", "AAPL.csv", "-t", "1day", "--column", "volume=Vol")

    tried = run(tmp_path, *words, "--dry-run")
    assert "3 bars of AAPL" in tried
    assert "nothing was stored" in tried
    assert not list((tmp_path / "data").rglob("*.parquet"))

    assert "3 bars added" in run(tmp_path, *words)
    run(tmp_path, "backup", "saved")
    assert "1 1day bars" in run(tmp_path, "drop", "1day", "--older-than", "2y", "--yes")
    run(tmp_path, "export", "AAPL", "-t", "1day", "--to", "out", "--format", "csv")
    assert pd.read_csv(tmp_path / "out" / "AAPL_1day.csv")["close"].tolist() == [10.5, 10.6]

    assert "is not empty" in run(tmp_path, "restore", "saved", code=1)
    (store,) = (tmp_path / "data").rglob("historical")
    store.rename(tmp_path / "old")
    run(tmp_path, "restore", "saved")
    run(tmp_path, "export", "AAPL", "-t", "1day", "--to", "out", "--format", "csv")
    assert len(pd.read_csv(tmp_path / "out" / "AAPL_1day.csv")) == 3
