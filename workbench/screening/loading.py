"""Where a screen's bars come from: the panel when it is of now, the parts when it is of an earlier moment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from workbench.market.bars import REQUIRED, TIMESTAMP
from workbench.market.timeframes import parse_timeframe
from workbench.screening.screen import WindowsOf
from workbench.screening.windows import Window, moment_of, newest_bars, reach
from workbench.store.historical import HistoricalDataManager

_SPARE = 2
"""Bars of the panel that may not be complete yet, such as the morning's of four hours."""


def from_panel(store: HistoricalDataManager, symbols: Sequence[str]) -> WindowsOf:
    """Return windows of the newest stored bars: for a screen of now."""
    from_parts = from_store(store, symbols)

    def windows(timeframe: str, until: int, bars: int) -> Window:
        panel = store.panel(timeframe, symbols, bars + _SPARE)
        stamps = panel.timestamps.view(np.int64)
        if (stamps[:, -_SPARE - 1] >= until).any():  # it does not reach back far enough
            return from_parts(timeframe, until, bars)
        some = slice(None) if (stamps[:, -1] >= until).any() else slice(_SPARE, None)
        there = stamps[:, some] != np.iinfo(np.int64).min
        bounds = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        kept, *columns = (
            column[:, some].ravel() if there.all() else column[:, some][there]
            for column in (stamps, *(panel[name] for name in REQUIRED))
        )
        window = Window(timeframe, tuple(symbols), bounds, kept, dict(zip(REQUIRED, columns, strict=True)))
        return newest_bars(window, until=until, bars=bars)

    return windows


def from_store(store: HistoricalDataManager, symbols: Sequence[str]) -> WindowsOf:
    """Return windows of the stored bars before any moment."""

    def windows(timeframe: str, until: int, bars: int) -> Window:
        end = moment_of(until)
        begin = reach(end, parse_timeframe(timeframe), bars)
        frame = store.load_many(symbols, timeframe, begin, end, REQUIRED)
        short = _shorter(frame, symbols, bars)
        if short:  # quiet or young: all that there is of them
            older = store.load_many(short, timeframe, None, begin, REQUIRED)
            frame = pl.concat([older, frame]).sort("symbol", TIMESTAMP) if len(older) else frame
        return newest_bars(all_bars(frame, timeframe, symbols), until=until, bars=bars)

    return windows


def all_bars(frame: pl.DataFrame, timeframe: str, symbols: Sequence[str]) -> Window:
    """Return the bars of one frame, `symbol`, `timestamp` and the columns of bars, in the order of `symbols`.

    The rows of a symbol lie together, oldest first; a symbol without any has no bars.
    """
    spans, begin = dict[str, tuple[int, int]](), 0
    for length, symbol in frame.select(pl.col("symbol").rle().struct.unnest()).iter_rows() if len(frame) else ():
        spans[symbol] = (begin, begin := begin + length)
    pieces = [np.arange(*spans.get(symbol, (0, 0)), dtype=np.int64) for symbol in symbols]
    rows = np.concatenate([*pieces, np.empty(0, dtype=np.int64)])
    bounds = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
    stamps = frame[TIMESTAMP].dt.epoch("us").to_numpy()[rows]
    return Window(timeframe, tuple(symbols), bounds, stamps, {name: frame[name].to_numpy()[rows] for name in REQUIRED})


def _shorter(frame: pl.DataFrame, symbols: Sequence[str], bars: int) -> list[str]:
    """Return the symbols of which there are fewer bars."""
    runs = frame.select(pl.col("symbol").rle().struct.unnest()) if len(frame) else frame
    counts = {symbol: length for length, symbol in runs.iter_rows()}  # the rows of a symbol lie together
    return [symbol for symbol in symbols if counts.get(symbol, 0) < bars]
