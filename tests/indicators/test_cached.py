"""The cache beside the store: it never gives what a fresh computation would not."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.indicators.bars import STAMPS, walk
from workbench.indicators.cache import IndicatorCache
from workbench.indicators.define import own_indicator, talib_indicator
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.suite import SUITE, Indicator
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


def _wide(deviations: float) -> Indicator:
    return talib_indicator("bb", "BBANDS", outputs="wide middle narrow", nbdevup=deviations)


def _times(factor: float) -> Indicator:
    return own_indicator("times", lambda close: close * factor, inputs="close")


def _times_inside(factor: float) -> Indicator:
    return own_indicator("times", pl.col("close").map_batches(lambda close: close * factor), inputs="close")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (_wide(2.0000001), _wide(2.0000002)),
        (_times(2), _times(3)),
        (_times_inside(2), _times_inside(3)),
        (
            own_indicator("x", pl.col("close") * 2, inputs="close"),
            own_indicator("x", pl.col("close") * 3, inputs="close"),
        ),
    ],
    ids=["parameters in the tenth place", "two functions of a name", "functions inside of expressions", "expressions"],
)
def test_another_definition_of_the_same_name_is_never_served(tmp_path: Path, one: Indicator, other: Indicator) -> None:
    bars, cache = bars_of(0, 300), IndicatorCache(folder=tmp_path)

    for indicator in (one, other):
        engine = IndicatorEngine([indicator], load=lambda *_: bars, version=lambda *_: "same", cache=cache)
        for _ in range(2):
            values = engine.calculate_indicators_cached("AAPL", "15min")
            pd.testing.assert_frame_equal(values, engine.calculate(bars), check_exact=True)


@pytest.mark.parametrize(("indicator", "files"), [(SUITE[1], 1), (_times(2), 0), (_times_inside(2), 0)])
def test_what_python_code_gives_is_not_kept_on_disk(tmp_path: Path, indicator: Indicator, files: int) -> None:
    bars, cache = bars_of(0, 300), IndicatorCache(folder=tmp_path)
    engine = IndicatorEngine([indicator], load=lambda *_: bars, version=lambda *_: "same", cache=cache)

    engine.calculate_indicators_cached("AAPL", "15min")

    assert len(list(tmp_path.glob("*.arrow"))) == files


def test_threads_share_an_engine_while_bars_are_appended_and_revised(tmp_path: Path) -> None:
    """Each thread reads time and again; what it gets is what the bars of one moment give, and never older ones."""
    engine, states = _engine_over_states(tmp_path)
    expected = [IndicatorEngine.calculate_all_indicators(bars) for bars in states.all]

    def read(number: int) -> list[int]:
        seen = []
        while not seen or seen[-1] < len(states.all) - 1:
            least = states.at
            values = engine.calculate_indicators_cached(f"S{number % 2}", "15min")
            most = states.at
            same = [state for state in range(least, most + 1) if values.equals(expected[state])]
            assert same, f"what was read between states {least} and {most} is of neither"
            seen.append(same[-1])
        return seen

    with ThreadPoolExecutor(8) as threads:
        read_by_all = list(threads.map(read, range(8)))

    assert all(seen[-1] == len(states.all) - 1 for seen in read_by_all)


class _States:
    """The bars of a store, state after state: appended to, and revised at times."""

    def __init__(self) -> None:
        self.all, self.at, self._lock = [bars_of(0, 250)], 0, threading.Lock()
        for number in range(1, 40):
            bars = bars_of(0, 250 + 3 * number) if number % 4 else self.all[-1].copy()
            if number % 4 == 0:
                bars.iloc[100, bars.columns.get_loc("close")] += 0.25
            self.all.append(bars)

    def load(self) -> pd.DataFrame:
        """Return the bars as they are; as they are returned, they change."""
        bars = self.all[self.at]
        with self._lock:
            self.at = min(self.at + 1, len(self.all) - 1)
        return bars


def _engine_over_states(folder: Path) -> tuple[IndicatorEngine, _States]:
    states = _States()
    engine = IndicatorEngine(
        load=lambda *_: states.load(), version=lambda *_: states.at, cache=IndicatorCache(folder=folder)
    )
    return engine, states
