"""Longer bars of the live journal, for whoever shows them: built here, so that all who follow it see the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from math import inf

from workbench.market.aggregate import ProvisionalBar, RealtimeBarAggregator
from workbench.market.coverage import Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.journal import LiveBar, LiveJournal

_FIVE = TIMEFRAMES["5sec"]
_SESSIONS = 5
"""So many of the journal's newest sessions are shown, should the store not have them."""


@dataclass(frozen=True, slots=True)
class News:
    """What has come since the last look: five-second bars, and the longer ones that they complete, by symbol.

    Of the `late` symbols bars have come that belong to what was complete: they are late until `open` was called.
    """

    bars: list[LiveBar]
    complete: dict[str, list[ProvisionalBar]]
    late: set[str]


class JournalBars:
    """The bars of some symbols, as the journal has them. Not for several threads at once."""

    def __init__(self, journal: LiveJournal) -> None:
        self.aggregator = RealtimeBarAggregator()
        self.reached: dict[str, int] = {}
        """The end of each symbol's newest five-second bar, in epoch seconds."""
        self._journal = journal
        self._cursor = journal.end()
        self._late: set[str] = set()

    def open(self, symbol: str, sessions: int = _SESSIONS) -> list[ProvisionalBar]:
        """Return the complete bars of the newest sessions that the journal has; the newest of all is followed."""
        held = self._journal.symbols().get(symbol)
        spans = session_calendar().during(held.begin, held.end, _FIVE)[-sessions:] if held else []
        done: list[ProvisionalBar] = []
        for session in spans:
            bars = self._journal.load(symbol, Interval(session.begin, session.end))
            if len(bars):
                is_newest = session is spans[-1]
                self.reached[symbol] = int(bars.index[-1].timestamp()) + _FIVE.seconds
                aggregator = self.aggregator if is_newest else RealtimeBarAggregator()
                done += aggregator.rebuild(symbol, bars, bars.index[-1].timestamp() if is_newest else inf)
        self.aggregator.late.clear()
        self._late.discard(symbol)
        return done

    def read(self, symbols: Collection[str]) -> News:
        """Return what has come of these symbols, or of all when there are none. Raises `StoreError`."""
        page = self._journal.read(self._cursor, symbols)
        complete: dict[str, list[ProvisionalBar]] = defaultdict(list)
        for done in self.aggregator.add_all(page.bars) if symbols else ():
            complete[done.symbol].append(done)
        for bar in page.bars if symbols else ():
            self.reached[bar.symbol] = max(self.reached.get(bar.symbol, 0), bar.timestamp + _FIVE.seconds)
        self._late = {one for one in self._late if one in symbols} | {one.symbol for one in self.aggregator.late}
        self.aggregator.late.clear()
        for symbol in self._late:
            complete.pop(symbol, None)
        self._cursor = page.cursor
        return News(page.bars if symbols else [], complete, set(self._late))
