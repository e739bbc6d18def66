"""What live recording has left behind: sessions in the journal, built bars far from history, provisional bars.

Small differences between live bars and history are usual and no finding: prints are corrected and filtered later on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from workbench.market.coverage import Interval
from workbench.market.sessions import Session, parse_bound, session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.closings import Closings
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality.findings import Finding

_SESSIONS = 10
"""Older sessions are not told: their final bars are stored, and nothing is to be done about what was built once."""
_FAR = 0.05
"""The share of a session's bars that may be far off or too many. Some are missing where nobody recorded."""
_DAY = timedelta(days=1)


def find_unsaved(closings: Closings, symbols: Sequence[str], as_of: datetime) -> Iterator[Finding]:
    """Find sessions that ended in the journal and were not saved before the next one began."""
    for waiting in closings.waiting():
        after = session_calendar().during(waiting.session.end, as_of, TIMEFRAMES["5sec"])
        for symbol in waiting.symbols if after else ():
            if not symbols or symbol in symbols:
                what = f"the live bars of {waiting.session.label} wait in the journal"
                step = "workbench save-session; it says why when they stay"
                span = (waiting.session.begin, waiting.session.end)
                yield Finding(symbol, "5sec", "TRADES", "unsaved", *span, what, step)


def find_differences(
    store: HistoricalDataManager, closings: Closings, symbols: Sequence[str], as_of: datetime
) -> Iterator[Finding]:
    """Find recent sessions whose built bars were far from history, or stand in its place."""
    calendar = session_calendar()
    recent = {one.label: one for one in map(calendar.numbered, calendar.recent(as_of, _SESSIONS).tolist())}
    rows: Any = closings.load(list(recent), symbols).itertuples()
    for row in rows:
        session = recent[row.session]
        if row.provisional:
            yield from _tell_provisional(store, session, row)
        elif row.far + row.extra > _FAR * max(row.bars, 1):
            what = f"{row.far} of {row.bars} bars of {row.session} were built far from history; {row.extra} not in it"
            yield _finding(session, row, "built otherwise", what, "final bars are stored; look at the recorder's log")


def _tell_provisional(store: HistoricalDataManager, session: Session, row: Any) -> Iterator[Finding]:
    """Tell bars that were stored as they were built, until history has taken their place."""
    if store.coverage(row.symbol, row.timeframe).missing(_span(session, row.timeframe)):
        what = f"{row.provisional} bars of {row.session} are provisional: IB had no history of them"
        yield _finding(session, row, "provisional", what, "ask IB again: --fix")


def _finding(session: Session, row: Any, kind: Any, what: str, step: str) -> Finding:
    span = _span(session, row.timeframe)
    return Finding(row.symbol, row.timeframe, "TRADES", kind, span.begin, span.end, what, step)


def _span(session: Session, timeframe: str) -> Interval:
    """Return where the bars of a session start; a daily one at its label."""
    is_daily = TIMEFRAMES[timeframe].is_daily
    return Interval(session.label_utc, session.label_utc + _DAY) if is_daily else Interval(session.begin, session.end)


def find_live(
    store: HistoricalDataManager,
    closings: Closings,
    symbols: Sequence[str],
    timeframes: Sequence[str],
    *,
    since: str | date | datetime | None,
    as_of: datetime,
) -> tuple[Finding, ...]:
    """Return what live recording has left behind, in some series or in all."""
    found = [*find_unsaved(closings, symbols, as_of), *find_differences(store, closings, symbols, as_of)]
    return tuple(
        one
        for one in found
        if (not timeframes or one.timeframe in timeframes)
        and (since is None or one.end > parse_bound(since, TIMEFRAMES[one.timeframe]))
    )
