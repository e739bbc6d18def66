"""The three segments of a simulated session: pre-market, regular hours, post-market.

They are where the top-down construction begins: one bar for each segment, in whole ticks. Daily bars need no more than
these, and everything finer is split from them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from workbench.gateway import noise
from workbench.gateway.hours import Hours
from workbench.gateway.noise import Floats, Integers
from workbench.gateway.simulated.path import Path, correlation, path, weekdays
from workbench.gateway.simulated.split import FLAT_BELOW, Buckets, Segment, notional
from workbench.gateway.simulated.table import Listing

LOWEST = 100  # ticks: no price falls under one dollar
FULL_SESSION = 6.5 * 3600
SHARE = {Segment.PRE: 0.012, Segment.POST: 0.02}  # of the regular volume
OVERNIGHT = 0.38  # standard deviation of the overnight gap, in those of the day
INTRADAY = 0.74  # standard deviation of the walk from open to close, likewise
CALMEST = 0.4  # added to the energy (mean 2) of each extreme: the two are drawn apart, and never both near 0


@dataclass(frozen=True, slots=True)
class Sessions:
    """Chosen sessions of the calendar as parallel arrays, in epoch seconds."""

    index: Integers
    label: Integers
    pre_open: Integers
    open: Integers
    close: Integers
    post_close: Integers
    midnight: Integers


def chosen(calendar: Hours, span: range) -> Sessions:
    """Return the sessions of `span`."""
    cut = slice(span.start, span.stop)
    return Sessions(
        index=np.arange(span.start, span.stop),
        label=calendar.labels[cut],
        pre_open=calendar.pre_opens[cut],
        open=calendar.opens[cut],
        close=calendar.closes[cut],
        post_close=calendar.post_closes[cut],
        midnight=calendar.labels[cut] - calendar.utc_offsets[cut],
    )


@dataclass(frozen=True, slots=True)
class _Prices:
    """Open, high, low and close of a segment in ticks, one element a session."""

    open: Integers
    high: Integers
    low: Integers
    close: Integers


def segments(seed: int, listing: Listing, calendar: Hours, span: range, *, use_rth: bool) -> list[Buckets]:
    """Return the segments of the sessions in `span`, a set of buckets for each kind; an index has the regular one."""
    sessions = chosen(calendar, span)
    day = _Day(seed, listing, sessions, weekdays(calendar.labels[np.maximum(sessions.index - 1, 0)]))
    kinds = [Segment.REGULAR] if use_rth or listing.is_index else list(Segment)
    return [day.segment(kind) for kind in kinds]


class _Day:
    """Builds the segments of some sessions of one listing."""

    def __init__(self, seed: int, listing: Listing, sessions: Sessions, before: Integers) -> None:
        self._listing = listing
        self._sessions = sessions
        self._path: Path = path(seed, listing)
        self._place = weekdays(sessions.label)
        self._key = noise.keys(noise.root(seed, "session " + listing.symbol), sessions.label)
        self._market = noise.keys(noise.root(seed, "session market"), sessions.label)
        self._close = self._path.close[self._place]
        self._previous = self._path.close[before]
        self._size = self._path.volatility[self._place] * self._previous

    def segment(self, kind: Segment) -> Buckets:
        sessions = self._sessions
        begin = {Segment.PRE: sessions.pre_open, Segment.REGULAR: sessions.open, Segment.POST: sessions.close}[kind]
        end = {Segment.PRE: sessions.open, Segment.REGULAR: sessions.close, Segment.POST: sessions.post_close}[kind]
        prices = {Segment.PRE: self._pre, Segment.REGULAR: self._regular, Segment.POST: self._post}[kind]()
        count, volume = self._activity(kind)
        flat = count < FLAT_BELOW
        high = np.where(flat, prices.open, prices.high)
        low = np.where(flat, prices.open, prices.low)
        close = np.where(flat, prices.open, prices.close)
        return Buckets(
            start=begin,
            open=prices.open,
            high=high,
            low=low,
            close=close,
            count=count,
            volume=volume,
            notional=notional(prices.open, high, low, close, volume),
            begin=begin,
            end=end,
            segment=np.full(len(begin), kind),
            listing=np.zeros(len(begin), dtype=np.int64),
        )

    def _regular(self) -> _Prices:
        opens = self._open()
        return self._walked(opens, self._close, INTRADAY * self._size, 1)

    def _pre(self) -> _Prices:
        gap = self._open() - self._previous
        begin = self._previous + 0.35 * gap + 0.12 * self._size * self._normal(5)
        end = self._open() + 0.03 * self._size * self._normal(6)
        return self._walked(begin, end, 0.25 * self._size, 2)

    def _post(self) -> _Prices:
        end = self._close + 0.12 * self._size * self._normal(7)
        return self._walked(self._close, end, 0.15 * self._size, 3)

    def _open(self) -> Floats:
        shared = correlation(self._listing)
        market = noise.normals(noise.keys(self._market, 4))
        gap = shared * market + math.sqrt(1 - shared * shared) * self._normal(4)
        return self._previous + 0.25 * (self._close - self._previous) + OVERNIGHT * self._size * gap

    def _normal(self, purpose: int) -> Floats:
        return noise.normals(noise.keys(self._key, purpose))

    def _walked(self, begin: Floats, end: Floats, size: Floats, purpose: int) -> _Prices:
        """Return the prices of a random walk from `begin` to `end`; its extremes have nearly the true distribution."""
        key = noise.keys(self._key, 20 + purpose)
        moved, variance, middle = np.square(end - begin), np.square(size), (begin + end) / 2
        above = np.sqrt(moved + variance * (CALMEST + noise.energies(noise.keys(key, 1)))) / 2
        below = np.sqrt(moved + variance * (CALMEST + noise.energies(noise.keys(key, 2)))) / 2
        opens, closes = _ticks(begin), _ticks(end)
        high = np.maximum(_ticks(middle + above), np.maximum(opens, closes))
        low = np.minimum(_ticks(middle - below), np.minimum(opens, closes))
        return _Prices(opens, high, low, closes)

    def _activity(self, kind: Segment) -> tuple[Integers, Integers]:
        """Return the number of trades and the volume; more of both on days that move, fewer on half days."""
        regular = kind == Segment.REGULAR
        length = (self._sessions.close - self._sessions.open) / FULL_SESSION
        moved = np.abs(self._close - self._previous) / self._size
        mood = 0.22 * self._normal(30 + kind) + 0.2 * self._path.stress[self._place]
        if self._listing.is_index:
            count = np.full(len(length), self._listing.volume) * length
        else:
            share = 1.0 if regular else SHARE[kind]
            count = self._listing.volume * share * length * (0.72 + 0.3 * moved) * noise.exp(mood - 0.05)
            count = count / self._listing.trade_size
        trades = np.maximum(count.astype(np.int64), 2 * FLAT_BELOW if regular else 0)
        shares = trades if self._listing.is_index else self._shares(trades, kind)
        return trades, shares

    def _shares(self, trades: Integers, kind: Segment) -> Integers:
        size = self._listing.trade_size * (0.85 + 0.3 * noise.uniforms(noise.keys(self._key, 40 + kind)))
        return trades + (trades * np.maximum(size - 1, 0)).astype(np.int64)


def _ticks(price: Floats) -> Integers:
    return np.maximum(np.rint(price), LOWEST).astype(np.int64)
