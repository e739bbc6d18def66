"""How fast indicators are, beside TA-Lib's bare functions and the specification's own way; `make bench` prints it.

Everything is timed in one run, by processor time, turn by turn; each figure is the median of some rounds, after one
that is not counted: in it the system finds the memory, which on a virtual machine takes longer than all the work.
"""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import talib
from talib import _ta_lib as wrapped

from workbench.indicators.cache import IndicatorCache
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.frames import columns_of
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import SUITE

BARE = {name: inspect.unwrap(getattr(wrapped, name)) for name in ("ATR", "BBANDS", "MACD", "RSI", "SMA", "STOCH")}
ROUNDS = 7
LONG, SYMBOLS, SHORT, NEW = 100_000, 3000, 500, 2000


def make_bars(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.001, rows)))
    open_ = np.append(close[:1], close[:-1])
    index = pd.date_range("2000-01-03", periods=rows, freq="15min", tz="UTC", name="timestamp")
    return pd.DataFrame(
        {"open": open_, "high": np.maximum(open_, close) * 1.001, "low": np.minimum(open_, close) * 0.999,
         "close": close, "volume": random.integers(1, 9999, rows).astype(float)}, index=index,
    )  # fmt: skip


def specified(df: pd.DataFrame) -> pd.DataFrame:
    """Compute the suite as the specification's code does: on pandas columns, RSI twice."""
    df = df.copy()
    df["bb_upper"], df["bb_mid"], df["bb_lower"] = talib.BBANDS(df["close"], 20, 2, 2, 0)
    rsi = talib.RSI(df["close"], timeperiod=14)
    df["stoch_k"], df["stoch_d"] = talib.STOCH(rsi, rsi, rsi, 14, 3, 0, 3, 0)
    df["macd"], df["macd_signal"], df["macd_hist"] = talib.MACD(df["close"], 12, 26, 9)
    df["rsi"] = talib.RSI(df["close"], timeperiod=14)
    df["atr"] = talib.ATR(df["high"], df["low"], df["close"], timeperiod=14)
    for length in (20, 50, 200):
        df[f"sma_{length}"] = talib.SMA(df["close"], timeperiod=length)
    return df


def bare(high: np.ndarray, low: np.ndarray, close: np.ndarray) -> list[np.ndarray]:
    """Return the same columns by TA-Lib's functions, with nothing around them."""
    rsi = BARE["RSI"](close, 14)
    return [
        *BARE["BBANDS"](close, 20, 2.0, 2.0, 0), rsi, *BARE["STOCH"](rsi, rsi, rsi, 14, 3, 0, 3, 0),
        *BARE["MACD"](close, 12, 26, 9), BARE["ATR"](high, low, close, 14),
        *(BARE["SMA"](close, length) for length in (20, 50, 200)),
    ]  # fmt: skip


