"""The screen beside the specification's way: 3 000 symbols at four timeframes, 300 bars each, to a ranked table.

`python -m tests.benchmarks.screen` prints it. The specification's way, a parquet file a series read by pandas, the
indicators one by one, is measured on 100 symbols and scaled; it finds the same answers at the newest bars, or the run
ends. All in one run on one machine; each figure is the best of some rounds, for another process can only slow it down.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

from tests.benchmarks.indicators import specified
from workbench.market.bars import COLUMNS
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.market.universe import Universe
from workbench.screening.live import LiveScreen
from workbench.screening.loading import from_panel, from_store
from workbench.screening.rules import WEIGHTS, Rule, make_rule
from workbench.screening.screen import run_screen
from workbench.store.historical import HistoricalDataManager

AS_OF = datetime(2026, 11, 20, 21, tzinfo=UTC)
BARS, SAMPLE, TOP = 300, 100, 50


@cache
def starts(timeframe: str, count: int) -> np.ndarray:
    """Return the starts of the newest bars before `AS_OF`, as microseconds."""
    length, calendar = TIMEFRAMES[timeframe], session_calendar()
    _, begins, ends = calendar.edges(calendar.recent(AS_OF, count))
    if length.is_daily:
        return calendar.edges(calendar.recent(AS_OF, count))[0]
    step = length.seconds * 1_000_000
    midnights = begins - 9 * 3_600_000_000 - 1_800_000_000
    found = [
        max(at, begin)
        for begin, end, midnight in zip(begins[-count:], ends[-count:], midnights[-count:], strict=True)
        for at in range(int(begin - (begin - midnight) % step), int(end), step)
    ]
    return np.array(found[-count:], dtype=np.int64)


def make_bars(timeframe: str, seed: int) -> pd.DataFrame:
    """Return bars that go up and down at random, some symbols further than others."""
    random = np.random.default_rng([seed, TIMEFRAMES[timeframe].seconds])
    stamps = starts(timeframe, BARS)
    step = 0.02 * np.sqrt(TIMEFRAMES[timeframe].seconds / 86_400)
    close = (20 + seed % 180) * np.exp(np.cumsum(random.normal(0, step, len(stamps))))
    open_ = np.append(close[:1], close[:-1])
    wick = 1 + np.abs(random.normal(0, step / 2, len(stamps)))
    columns = {
        "open": open_, "high": np.maximum(open_, close) * wick, "low": np.minimum(open_, close) / wick,
        "close": close, "volume": random.integers(200_000, 9_999_999, len(stamps)).astype(float),
        "average": close, "bar_count": 100.0,
    }  # fmt: skip
    index = pd.DatetimeIndex(stamps.astype("datetime64[us]"), name="timestamp").tz_localize("UTC")
    return pd.DataFrame(columns, index=index)[list(COLUMNS)]


def fill(folder: Path, symbols: list[str]) -> tuple[HistoricalDataManager, Path]:
    """Store all series; of the sample also as the specification does, a file each."""
    store = HistoricalDataManager(folder / "store" / "historical", universe=Universe([]))

    def save(number: int) -> None:
        for timeframe in WEIGHTS:
            bars = make_bars(timeframe, number)
            if number < SAMPLE:
                path = folder / "seed" / symbols[number] / f"{timeframe}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                bars.to_parquet(path)
            store.save_bars(symbols[number], timeframe, bars, source="made up")

    save(0)
    with ThreadPoolExecutor(16) as pool:  # a save waits for the disk most of the time
        list(pool.map(save, range(1, len(symbols))))
    return store, folder / "seed"


def the_specified_way(seed: Path, symbols: list[str]) -> list[tuple[str, float]]:
    """Rank symbols as a direct reading of the specification does: file by file, frame by frame."""
    ranked = []
    for symbol in symbols:
        total = 0.0
        for timeframe, weight in WEIGHTS.items():
            total += weight * rate(specified(pd.read_parquet(seed / symbol / f"{timeframe}.parquet")))
        ranked.append((symbol, total))
    return sorted(ranked, key=lambda one: (-one[1], one[0]))[:TOP]


def rate(study: pd.DataFrame) -> float:
    """Return the long score of a timeframe."""
    recent, hist = study.tail(3), study["macd_hist"].tail(3)
    before, now = (study["stoch_k"] - study["stoch_d"]).tail(2)
    stretched = (recent["close"] <= recent["bb_lower"]).any()
    exhausted = ((recent["stoch_k"] < 20) & (recent["rsi"] < 35)).any()
    turning = before <= 1e-6 < now or ((hist.diff().tail(2) > 0).all() and hist.iloc[-1] < 0)
    return 30.0 * stretched + 30.0 * exhausted + 40.0 * turning


def best(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds that some work takes at least."""
    took = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        took.append(time.perf_counter() - begun)
    return min(took)


