"""What lies before the running session: stored bars, sessions that wait in the journal, and history to be fetched.

Bars reach back as far as they are whole: up to the newest session that is neither stored nor in the journal. So a
series never has a gap in its middle; while history is being fetched it is short, then it is long.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from workbench.errors import WorkbenchError
from workbench.ib.backfill import Backfill
from workbench.ib.backfill.shelf import Prices
from workbench.ib.backfill.wanted import SETTLE, wanted_span
from workbench.ib.connection import IBDataManager
from workbench.ib.plan import complete_until
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.aggregate.levels import LEVELS
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe
from workbench.store.closings import Closings
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal

logger = logging.getLogger(__name__)

_FIVE = TIMEFRAMES["5sec"]
_MOMENT = timedelta(microseconds=1)
_DAY = timedelta(days=1)
_REGULAR_S = 23_400

Seed = Callable[[str, str, pd.DataFrame], None]
"""Takes the bars of a symbol and a timeframe that lie before the running session."""


@dataclass(frozen=True, slots=True)
class Past:
    """The bars of earlier sessions, about `bars` of each symbol and timeframe."""

    store: HistoricalDataManager
    journal: LiveJournal
    closings: Closings
    bars: int = 500

    def seed(self, symbols: Iterable[str], now: datetime, seed: Seed) -> None:
        """Hand over what is there. A symbol that cannot be read is told and left out."""
        calendar = session_calendar()
        running = calendar.during(now, now + _MOMENT, _FIVE)
        waiting = [one for one in self.closings.waiting() if one.session.end <= now]
        for symbol in symbols:
            sessions = [one.session for one in waiting if symbol in one.symbols]
            try:
                for timeframe, bars in self._load(symbol, running, sessions, now):
                    seed(symbol, timeframe.name, bars)
            except WorkbenchError as error:
                logger.warning("the bars of %s do not reach back before this session: %s", symbol, error)

    def fetch(self, ib: IBDataManager, symbols: Sequence[str], now: datetime) -> dict[str, str]:
        """Fetch and store what is missing before the running session; return of which symbols not, and why."""
        running = session_calendar().during(now, now + _MOMENT, _FIVE)
        wanted = []
        for timeframe in LEVELS:
            end = _end(running, timeframe, now)
            span = wanted_span(timeframe, self._begin(timeframe, end), end, now, use_rth=True)
            wanted += [(symbol, timeframe, span) for symbol in symbols]
        report = Backfill(ib, self.store, wanted, Prices(), now).run(progress=False)
        return {one.symbol: f"{one.timeframe}: {one.error}" for one in reversed(report.failed)}

    def _begin(self, timeframe: Timeframe, end: datetime) -> datetime:
        """Return how far back there are about as many bars as are wanted."""
        sessions = -(-self.bars // -(-_REGULAR_S // timeframe.seconds))
        calendar = session_calendar()
        first = calendar.numbered(int(calendar.recent(end, sessions + sessions // 20 + 2)[0]))  # some are half days
        return first.label_utc if timeframe.is_daily else first.begin

    def _load(
        self, symbol: str, running: Sequence[Session], waiting: Sequence[Session], now: datetime
    ) -> Iterator[tuple[Timeframe, pd.DataFrame]]:
        there = [timeframe for timeframe in LEVELS if self.store.version(symbol, timeframe.name)]
        covered = {timeframe: self.store.coverage(symbol, timeframe.name) for timeframe in there}
        known = {one: covered.get(one, Coverage()) | Coverage(_span(each, one) for each in waiting) for one in LEVELS}
        unsaved = [
            one for one in waiting if any(covered.get(each, Coverage()).missing(_span(one, each)) for each in LEVELS)
        ]
        heard = [self.journal.load(symbol, Interval(one.begin, one.end)) for one in unsaved]
        for timeframe in LEVELS:
            end = _end(running, timeframe, now)
            begin = self._begin(timeframe, end)
            stored = self.store.load_bars(symbol, timeframe.name, begin, end) if timeframe in covered else None
            built = [aggregate_bars(bars, timeframe.name) for bars in heard if len(bars)]
            joined = _join(stored, built, covered.get(timeframe, Coverage()))
            whole_from = _whole_from(known[timeframe], timeframe, begin, end, now)
            if joined is not None:
                yield timeframe, joined[(joined.index >= whole_from) & (joined.index < end)]


def _end(running: Sequence[Session], timeframe: Timeframe, now: datetime) -> datetime:
    """Return where the running session begins; now, between sessions."""
    if not running:
        return now
    return running[0].label_utc if timeframe.is_daily else running[0].begin


def _span(session: Session, timeframe: Timeframe) -> Interval:
    if timeframe.is_daily:
        return Interval(session.label_utc, session.label_utc + _DAY)
    return Interval(session.begin, session.end)


def _join(stored: pd.DataFrame | None, built: Sequence[pd.DataFrame], coverage: Coverage) -> pd.DataFrame | None:
    """Return stored bars, and built ones where history is not final and has none."""
    frames = [frame for frame in (stored, *built) if frame is not None]
    if not frames:
        return None
    rows = pd.concat(frames)
    is_stored = rows["received"].isna() if "received" in rows else pd.Series(data=True, index=rows.index)
    is_final = [any(span.begin <= start < span.end for span in coverage) for start in rows.index]
    rows = rows[is_stored.to_numpy() | ~pd.Series(is_final, dtype=bool).to_numpy()]
    return rows[~rows.index.duplicated(keep="first")].sort_index()


def _whole_from(known: Coverage, timeframe: Timeframe, begin: datetime, end: datetime, now: datetime) -> datetime:
    """Return from where on nothing is missing. IB's newest bars are stored before they are final, and count."""
    final = min(end, complete_until(now - SETTLE, timeframe, session_calendar()))
    if final <= begin:
        return begin
    gaps = [
        gap for gap in known.missing(Interval(begin, final)) if session_calendar().during(gap.begin, gap.end, timeframe)
    ]
    return gaps[-1].end if gaps else begin
