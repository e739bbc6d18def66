"""Writers of one series are killed at random moments, while others write it and others read it.

`WORKBENCH_KILLS` says how often; `make soak` kills 300 times.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from tests.faults.store_crew import SYMBOL, WRITERS, bars_of, numbers_in, problems_of, store_in
from workbench.store.historical import HistoricalDataManager

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL: run it on Linux or macOS")

KILLS = int(os.environ.get("WORKBENCH_KILLS", "20"))
READERS = 2


class Crew:
    """The processes of `tests.faults.store_crew`."""

    def __init__(self, folder: Path, parent: subprocess.Popen[str]) -> None:
        self.folder, self._parent = folder, parent
        self.pids: dict[str, int] = {}
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"

    def start(self, name: str, *numbers: int) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(" ".join(map(str, (name, *numbers))) + "\n")
        self._parent.stdin.flush()
        self.pids[f"{name} {numbers[0]}"] = int(self._parent.stdout.readline())

    def kill(self, who: str) -> None:
        os.kill(self.pids.pop(who), signal.SIGKILL)

    def begun(self, writer: int) -> int:
        """Return how many saves a writer has begun."""
        log = self.folder / f"writer-{writer}.log"
        return log.read_text().count("begun") if log.exists() else 0


@contextmanager
def crew_in(folder: Path) -> Iterator[Crew]:
    command = [sys.executable, "-m", "tests.faults.store_crew", str(folder)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as parent:
        crew = Crew(folder, parent)
        try:
            yield crew
        finally:
            for who in list(crew.pids):
                crew.kill(who)


def wait_for_more(folder: Path, event: str, than: int) -> None:
    """Wait until more saves have come so far. It takes as long as it takes; the test's own limit ends it."""
    while len(numbers_in(folder, event)) <= than:
        assert not list(folder.glob("failed-*.log")), "\n".join(it.read_text() for it in folder.glob("failed-*.log"))
        time.sleep(0.002)


@pytest.mark.timeout(60 + 20 * KILLS)
def test_killed_writers_lose_no_confirmed_save_and_no_reader_sees_half_of_one(tmp_path: Path) -> None:
    chance = random.Random(5)
    store_in(tmp_path).save_bars(SYMBOL, "1min", bars_of(0, 0))
    with crew_in(tmp_path) as crew:
        for reader in range(READERS):
            crew.start("read", reader)
        for writer in range(WRITERS):
            crew.start("write", writer, 1)

        for _ in range(KILLS):
            wait_for_more(tmp_path, "done", len(numbers_in(tmp_path, "done")))
            time.sleep(chance.uniform(0, 0.03))  # into the midst of some save
            writer = chance.randrange(WRITERS)
            crew.kill(f"write {writer}")
            crew.start("write", writer, 1 + crew.begun(writer))

    check_what_is_left(tmp_path)


def check_what_is_left(folder: Path) -> None:
    store = store_in(folder)
    assert not list(folder.glob("failed-*.log")), "\n".join(it.read_text() for it in folder.glob("failed-*.log"))
    told = [line for path in folder.glob("reader-*.log") for line in path.read_text().splitlines()]
    assert [line for line in told if line.startswith("problem")] == []
    assert sum(line.startswith("fine") for line in told) > KILLS

    bars = store.load_bars(SYMBOL, "1min")

    confirmed, begun = numbers_in(folder, "done"), numbers_in(folder, "begun")
    assert len(confirmed) > KILLS
    assert problems_of(bars, confirmed=confirmed) == []
    assert set(bars["volume"].astype(int)) <= begun | {1}
    check_files(folder, store, bars)


def check_files(folder: Path, store: HistoricalDataManager, bars: pd.DataFrame) -> None:
    """Every file opens, for any tool; the next save clears what the killed left."""
    store.save_bars(SYMBOL, "1min", bars)
    home = folder / "data" / "stocks" / SYMBOL
    series = home / "1min.parquet"
    assert [path.name for path in home.iterdir() if path.suffix == ".tmp" or path.name == ".commit"] == []
    assert sum(pq.read_metadata(path).num_rows for path in series.iterdir()) == len(bars)
    assert len(pd.read_parquet(series)) == len(pl.read_parquet(series)) == len(bars)
    with duckdb.connect() as connection:
        assert connection.sql(f"select count(*) from '{series}'").fetchall() == [(len(bars),)]
