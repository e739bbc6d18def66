"""The store beside its peers on the same bars, in one run, taking turns; `make bench` prints it.

*seed* is the specification's own code: one snappy file a series, read and rewritten whole by pandas. Each peer has a
process of its own, which takes its own time, so that none pays for the memory and the threads of another; ArcticDB has
an environment of its own, too (`--arctic PYTHON`). Every answer is compared: a peer that returned other bars would end
the run. Writes of ours, ArcticDB and DuckDB are durable, those of seed and polars are
not; the disk is synced before each step, for otherwise who syncs would wait for what the others have left to be
written. Ours go through the store's public face: validation, lock and checksums are in their times (of
many symbols the checksums are verified when a process reads a part for the first time, which is in the warm-up; the
newest month is recalled from memory by its bytes, but for the first of each row, which has a line of its own).

Read the ratios, not the times: they are of medians over all rounds, in which the order rotates.
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from tests.benchmarks.store_serving import COLUMNS, LONG, keep_bars
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES

BEGIN, END = datetime(2015, 11, 1, tzinfo=UTC), datetime(2025, 11, 15, tzinfo=UTC)
DAYS_MANY, SYMBOLS = 730, 500
SESSIONS = 10
"""So many days are appended in a row, each on its own, and the newest month is read as often. A desk, too, does such
small things in long rows, as when a session is saved; the first is cold, for others have had the machine meanwhile."""
Answer = tuple[int, float]
"""Rows, and the sum of their closes."""
_ROOT = Path(__file__).parents[2]


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


class Peer:
    """A store in a process of its own, which is asked and times itself."""

    def __init__(self, name: str, folder: Path, *command: str) -> None:
        folder.mkdir(parents=True)
        self.name = name
        self._process = subprocess.Popen(
            [*command, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
        )

    def ask(self, *command: object) -> tuple[float, Answer]:
        """Return the seconds that the peer took, and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended at {command[0]}")
        took, rows, closes = json.loads(line)
        return took, (rows, closes)

    def bytes(self) -> int:
        return self.ask("bytes")[1][0]

    def close(self) -> None:
        self._process.communicate()


# The measurements


@dataclass
class Table:
    """The seconds of each operation, by peer."""

    took: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def measure(self, operation: str, peers: Sequence[Peer], *questions: Sequence[object]) -> None:
        """Let each peer do it, once or several times in a row; all must answer the same.

        The first of a row is counted by itself, too.
        """
        answers = {}
        for peer in peers:
            os.sync()
            took, given = zip(*(peer.ask(*question) for question in questions), strict=True)
            answers[peer.name] = given[-1]
            self.took.setdefault(operation, {}).setdefault(peer.name, []).extend(took)
            if len(took) > 1:
                self.took.setdefault(f"{operation}, first", {}).setdefault(peer.name, []).append(took[0])
        rows, closes = answers[peers[0].name]
        for name, (others_rows, others_closes) in answers.items():
            if others_rows != rows or abs(others_closes - closes) > 1e-6 * max(1.0, abs(closes)):
                raise SystemExit(
                    f"{operation}: {name} answered {answers[name]}, {peers[0].name} {answers[peers[0].name]}"
                )

    def print(self, names: Sequence[str]) -> None:
        print(f"\n{'median ms (10th to 90th)':34}" + "".join(f"{name:>24}" for name in names))
        for operation, by_peer in self.took.items():
            cells = []
            for name in names:
                if name not in by_peer:
                    cells.append("-")
                    continue
                low, high = np.percentile(by_peer[name], [10, 90]) * 1000
                cells.append(f"{statistics.median(by_peer[name]) * 1000:.1f} ({low:.1f} to {high:.1f})")
            print(f"{operation:34}" + "".join(f"{cell:>24}" for cell in cells))

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
    print(f"\n{'how many times ours is faster':34}" + "".join(f"{name:>24}" for name in names if name != "ours"))
    for operation in table.took:
        cells = []
        for name in names:
            ratio = None if name == "ours" else table.ratio(operation, name)
            if name != "ours":
                aim = AIMS.get(operation, {}).get(name)
                word = "" if aim is None or ratio is None else f" (aim {aim:g})"
                lost = " loses" if ratio is not None and ratio < 1 else ""
                cells.append("-" if ratio is None else f"{ratio:.2f}{word}{lost}")
        print(f"{operation:34}" + "".join(f"{cell:>24}" for cell in cells))


