"""Bar by bar: `RealtimeBarAggregator`.

A symbol is a place in the arrays of each timeframe, so that a tick of many symbols is put down, and the bars that end
with it are made, at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain, groupby, repeat
from math import inf, nan
from operator import itemgetter
from struct import pack

import numpy as np
import pandas as pd

from workbench.errors import InvalidBars
from workbench.market.aggregate.clock import SessionClock
from workbench.market.aggregate.levels import DAILY, LEVELS, STEP_S, LateBar, ProvisionalBar, level_of
from workbench.market.aggregate.parts import COUNT, RECEIVED, VOLUME, Floats, Numbers, Parts, averages
from workbench.market.aggregate.parts import from_five_seconds, joined
from workbench.market.aggregate.ring import WIDTH, Rings, Rows
from workbench.market.bars import COLUMNS, TIMESTAMP
from workbench.market.coverage import as_utc
from workbench.market.sessions import session_calendar

MARKS = ("complete", "received", "expected")
"""Columns beside those of a bar: whether it is complete, and how many of its five-second bars came, of how many."""

_SLOTS = (12, 5, 3, 4, 4, 6)
"""Of how many shorter bars one of each level is made at most."""
_FEW = 4
"""Below, bars are added one by one."""
_MOST_LATE = 10_000
_told = tuple.__new__  # a named tuple's own constructor takes twice as long

FiveSeconds = tuple[str, int, float, float, float, float, float, float, float]
"""Symbol, start, and the columns of a five-second bar."""


class RealtimeBarAggregator:
    """Live bars of many symbols, as six longer timeframes each.

    `buffer_size` complete bars are kept of each symbol and timeframe. `grace_s` is how long after its end, on the clock
    given to `advance`, a bar waits for five-second bars that are under way. Not for several threads at once.
    """

    def __init__(self, buffer_size: int = 500, *, use_rth: bool = True, grace_s: float = 10.0) -> None:
        self.buffer_size = buffer_size
        self.grace_s = grace_s
        self.late: deque[LateBar] = deque(maxlen=_MOST_LATE)
        self._clock = SessionClock(session_calendar(use_rth=use_rth))
        self._places: dict[str, int] = {}
        self._names: list[str] = []
        self._forming = [Parts(slots, *fields) for slots, fields in zip(_SLOTS, [(len(COLUMNS),), *5 * [()]], strict=True)]
        self._minutes, self._days = self._forming[0], self._forming[DAILY]
        self._rings = [Rings(buffer_size) for _ in LEVELS]
        self._floor, self._due, self._labels = (np.zeros(0, dtype=np.int64) for _ in range(3))
        # Nothing that starts at the floor or before it is added; a bar that is due follows the newest in its session.
        self._next_end = inf
        """No forming bar ends earlier."""
        self._run: tuple[tuple[str, ...], Numbers] = ((), np.zeros(0, dtype=np.int64))

    def add_bar(self, symbol: str, bar: Mapping[str, object]) -> list[ProvisionalBar]:
        """Add a five-second bar; return the longer bars that it completes, short ones first.

        `bar` has `timestamp` (with a time zone), `open`, `high`, `low`, `close`, `volume`, and `average` and
        `bar_count` where known. Bars outside the session's hours are not added. Raises `InvalidBars`.
        """
        try:
            numbers = [float(bar[name]) for name in COLUMNS[:5]]  # type: ignore[arg-type]
            more = [float(bar.get(name, nan)) for name in COLUMNS[5:]]  # type: ignore[arg-type]
            moment = as_utc(bar["timestamp"])  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidBars(f"{symbol}: {dict(bar)} is no five-second bar: {error!r}") from error
        return self.add(symbol, int(moment.timestamp()), *numbers, *more)

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
        for _, run in groupby(bars, key=itemgetter(1)):
            tick = list(run)
            if len(tick) < _FEW or not self._add_tick(tick, done):
                for bar in tick:
                    done += self.add(*bar)
        return done

    def _add_tick(self, tick: Sequence[FiveSeconds], done: list[ProvisionalBar]) -> bool:
        """Add bars of one instant; return whether that was possible at once. If not, nothing was done."""
        symbols, (stamp, *_), *columns = zip(*tick, strict=True)
        places = self._places_of(symbols)
        if places is None or (self._due[places] != stamp).any() or not self._clock.move(stamp):
            return False
        numbers = np.frombuffer(pack(f"{len(columns) * len(tick)}d", *chain.from_iterable(columns)))
        values = numbers.reshape(len(columns), len(tick))
        if stamp % STEP_S or not _can_be(*values[:5]):
            return False
        if stamp >= self._minutes.ends[places[0]]:
            self._open(places, stamp)
        self._minutes.add(places, values)
        self._floor[places] = stamp
        self._due[places] = stamp + STEP_S
        if stamp + STEP_S == self._minutes.ends[places[0]]:
            self._close(places, 0, done)
        return True

    def _places_of(self, symbols: tuple[str, ...]) -> Numbers | None:
        """Return the places of symbols; None when one is unknown or there twice. The last answer is kept."""
        if symbols != self._run[0]:
            found = [self._places[symbol] for symbol in symbols if symbol in self._places]
            if len(set(found)) < len(symbols):
                return None
            self._run = symbols, np.array(found)
        return self._run[1]

    def advance(self, now: float) -> list[ProvisionalBar]:
        """Return the bars that are complete because the clock (epoch seconds) has passed their end and the grace."""
        limit = now - self.grace_s
        if limit < self._next_end:
            return []
        done = self._close_until(np.arange(len(self._names)), limit)
        self._next_end = min((parts.next_end() for parts in self._forming), default=inf)
        return done
