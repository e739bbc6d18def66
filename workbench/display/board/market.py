"""What a board knows of its symbols, from the live journal and the bars before it; whoever records.

Bars of earlier sessions are laid before those of the journal, about 500 of each timeframe, and the readings of the
table are carried on bar by bar. A symbol takes a moment to open, so `look` opens one at a time. One thread looks; any
may read the complete bars.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf, nan

from workbench.display.board.readings import NOTHING, Reading, Track, needed
from workbench.display.live.journal import JournalBars
from workbench.ib.live.liveness import TimeKeeper
from workbench.ib.live.past import Seed
from workbench.indicators.suite import Indicator
from workbench.market.aggregate import ProvisionalBar
from workbench.market.aggregate.clock import SessionClock
from workbench.market.aggregate.ring import Rows
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.journal import LiveBar, LiveJournal

STEP_S = TIMEFRAMES["5sec"].seconds
_RATE_WINDOW_S = 30.0
_VERSION_EVERY_S = 5.0


@dataclass(slots=True)
class Stock:
    """One symbol. `newest` is the end of its newest five-second bar in epoch seconds, 0 before the first."""

    symbol: str
    last: float = nan
    base: float = nan
    """The close of the session before."""
    newest: int = 0
    received: int = 0
    due: int = 0
    """How many five-second bars of the newest session have come, and how many were due up to the newest one."""
    readings: dict[str, Reading] = field(default_factory=dict)
    label: int = 0
    """The date of the newest session, as its daily bar has it."""

    @property
    def change(self) -> float:
        """How far the last price is from the close of the session before, as a share."""
        return self.last / self.base - 1 if self.base else nan

    @property
    def missing(self) -> int:
        """How many five-second bars of the session are missing."""
        return max(0, self.due - self.received)


@dataclass(frozen=True, slots=True)
class History:
    """Where bars of earlier sessions come from: `seed` hands over what is there of some symbols at a moment.

    `version` changes when the stored bars of a symbol and timeframe do.
    """

    seed: Callable[[Sequence[str], datetime, Seed], None]
    version: Callable[[str, str], Hashable]


class Market:
    """The symbols of a board. `speed` is how fast the gateway's clock runs."""

    def __init__(
        self,
        journal: LiveJournal,
        history: History,
        suite: Sequence[Indicator],
        timeframes: Sequence[str],
        *,
        speed: float = 1.0,
        on_bars: Callable[[set[tuple[str, str]]], None] = lambda _changed: None,
    ) -> None:
        self.stocks: dict[str, Stock] = {}
        self.lock = threading.Lock()
        """Guards the bars: who reads complete ones takes it."""
        self.heard_at = -inf
        """When bars came last, on this machine's monotonic clock."""
        self.opened: set[str] = set()
        """Whose bars were opened or made anew, until the one who looks clears it."""
        self._suite, self._timeframes = needed(suite), tuple(timeframes)
        self._history, self._on_bars = history, on_bars
        self._bars = JournalBars(journal)
        self._wanted: list[str] = []
        self._stale: list[str] = []
        self._tracks: dict[tuple[str, str], Track] = {}
        self._time, self._clock = TimeKeeper(speed), SessionClock(session_calendar())
        self._arrived: list[tuple[float, int]] = []
        self._versions: dict[str, tuple[Hashable, ...]] = {}
        self._versions_at = time.monotonic()

    # -- what is known

    @property
    def symbols(self) -> list[str]:
        """The symbols that are wanted, in their order."""
        return list(self._wanted)

    @property
    def opening(self) -> int:
        """How many symbols are still to be opened, or to be made anew."""
        return len(self._stale)

    def now(self) -> float | None:
        """Return the gateway's time as its newest bars tell it, in epoch seconds; None before the first one."""
        return self._time.now(time.time()) if self._time.is_set else None

    def rate(self) -> float:
        """Return how many bars came lately, a real second."""
        now = time.monotonic()
        recent = [(at, count) for at, count in list(self._arrived) if at > now - _RATE_WINDOW_S]
        return sum(count for _, count in recent) / max(5.0, now - recent[0][0]) if recent else 0.0

    def ages(self, now: float | None) -> dict[str, float]:
        """Return how many seconds of the session have passed since each symbol's newest bar; infinity before any.

        Between sessions that is how far its newest bar is from the end of the newest session.
        """
        stocks, clock = list(self.stocks.values()), SessionClock(session_calendar())
        newest = max((stock.newest for stock in stocks), default=0)
        moment = now if now is not None and clock.move(int(now)) else float(newest)
        if not newest or (moment == newest and not clock.move(newest - STEP_S)):
            return {stock.symbol: inf for stock in stocks}
        end = clock.end if moment == newest else min(moment, clock.end)
        return {one.symbol: max(0.0, end - max(one.newest, clock.begin)) if one.newest else inf for one in stocks}

    def complete_rows(self, symbol: str, timeframe: str) -> Rows:
        """Return the complete bars of a series as numbers; see `RealtimeBarAggregator.complete_rows`."""
        with self.lock:
            return self._bars.aggregator.complete_rows(symbol, timeframe)

    # -- one thread calls what follows

    def follow(self, symbols: Sequence[str]) -> None:
        """Show these symbols and no others."""
        for symbol in [one for one in self._wanted if one not in symbols]:
            self.stocks.pop(symbol, None)
            self._stale = [one for one in self._stale if one != symbol]
            for name in self._timeframes:
                self._tracks.pop((symbol, name), None)
        self._stale += [one for one in symbols if one not in self._wanted]
        self._wanted = list(symbols)

    def look(self) -> set[str]:
        """Take what has come, open one symbol that is not yet; return whose values have changed."""
        with self.lock:
            news = self._bars.read([one for one in self.stocks if one in self._wanted])
            if news.bars:
                self._hear(news.bars)
            changed = {bar.symbol for bar in news.bars} - news.late
            self._take(news.complete)
            self._read(changed)
        self._stale += [one for one in news.late if one not in self._stale]
        if done := {(bar.symbol, bar.timeframe) for bars in news.complete.values() for bar in bars}:
            self._on_bars(done)
        self._look_for_history()
        return changed | self._open_one()

    def _hear(self, bars: Sequence[LiveBar]) -> None:
        """Know the prices; only bars that are newer are live, others were filled from history."""
        newest, count = 0, 0
        for bar in bars:
            stock, end = self.stocks[bar.symbol], bar.timestamp + STEP_S
            if end > stock.newest:
                stock.newest, stock.last, newest, count = end, bar.close, max(newest, end), count + 1
        if not count:
            return
        self.heard_at = time.monotonic()
        self._arrived = [one for one in self._arrived if one[0] > self.heard_at - _RATE_WINDOW_S]
        self._arrived.append((self.heard_at, count))
        known = self.now()
        if known is None or newest > known:
            self._time.tell(newest, time.time())

    def _take(self, complete: dict[str, list[ProvisionalBar]]) -> None:
        for symbol, bars in complete.items():
            for bar in bars:
                if (track := self._tracks.get((symbol, bar.timeframe))) is not None:
                    track.take(bar)

    def _open_one(self) -> set[str]:
        """Open a symbol, or make it anew."""
        if not self._stale:
            return set()
        symbol = self._stale[0]
        with self.lock:
            self._open(symbol)
        self._stale.remove(symbol)
        self.opened.add(symbol)
        self._on_bars({(symbol, name) for name in self._timeframes})
        return {symbol}

    def _open(self, symbol: str) -> None:
        self._bars.open(symbol, 1)
        newest = self._bars.reached.get(symbol, 0)
        moment = datetime.fromtimestamp(newest - STEP_S if newest else self.now() or time.time(), UTC)
        self._history.seed([symbol], moment, self._bars.aggregator.seed)
        self._versions[symbol] = self._version(symbol)
        stock = self.stocks.setdefault(symbol, Stock(symbol))
        stock.newest = newest
        if newest and self.now() is None:
            self._time.tell(newest, time.time())
        for name in self._timeframes:
            self._tracks[symbol, name] = Track(self._suite, self._bars.aggregator.complete_rows(symbol, name))
        self._price(stock)
        self._read([symbol])

    def _price(self, stock: Stock) -> None:
        """Know the last price, and the close of the session before."""
        days = self._bars.aggregator.complete_rows(stock.symbol, "1day")
        stock.label = self._label(stock.newest)
        before = days[days[:, 0] < stock.label] if stock.label else days[:-1]
        stock.base = float(before[-1, 4]) if len(before) else nan
        forming = self._bars.aggregator.forming(stock.symbol, "1day")
        if forming is not None or len(days):
            stock.last = forming.close if forming is not None else float(days[-1, 4])

    def _label(self, newest: int) -> int:
        return self._clock.label if newest and self._clock.move(newest - STEP_S) else 0

    def _read(self, symbols: Collection[str]) -> None:
        """Read the values of symbols anew."""
        stocks, forming_bars = [self.stocks[one] for one in symbols], self._bars.aggregator.forming_bars
        for name in self._timeframes:
            forming = {bar.symbol: bar for bar in forming_bars(symbols, name)}
            for stock in stocks:
                track = self._tracks.get((stock.symbol, name))
                stock.readings[name] = track.read(forming.get(stock.symbol)) if track else NOTHING
        days = {bar.symbol: bar for bar in forming_bars(symbols, "1day")}
        for stock in stocks:
            if self._label(stock.newest) != stock.label:
                self._price(stock)
            self._count(stock, days.get(stock.symbol))

    def _count(self, stock: Stock, day: ProvisionalBar | None) -> None:
        """Know how many bars of the newest session have come."""
        if day is not None and self._label(stock.newest):
            stock.received, stock.due = day.received, (stock.newest - self._clock.begin) // STEP_S
        elif stock.newest:
            last = self._bars.aggregator.complete_rows(stock.symbol, "1day")[-1]
            stock.received, stock.due = int(last[-2]), int(last[-1])

    def _look_for_history(self) -> None:
        """Make anew whose stored bars have changed: what was fetched meanwhile, or became final."""
        if time.monotonic() - self._versions_at < _VERSION_EVERY_S or self._stale:
            return
        self._versions_at = time.monotonic()
        self._stale += [one for one in self.stocks if self._version(one) != self._versions.get(one)]

    def _version(self, symbol: str) -> tuple[Hashable, ...]:
        return tuple(self._history.version(symbol, name) for name in self._timeframes)
