"""The twin over whole columns: bars of many symbols into longer ones, by numpy's `reduceat`.

It follows the rules of the bar-by-bar aggregator and shares no code of it, so that each proves the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.market.aggregate.grid import Grid, Seconds
from workbench.market.bars import COLUMNS, TIMESTAMP
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe

_BLOCK = 10_000
"""Bars that are reduced together, or one symbol's."""
_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Bars of one timeframe: by symbol (a number), then by start in epoch seconds.

    `received` says how many of the bars that they were made of are in each. A daily bar starts at its session's open:
    its label is a matter of how it is shown.
    """

    symbol: Seconds
    start: Seconds
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    weighted: Floats
    plain: Floats
    plains: Floats
    count: Floats
    received: Seconds

    def __len__(self) -> int:
        return len(self.start)

    @property
    def average(self) -> Floats:
        """The volume-weighted price; without volume the mean of the averages of what counts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.volume > 0, self.weighted / self.volume, self.plain / self.plains)


def columns_of(frames: Sequence[pd.DataFrame]) -> BarColumns:
    """Return frames of bars, one a symbol, as columns."""
    open_, high, low, close, traded, average, count = np.concatenate([_table(frame) for frame in frames], axis=1)
    volume = np.maximum(traded, 0)
    return BarColumns(
        symbol=np.repeat(np.arange(len(frames)), [len(frame) for frame in frames]),
        start=np.concatenate([_starts(frame.index) for frame in frames]),
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=volume,
        weighted=np.where(volume > 0, volume * average, 0.0),
        plain=average,
        plains=np.broadcast_to(1.0, len(open_)),
        count=np.where(count >= 0, count, np.nan),
        received=np.broadcast_to(1, len(open_)),
    )


def _table(frame: pd.DataFrame) -> Floats:
    """Return the columns of bars, a row each; of most frames that is no copy."""
    if tuple(frame.columns) != COLUMNS:
        frame = frame.reindex(columns=list(COLUMNS))
    return frame.to_numpy(dtype=np.float64).T


def _starts(index: pd.Index) -> Seconds:
    assert isinstance(index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    return index.asi8 // _A_SECOND[index.unit]


def aggregate_columns(
    bars: BarColumns, timeframes: Sequence[Timeframe], *, use_rth: bool = True
) -> Iterator[tuple[Timeframe, BarColumns]]:
    """Give the bars of each timeframe, which go from short to long: each is made of the one before."""
    if len(bars):
        grid = Grid(int(bars.start.min()), int(bars.start.max()), use_rth=use_rth)
        inside = grid.session(bars.start) >= 0
        bars = bars if inside.all() else _select(bars, inside)
    if not len(bars):
        yield from ((timeframe, bars) for timeframe in timeframes)
        return
    for timeframe in timeframes:
        bars = _join([_reduce(block, grid.cut(block.start, timeframe)[0]) for block in _blocks(bars)])
        yield timeframe, bars


def aggregate_bars(
    bars: pd.DataFrame, timeframe: str, *, step_s: int = 5, use_rth: bool = True, as_of: datetime | None = None
) -> pd.DataFrame:
    """Return bars of `step_s` seconds as bars of `timeframe`, with `received` and `expected` beside their columns.

    The last one may be forming: with `as_of`, only bars that have ended by then are returned. Bars outside the
    session's hours belong to none.
    """
    wanted = parse_timeframe(timeframe)
    chain = [each for each in TIMEFRAMES.values() if step_s < each.seconds <= wanted.seconds]
    made = columns_of([bars])
    for _, longer in aggregate_columns(made, chain, use_rth=use_rth):
        made = longer
    if not len(made):
        return _frame(made, made.start, made.start)
    grid = Grid(int(made.start[0]), int(made.start[-1]), use_rth=use_rth)
    begins, ends = grid.cut(made.start, wanted)
    labels = grid.labels[grid.session(made.start)] if wanted.is_daily else begins
    frame = _frame(made, labels, (ends - begins) // step_s)
    return frame if as_of is None else frame[ends <= as_of.timestamp()]


def _frame(bars: BarColumns, stamps: Seconds, expected: Seconds) -> pd.DataFrame:
    index = pd.DatetimeIndex(stamps.astype("datetime64[s]").astype("datetime64[us]"), name=TIMESTAMP)
    prices = {name: getattr(bars, name) for name in ("open", "high", "low", "close", "volume", "average")}
    marks = {"bar_count": bars.count, "received": bars.received, "expected": expected}
    return pd.DataFrame(prices | marks, index=index.tz_localize("UTC"))


def _reduce(bars: BarColumns, starts: Seconds) -> BarColumns:
    """Return one bar for each run of the same symbol and start. `first` and `last` are the places of what counts."""
    runs = _runs(bars.symbol, starts)
    traded = (bars.volume > 0) | (bars.count > 0)
    high, low, plain, plains = bars.high, bars.low, bars.plain, bars.plains
    first, last = runs, np.append(runs[1:], len(bars)) - 1
    if not traded.all():
        has_trades = np.logical_or.reduceat(traded, runs)
        counts = traded if has_trades.all() else traded | ~np.repeat(has_trades, last - first + 1)
        places = np.flatnonzero(counts)
        ends = np.cumsum(np.add.reduceat(counts, runs, dtype=np.int64))
        first, last = places[np.append(0, ends[:-1])], places[ends - 1]
        high, low = np.where(counts, high, -np.inf), np.where(counts, low, np.inf)
        plain, plains = np.where(counts, plain, 0.0), np.where(counts, plains, 0.0)
    return BarColumns(
        symbol=bars.symbol[runs],
        start=starts[runs],
        open=bars.open[first],
        high=np.maximum.reduceat(high, runs),
        low=np.minimum.reduceat(low, runs),
        close=bars.close[last],
        volume=np.add.reduceat(bars.volume, runs),
        weighted=np.add.reduceat(bars.weighted, runs),
        plain=np.add.reduceat(plain, runs),
        plains=np.add.reduceat(plains, runs),
        count=np.add.reduceat(bars.count, runs),
        received=np.add.reduceat(bars.received, runs),
    )


def _runs(symbol: Seconds, starts: Seconds) -> npt.NDArray[np.intp]:
    """Return where each run of the same symbol and start begins."""
    begins = np.ones(len(starts), dtype=bool)
    begins[1:] = (symbol[1:] != symbol[:-1]) | (starts[1:] != starts[:-1])
    return np.flatnonzero(begins)


def _blocks(bars: BarColumns) -> list[BarColumns]:
    """Return whole symbols in blocks that fit into the processor's cache: that halves the time."""
    symbols = int(bars.symbol[-1]) + 1
    together = max(1, _BLOCK * symbols // len(bars))
    edges = np.unique(np.searchsorted(bars.symbol, np.arange(0, symbols + together, together)))
    slices = [slice(begin, end) for begin, end in pairwise(edges.tolist())]
    return [BarColumns(**{name: getattr(bars, name)[rows] for name in BarColumns.__slots__}) for rows in slices]


def _join(blocks: Sequence[BarColumns]) -> BarColumns:
    if len(blocks) == 1:
        return blocks[0]
    return BarColumns(
        **{name: np.concatenate([getattr(block, name) for block in blocks]) for name in BarColumns.__slots__}
    )


def _select(bars: BarColumns, rows: npt.NDArray[np.bool_]) -> BarColumns:
    return BarColumns(**{name: getattr(bars, name)[rows] for name in BarColumns.__slots__})
