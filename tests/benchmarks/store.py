"""The store beside its peers on the same bars, in one run, taking turns; `make bench` prints it.

*seed* is the specification's own code: one snappy file a series, read and rewritten whole by pandas. ArcticDB runs in
a process and an environment of its own (`--arctic PYTHON`) and times itself. Every answer is compared: a peer that
returned other bars would end the run. Writes of ours, ArcticDB and DuckDB are durable, those of seed and polars are
not; the disk is synced before each step, for otherwise who syncs would wait for what the others have left to be
written. Ours go through the store's public face: validation, lock and checksums are in their times (of
many symbols the checksums are verified when a process reads a part for the first time, which is in the warm-up).

Read the ratios, not the times: they are of medians over rounds in which the order rotates.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl

from workbench.market.bars import COLUMNS
from workbench.market.contracts import Contract
from workbench.market.coverage import Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

BEGIN, END = datetime(2015, 11, 1, tzinfo=UTC), datetime(2025, 11, 15, tzinfo=UTC)
DAYS_MANY, SYMBOLS = 730, 500
SESSIONS = 5
"""So many days are appended in a row, each on its own, and the newest month is read as often: a desk, too, does such
small things one after another, and the mean has one that is cold."""
LONG = "SPY"
Answer = tuple[int, float]
"""Rows, and the sum of their closes."""


def bars_between(begin: datetime, end: datetime, minutes: int, seed: int) -> pd.DataFrame:
    """Return synthetic bars of regular hours: prices in cents, the average in tenths of one."""
    chance = np.random.default_rng(seed)
    sessions = session_calendar().during(begin, end, TIMEFRAMES["1min"])
    step = np.timedelta64(minutes, "m")
    stamps = np.concatenate([np.arange(_naive(one.begin), _naive(one.end), step) for one in sessions])
    count = len(stamps)
    close = np.round(200 + np.cumsum(chance.normal(0, 0.04, count)), 2).clip(5)
    opened = np.round(np.concatenate([close[:1], close[:-1]]) + chance.normal(0, 0.01, count), 2)
    high = np.round(np.maximum(opened, close) + abs(chance.normal(0, 0.03, count)), 2)
    low = np.round(np.minimum(opened, close) - abs(chance.normal(0, 0.03, count)), 2)
    volume = np.round(chance.lognormal(9, 1, count))
    values = (opened, high, low, close, volume, np.round((high + low + close) / 3, 3), np.ceil(volume / 90))
    index = pd.DatetimeIndex(stamps, name="timestamp").tz_localize("UTC")
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)), index=index)


def _naive(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


class Ours:
    """This store, through its public face: validation, lock and fsync included."""

    name = "ours"

    def __init__(self, folder: Path, symbols: Sequence[str]) -> None:
        universe = Universe([Contract(symbol) for symbol in (LONG, *symbols)])
        self.store = HistoricalDataManager(folder, universe=universe)
        self.folder = folder

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        self.store.save_bars(symbol, timeframe, bars, covers=_span(bars))

    def settled(self) -> None:
        self.store.compact()

    def append(self, day: pd.DataFrame) -> Answer:
        self.store.save_bars(LONG, "1min", day, covers=_span(day))
        return len(day), 0.0

    def read(self, begin: datetime | None, columns: list[str] | None) -> Answer:
        return _answer(self.store.load_bars(LONG, "1min", begin, columns=columns))

    def read_many(self, symbols: Sequence[str], begin: datetime) -> Answer:
        return _answer(self.store.load_many(symbols, "15min", begin))

    def bytes(self) -> int:
        return _bytes(self.folder)


class Seed:
    """The specification's `HistoricalDataManager`, as it stands there."""

    name = "seed"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, symbol: str, timeframe: str) -> Path:
        return self.folder / "stocks" / symbol / f"{timeframe}.parquet"

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        path = self.path(symbol, timeframe)
        path.parent.mkdir(parents=True, exist_ok=True)
        bars.reset_index().to_parquet(path, engine="pyarrow", compression="snappy", index=False)

    def load(self, symbol: str, timeframe: str) -> pd.DataFrame:
        return pd.read_parquet(self.path(symbol, timeframe), engine="pyarrow").set_index("timestamp")

    def settled(self) -> None:
        pass

    def append(self, day: pd.DataFrame) -> Answer:
        combined = pd.concat([self.load(LONG, "1min"), day])
        combined = combined[~combined.index.duplicated(keep="last")].sort_index()
        self.write(LONG, "1min", combined)
        return len(day), 0.0

    def read(self, begin: datetime | None, columns: list[str] | None) -> Answer:
        bars = self.load(LONG, "1min")
        bars = bars if begin is None else bars[bars.index >= begin]
        return _answer(bars if columns is None else bars[columns])

    def read_many(self, symbols: Sequence[str], begin: datetime) -> Answer:
        loaded = [self.load(symbol, "15min") for symbol in symbols]
        return _answer(pd.concat([bars[bars.index >= begin] for bars in loaded]))

    def bytes(self) -> int:
        return _bytes(self.folder)


