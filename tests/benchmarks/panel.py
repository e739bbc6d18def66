"""The panel beside the specification's pandas code: 60 days of 500 symbols, in one run; `python -m` prints it.

Both answer with the same number of bars and the same sum of closes, or the run ends. A panel that is up to date is
measured with its check of every symbol's parts; one that has to follow a save of one symbol, with that.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np

from tests.benchmarks.store import END, bars_between
from tests.benchmarks.store_peers import Ours, Seed
from tests.benchmarks.store_serving import answer_of

SINCE = END - timedelta(days=60)


def measured(work: Callable[[], object], rounds: int) -> float:
    """Return the median seconds that some work takes."""
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def main(count: int = 500) -> None:
    symbols = [f"S{number:03}" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        ours, seed = Ours(Path(folder) / "ours" / "historical", symbols), Seed(Path(folder) / "seed")
        for number, symbol in enumerate(symbols):
            bars = bars_between(END - timedelta(days=730), END, 15, number)
            ours.write(symbol, "15min", bars)
            seed.write(symbol, "15min", bars)
        wanted = int((bars.index >= SINCE).sum())

        def panel() -> tuple[int, float]:
            closes = ours.store.panel("15min", symbols, wanted)["close"]
            return closes.size, float(closes.sum())

        def saved_and_panel() -> None:
            ours.store.save_bars(symbols[0], "15min", bars.iloc[-1:] * (1 + np.random.default_rng().random() / 1e4))
            panel()

        first, (rows, total) = measured(panel, 1), panel()
        expected = answer_of(seed.read_many(symbols, SINCE))
        if (rows, round(total, 3)) != (expected[0], round(expected[1], 3)):
            raise SystemExit(f"the panel has {rows} bars of {total}, the seed {expected}")
        pandas = measured(lambda: seed.read_many(symbols, SINCE), 3)
        opened, renewed = measured(panel, 9), measured(saved_and_panel, 5)
    print(f"60 days of {count} symbols, {rows:,} bars: seed {pandas * 1e3:,.0f} ms")
    print(f"  panel {opened * 1e3:,.1f} ms, {pandas / opened:.0f} times faster (aim 30)")
    print(f"  a save of one symbol, then the panel {renewed * 1e3:,.0f} ms; made from nothing {first * 1e3:,.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
