"""Five-second bars into longer ones, of many symbols at once: the arithmetic of `RealtimeBarAggregator`.

A symbol is a place in the arrays of each timeframe, so that a tick of many symbols is put down, and the bars that end
with it are made, at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, repeat
from math import inf, nan
from operator import itemgetter
from struct import pack
from typing import Any

import numpy as np

from workbench.errors import InvalidBars
from workbench.market.aggregate.clock import SessionClock
from workbench.market.aggregate.levels import DAILY, LEVELS, STEP_S, LateBar, ProvisionalBar
from workbench.market.aggregate.parts import (
    COUNT,
    OPEN,
    RECEIVED,
    VOLUME,
    Floats,
    Numbers,
    Parts,
    averages_of,
    every,
    from_five_seconds,
    grown,
    joined,
)
from workbench.market.aggregate.ring import WIDTH, Rings
from workbench.market.bars import COLUMNS
from workbench.market.sessions import session_calendar

_SLOTS = (12, 5, 3, 4, 4, 6)
"""Of how many shorter bars one of each level is made at most."""
_FEW = 4
"""Fewer bars are added one by one."""
_MOST_LATE = 10_000
_LESS, _MORE = np.array([2, 2, 0, 3]), np.array([0, 3, 1, 1])
"""Which columns of a five-second bar are not above which: low, open, close, high."""
_told = tuple.__new__  # a named tuple's own constructor takes twice as long

FiveSeconds = tuple[str, int, float, float, float, float, float, float, float]
"""Symbol, start, and the columns of a five-second bar."""


class Builder:
    """The forming bars of many symbols, and the newest complete ones."""

    def __init__(self, buffer_size: int, *, use_rth: bool, grace_s: float) -> None:
        self.buffer_size = buffer_size
        self.grace_s = grace_s
        self.late: deque[LateBar] = deque(maxlen=_MOST_LATE)
        self._clock = SessionClock(session_calendar(use_rth=use_rth))
        self._places: dict[str, int] = {}
        self._names: list[str] = []
        self._minutes, *longer = self._forming = [
            Parts(_SLOTS[0], len(COLUMNS)), *(Parts(slots) for slots in _SLOTS[1:])
        ]  # fmt: skip
        self._days = longer[-1]
        self._rings = [Rings(buffer_size) for _ in LEVELS]
        self._floor, self._due, self._labels = (np.zeros(0, dtype=np.int64) for _ in range(3))
        # Nothing that starts at the floor or before is added; what starts when it is due follows without a hole.
        self._next_end = inf
        """No forming bar ends earlier."""
        self._tick: tuple[tuple[str, ...], Numbers, Numbers | slice] = ((), np.zeros(0, dtype=np.int64), slice(0))

    def add(
        self,
        symbol: str,
        stamp: int,
        open: float,  # noqa: A002
        high: float,
        low: float,
        close: float,
        volume: float,
        average: float = nan,
        bar_count: float = 0.0,
    ) -> list[ProvisionalBar]:
        """Add a five-second bar that starts at `stamp` (epoch seconds); return the longer bars that it completes."""
        place = self._places[symbol] if symbol in self._places else self._place(symbol)
        minute_end = self._minutes.ends[place]
        if not self._floor[place] < stamp < minute_end:
            if stamp <= self._floor[place]:
                self.late.append(LateBar(symbol, stamp))
                return []
            if not self._clock.move(stamp):
                return []
        if stamp % STEP_S or not (0 < low <= open <= high < inf and low <= close <= high and volume < inf):
            raise InvalidBars(
                f"{symbol}: a five-second bar at {datetime.fromtimestamp(stamp, UTC)} with open {open}, high {high}, "
                f"low {low}, close {close}, volume {volume} cannot be. It was not added"
            )
        done: list[ProvisionalBar] = []
        if stamp >= minute_end:
            done = self._open(np.array([place]), stamp)
            minute_end = self._minutes.ends[place]
        self._minutes.add_one(place, (open, high, low, close, volume, average, bar_count))
        self._floor[place] = stamp
        self._due[place] = stamp + STEP_S
        if stamp + STEP_S == minute_end:
            self._close(np.array([place]), 0, done)
        return done

    def add_all(self, bars: Iterable[FiveSeconds]) -> list[ProvisionalBar]:
        """Add five-second bars, each as the arguments of `add`; return the longer bars that they complete.

        Does what `add` does, but the bars of one instant, of symbols each of which follows its newest, are put down at
        once: that takes a tenth of the time.
        """
        done: list[ProvisionalBar] = []
        tick = list(bars)
        if len(tick) < _FEW:
            for bar in tick:
                done += self.add(*bar)
            return done
        columns = list(zip(*tick))  # noqa: B905  strict takes half as long again
        if columns[1].count(columns[1][0]) < len(tick):
            for _, run in groupby(tick, key=itemgetter(1)):
                done += self.add_all(run)
        elif not self._add_tick(columns, done):
            for bar in tick:
                done += self.add(*bar)
        return done

    def _add_tick(self, tick: Sequence[tuple[Any, ...]], done: list[ProvisionalBar]) -> bool:
        """Add bars of one instant, given as columns; return whether that was possible at once, else nothing is done."""
        symbols, stamps, opens, highs, lows, closes, volumes, averages, counts = tick
        stamp = stamps[0]
        if not self._knows(symbols):
            return False
        _, places, span = self._tick
        if not every(self._due[span] == stamp) or not self._clock.move(stamp):
            return False
        numbers = pack(f"{7 * len(symbols)}d", *opens, *highs, *lows, *closes, *volumes, *averages, *counts)
        values = np.frombuffer(numbers).reshape(7, -1)
        if stamp % STEP_S or not can_be(values):
            return False
        minute_end = self._minutes.ends[places[0]]
        if stamp >= minute_end:
            self._open(places, stamp)
            minute_end = self._minutes.ends[places[0]]
        self._minutes.add(span, values)
        self._floor[span] = stamp
        self._due[span] = stamp + STEP_S
        if stamp + STEP_S == minute_end:
            self._close(places, 0, done)
        return True

    def _knows(self, symbols: tuple[str, ...]) -> bool:
        """Tell whether symbols have a place each, and keep these, of neighbours as a slice: that is indexed sooner."""
        if symbols != self._tick[0]:
            found = [self._places[symbol] for symbol in symbols if symbol in self._places]
            if len(set(found)) < len(symbols):
                return False
            is_run = found == list(range(found[0], found[0] + len(found)))
            places = np.array(found)
            self._tick = symbols, places, slice(found[0], found[-1] + 1) if is_run else places
        return True

    def advance(self, now: float) -> list[ProvisionalBar]:
        """Return the bars that are complete because the clock (epoch seconds) has passed their end and the grace."""
        limit = now - self.grace_s
        if limit < self._next_end:
            return []
        done: list[ProvisionalBar] = []
        if limit >= (next_end := self._find_next_end()):
            done = self._close_until(np.arange(len(self._names)), limit)
            next_end = self._find_next_end()
        self._next_end = next_end
        return done

    def _find_next_end(self) -> float:
        return min(forming.next_end() for forming in self._forming)

    def _place(self, symbol: str) -> int:
        """Return the place of a symbol; a new one when there is none."""
        place = self._places.setdefault(symbol, len(self._names))
        if place == len(self._names):
            self._names.append(symbol)
            if place >= len(self._floor):
                self._grow(2 * place + 1)
            self._floor[place] = -1
        return place

    def _grow(self, places: int) -> None:
        for forming, ring in zip(self._forming, self._rings, strict=True):
            forming.grow(places)
            ring.grow(places)
        self._floor, self._due, self._labels = (grown(one, places) for one in (self._floor, self._due, self._labels))

    def _open(self, places: Numbers, stamp: int) -> list[ProvisionalBar]:
        """Begin the minutes of `stamp`, and the longer bars that begin with it; what ended before is complete."""
        done = [] if stamp == self._floor[places[0]] + STEP_S else self._close_until(places, stamp)
        for level, forming in enumerate(self._forming):
            new = places[forming.ends[places] <= stamp]
            if not len(new):
                break  # so it is with all longer ones
            forming.begin(new, *self._clock.cut(stamp, LEVELS[level].seconds))
        self._labels[places] = self._clock.label
        self._next_end = min(self._next_end, int(self._minutes.ends[places[0]]))
        return done

    def _close_until(self, places: Numbers, limit: float) -> list[ProvisionalBar]:
        """Complete each forming bar that ends at `limit` or before."""
        done: list[ProvisionalBar] = []
        for level, forming in enumerate(self._forming):
            ended = places[(forming.ends[places] <= limit) & (forming.held[places] > 0)]
            for end in np.unique(forming.ends[ended]):
                self._close(ended[forming.ends[ended] == end], level, done)
            self._due[ended] = 0
        return done

    def _close(self, places: Numbers, level: int, done: list[ProvisionalBar]) -> None:
        """Complete the forming bars of a level, which end at the same time, and the longer ones that end with them."""
        self._complete(places, level, self._made(places, level), done)

    def _complete(self, places: Numbers, level: int, bars: Floats, done: list[ProvisionalBar]) -> None:
        """Take complete bars of a level, and complete the longer ones that end with them; put them on `done`."""
        end = int(self._forming[level].ends[places[0]])
        self._floor[places] = np.maximum(self._floor[places], end - STEP_S)
        told = []
        while True:
            told.append(self._keep(places, level, bars))
            self._forming[level].held[places] = 0
            if level == DAILY:
                break
            level += 1
            self._forming[level].add(places, bars)
            if self._forming[level].ends[places[0]] != end:
                break
            bars = self._made(places, level)
        done += chain.from_iterable(zip(*told, strict=True))

    def _keep(self, places: Numbers, level: int, bars: Floats) -> list[ProvisionalBar]:
        """Keep complete bars, and return them as they are told."""
        rows = self._rows(places, level, bars)
        self._rings[level].append(places, rows)
        return tell([self._names[place] for place in places.tolist()], level, rows)

    def _rows(self, places: Numbers, level: int, bars: Floats) -> Floats:
        """Return bars of a level as rows."""
        forming = self._forming[level]
        begins = forming.begins[places]
        return as_rows(bars, self._labels[places] if level == DAILY else begins, forming.ends[places] - begins)

    def _made(self, places: Numbers, level: int) -> Floats:
        """Return what has come of forming bars, but for what is forming of them at shorter levels."""
        parts, held = self._forming[level].of(places)
        return joined(parts, held) if level else from_five_seconds(parts, held)


def as_rows(bars: Floats, stamps: Numbers, lengths: Numbers) -> Floats:
    """Return bars, given their stamps and lengths in seconds, as rows: start, columns, received, expected."""
    rows = np.empty((len(stamps), WIDTH))
    rows[:, 0], rows[:, 1:6] = stamps, bars[OPEN : VOLUME + 1].T
    rows[:, 6], rows[:, 7], rows[:, 8], rows[:, 9] = averages_of(bars), bars[COUNT], bars[RECEIVED], lengths // STEP_S
    return rows


def tell(names: Iterable[str], level: int, rows: Floats) -> list[ProvisionalBar]:
    """Return rows as they are told."""
    stamps, received, expected = rows[:, (0, -2, -1)].astype(np.int64).T.tolist()
    fields = zip(names, repeat(LEVELS[level].name), stamps, *rows[:, 1:-2].T.tolist(), received, expected)
    return [_told(ProvisionalBar, row) for row in fields]


def can_be(values: Floats) -> bool:
    """Return whether all five-second bars, a column each, can be; what is not a number cannot."""
    in_order = values.take(_LESS, axis=0) <= values.take(_MORE, axis=0)
    return bool(every(in_order.ravel()) and np.minimum.reduce(values[2]) > 0 and values[1:5:3].max() < inf)
