"""Bar by bar: `RealtimeBarAggregator`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import repeat
from math import nan

import numpy as np
import pandas as pd

from workbench.errors import InvalidBars
from workbench.market.aggregate.building import Builder, as_rows, can_be, tell
from workbench.market.aggregate.levels import DAILY, LEVELS, STEP_S, ProvisionalBar, level_of
from workbench.market.aggregate.parts import Floats, Numbers, from_five_seconds, joined, spread
from workbench.market.aggregate.ring import WIDTH, Rows
from workbench.market.bars import COLUMNS, TIMESTAMP
from workbench.market.coverage import as_utc

MARKS = ("complete", "received", "expected")
"""Columns beside those of a bar: whether it is complete, and how many of its five-second bars came, of how many."""


class RealtimeBarAggregator(Builder):
    """Live bars of many symbols, as six longer timeframes each.

    `buffer_size` complete bars are kept of each symbol and timeframe. `grace_s` is how long after its end, on the clock
    given to `advance`, a bar waits for five-second bars that are under way. Not for several threads at once.
    """

    def __init__(self, buffer_size: int = 500, *, use_rth: bool = True, grace_s: float = 10.0) -> None:
        super().__init__(buffer_size, use_rth=use_rth, grace_s=grace_s)

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

    def get_bars(self, symbol: str, timeframe: str, count: int | None = None) -> pd.DataFrame:
        """Return the newest `count` bars, oldest first, the forming one last if there is one.

        Beside the columns of a bar there are `complete` (False for the forming bar), `received` and `expected` (of
        five-second bars; NaN for bars of history). A symbol of which nothing is known gives an empty frame.
        """
        level, rows = level_of(timeframe), self.complete_rows(symbol, timeframe)
        forming = self._forming_row(symbol, level)
        complete = np.arange(len(rows) + len(forming)) < len(rows)
        rows = np.vstack([rows, forming])
        index = pd.DatetimeIndex(rows[:, 0].astype("datetime64[s]").astype("datetime64[us]"), name=TIMESTAMP)
        frame = pd.DataFrame(rows[:, 1:], index=index.tz_localize("UTC"), columns=[*COLUMNS, *MARKS[1:]])
        frame.insert(len(COLUMNS), MARKS[0], complete)
        return frame if count is None else frame.iloc[max(0, len(frame) - count) :]

    def forming(self, symbol: str, timeframe: str) -> ProvisionalBar | None:
        """Return the bar that is not complete, as far as it has come; None where nothing of it has."""
        level = level_of(timeframe)
        return next(iter(tell([symbol], level, self._forming_row(symbol, level))), None)

    def forming_bars(self, symbols: Iterable[str], timeframe: str) -> list[ProvisionalBar]:
        """Return the bars that are not complete, of those symbols of which something has come; all at once."""
        level = level_of(timeframe)
        places = np.array([self._places[one] for one in symbols if one in self._places], dtype=np.int64)
        levels = list(reversed(range(level + 1)))
        held = np.stack([self._forming[one].held[places] > 0 for one in levels])
        places, held = places[held.any(axis=0)], held[:, held.any(axis=0)]
        if not len(places):
            return []
        bars = joined(np.stack([self._made(places, one) for one in levels]), held)
        return tell([self._names[place] for place in places.tolist()], level, self._rows(places, level, bars))

    def complete_rows(self, symbol: str, timeframe: str) -> Rows:
        """Return the complete bars that are kept, oldest first, as numbers: start, columns, received, expected."""
        level, place = level_of(timeframe), self._places.get(symbol)
        return np.empty((0, WIDTH)) if place is None else self._rings[level].rows(place)

    def seed(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        """Put complete bars before those of the newest session, so that `get_bars` reaches back to earlier sessions.

        They take the place of what is there of that time, as history does of bars that were built. Those that are not
        older than the first one of the newest session are left out. `received` and `expected` are kept where given.
        """
        level, place = level_of(timeframe), self._place(symbol)
        columns = bars.reindex(columns=[*COLUMNS, *MARKS[1:]]).to_numpy(dtype=np.float64)
        rows = np.column_stack([_stamps(bars), columns])
        first = self._first_of_newest_session(symbol, level)
        rows = rows if first is None else rows[rows[:, 0] < first]
        if len(rows):
            self._rings[level].lay_before(place, rows)

    def rebuild(self, symbol: str, bars: pd.DataFrame, now: float) -> list[ProvisionalBar]:
        """Make the newest session of a symbol anew, as of `now` (epoch seconds); return its complete bars, by level.

        `bars` are all five-second bars of the session, in order. Raises `InvalidBars`.
        """
        place, starts, values = self._place(symbol), _stamps(bars), bars.reindex(columns=list(COLUMNS)).to_numpy().T
        if not len(starts):
            return []
        if not self._clock.move(int(starts[0])) or starts[-1] >= self._clock.end:
            raise InvalidBars(f"{symbol}: the bars to rebuild from are not of one session")
        if self._floor[place] >= self._clock.end:
            raise InvalidBars(f"{symbol}: bars of a later session are there; only the newest session is made anew")
        if (starts % STEP_S).any() or (np.diff(starts) <= 0).any() or not can_be(values):
            raise InvalidBars(f"{symbol}: the bars to rebuild from are not in order, or some of them cannot be")
        self._forget_session(place)
        return self._add_session(place, starts, values, max(int(starts[-1]) + STEP_S, now - self.grace_s))

    def _add_session(self, place: int, starts: Numbers, parts: Floats, until: float) -> list[ProvisionalBar]:
        """Add the five-second bars of the clock's session, a column each; what ends `until` then is complete.

        The bars of each level are made at once, as those of many places are.
        """
        done: list[ProvisionalBar] = []
        only, last = np.array([place]), int(starts[-1])
        self._floor[place], self._labels[place] = last, self._clock.label
        for level, forming in enumerate(self._forming):
            seconds = LEVELS[level].seconds
            forming.begin(only, *self._clock.cut(last, seconds))
            begins, ends = self._clock.cuts(starts, seconds)
            count = int((ends <= until).sum())
            for part in parts.T[count:]:
                forming.add_one(place, part)
            firsts = np.flatnonzero(np.diff(begins[:count], prepend=-1))
            if not count:
                starts, parts = starts[:0], parts[:, :0]  # nor is anything longer complete
                continue
            make = joined if level else from_five_seconds
            parts = make(*spread(parts[:, :count], firsts, len(forming)))
            starts, ends = begins[firsts], ends[firsts]
            rows = as_rows(parts, np.full(1, self._clock.label) if level == DAILY else starts, ends - starts)
            self._rings[level].extend(place, rows)
            done += tell(repeat(self._names[place]), level, rows)
            self._floor[place] = max(self._floor[place], ends[-1] - STEP_S)
        self._next_end = min(self._next_end, int(self._minutes.ends[place]))
        return done

    def _forming_row(self, symbol: str, level: int) -> Rows:
        """Return the forming bar as a row, made of what has come of it and of the shorter ones; none when none has."""
        place = self._places.get(symbol, -1)
        levels = [one for one in reversed(range(level + 1)) if place >= 0 and self._forming[one].held[place]]
        if not levels:
            return np.empty((0, WIDTH))
        only = np.array([place])
        parts = np.stack([self._made(only, one) for one in levels])
        return self._rows(only, level, joined(parts, np.ones((len(levels), 1), dtype=bool)))

    def _first_of_newest_session(self, symbol: str, level: int) -> float | None:
        """Return where the first bar of the newest session starts that came live; None when none has come."""
        place = self._places[symbol]
        if not self._days.ends[place]:
            return None
        begin = (self._labels if level == DAILY else self._days.begins)[place]
        complete, forming = self._rings[level].first_from(place, int(begin)), self._forming_row(symbol, level)
        return complete if complete is not None or not len(forming) else float(forming[0, 0])

    def _forget_session(self, place: int) -> None:
        """Drop all that is known of the clock's session."""
        self._floor[place], self._due[place] = self._clock.begin - 1, 0
        for timeframe, ring, forming in zip(LEVELS, self._rings, self._forming, strict=True):
            ring.forget_from(place, self._clock.label if timeframe.is_daily else self._clock.begin)
            forming.begin(np.array([place]), 0, 0)


def _stamps(bars: pd.DataFrame) -> Numbers:
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    return bars.index.as_unit("s").asi8
