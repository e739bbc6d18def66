"""The simulated market: seeded, without stored data, any session of the calendar.

It is built from the top down. The daily path gives a session its segments, a segment is split into half hours, a half
hour into quarters, and so on down to the second; each split keeps its parent exactly, so bars of all sizes agree. A
request splits no deeper than its bars need and nowhere but around its interval, so it costs what it asks for. Every
number is a hash of the seed, the symbol and the moment: the same seed gives the same market for ever.

Within regular hours there is a bar for every moment, flat at the last price and with volume 0 when nobody traded.
Before and after hours there are only bars with trades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import pairwise

import numpy as np

from workbench.gateway import noise
from workbench.gateway.hours import hours
from workbench.gateway.noise import Integers
from workbench.gateway.simulated_path import correlation
from workbench.gateway.simulated_sessions import Sessions, chosen, segments
from workbench.gateway.simulated_split import Buckets, Source, split
from workbench.gateway.simulated_table import Listing, listings
from workbench.gateway.tape import DAY, BarColumns, Instrument

LEVELS = (1800, 900, 300, 60, 5, 1)
"""Lengths in seconds that bars are split into, each a divisor of the one before."""

REVISION = 1
"""Counts the changes that gave other bars for the same seed: a store must not mix the bars of two revisions."""

HALF_HOURS = 13  # of the longest segment
DAILY_EXTENT = 3_653 * DAY
INTRADAY_EXTENT = 731 * DAY
CHUNK = 300  # seconds of short bars computed at once for whoever asks for a moment


@dataclass(frozen=True, slots=True)
class _Rows:
    """Bars in ticks and shares, before they are given out."""

    start: Integers
    open: Integers
    high: Integers
    low: Integers
    close: Integers
    volume: Integers
    notional: Integers
    count: Integers


class SimulatedTape:
    """A market made of hashed noise.

    With `start` (epoch seconds) daily bars begin ten years and shorter ones two years before it; without, both begin
    with the calendar.
    """

    def __init__(self, seed: int = 1, *, start: int | None = None) -> None:
        self.seed = seed
        self._hours = hours()
        self._listings = listings()
        self._instruments = tuple(listing.instrument for listing in self._listings.values())
        self._first_day = self._first_session(start, DAILY_EXTENT)
        self._first_intraday = self._first_session(start, INTRADAY_EXTENT)
        self._chunk = lru_cache(maxsize=4096)(self._computed)

    @property
    def account(self) -> str:
        """Return the name of the simulated account: the seed and the market's revision tell which bars these are."""
        return f"SIMULATED-{self.seed}-R{REVISION}"

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Return the instruments of the table."""
        return self._instruments

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        """Return when trading began in the first session that has a daily bar; None for an unknown symbol."""
        listing = self._listings.get(symbol)
        if listing is None:
            return None
        return self._hours[self._first_day].begin(use_rth=use_rth or listing.is_index)

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds whose start lies in `[begin, end)`; KeyError for an unknown symbol."""
        listing = self._listings[symbol]
        regular = use_rth or listing.is_index
        if step < 60 and end - begin <= CHUNK:
            return self._chunked(listing, step, begin, end, use_rth=regular)
        return self._computed(listing, step, begin, end, regular)

    def _chunked(self, listing: Listing, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        shift = listing.instrument.con_id % CHUNK  # so that not all symbols need a new chunk at the same moment
        first = (begin - shift) // CHUNK * CHUNK + shift
        edges = range(first, max(end, begin + 1) + CHUNK - 1, CHUNK)
        chunks = [self._chunk(listing, step, *edge, use_rth) for edge in pairwise([*edges, edges[-1] + CHUNK])]
        return _cut(_joined(chunks), begin, end)

    def _computed(self, listing: Listing, step: int, begin: int, end: int, use_rth: bool) -> BarColumns:  # noqa: FBT001
        if step >= DAY:
            return self._daily(listing, begin, end, use_rth=use_rth)
        span = self._hours.touching(begin, end, use_rth=use_rth)
        span = range(max(span.start, self._first_intraday), max(span.stop, self._first_intraday))
        if not span or end <= begin:
            return _given_out(_rows([]), listing)
        sessions = chosen(self._hours, span)
        level = next(level for level in LEVELS if step % level == 0)
        base = self._split(listing, span, level, begin, end + step, use_rth=use_rth)
        rows = _grouped(base, _bar_start(base.start, step, sessions, use_rth=use_rth))
        rows = _filled(rows, _regular_starts(sessions, step, begin, end, use_rth=use_rth))
        return _cut(_given_out(rows, listing), begin, end)

    def _daily(self, listing: Listing, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        span = self._hours.labelled(begin, end)
        span = range(max(span.start, self._first_day), max(span.stop, self._first_day))
        parts = segments(self.seed, listing, self._hours, span, use_rth=use_rth)
        base = _sorted(parts)
        labels = chosen(self._hours, span).label
        session = np.searchsorted(self._hours.pre_opens[span.start : span.stop], base.start, side="right") - 1
        return _given_out(_grouped(base, labels[session]), listing)

    def _split(self, listing: Listing, span: range, finest: int, begin: int, end: int, *, use_rth: bool) -> Buckets:
        """Return the buckets of `finest` seconds that meet `[begin, end)`, and the one before them."""
        source = Source(
            noise.root(self.seed, "within " + listing.symbol),
            noise.root(self.seed, "within market"),
            correlation(listing),
        )
        base = _sorted(segments(self.seed, listing, self._hours, span, use_rth=use_rth))
        base = split(base, LEVELS[0], HALF_HOURS, source)
        for longer, shorter in pairwise(LEVELS):
            base = _around(base, longer, begin, end)
            if longer == finest:
                break
            base = split(base, shorter, longer // shorter, source)
        return base

    def _first_session(self, start: int | None, extent: int) -> int:
        if start is None:
            return 0
        return int(np.searchsorted(self._hours.labels, start - extent))


def _sorted(parts: list[Buckets]) -> Buckets:
    """Return the buckets with trades of all parts by start."""
    joined = Buckets(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Buckets)))
    joined = joined.where(joined.count > 0)
    return joined.where(np.argsort(joined.start))


def _around(base: Buckets, step: int, begin: int, end: int) -> Buckets:
    """Return the buckets that meet `[begin, end)`, and the one before: its close is the last price at `begin`."""
    first = int(np.searchsorted(base.start, begin - step, side="right"))
    return base.where(slice(max(first - 1, 0), int(np.searchsorted(base.start, end))))


def _bar_start(start: Integers, step: int, sessions: Sessions, *, use_rth: bool) -> Integers:
    """Return the start of the bar that each moment belongs to: on New York's clock, the first cut at the open."""
    opens = sessions.open if use_rth else sessions.pre_open
    session = np.searchsorted(sessions.pre_open, start, side="right") - 1
    midnight = sessions.midnight[session]
    return np.maximum(midnight + (start - midnight) // step * step, opens[session])


def _regular_starts(sessions: Sessions, step: int, begin: int, end: int, *, use_rth: bool) -> Integers:
    """Return the starts of all bars in `[begin, end)` that meet regular hours."""
    opens = sessions.open if use_rth else sessions.pre_open
    first = np.clip(begin, sessions.open, sessions.close)
    first = sessions.midnight + (first - sessions.midnight) // step * step
    width = int(np.max(np.minimum(sessions.close, end) - first)) // step + 1
    starts = first[:, None] + step * np.arange(max(width, 0))
    kept = (starts < sessions.close[:, None]) & (starts < end)
    starts = np.maximum(starts, opens[:, None])
    return np.asarray(starts[kept & (starts >= begin)])


def _rows(parts: list[_Rows]) -> _Rows:
    empty = np.zeros(0, dtype=np.int64)
    return _Rows(*(np.concatenate([empty, *(getattr(p, f.name) for p in parts)]) for f in fields(_Rows)))


def _grouped(base: Buckets, start: Integers) -> _Rows:
    """Return the aggregates of the buckets that share a start."""
    if not len(base):
        return _rows([])
    first = np.flatnonzero(np.diff(start, prepend=start[0] - 1))
    last = np.append(first[1:], len(start)) - 1
    return _Rows(
        start=start[first],
        open=base.open[first],
        high=np.maximum.reduceat(base.high, first),
        low=np.minimum.reduceat(base.low, first),
        close=base.close[last],
        volume=np.add.reduceat(base.volume, first),
        notional=np.add.reduceat(base.notional, first),
        count=np.add.reduceat(base.count, first),
    )


def _filled(rows: _Rows, grid: Integers) -> _Rows:
    """Add flat bars at the last close where the grid has a start and the rows have none."""
    missing = np.setdiff1d(grid, rows.start, assume_unique=True)
    if not len(missing):
        return rows
    price = rows.close[np.searchsorted(rows.start, missing) - 1]
    nothing = np.zeros(len(missing), dtype=np.int64)
    joined = _rows([rows, _Rows(missing, price, price, price, price, nothing, nothing, nothing)])
    order = np.argsort(joined.start)
    return _Rows(*(getattr(joined, f.name)[order] for f in fields(_Rows)))


def _given_out(rows: _Rows, listing: Listing) -> BarColumns:
    """Return prices in dollars and volumes as IB gives them: an index has neither volume nor average."""
    traded = 0 if listing.is_index else rows.volume
    return BarColumns(
        start=rows.start,
        open=rows.open / 100,
        high=rows.high / 100,
        low=rows.low / 100,
        close=rows.close / 100,
        volume=(rows.volume * (not listing.is_index)).astype(np.float64),
        average=np.where(traded > 0, rows.notional, 0) / np.maximum(rows.volume, 1) / 100,
        count=rows.count,
    )


def _joined(chunks: list[BarColumns]) -> BarColumns:
    if len(chunks) == 1:
        return chunks[0]
    return BarColumns(*(np.concatenate([getattr(c, f.name) for c in chunks]) for f in fields(BarColumns)))


def _cut(bars: BarColumns, begin: int, end: int) -> BarColumns:
    """Return the bars that start in `[begin, end)`."""
    first, last = np.searchsorted(bars.start, [begin, max(begin, end)])
    return BarColumns(*(getattr(bars, f.name)[first:last] for f in fields(BarColumns)))
