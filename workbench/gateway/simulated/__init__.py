"""The simulated market: seeded, without stored data, any session of the calendar.

It is built from the top down. The daily path gives a session its segments, a segment is split into half hours, a half
hour into quarters, and so on down to the second; each split keeps its parent exactly, so bars of all sizes agree. A
request splits no deeper than its bars need and nowhere but around its interval, so it costs what it asks for. Every
number is a hash of the seed, the symbol and the moment: the same seed gives the same market for ever.

Within regular hours there is a bar for every moment, flat at the last price and with volume 0 when nobody traded.
Before and after hours there are only bars with trades.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np

from workbench.gateway import noise
from workbench.gateway.aggregate import between, concatenate, nothing, select
from workbench.gateway.hours import hours
from workbench.gateway.noise import Integers
from workbench.gateway.simulated.kept import KeptBars
from workbench.gateway.simulated.path import correlation
from workbench.gateway.simulated.sessions import Sessions, chosen, segments
from workbench.gateway.simulated.split import Buckets, Flags, Source, split
from workbench.gateway.simulated.table import Listing, listings
from workbench.gateway.tape import DAY, BarColumns, Block, Instrument
from workbench.gateway.windows import Windows, joined_blocks

LEVELS = (1800, 900, 300, 60, 5, 1)
"""Lengths in seconds that bars are split into, each a divisor of the one before."""

REVISION = 1
"""Counts the changes that gave other bars for the same seed: a store must not mix the bars of two revisions."""

HALF_HOURS = 13  # of the longest segment
DAILY_EXTENT = 3_653 * DAY
INTRADAY_EXTENT = 731 * DAY
MONTH = 31 * DAY
MOST_SESSIONS = 32  # of one request whose bars are kept; years would drive out what is followed
MOST_BYTES = 96 << 20  # a session of one-minute bars of 1500 symbols, before and after hours too
CHUNK = 300  # seconds of short bars computed at once for whoever asks for a moment
KEY_BITS = 34  # of a moment, in a number that sorts by listing and then by moment


@dataclass(frozen=True, slots=True)
class _Rows:
    """Bars in ticks and shares, before they are given out. `listing` is the place among those asked for."""

    listing: Integers
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
    with the calendar. `market` has the listings instead of those of the table.
    """

    def __init__(self, seed: int = 1, *, start: int | None = None, market: Mapping[str, Listing] | None = None) -> None:
        self.seed = seed
        self._hours = hours()
        self._listings = listings() if market is None else market
        self._instruments = tuple(listing.instrument for listing in self._listings.values())
        self._first_day = self._first_session(start, DAILY_EXTENT)
        self._first_intraday = self._first_session(start, INTRADAY_EXTENT)
        self._chunk = lru_cache(maxsize=4096)(self._computed)
        self._kept = KeptBars(MOST_BYTES)
        self._one_session = lru_cache(maxsize=16_384)(self._segmented)
        self._few_days = lru_cache(maxsize=4096)(self._daily)
        self._windows = Windows(self._batch)

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
        if step >= DAY:  # of a month at most: whoever follows a day, a week or a month asks for it every moment
            daily = self._few_days if end - begin <= MONTH else self._daily
            return daily(listing, begin, end, use_rth=regular)
        if step < 60 and end - begin <= CHUNK:
            return self._chunked(listing, step, begin, end, use_rth=regular)
        touched = self._hours.touching(begin, end, use_rth=regular)
        if step >= 60 and len(touched) <= MOST_SESSIONS:
            return between(self._of_sessions(symbol, step, touched, use_rth=regular), begin, max(begin, end))
        return self._computed((symbol,), step, begin, end, regular).bars

    def window(self, symbols: Sequence[str], begin: int, end: int, *, use_rth: bool) -> Block:
        """Return the bars of five seconds of each symbol whose start lies in `[begin, end)`."""
        return self._windows.window(symbols, begin, end, use_rth=use_rth)

    def _batch(self, symbols: tuple[str, ...], begin: int, end: int, use_rth: bool) -> Block:  # noqa: FBT001
        regular = [use_rth or self._listings[symbol].is_index for symbol in symbols]
        parts = []
        for rth in set(regular):
            places = np.flatnonzero(np.array(regular) == rth)
            block = self._computed(tuple(symbols[place] for place in places), 5, begin, end, rth)
            parts.append(Block(places[block.place], block.bars))
        return joined_blocks(parts)

    def _chunked(self, listing: Listing, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        shift = listing.instrument.con_id % CHUNK  # so that not all symbols need a new chunk at the same moment
        first = (begin - shift) // CHUNK * CHUNK + shift
        starts = range(first, max(end, begin + 1), CHUNK)
        chunks = [self._chunk((listing.symbol,), step, start, start + CHUNK, use_rth).bars for start in starts]
        return between(concatenate(*chunks), begin, max(begin, end))

    def _of_sessions(self, symbol: str, step: int, touched: range, *, use_rth: bool) -> BarColumns:
        """Return whole sessions. They are kept: what is wanted of today is wanted again in a moment."""
        found = {index: self._kept.get((symbol, step, use_rth, index)) for index in touched}
        missing = [index for index, bars in found.items() if bars is None]
        if missing:
            made = self._sessions(symbol, step, range(missing[0], missing[-1] + 1), use_rth=use_rth)
            for index, bars in made.items():
                self._kept.put((symbol, step, use_rth, index), bars)
            found |= made
        return concatenate(nothing(), *(bars for bars in found.values() if bars is not None))

    def _sessions(self, symbol: str, step: int, span: range, *, use_rth: bool) -> dict[int, BarColumns]:
        """Return the bars of each session, all made in one go."""
        begin, end = self._hours[span[0]].begin(use_rth=use_rth), self._hours[span[-1]].end(use_rth=use_rth)
        bars = self._computed((symbol,), step, begin, end, use_rth).bars
        begins = (self._hours.opens if use_rth else self._hours.pre_opens)[span.start : span.stop]
        bounds = [*np.searchsorted(bars.start, begins).tolist(), len(bars)]
        return {index: select(bars, np.arange(*bounds[it : it + 2])) for it, index in enumerate(span)}

    def _computed(self, symbols: tuple[str, ...], step: int, begin: int, end: int, use_rth: bool) -> Block:  # noqa: FBT001
        """Return the bars of some symbols in one pass: their buckets are split together."""
        market = [self._listings[symbol] for symbol in symbols]
        span = self._hours.touching(begin, end, use_rth=use_rth)
        span = range(max(span.start, self._first_intraday), max(span.stop, self._first_intraday))
        if not span or end <= begin:
            return _given_out(_rows([]), market)
        sessions = chosen(self._hours, span)
        level = next(level for level in LEVELS if step % level == 0)
        base = self._split(market, span, level, begin, end + step, use_rth=use_rth)
        rows = _grouped(base, _bar_start(base.start, step, sessions, use_rth=use_rth))
        rows = _filled(rows, len(market), _regular_starts(sessions, step, begin, end, use_rth=use_rth))
        return _given_out(_where(rows, (rows.start >= begin) & (rows.start < end)), market)

    def _daily(self, listing: Listing, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        span = self._hours.labelled(begin, end)
        span = range(max(span.start, self._first_day), max(span.stop, self._first_day))
        base = self._segmented(listing.symbol, span, use_rth)
        labels = chosen(self._hours, span).label
        session = np.searchsorted(self._hours.pre_opens[span.start : span.stop], base.start, side="right") - 1
        return _given_out(_grouped(base, labels[session]), [listing]).bars

    def _split(
        self, market: list[Listing], span: range, finest: int, begin: int, end: int, *, use_rth: bool
    ) -> Buckets:
        """Return the buckets of `finest` seconds that meet `[begin, end)`, and of each listing the one before them."""
        source = Source(
            np.concatenate([noise.root(self.seed, "within " + listing.symbol) for listing in market]),
            noise.root(self.seed, "within market"),
            np.array([correlation(listing) for listing in market]),
        )
        # whoever asks for one session comes back for its next minutes; years would fill the memory
        segmented = self._one_session if len(span) == 1 else self._segmented
        base = _together([segmented(listing.symbol, span, use_rth) for listing in market])
        base = split(base, LEVELS[0], HALF_HOURS, source)
        for longer, shorter in pairwise(LEVELS):
            base = _around(base, longer, begin, end)
            if longer == finest:
                break
            base = split(base, shorter, longer // shorter, source)
        return base

    def _segmented(self, symbol: str, span: range, use_rth: bool) -> Buckets:  # noqa: FBT001
        """Return the segments with trades of one listing by start."""
        joined = _together(segments(self.seed, self._listings[symbol], self._hours, span, use_rth=use_rth))
        joined = joined.where(joined.count > 0)
        joined = joined.where(np.argsort(joined.start))
        return replace(joined, listing=np.zeros_like(joined.start))

    def _first_session(self, start: int | None, extent: int) -> int:
        if start is None:
            return 0
        return int(np.searchsorted(self._hours.labels, start - extent))


def _together(parts: list[Buckets]) -> Buckets:
    """Return the buckets of all parts; the place of a part becomes the listing of its buckets."""
    joined = Buckets(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Buckets)))
    return replace(joined, listing=np.repeat(np.arange(len(parts)), [len(part) for part in parts]))


def _around(base: Buckets, step: int, begin: int, end: int) -> Buckets:
    """Return the buckets that meet `[begin, end)`, and the one before: its close is the last price at `begin`."""
    before = base.start <= begin - step
    superseded = before[:-1] & before[1:] & (base.listing[:-1] == base.listing[1:])
    return base.where(~np.append(superseded, False) & (base.start < end))


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


def _where(rows: _Rows, chosen: Flags | Integers) -> _Rows:
    return _Rows(*(getattr(rows, f.name)[chosen] for f in fields(_Rows)))


def _key(listing: Integers, start: Integers) -> Integers:
    return np.asarray((listing << KEY_BITS) + start)


def _grouped(base: Buckets, start: Integers) -> _Rows:
    """Return the aggregates of the buckets that share a listing and a start."""
    if not len(base):
        return _rows([])
    key = _key(base.listing, start)
    first = np.flatnonzero(np.diff(key, prepend=key[0] - 1))
    if len(first) == len(start):  # each is a bar already
        return _Rows(base.listing, start, *(getattr(base, f.name) for f in fields(_Rows)[2:]))
    last = np.append(first[1:], len(start)) - 1
    return _Rows(
        listing=base.listing[first],
        start=start[first],
        open=base.open[first],
        high=np.maximum.reduceat(base.high, first),
        low=np.minimum.reduceat(base.low, first),
        close=base.close[last],
        volume=np.add.reduceat(base.volume, first),
        notional=np.add.reduceat(base.notional, first),
        count=np.add.reduceat(base.count, first),
    )


def _filled(rows: _Rows, listings: int, grid: Integers) -> _Rows:
    """Add flat bars at the last close where the grid has a start and the rows of a listing have none."""
    known = _key(rows.listing, rows.start)
    wanted = _key(np.repeat(np.arange(listings), len(grid)), np.tile(grid, listings))
    place = np.searchsorted(known, wanted)
    missing = wanted[np.append(known, -1)[place] != wanted]
    if not len(missing):
        return rows
    listing, start = missing >> KEY_BITS, missing & ((1 << KEY_BITS) - 1)
    price = rows.close[np.searchsorted(known, missing) - 1]
    nothing = np.zeros(len(missing), dtype=np.int64)
    joined = _rows([rows, _Rows(listing, start, price, price, price, price, nothing, nothing, nothing)])
    return _where(joined, np.argsort(_key(joined.listing, joined.start)))


def _given_out(rows: _Rows, market: list[Listing]) -> Block:
    """Return prices in dollars and volumes as IB gives them: an index has neither volume nor average."""
    is_index = np.array([listing.is_index for listing in market])[rows.listing]
    traded = np.where(is_index, 0, rows.volume)
    bars = BarColumns(
        start=rows.start,
        open=rows.open / 100,
        high=rows.high / 100,
        low=rows.low / 100,
        close=rows.close / 100,
        volume=traded.astype(np.float64),
        average=np.where(traded > 0, rows.notional, 0) / np.maximum(rows.volume, 1) / 100,
        count=rows.count,
    )
    return Block(rows.listing, bars)