class Polars:
    """One file a series as polars writes it; read lazily, rewritten whole."""

    name = "polars"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        pl.from_pandas(bars.reset_index()).write_parquet(self.folder / f"{symbol}-{timeframe}.parquet")

    def settled(self) -> None:
        pass

    def append(self, day: pd.DataFrame) -> Answer:
        path = self.folder / f"{LONG}-1min.parquet"
        both = pl.concat([pl.read_parquet(path), pl.from_pandas(day.reset_index())], how="vertical_relaxed")
        both.unique("timestamp", keep="last").sort("timestamp").write_parquet(path)
        return len(day), 0.0

    def read(self, begin: datetime | None, columns: list[str] | None) -> Answer:
        scanned = pl.scan_parquet(self.folder / f"{LONG}-1min.parquet")
        scanned = scanned if begin is None else scanned.filter(pl.col("timestamp") >= begin)
        return _answer((scanned if columns is None else scanned.select("timestamp", *columns)).collect())

    def read_many(self, symbols: Sequence[str], begin: datetime) -> Answer:
        files = [self.folder / f"{symbol}-15min.parquet" for symbol in symbols]
        scanned = pl.scan_parquet(files, include_file_paths="file")
        return _answer(scanned.filter(pl.col("timestamp") >= begin).collect())

    def bytes(self) -> int:
        return _bytes(self.folder)


class DuckDB:
    """Tables of one database file, which one process at a time may write; read into Arrow."""

    name = "DuckDB"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.database = duckdb.connect(str(folder / "bars.db"))
        columns = ", ".join(f"{name} double" for name in COLUMNS)
        self.database.execute("set timezone = 'UTC'")
        for table in ("long", "many"):
            self.database.execute(f"create table {table} (symbol varchar, timestamp timestamptz, {columns})")

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        rows = bars.reset_index()  # noqa: F841  named in the statement
        table = "long" if timeframe == "1min" else "many"
        self.database.execute(f"insert into {table} select '{symbol}', * from rows")

    def settled(self) -> None:
        self.database.execute("checkpoint")

    def append(self, day: pd.DataFrame) -> Answer:
        rows = day.reset_index()  # noqa: F841  named in the statement
        self.database.execute("begin")
        self.database.execute("delete from long where timestamp between ? and ?", [day.index[0], day.index[-1]])
        self.database.execute(f"insert into long select '{LONG}', * from rows")
        self.database.execute("commit")
        return len(day), 0.0

    def read(self, begin: datetime | None, columns: list[str] | None) -> Answer:
        wanted = ", ".join(["timestamp", *(columns or COLUMNS)])
        since = "" if begin is None else f"where timestamp >= '{begin.isoformat()}'"
        return _answer(pl.from_arrow(self.database.sql(f"select {wanted} from long {since}").to_arrow_table()))

    def read_many(self, symbols: Sequence[str], begin: datetime) -> Answer:
        found = self.database.sql(f"select * from many where timestamp >= '{begin.isoformat()}'")
        return _answer(pl.from_arrow(found.to_arrow_table()))

    def bytes(self) -> int:
        self.database.execute("checkpoint")
        return _bytes(self.folder)


