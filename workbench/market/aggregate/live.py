"""Bar by bar: `RealtimeBarAggregator`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from math import inf, nan
from typing import NamedTuple

import numpy as np
import pandas as pd

from workbench.errors import InvalidBars, UnknownTimeframe
from workbench.market.aggregate.clock import SessionClock
from workbench.market.aggregate.forming import Forming
from workbench.market.aggregate.ring import WIDTH, Ring, Rows
from workbench.market.bars import COLUMNS, TIMESTAMP
from workbench.market.coverage import as_utc
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe

STEP_S = 5
"""Length of a live bar."""

LEVELS = tuple(timeframe for timeframe in TIMEFRAMES.values() if timeframe.seconds > STEP_S)
_NAMES = tuple(timeframe.name for timeframe in LEVELS)
_SECONDS = tuple(timeframe.seconds for timeframe in LEVELS)
_LAST = len(LEVELS) - 1  # daily bars, which carry a label

MARKS = ("complete", "received", "expected")
"""Columns beside those of a bar: whether it is complete, and how many of its five-second bars came, of how many."""

_MOST_LATE = 10_000
_told = tuple.__new__  # a named tuple's own constructor takes twice as long


class ProvisionalBar(NamedTuple):
    """A complete bar built here from live bars. `timestamp` is its start in epoch seconds, a daily one's its label."""

    symbol: str
    timeframe: str
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    average: float
    bar_count: float
    received: int
    expected: int

    @property
    def is_whole(self) -> bool:
        """Whether all of its five-second bars came."""
        return self.received == self.expected


class LateBar(NamedTuple):
    """A five-second bar that was not added, for a newer one had come. `timestamp` is in epoch seconds."""

    symbol: str
    timestamp: int


Row = tuple[int, float, float, float, float, float, float, float, int, int]
"""Start, the columns of a bar, received, expected."""


FiveSeconds = tuple[str, int, float, float, float, float, float, float, float]
"""Symbol, start, and the columns of a five-second bar."""


