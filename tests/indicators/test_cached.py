"""The cache beside the store: it never gives what a fresh computation would not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indicators.bars import STAMPS, walk
from workbench.indicators.cache import IndicatorCache
from workbench.indicators.engine import IndicatorEngine
from workbench.store.historical import HistoricalDataManager

ROOT = Path(__file__).parents[2]


def bars_of(begin: int, end: int, shift: float = 0.0) -> pd.DataFrame:
    closes = walk(len(STAMPS))[begin:end] + shift
    frame = pd.DataFrame({"open": closes, "high": closes + 1, "low": closes - 1, "close": closes, "volume": 1.0})
    return frame.set_index(STAMPS[begin:end])


def engine_over(store: HistoricalDataManager, folder: Path) -> IndicatorEngine:
    return IndicatorEngine(load=store.load_bars, version=store.version, cache=IndicatorCache(folder=folder))


def fresh(store: HistoricalDataManager) -> pd.DataFrame:
    return IndicatorEngine.calculate_all_indicators(store.load_bars("AAPL", "15min"))


class Saved:
    """Which bars are stored, and with which prices: what a step saves next."""

    def __init__(self) -> None:
        self.begin, self.end, self.shift = 200, 300, 0.0

    def next(self, what: str, number: int) -> tuple[int, int, float]:
        """Return the bars that a step saves: from where to where, and how far their prices are moved."""
        if what == "append":
            begin, self.end = self.end, min(len(STAMPS), self.end + number)
            return begin, self.end, 0.0
        if what == "earlier":
            end, self.begin = self.begin, max(0, self.begin - number)
            return self.begin, end, 0.0
        self.shift += 0.25
        at = self.begin + number % (self.end - self.begin)
        return at, at + 1, self.shift


_OTHER = """
import sys
from pathlib import Path
from tests.indicators.test_cached import bars_of, engine_over
from workbench.store.historical import HistoricalDataManager
for line in sys.stdin:
    folder, begin, end, shift = line.split()
    store = HistoricalDataManager(Path(folder) / "historical")
    store.save_bars("AAPL", "15min", bars_of(int(begin), int(end), float(shift)))
    engine_over(store, Path(folder) / "cache").calculate_indicators_cached("AAPL", "15min")
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def other() -> Iterator[subprocess.Popen[str]]:
    """Return another process that saves bars, and reads through the same cache, when told to."""
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


steps = st.lists(
    st.tuples(
        st.sampled_from(["here", "there", "at once"]),
        st.sampled_from(["append", "revise", "earlier", "read", "reopen"]),
        st.integers(1, 200),
    ),
    max_size=12,
)


@settings(max_examples=20, deadline=None)
@given(steps=steps)
def test_whichever_process_saves_the_cache_gives_what_a_fresh_computation_gives(
    other: subprocess.Popen[str], steps: list[tuple[str, str, int]]
) -> None:
    assert other.stdin is not None
    assert other.stdout is not None
    with TemporaryDirectory() as folder:
        store, saved = HistoricalDataManager(Path(folder) / "historical"), Saved()
        store.save_bars("AAPL", "15min", bars_of(saved.begin, saved.end))
        engine = engine_over(store, Path(folder) / "cache")
        for where, what, number in steps:
            if what == "reopen":
                engine = engine_over(store, Path(folder) / "cache")
            elif what != "read":
                begin, end, shift = saved.next(what, number)
                if where == "here":
                    store.save_bars("AAPL", "15min", bars_of(begin, end, shift))
                else:
                    other.stdin.write(f"{folder} {begin} {end} {shift}\n")
                    other.stdin.flush()
                    if where == "at once":  # our reading falls before its saving, after it, or between
                        engine.calculate_indicators_cached("AAPL", "15min")
                    assert other.stdout.readline() == "done\n"

            cached = engine.calculate_indicators_cached("AAPL", "15min")

            pd.testing.assert_frame_equal(cached, fresh(store), check_exact=True, check_freq=False)


def test_an_unchanged_series_is_neither_read_nor_computed_again(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path / "historical")
    store.save_bars("AAPL", "15min", bars_of(0, 300))
    reads = list[str]()

    def load(symbol: str, timeframe: str) -> pd.DataFrame:
        reads.append(symbol)
        return store.load_bars(symbol, timeframe)

    engine = IndicatorEngine(load=load, version=store.version, cache=IndicatorCache())
    for _ in range(3):
        engine.calculate_indicators_cached("AAPL", "15min")
    once = len(reads)
    engine.calculate_indicators_cached("AAPL", "15min", force_refresh=True)

    assert (once, len(reads)) == (1, 2)


def test_an_appended_day_is_carried_on(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path / "historical")
    engine = engine_over(store, tmp_path / "cache")
    for end in (300, 326, 352):
        store.save_bars("AAPL", "15min", bars_of(0, end))
        engine.calculate_indicators_cached("AAPL", "15min")

    assert next(iter(engine._growing.values())).extended == 52


def test_a_series_that_was_never_stored_gives_the_columns_and_no_row(tmp_path: Path) -> None:
    engine = engine_over(HistoricalDataManager(tmp_path), tmp_path / "cache")

    values = engine.calculate_indicators_cached("AAPL", "15min")

    assert values.empty
    assert set(engine.columns) <= set(values)


def test_live_indicators_open_on_what_is_stored(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path)
    store.save_bars("AAPL", "15min", bars_of(0, 300))
    live = engine_over(store, tmp_path / "cache").live("AAPL", "15min")
    new = bars_of(300, 301)

    values = live.update(new.iloc[0].to_dict())

    store.save_bars("AAPL", "15min", new)
    assert values == pytest.approx(fresh(store).iloc[-1][list(values)].to_dict(), rel=0, abs=0)
