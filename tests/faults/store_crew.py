"""Writers and readers of one series, for tests that kill them: forked from a process that has imported everything.

`python -m tests.faults.store_crew FOLDER` answers each line on standard input, `write WRITER FIRST` or `read READER`,
with the id of the process that does so until it is killed. A save has bars in two months, each bar marked with the
save's number in its volume, and sets one *pledge* bar in either month to it: whoever sees two pledges that differ, or
some bars of a save without the others, has seen half a save. Each keeps a log, a line an event.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.market.contracts import Contract
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

SYMBOL = "AAPL"
UNIVERSE = Universe([Contract(SYMBOL, kind="index")])
"""An index, because these bars keep no session's hours."""
PAIRS = pd.period_range("2023-01", periods=40, freq="M")
BARS = 20
"""A save has so many in either month."""
WRITERS = 4
PER_WRITER = 1_000_000


def number_of(writer: int, save: int) -> int:
    return 1 + writer * PER_WRITER + save


def bars_of(writer: int, save: int) -> pd.DataFrame:
    """Return the bars of a writer's nth save: some of a month's first half, some of the next month's second half."""
    pair, turn = PAIRS[save // 3 % len(PAIRS)], save // (3 * len(PAIRS)) * 3 + save % 3
    first = pair.start_time.tz_localize("UTC")
    second = (pair + 1).start_time.tz_localize("UTC") + pd.Timedelta(days=15)
    minutes = pd.to_timedelta(1 + np.arange(BARS) + BARS * (turn * WRITERS + writer), unit="min")
    index = pd.DatetimeIndex([first, *(first + minutes), second, *(second + minutes)]).as_unit("us")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), 100.0), index=index)
    return frame.assign(volume=float(number_of(writer, save)))


def store_in(folder: Path) -> HistoricalDataManager:
    return HistoricalDataManager(folder / "data", universe=UNIVERSE)


def numbers_in(folder: Path, event: str) -> set[int]:
    """Return the numbers of the saves of which a writer logged that event."""
    lines = [line for path in folder.glob("writer-*.log") for line in path.read_text().splitlines()]
    return {int(line.split()[1]) for line in lines if line.startswith(f"{event} ")}


def problems_of(bars: pd.DataFrame, *, confirmed: set[int]) -> list[str]:
    """Return what a reader may not see: a save in part, two pledges that differ, or that a confirmed save lacks."""
    problems = []
    if not (bars.index.is_monotonic_increasing and bars.index.is_unique):
        problems.append("the bars are not sorted and unique")
    is_pledge = (bars.index.hour == 0) & (bars.index.minute == 0) & bars.index.day.isin([1, 16])
    counts = bars["volume"][~is_pledge].value_counts()
    partly = counts[counts != 2 * BARS]
    if len(partly):
        problems.append(f"of saves {partly.to_dict()} only so many bars are there")
    lacking = confirmed - set(counts.index.astype(int))
    if lacking:
        problems.append(f"the confirmed saves {sorted(lacking)[:5]} are not there")
    pledges = bars["volume"][is_pledge].to_dict()
    for pair in PAIRS:
        sides = (pair.start_time, (pair + 1).start_time + pd.Timedelta(days=15))
        left, right = (pledges.get(side.tz_localize("UTC")) for side in sides)
        if left != right:
            problems.append(f"the pledges of {pair} are {left} and {right}: half a save")
    return problems


def write(folder: Path, writer: int, first: int) -> None:
    store = store_in(folder)
    with (folder / f"writer-{writer}.log").open("a", buffering=1) as log:
        for save in range(first, PER_WRITER):
            bars = bars_of(writer, save)
            log.write(f"begun {number_of(writer, save)}\n")
            store.save_bars(SYMBOL, "1min", bars)
            log.write(f"done {number_of(writer, save)}\n")


def read(folder: Path, reader: int) -> None:
    store = store_in(folder)
    with (folder / f"reader-{reader}.log").open("a", buffering=1) as log:
        while True:
            confirmed = numbers_in(folder, "done")
            bars = store.load_bars(SYMBOL, "1min", columns="volume")
            found = problems_of(bars, confirmed=confirmed)
            log.write("".join(f"problem: {problem}\n" for problem in found) or f"fine {len(bars)}\n")


def main() -> None:
    folder = Path(sys.argv[1])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    print("ready", flush=True)
    for line in sys.stdin:
        name, *numbers = line.split()
        child = os.fork()
        if child:
            print(child, flush=True)
            continue
        try:
            {"write": write, "read": read}[name](folder, *map(int, numbers))
        except BaseException:
            (folder / f"failed-{os.getpid()}.log").write_text(traceback.format_exc())
            raise
        finally:
            os._exit(1)


if __name__ == "__main__":
    main()