class _Stock:
    """What is known of one symbol: a forming bar and the complete ones at each timeframe."""

    __slots__ = ("due", "floor", "forming", "label", "minute", "rings")

    def __init__(self, buffer_size: int) -> None:
        self.floor = -1  # nothing that starts at or before it is added
        self.due = 0
        """The start of the next bar, when that lies in a minute that has traded; else 0."""
        self.label = 0
        self.forming = [Forming() for _ in LEVELS]
        self.minute = self.forming[0]
        self.rings = [Ring(buffer_size) for _ in LEVELS]


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
        self._stocks: dict[str, _Stock] = {}

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
        stock = self._stocks.get(symbol) or self._stocks.setdefault(symbol, _Stock(self.buffer_size))
        minute = stock.minute
        done: list[ProvisionalBar] = []
        if not stock.floor < stamp < minute.end:
            if stamp <= stock.floor:
                self.late.append(LateBar(symbol, stamp))
                return []
            if not self._clock.move(stamp):
                return []
        if stamp % STEP_S or not (0 < low <= open <= high < inf and low <= close <= high and volume < inf):
            raise InvalidBars(
                f"{symbol}: a five-second bar at {datetime.fromtimestamp(stamp, UTC)} with open {open}, high {high}, "
                f"low {low}, close {close}, volume {volume} cannot be. It was not added"
            )
        if stamp >= minute.end:
            done = self._open(symbol, stock, stamp)
        stock.floor = stamp
        traded = volume > 0 or bar_count > 0
        if traded > minute.traded or not minute.received:
            minute.open, minute.high, minute.low, minute.close, minute.traded = open, high, low, close, traded
            minute.plain, minute.plains = average, 1
        elif traded == minute.traded:
            if high > minute.high:
                minute.high = high
            if low < minute.low:
                minute.low = low
            minute.close = close
            minute.plain += average
            minute.plains += 1
        minute.received += 1
        if volume > 0:
            minute.volume += volume
            minute.weighted += volume * average
        if bar_count > 0:
            minute.count += bar_count
        elif bar_count != 0:
            minute.count = nan  # IB does not say
        if stamp + STEP_S == minute.end:
            self._close(symbol, stock, done)
        else:
            stock.due = stamp + STEP_S if minute.traded else 0
        return done

    def add_all(self, bars: Iterable[FiveSeconds]) -> list[ProvisionalBar]:
        """Add five-second bars, each as the arguments of `add`; return the longer bars that they complete.

        Does what `add` does; but a bar that trades, within a minute that has traded, is added right here: without a
        call, and without the checks that its place in the minute makes idle. So a tick of many symbols takes half as
        long.
        """
        done: list[ProvisionalBar] = []
        stocks = self._stocks
        for symbol, stamp, open_, high, low, close, volume, average, count in bars:
            stock = stocks.get(symbol)
            if (
                stock is None
                or stamp != stock.due
                or not (low <= open_ <= high and low <= close <= high and 0 < volume < inf and count > 0)
            ):
                done += self.add(symbol, stamp, open_, high, low, close, volume, average, count)
                continue
            minute = stock.minute
            if high > minute.high or low < minute.low:
                if not 0 < low <= high < inf:
                    done += self.add(symbol, stamp, open_, high, low, close, volume, average, count)  # it says why not
                    continue
                if high > minute.high:
                    minute.high = high
                if low < minute.low:
                    minute.low = low
            minute.close = close
            minute.volume += volume
            minute.weighted += volume * average
            minute.count += count
            minute.received += 1
            stock.floor = stamp
            stock.due = stamp + STEP_S
            if stock.due == minute.end:
                self._close(symbol, stock, done)
        return done

    def advance(self, now: float) -> list[ProvisionalBar]:
        """Return the bars that are complete because the clock (epoch seconds) has passed their end and the grace."""
        limit = now - self.grace_s
        done: list[ProvisionalBar] = []
        for symbol, stock in self._stocks.items():
            if stock.minute.end <= limit:
                done += self._close_until(symbol, stock, limit)
        return done

    def get_bars(self, symbol: str, timeframe: str, count: int | None = None) -> pd.DataFrame:
        """Return the newest `count` bars, oldest first, the forming one last if there is one.

        Beside the columns of a bar there are `complete` (False for the forming bar), `received` and `expected` (of
        five-second bars; NaN for bars of history). A symbol of which nothing is known gives an empty frame.
        """
        level, stock = _level(timeframe), self._stocks.get(symbol)
        rows, forming = np.empty((0, WIDTH)), None
        if stock is not None:
            rows, forming = stock.rings[level].rows(), self._forming(stock, level)
            if forming is not None:
                rows = np.vstack([rows, np.array(self._row(stock, forming, level))])
        complete = np.arange(len(rows)) < len(rows) - (forming is not None)
        index = pd.DatetimeIndex(rows[:, 0].astype("datetime64[s]").astype("datetime64[us]"), name=TIMESTAMP)
        frame = pd.DataFrame(rows[:, 1:], index=index.tz_localize("UTC"), columns=[*COLUMNS, *MARKS[1:]])
        frame.insert(len(COLUMNS), MARKS[0], complete)
        return frame if count is None else frame.iloc[max(0, len(frame) - count) :]

    def forming(self, symbol: str, timeframe: str) -> ProvisionalBar | None:
        """Return the bar that is not complete, as far as it has come; None where nothing of it has."""
        level, stock = _level(timeframe), self._stocks.get(symbol)
        forming = self._forming(stock, level) if stock else None
        return ProvisionalBar(symbol, timeframe, *self._row(stock, forming, level)) if stock and forming else None

    def complete_rows(self, symbol: str, timeframe: str) -> Rows:
        """Return the complete bars that are kept, oldest first, as numbers: start, columns, received, expected."""
        stock = self._stocks.get(symbol)
        return np.empty((0, WIDTH)) if stock is None else stock.rings[_level(timeframe)].rows()

    def seed(self, symbol: str, timeframe: str, bars: pd.DataFrame) -> None:
        """Put complete bars before those of the newest session, so that `get_bars` reaches back to earlier sessions.

        They take the place of what is there of that time, as history does of bars that were built. Those that are not
        older than the first one of the newest session are left out. `received` and `expected` are kept where given.
        """
        level, stock = _level(timeframe), self._stocks.setdefault(symbol, _Stock(self.buffer_size))
        rows = np.full((len(bars), WIDTH), nan)
        rows[:, 0] = _stamps(bars)
        for number, name in enumerate((*COLUMNS, *MARKS[1:]), start=1):
            rows[:, number] = _column(bars, name)
        first = self._first_of_newest_session(stock, level)
        rows = rows if first is None else rows[rows[:, 0] < first]
        if len(rows):
            stock.rings[level].lay_before(rows)

    def _first_of_newest_session(self, stock: _Stock, level: int) -> float | None:
        """Return where the first bar of the newest session starts that came live; None when none has come."""
        if not stock.forming[_LAST].end:
            return None
        complete = stock.rings[level].first_from(stock.label if level == _LAST else stock.forming[_LAST].start)
        forming = self._forming(stock, level)
        return complete if complete is not None or forming is None else self._row(stock, forming, level)[0]

    def rebuild(
        self, symbol: str, bars: pd.DataFrame, now: float, *, minutes: pd.DataFrame | None = None
    ) -> list[ProvisionalBar]:
        """Make the newest session of a symbol anew, as of `now` (epoch seconds); return its complete bars.

        `bars` are all five-second bars of the session, or those from where `minutes` end: one-minute bars of history,
        which stand where nothing shorter is to be had. Minutes that they lack were quiet. Raises `InvalidBars`.
        """
        stock = self._stocks.setdefault(symbol, _Stock(self.buffer_size))
        starts = [*([] if minutes is None else _stamps(minutes)), *_stamps(bars)]
        if not starts:
            return []
        if not self._clock.move(starts[0]) or starts[-1] >= self._clock.end:
            raise InvalidBars(f"{symbol}: the bars to rebuild from are not of one session")
        if stock.floor >= self._clock.end:
            raise InvalidBars(f"{symbol}: bars of a later session are there; only the newest session is made anew")
        self._forget_session(stock)
        done = [] if minutes is None else self._add_minutes(symbol, stock, minutes)
        for row in zip(_stamps(bars), *(_column(bars, name) for name in COLUMNS), strict=True):
            done += self.add(symbol, *row)
        return done + self._close_until(symbol, stock, now - self.grace_s)

    def _forget_session(self, stock: _Stock) -> None:
        """Drop all that is known of the clock's session."""
        stock.floor, stock.due = self._clock.begin - 1, 0
        for timeframe, ring, forming in zip(LEVELS, stock.rings, stock.forming, strict=True):
            ring.forget_from(self._clock.label if timeframe.is_daily else self._clock.begin)
            forming.reset(0, 0)

    def _add_minutes(self, symbol: str, stock: _Stock, minutes: pd.DataFrame) -> list[ProvisionalBar]:
        """Add one-minute bars of history; one that is absent repeats the last price."""
        done: list[ProvisionalBar] = []
        price = nan
        for row in zip(_stamps(minutes), *(_column(minutes, name) for name in COLUMNS), strict=True):
            stamp, *_, close, _volume, _average, _count = row
            while price == price and stock.minute.end < stamp:  # not NaN
                done += self._add_minute(symbol, stock, stock.minute.end, price, price, price, price, 0.0, price, 0.0)
            done += self._add_minute(symbol, stock, *row)
            price = close
        return done

    def _add_minute(
        self,
        symbol: str,
        stock: _Stock,
        stamp: int,
        open: float,  # noqa: A002
        high: float,
        low: float,
        close: float,
        volume: float,
        average: float,
        count: float,
    ) -> list[ProvisionalBar]:
        done = self._open(symbol, stock, stamp)
        minute = stock.minute
        minute.open, minute.high, minute.low, minute.close = open, high, low, close
        minute.traded, minute.volume, minute.count = volume > 0 or count > 0, volume, count
        minute.weighted, minute.plain, minute.plains = volume * average if volume > 0 else 0.0, average, 1
        minute.received = (minute.end - minute.start) // STEP_S
        self._close(symbol, stock, done)
        return done

    def _open(self, symbol: str, stock: _Stock, stamp: int) -> list[ProvisionalBar]:
        """Begin the minute of `stamp`, and the longer bars that begin with it; what ended before is complete."""
        done = [] if stamp == stock.floor + STEP_S else self._close_until(symbol, stock, stamp)
        minute, longer = stock.minute, stock.forming[1]
        if stamp == minute.end < longer.end:
            minute.reset(stamp, min(stamp + _SECONDS[0], longer.end))
            return done
        for level, forming in enumerate(stock.forming):
            if stamp < forming.end:
                break  # so do all longer ones
            forming.reset(*self._clock.cut(stamp, _SECONDS[level]))
        stock.label = self._clock.label
        return done

    def _close_until(self, symbol: str, stock: _Stock, limit: float) -> list[ProvisionalBar]:
        """Complete each forming bar that ends at `limit` or before."""
        done: list[ProvisionalBar] = []
        for level, forming in enumerate(stock.forming):
            if forming.end > limit:
                break  # so do all longer ones
            if forming.received:
                self._close(symbol, stock, done, level)
        return done

    def _close(self, symbol: str, stock: _Stock, done: list[ProvisionalBar], level: int = 0) -> None:
        """Complete the forming bar of a level, and those of the longer ones that end with it; put them on `done`."""
        end = stock.forming[level].end
        stock.due = 0
        stock.floor = max(stock.floor, end - STEP_S)
        while True:
            forming = stock.forming[level]
            row = self._row(stock, forming, level)
            stock.rings[level].append(row)
            done.append(_told(ProvisionalBar, (symbol, _NAMES[level], *row)))
            if level == _LAST:
                break
            level += 1
            stock.forming[level].absorb(forming)
            forming.received = 0
            if stock.forming[level].end != end:
                return
        forming.received = 0

    def _row(self, stock: _Stock, forming: Forming, level: int) -> Row:
        volume = forming.volume
        return (
            stock.label if level == _LAST else forming.start,
            forming.open, forming.high, forming.low, forming.close, volume,
            forming.weighted / volume if volume > 0 else forming.average,
            forming.count, forming.received, (forming.end - forming.start) // STEP_S,
        )  # fmt: skip

    def _forming(self, stock: _Stock, level: int) -> Forming | None:
        """Return the forming bar of a level, made of what has come of it and of the shorter ones."""
        whole = Forming()
        whole.reset(stock.forming[level].start, stock.forming[level].end)
        for part in reversed(stock.forming[: level + 1]):
            whole.absorb(part)
        return whole if whole.received else None


def _level(timeframe: str) -> int:
    wanted = parse_timeframe(timeframe)
    if wanted not in LEVELS:
        raise UnknownTimeframe(
            f"{wanted} bars come from IB and are not built here; there are {', '.join(map(str, LEVELS))}"
        )
    return LEVELS.index(wanted)


def _stamps(bars: pd.DataFrame) -> list[int]:
    assert isinstance(bars.index, pd.DatetimeIndex)  # noqa: S101  bars are indexed by their start
    return list(bars.index.as_unit("s").asi8.tolist())


def _column(bars: pd.DataFrame, name: str) -> list[float]:
    return bars[name].to_list() if name in bars else [nan] * len(bars)