class ArcticDB:
    """ArcticDB's process. Its own clock counts."""

    name = "ArcticDB"

    def __init__(self, folder: Path, python: str) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        command = [python, str(Path(__file__).with_name("store_arctic.py")), str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.took = 0.0

    def _ask(self, *command: object) -> Answer:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline()) or (0.0, 0, 0.0)
        self.took = answer[0]
        return answer[1], answer[2]

    def _file(self, bars: pd.DataFrame) -> str:
        path = self.folder.parent / "handed-over.npz"
        stamps = bars.index.as_unit("us").asi8  # type: ignore[attr-defined]
        np.savez(path, timestamp=stamps, **{name: bars[name].to_numpy() for name in COLUMNS})
        return str(path)

    def write(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        self._ask("write", "long" if timeframe == "1min" else "many", symbol, self._file(bars))

    def settled(self) -> None:
        pass

    def append(self, day: pd.DataFrame) -> Answer:
        return self._ask("append", self._file(day))

    def read(self, begin: datetime | None, columns: list[str] | None) -> Answer:
        return self._ask("read", begin and begin.replace(tzinfo=None).isoformat(), columns)

    def read_many(self, symbols: Sequence[str], begin: datetime) -> Answer:
        return self._ask("read_many", list(symbols), begin.replace(tzinfo=None).isoformat())

    def bytes(self) -> int:
        return self._ask("bytes")[0]

    def close(self) -> None:
        self.process.communicate()


def _span(bars: pd.DataFrame) -> Interval:
    return Interval(bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + timedelta(minutes=1))


def _answer(bars: Any) -> Answer:
    return len(bars), float(bars["close"].sum())


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# The measurements


@dataclass
class Table:
    """The seconds of each operation, by peer."""

    took: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def measure(self, operation: str, peers: Sequence[Any], *acts: Callable[[Any], Answer]) -> None:
        """Let each peer do it, once or several times in a row, and take the mean; all must answer the same."""
        answers = {}
        for peer in peers:
            os.sync()
            seconds = 0.0
            for act in acts:
                began = time.perf_counter()
                answers[peer.name] = act(peer)
                took = time.perf_counter() - began
                seconds += peer.took if isinstance(peer, ArcticDB) else took
            self.took.setdefault(operation, {}).setdefault(peer.name, []).append(seconds / len(acts))
        rows, closes = answers[peers[0].name]
        for name, (others_rows, others_closes) in answers.items():
            if others_rows != rows or abs(others_closes - closes) > 1e-6 * max(1.0, abs(closes)):
                raise SystemExit(
                    f"{operation}: {name} answered {answers[name]}, {peers[0].name} {answers[peers[0].name]}"
                )

    def print(self, names: Sequence[str]) -> None:
        print(f"\n{'median ms (10th to 90th)':32}" + "".join(f"{name:>24}" for name in names))
        for operation, by_peer in self.took.items():
            cells = []
            for name in names:
                if name not in by_peer:
                    cells.append("-")
                    continue
                low, high = np.percentile(by_peer[name], [10, 90]) * 1000
                cells.append(f"{statistics.median(by_peer[name]) * 1000:.1f} ({low:.1f} to {high:.1f})")
            print(f"{operation:32}" + "".join(f"{cell:>24}" for cell in cells))

    def ratio(self, operation: str, peer: str) -> float | None:
        """Return how many times longer a peer takes than ours."""
        by_peer = self.took[operation]
        return statistics.median(by_peer[peer]) / statistics.median(by_peer["ours"]) if peer in by_peer else None


AIMS = {
    "append a day to ten years": {"seed": 50.0, "ArcticDB": 1.0},
    "last 30 days of ten years": {"seed": 12.0, "ArcticDB": 1.3},
    "60 days of 500 symbols": {"seed": 6.0, "ArcticDB": 1.5},
}


def print_ratios(table: Table, names: Sequence[str]) -> None:
    print(f"\n{'how many times ours is faster':32}" + "".join(f"{name:>24}" for name in names if name != "ours"))
    for operation in table.took:
        cells = []
        for name in names:
            ratio = None if name == "ours" else table.ratio(operation, name)
            if name != "ours":
                aim = AIMS.get(operation, {}).get(name)
                word = "" if aim is None or ratio is None else f" (aim {aim:g})"
                lost = " loses" if ratio is not None and ratio < 1 else ""
                cells.append("-" if ratio is None else f"{ratio:.2f}{word}{lost}")
        print(f"{operation:32}" + "".join(f"{cell:>24}" for cell in cells))


@contextmanager
def all_peers(folder: Path, symbols: Sequence[str], arctic: str | None) -> Iterator[list[Any]]:
    peers: list[Any] = [Ours(folder / "ours", symbols), Seed(folder / "seed"), Polars(folder / "polars")]
    peers.append(DuckDB(folder / "duckdb"))
    if arctic and Path(arctic).exists():
        peers.insert(2, ArcticDB(folder / "arctic", arctic))
    else:
        print("ArcticDB is left out: it needs a Python with arcticdb, which `make bench` installs where it can")
    try:
        yield peers
    finally:
        for peer in peers:
            if isinstance(peer, ArcticDB):
                peer.close()


def run(folder: Path, rounds: int, symbols_count: int, arctic: str | None) -> None:
    symbols = [f"S{number:03}" for number in range(symbols_count)]
    whole = bars_between(BEGIN, END + timedelta(days=8 * (rounds + 2)), 1, 1)
    past, future = whole[whole.index < END], whole[whole.index >= END]
    days = [day for _, day in future.groupby(future.index.date)]
    with all_peers(folder, symbols, arctic) as peers:
        for peer in peers:
            peer.write(LONG, "1min", past)
        rows_long = len(past)
        sizes = {peer.name: peer.bytes() for peer in peers}
        rows_many = 0
        for number, symbol in enumerate(symbols):
            bars = bars_between(END - timedelta(days=DAYS_MANY), END, 15, number)
            rows_many += len(bars)
            for peer in peers:
                peer.write(symbol, "15min", bars)
        for peer in peers:
            peer.settled()
        names = [peer.name for peer in peers]
        print(
            f"{rows_long:,} bars of a minute over ten years; {len(symbols)} symbols of 15 minutes, {rows_many:,} bars"
        )
        print(
            f"{'bytes a bar, ten years':32}" + "".join(f"{name:>12} {sizes[name] / rows_long:6.1f}" for name in names)
        )
        many = {peer.name: peer.bytes() - sizes[peer.name] for peer in peers}
        print(
            f"{'bytes a bar, 15 minutes':32}" + "".join(f"{name:>12} {many[name] / rows_many:6.1f}" for name in names)
        )
        print(f"{'ours to seed (aim 0.75)':32}{sizes['ours'] / sizes['seed']:.2f}, {many['ours'] / many['seed']:.2f}")
        table = Table()
        for turn in range(rounds + 1):
            week = days[SESSIONS * turn : SESSIONS * (turn + 1)]
            measure_round(table, peers[turn % len(peers) :] + peers[: turn % len(peers)], week, symbols)
            if turn == 0:
                table = Table()  # the first round only warms up
        table.print(names)
        print_ratios(table, names)
        after = {peer.name: peer.bytes() - many[peer.name] for peer in peers}
        grown = rows_long + sum(len(day) for day in days[: SESSIONS * (rounds + 1)])
        print(f"\n{'bytes a bar after the appends':32}" + "".join(f"{it:>12} {after[it] / grown:6.1f}" for it in names))


def measure_round(table: Table, peers: Sequence[Any], week: Sequence[pd.DataFrame], symbols: Sequence[str]) -> None:
    now = week[-1].index[-1].to_pydatetime()
    table.measure("append a day to ten years", peers, *(partial(_append, day) for day in week))
    month = [lambda peer: peer.read(now - timedelta(days=30), None)] * SESSIONS
    table.measure("last 30 days of ten years", peers, *month)
    table.measure("all of ten years", peers, lambda peer: peer.read(None, None))
    table.measure("two columns of ten years", peers, lambda peer: peer.read(None, ["close", "volume"]))
    since = END - timedelta(days=60)
    table.measure("60 days of 500 symbols", peers, lambda peer: peer.read_many(symbols, since))


def _append(day: pd.DataFrame, peer: Any) -> Answer:
    answer: Answer = peer.append(day)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arctic", metavar="PYTHON", help="a Python that has arcticdb")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--symbols", type=int, default=SYMBOLS)
    parser.add_argument("--folder", help="where to put the files; else a temporary folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-bench-", dir=options.folder))
    try:
        run(folder, options.rounds, options.symbols, options.arctic)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