def cost(ways: dict[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return the median processor time of each way in milliseconds, taken in turns."""
    for way in ways.values():
        way()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            taken[name].append((time.process_time() - begin) * 1e3)
    return {name: statistics.median(times) for name, times in taken.items()}


def show(title: str, times: dict[str, float], claims: list[tuple[str, float, str]]) -> None:
    print(f"\n{title}")
    for name, milliseconds in times.items():
        print(f"  {name:34}{milliseconds:12.3f} ms")
    for claim, ratio, aim in claims:
        print(f"  {claim:34}{ratio:12.2f}    ({aim})")


def one_long_series() -> None:
    bars = make_bars(LONG, 1)
    high, low, close = (np.ascontiguousarray(bars[name].to_numpy()) for name in ("high", "low", "close"))
    engine = IndicatorEngine()
    times = cost({
        "ours, frame to frame": lambda: engine.calculate(bars),
        "TA-Lib's bare functions": lambda: bare(high, low, close),
        "the specification's code": lambda: specified(bars),
    })  # fmt: skip
    ours, floor, theirs = times.values()
    show(f"one symbol x {LONG:,} bars, 13 columns", times,
         [("ours / bare", ours / floor, "aim: at most 1.25"),
          ("specified / ours", theirs / ours, "aim: at least 2.5")])  # fmt: skip


def a_universe() -> None:
    one = make_bars(SHORT, 2)
    frame = pd.concat(
        [one.reset_index().assign(symbol=f"S{number:04}") for number in range(SYMBOLS)], ignore_index=True
    )
    arrays = [np.ascontiguousarray(one[name].to_numpy()) for name in ("high", "low", "close")]
    engine = IndicatorEngine()
    some = SYMBOLS // 20
    part = frame.iloc[: some * SHORT]
    times = cost({
        "ours, long frame to long frame": lambda: engine.calculate_universe(frame),
        "TA-Lib's bare functions, a loop": lambda: [bare(*arrays) for _ in range(SYMBOLS)],
        f"the specification's code x {some}": lambda: [specified(one) for _ in range(some)],
        "the same, long frame to long frame": lambda: pd.concat(
            [specified(bars) for _, bars in part.groupby("symbol", sort=False)]
        ),
    }, rounds=5)  # fmt: skip
    ours, floor, apart, whole = times.values()
    times_more = SYMBOLS / some / ours
    show(f"{SYMBOLS:,} symbols x {SHORT} bars", times,
         [("ours / bare", ours / floor, "aim: at most 1.5"),
          ("specified / ours, the same work", whole * times_more, "aim: at least 40"),
          ("specified, frames apart / ours", apart * times_more, "nothing kept, nothing put together")])  # fmt: skip


def one_new_bar() -> None:
    bars = make_bars(LONG, 3)
    columns = columns_of(bars, SUITE)
    live = LiveIndicators(SUITE, {name: column[:-NEW] for name, column in columns.items()})
    rows = [{name: float(column[row]) for name, column in columns.items()} for row in range(LONG - NEW, LONG)]
    tail = bars.iloc[-250:]
    last = [np.ascontiguousarray(tail[name].to_numpy()) for name in ("high", "low", "close")]
    begin = time.process_time()
    values = [live.update(row) for row in rows]
    ours = (time.process_time() - begin) * 1e6 / NEW
    others = cost({"bare": lambda: [bare(*last) for _ in range(100)], "specified": lambda: specified(bars.iloc[-500:])})
    batch = IndicatorEngine().calculate(bars).iloc[-NEW:]
    wrong = sum(not np.array_equal([row[name] for row in values], batch[name]) for name in batch if name in values[0])
    print("\none new bar of one symbol, 13 values")
    print(f"  {'ours':34}{ours:12.2f} µs    (aim: at most 10); {wrong} columns differ from the whole history")
    print(f"  {'TA-Lib, bare, over the last 250':34}{others['bare'] * 10:12.2f} µs")
    print(f"  {'the specification, over 500 bars':34}{others['specified'] * 1000:12.2f} µs")
    print(f"  {'talipp, the same 13 values':34}{by_talipp(rows)}")


def by_talipp(rows: list[dict[str, float]]) -> str:
    """Return what a library of incremental indicators takes for a bar, where it is installed."""
    try:
        from talipp import indicators as their
        from talipp.ohlcv import OHLCV
    except ImportError:
        return "    not installed: pip install talipp"
    of_closes = [their.BB(20, 2), their.RSI(14), their.StochRSI(14, 14, 3, 3), their.MACD(12, 26, 9),
                 *(their.SMA(length) for length in (20, 50, 200))]  # fmt: skip
    atr = their.ATR(14)
    begin = time.process_time()
    for row in rows:
        for one in of_closes:
            one.add(row["close"])
        atr.add(OHLCV(row["close"], row["high"], row["low"], row["close"]))
    return f"{(time.process_time() - begin) * 1e6 / len(rows):12.2f} µs"


def the_cache() -> None:
    bars = make_bars(LONG, 4)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bars.parquet"
        bars.to_parquet(path)

        def engine(memory: int) -> IndicatorEngine:
            cache = IndicatorCache(folder=Path(folder) / "cache", memory_bytes=memory)
            return IndicatorEngine(load=lambda *_: pd.read_parquet(path), version=lambda *_: "same", cache=cache)

        warm, cold = engine(1 << 30), engine(0)
        warm.calculate_indicators_cached("AAPL", "15min")
        cold.calculate_indicators_cached("AAPL", "15min")
        times = cost({
            "read and computed": lambda: warm.calculate_indicators_cached("AAPL", "15min", force_refresh=True),
            "from memory": lambda: warm.calculate_indicators_cached("AAPL", "15min"),
            "from disk": lambda: engine(0).calculate_indicators_cached("AAPL", "15min"),
        })  # fmt: skip
    computed, memory, disk = times.values()
    show(f"a series of {LONG:,} bars that has not changed", times,
         [("memory / computed", memory / computed, "aim: at most 0.2"),
          ("disk / computed", disk / computed, "")])  # fmt: skip


if __name__ == "__main__":
    one_long_series()
    a_universe()
    one_new_bar()
    the_cache()