def agree(store: HistoricalDataManager, seed: Path, symbols: list[str]) -> None:
    """End the run where the two ways do not find the same scores."""
    plain = make_rule(trend=(), gates={})
    ours = run_screen(plain, symbols, from_store(store, symbols), AS_OF).table
    ours = ours[ours["side"] == "long"].set_index("symbol")["score"]
    for symbol, score in the_specified_way(seed, symbols):
        if abs(ours.get(symbol, 0.0) - score) > 1e-9:
            raise SystemExit(f"{symbol}: the screen scores {ours.get(symbol, 0.0)}, the specification's way {score}")


def live_screen(rule: Rule, store: HistoricalDataManager, symbols: list[str]) -> tuple[LiveScreen, dict]:
    """Return the fine screen over all symbols, and the rows that it sees."""
    rows = {}
    for timeframe in WEIGHTS:
        frame = store.load_many(symbols, timeframe)
        stamps = frame["timestamp"].dt.epoch("s").cast(pl.Float64).to_numpy()
        numbers = np.column_stack(
            [stamps, *(frame[name].to_numpy() for name in COLUMNS), *np.full((2, len(frame)), np.nan)]
        )
        for symbol, one in zip(symbols, np.split(numbers, len(symbols)), strict=True):
            rows[symbol, timeframe] = one
    screen = LiveScreen(rule)
    screen.take(rows, lambda symbol, timeframe: rows[symbol, timeframe])
    return screen, rows


def main(count: int = 3000) -> None:
    symbols, rule = [f"S{number:04}" for number in range(count)], make_rule(bars=BARS)
    with tempfile.TemporaryDirectory() as folder:
        store, seed = fill(Path(folder), symbols)
        agree(store, seed, symbols[:SAMPLE])
        specified_s = best(lambda: the_specified_way(seed, symbols[:SAMPLE]), 3) * count / SAMPLE
        run_screen(rule, symbols, from_panel(store, symbols), AS_OF, TOP)  # the panel is made
        files_s = best(lambda: run_screen(rule, symbols, from_store(store, symbols), AS_OF, TOP), 3)
        panel_s = best(lambda: run_screen(rule, symbols, from_panel(store, symbols), AS_OF, TOP), 5)
        screen, _rows = live_screen(rule, store, symbols)
        live_s = best(lambda: screen.result(TOP), 20)
        few, some = live_screen(rule, store, symbols[:100])
        changed = {name: [(symbol, name) for symbol in symbols[:100]] for name in WEIGHTS}
        again_s = {
            name: best(lambda name=name: few.take(changed[name], lambda *key: some[key]), 20) for name in WEIGHTS
        }
        all_s = best(lambda: few.take(some, lambda *key: some[key]), 10)
        if not screen.result(TOP).table.equals(run_screen(rule, symbols, from_panel(store, symbols), AS_OF, TOP).table):
            raise SystemExit("the live screen and the coarse one differ")
    print(f"{count:,} symbols x {len(WEIGHTS)} timeframes x {BARS} bars to the best {TOP}, in milliseconds")
    print(f"  {'the specification, ' + str(SAMPLE) + ' symbols scaled':40}{specified_s * 1e3:12,.0f}")
    for name, seconds, aim in (
        ("from the parts of each symbol", files_s, 25), ("through the panel", panel_s, 100),
        ("from live state", live_s, 5000),
    ):  # fmt: skip
        print(f"  {name:40}{seconds * 1e3:12,.1f}    {specified_s / seconds:8,.0f} times faster (aim {aim:,})")
    print("100 symbols scored again on a complete bar (aim 15 ms):")
    told = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in again_s.items())
    print(f"  {told}; all four at the close {all_s * 1e3:.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