@contextmanager
def all_peers(folder: Path, arctic: str | None) -> Iterator[list[Peer]]:
    commands = {name: (sys.executable, "-m", "tests.benchmarks.store_peers", name) for name in ("ours", "seed")}
    if arctic and Path(arctic).exists():
        commands["ArcticDB"] = (arctic, "-m", "tests.benchmarks.store_arctic")
    else:
        print("ArcticDB is left out: it needs a Python with arcticdb, which `make bench` installs where it can")
    for name in ("polars", "DuckDB"):
        commands[name] = (sys.executable, "-m", "tests.benchmarks.store_peers", name)
    peers = [Peer(name, folder / name, *command) for name, command in commands.items()]
    try:
        yield peers
    finally:
        for peer in peers:
            peer.close()


def run(folder: Path, rounds: int, symbols_count: int, arctic: str | None) -> None:
    symbols = [f"S{number:03}" for number in range(symbols_count)]
    whole = bars_between(BEGIN, END + timedelta(days=16 * (rounds + 2)), 1, 1)
    past, future = whole[whole.index < END], whole[whole.index >= END]
    days = [day for _, day in future.groupby(future.index.date)][: SESSIONS * (rounds + 1)]
    with all_peers(folder, arctic) as peers:
        _write(peers, LONG, "1min", keep_bars(folder / "past.npz", past))
        sizes = {peer.name: peer.bytes() for peer in peers}
        rows_many = 0
        for number, symbol in enumerate(symbols):
            bars = bars_between(END - timedelta(days=DAYS_MANY), END, 15, number)
            rows_many += len(bars)
            _write(peers, symbol, "15min", keep_bars(folder / "bars.npz", bars))
        for peer in peers:
            peer.ask("settle")
        print(
            f"{len(past):,} bars of a minute over ten years; {len(symbols)} symbols of 15 minutes, {rows_many:,} bars"
        )
        many = {peer.name: peer.bytes() - sizes[peer.name] for peer in peers}
        print_sizes("ten years", sizes, len(past))
        print_sizes("15 minutes", many, rows_many)
        print(f"{'ours to seed (aim 0.75)':32}{sizes['ours'] / sizes['seed']:.2f}, {many['ours'] / many['seed']:.2f}")
        table = measure(peers, [keep_bars(folder / f"{day.index[0].date()}.npz", day) for day in days], days, symbols)
        names = [peer.name for peer in peers]
        table.print(names)
        print_ratios(table, names)
        print_sizes(
            "after the appends",
            {peer.name: peer.bytes() - many[peer.name] for peer in peers},
            len(past) + sum(map(len, days)),
        )


def _write(peers: Sequence[Peer], *what: str) -> None:
    for peer in peers:
        peer.ask("write", *what)


def print_sizes(what: str, sizes: Mapping[str, int], rows: int) -> None:
    print(f"{f'bytes a bar, {what}':32}" + "".join(f"{name:>12} {size / rows:6.1f}" for name, size in sizes.items()))


def measure(peers: Sequence[Peer], files: Sequence[str], days: Sequence[pd.DataFrame], symbols: Sequence[str]) -> Table:
    """Return the times of all rounds; `files` are what the `days` are kept in."""
    table = Table()
    for turn, first in enumerate(range(0, len(days), SESSIONS)):
        last = days[first + SESSIONS - 1].index[-1]
        turned = [*peers[turn % len(peers) :], *peers[: turn % len(peers)]]
        measure_round(table, turned, files[first : first + SESSIONS], last, symbols)
        if turn == 0:
            table = Table()  # the first round only warms up
    return table


def measure_round(
    table: Table, peers: Sequence[Peer], week: Sequence[str], now: pd.Timestamp, symbols: Sequence[str]
) -> None:
    month_ago, two_months_ago = now - timedelta(days=30), END - timedelta(days=60)
    table.measure("append a day to ten years", peers, *([["append", file] for file in week]))
    table.measure("last 30 days of ten years", peers, *[["read", month_ago.isoformat(), None]] * SESSIONS)
    table.measure("all of ten years", peers, ["read", None, None])
    table.measure("two columns of ten years", peers, ["read", None, ["close", "volume"]])
    table.measure("60 days of 500 symbols", peers, ["read_many", symbols, two_months_ago.isoformat()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arctic", metavar="PYTHON", help="a Python that has arcticdb")
    parser.add_argument("--rounds", type=int, default=10)
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
