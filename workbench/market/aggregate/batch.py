"""The twin over whole columns: bars of many symbols into longer ones, by numpy's `reduceat`.

It follows the rules of the bar-by-bar aggregator and shares no code of it, so that each proves the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from itertools import pairwise, zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InvalidBars
from workbench.market.aggregate.grid import Grid, Seconds
from workbench.market.bars import COLUMNS, TIMESTAMP, empty_bars
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe

_BLOCK = 120_000
"""Bars that are reduced together, or one symbol's: so many fit into the processor's cache."""
_NAMES = list(COLUMNS)
_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Numbers:
    """What is known of bars, a column each.

    `received` says how many of the bars that they were made of are in each, `plains` how many of them `plain` is the
    sum of the averages of; bars that were made of none have neither.
    """

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    weighted: Floats
    plain: Floats
    plains: Floats | None
    count: Floats
    received: Seconds | None
    traded: Flags
    """Whether any of it was traded: of a bar with volume, or trades, it is known; sums of what is not said are not."""

    def __len__(self) -> int:
        return len(self.open)

    @property
    def average(self) -> Floats:
        """The volume-weighted price; without volume the mean of the averages of what counts."""
        with np.errstate(invalid="ignore", divide="ignore"):
            plain = self.plain if self.plains is None else self.plain / self.plains
            return np.where(self.volume > 0, self.weighted / self.volume, plain)


@dataclass(frozen=True, slots=True)
class BarColumns(Numbers):
    """Bars of one timeframe: by symbol (a number), then by start in epoch seconds.

    A daily bar starts at its session's open: its label is a matter of how it is shown.
    """

    symbol: Seconds
    start: Seconds


_FIELDS = [field.name for field in fields(BarColumns)]
_Block = tuple[Numbers, Places, Seconds, Seconds]
"""Bars; of the longer ones that they make, the place of the first of each, their symbols and their starts."""


def columns_of(frames: Sequence[pd.DataFrame], first: int = 0) -> BarColumns:
    """Return frames of bars, one a symbol, as columns; symbols are numbered from `first`."""
    symbols = np.repeat(np.arange(first, first + len(frames)), [len(frame) for frame in frames])
    starts = np.concatenate([_starts(frame.index) for frame in frames])
    return BarColumns(**_numbers(frames, _room(len(starts))), symbol=symbols, start=starts)


def _room(rows: int) -> Floats:
    return np.empty((len(COLUMNS) + 2, rows))


def _numbers(frames: Sequence[pd.DataFrame], room: Floats) -> dict[str, Any]:
    """Return what `Numbers` are of frames, one after the other, in a room that has room for them."""
    columns, volume, weighted = room[:-2], room[-2], room[-1]
    np.concatenate([_table(frame) for frame in frames], axis=1, out=columns)
    open_, high, low, close, traded, average, count = columns
    np.maximum(traded, 0, out=volume)
    np.multiply(volume, average, out=weighted)
    if np.isnan(weighted).any():
        weighted[volume == 0] = 0.0
    if not (count >= 0).all():
        count[count < 0] = np.nan
    return {
        "open": open_, "high": high, "low": low, "close": close, "volume": volume, "weighted": weighted,
        "plain": average, "plains": None, "count": count, "received": None, "traded": (volume > 0) | (count > 0),
    }  # fmt: skip


def _table(frame: pd.DataFrame) -> Floats:
    """Return the columns of bars, a row each; of most frames that is no copy."""
    if frame.columns.tolist() != _NAMES:
        frame = frame.reindex(columns=_NAMES)
    return frame.to_numpy(dtype=np.float64).T


def _starts(index: pd.Index) -> Seconds:
    assert isinstance(index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    return index.asi8 // _A_SECOND[index.unit]


def aggregate_frames(
    frames: Sequence[pd.DataFrame], timeframes: Sequence[Timeframe], *, use_rth: bool = True
) -> Iterator[tuple[Timeframe, BarColumns]]:
    """Give the bars of each timeframe, which go from short to long, of frames of shorter bars, one a symbol.

    Symbols are numbered as the frames are. Bars outside the session's hours belong to none. Raises `InvalidBars` when
    those of a frame are not in order.
    """
    starts = [_starts(frame.index) for frame in frames]
    if any((each[1:] <= each[:-1]).any() for each in starts):
        raise InvalidBars("the bars to aggregate are not in order, or one is there twice")
    held = [each for each in starts if len(each)]
    if not held or not timeframes:
        yield from ((timeframe, columns_of([empty_bars()])) for timeframe in timeframes)
        return
    grid = Grid(int(min(each[0] for each in held)), int(max(each[-1] for each in held)), use_rth=use_rth)
    lengths = [len(frame) for frame in frames]
    room = _room(min(max(_BLOCK, *lengths), sum(lengths)))  # one for all blocks: getting memory takes long
    blocks: Iterable[_Block] = (
        _block(frames[some], starts[some], some.start, grid, timeframes[0], room) for some in _groups(lengths)
    )
    for timeframe, longer in zip_longest(timeframes, timeframes[1:]):
        bars = _join([_reduce(*block) for block in blocks])
        yield timeframe, bars
        blocks = [_cut(block, grid, longer) for block in _blocks(bars)] if longer else ()


def _block(
    frames: Sequence[pd.DataFrame], starts: Sequence[Seconds], first: int, grid: Grid, timeframe: Timeframe,
    room: Floats,
) -> _Block:  # fmt: skip
    """Return the bars of frames, to be reduced; where all have bars at the same times these are cut once."""
    one, count = starts[0], len(frames)
    is_alike = len(one) > 0 and all(len(each) == len(one) and (each == one).all() for each in starts)
    if not is_alike or (grid.session(one) < 0).any():
        return _cut(_inside(columns_of(frames, first), grid), grid, timeframe)
    cut = grid.cut(one, timeframe)[0]
    runs = _runs(cut)
    places = (len(one) * np.arange(count)[:, None] + runs).ravel()
    symbols = np.repeat(np.arange(first, first + count), len(runs))
    numbers = Numbers(**_numbers(frames, room[:, : count * len(one)]))
    return numbers, places, symbols, np.tile(cut[runs], count)


def _cut(bars: BarColumns, grid: Grid, timeframe: Timeframe) -> _Block:
    cut = grid.cut(bars.start, timeframe)[0] if len(bars) else bars.start
    runs = _runs(cut, bars.symbol)
    return bars, runs, bars.symbol[runs], cut[runs]


def _groups(lengths: Sequence[int]) -> Iterator[slice]:
    """Give slices of frames, of these lengths, that make a block together."""
    first = rows = 0
    for number, length in enumerate(lengths):
        if number > first and rows + length > _BLOCK:
            yield slice(first, number)
            first, rows = number, 0
        rows += length
    yield slice(first, len(lengths))


def _inside(bars: BarColumns, grid: Grid) -> BarColumns:
    inside = grid.session(bars.start) >= 0
    return bars if inside.all() else _select(bars, inside)


def aggregate_bars(
    bars: pd.DataFrame, timeframe: str, *, step_s: int = 5, use_rth: bool = True, as_of: datetime | None = None
) -> pd.DataFrame:
    """Return bars of `step_s` seconds as bars of `timeframe`, with `received` and `expected` beside their columns.

    The last one may be forming: with `as_of`, only bars that have ended by then are returned. Bars outside the
    session's hours belong to none. Raises `InvalidBars` when they are not in order.
    """
    wanted = parse_timeframe(timeframe)
    chain = [each for each in TIMEFRAMES.values() if step_s < each.seconds <= wanted.seconds]
    made = (
        [longer for _, longer in aggregate_frames([bars], chain, use_rth=use_rth)][-1] if chain else columns_of([bars])
    )
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
    received = np.ones(len(bars), dtype=np.int64) if bars.received is None else bars.received
    marks = {"bar_count": bars.count, "received": received, "expected": expected}
    return pd.DataFrame(prices | marks, index=index.tz_localize("UTC"))


def _reduce(bars: Numbers, runs: Places, symbols: Seconds, starts: Seconds) -> BarColumns:
    """Return one bar for each run. `first` and `last` are the places of what counts."""
    if not len(bars):
        return columns_of([empty_bars()])
    high, low, plain, plains = bars.high, bars.low, bars.plain, bars.plains
    first, last = runs, np.append(runs[1:], len(bars)) - 1
    counted = lengths = last - first + 1
    volume = np.add.reduceat(bars.volume, runs)
    traded, trades = bars.traded, counted
    if not traded.all():
        trades = np.add.reduceat(traded, runs, dtype=np.int64)
        counts = traded if trades.all() else traded | np.repeat(trades == 0, lengths)
        counted = np.where(trades > 0, trades, lengths)
        first, last = _next(first, counts, 1), _next(last, counts, -1)
        if bars.received is not None:  # else they are copies of ours
            high, low = high.copy(), low.copy()
        quiet = np.flatnonzero(~counts)
        high[quiet], low[quiet] = -np.inf, np.inf
        if not volume.all():  # else nobody asks for the plain average
            plain, plains = np.where(counts, plain, 0.0), None if plains is None else np.where(counts, plains, 0.0)
    return BarColumns(
        symbol=symbols,
        start=starts,
        open=bars.open[first],
        high=np.maximum.reduceat(high, runs),
        low=np.minimum.reduceat(low, runs),
        close=bars.close[last],
        volume=volume,
        weighted=np.add.reduceat(bars.weighted, runs),
        plain=np.add.reduceat(plain, runs),
        plains=counted.astype(np.float64) if plains is None else np.add.reduceat(plains, runs),
        count=np.add.reduceat(bars.count, runs),
        traded=trades > 0,
        received=lengths if bars.received is None else np.add.reduceat(bars.received, runs),
    )


def _next(places: Places, counts: Flags, step: int) -> Places:
    """Return the places, each moved by steps until it counts; there are few of them, so it is soon done."""
    found = places.copy()
    moving = np.flatnonzero(~counts[found])
    while len(moving):
        found[moving] += step
        moving = moving[~counts[found[moving]]]
    return found


def _runs(starts: Seconds, symbol: Seconds | None = None) -> Places:
    """Return where each run of the same start, and the same symbol, begins."""
    begins = np.ones(len(starts), dtype=bool)
    begins[1:] = starts[1:] != starts[:-1]
    if symbol is not None:
        begins[1:] |= symbol[1:] != symbol[:-1]
    return np.flatnonzero(begins)


def _blocks(bars: BarColumns) -> list[BarColumns]:
    """Return whole symbols in blocks."""
    if len(bars) <= _BLOCK:
        return [bars]
    symbols = int(bars.symbol[-1]) + 1
    together = max(1, _BLOCK * symbols // len(bars))
    edges = np.unique(np.searchsorted(bars.symbol, np.arange(0, symbols + together, together)))
    return [_select(bars, slice(begin, end)) for begin, end in pairwise(edges.tolist())]


def _select(bars: BarColumns, rows: slice | Flags) -> BarColumns:
    columns: Any = (None if (column := getattr(bars, name)) is None else column[rows] for name in _FIELDS)
    return BarColumns(*columns)


def _join(blocks: Sequence[BarColumns]) -> BarColumns:
    filled = [block for block in blocks if len(block)]
    if len(filled) <= 1:
        return (filled or blocks)[0]
    columns: Any = (np.concatenate([getattr(block, name) for block in filled]) for name in _FIELDS)
    return BarColumns(*columns)
