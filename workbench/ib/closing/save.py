"""Save finished sessions: fetch IB's history of them, compare, record, and only then empty the journal.

History wins. A symbol's session leaves the journal when the store has IB's history of it whole, in five-second bars and
at every timeframe, and IB does not revise it any more. What history does not give stays in the journal, with the
reason, until it does, or until the user has the built bars stored as provisional ones: such bars are stored but not
covered, so that they are a gap for every check and the next backfill asks IB for them again.

A step that is repeated changes nothing: the journal and the record change in one transaction, after all else.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import pandas as pd

from workbench.errors import InvalidInput, WorkbenchError
from workbench.ib.backfill import BackfillReport, plan_backfill
from workbench.ib.backfill.basis import refuse_other_basis
from workbench.ib.backfill.wanted import SETTLE
from workbench.ib.closing.report import SavedSession, SessionReport
from workbench.ib.connection import IBDataManager
from workbench.market.aggregate.batch import aggregate_bars
from workbench.market.bars import COLUMNS, empty_bars
from workbench.market.coverage import Coverage, Interval
from workbench.market.differences import compare, has_trades, holes
from workbench.market.sessions import EXCHANGE_ZONE, Session
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.closings import Closing, Closings, Waiting
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal

logger = logging.getLogger(__name__)

_DAY = timedelta(days=1)
_FIVE = "5sec"


@dataclass(frozen=True, slots=True)
class Parts:
    """What saving a session needs: where history comes from, where it goes, and the journal with its record."""

    ib: IBDataManager
    store: HistoricalDataManager
    journal: LiveJournal
    closings: Closings


def save_sessions(
    parts: Parts,
    *,
    session: date | None = None,
    symbols: Sequence[str] = (),
    provisional: bool = False,
    progress: bool = True,
) -> SessionReport:
    """Save the sessions in the journal that have ended on the gateway's clock, or one of them; say what came of it.

    With `provisional`, built bars are stored where IB's history has none, and leave the journal. Raises `InvalidInput`
    when there is no such session in the journal.
    """
    chosen = _chosen(parts.closings, session, symbols)
    if not chosen:
        return SessionReport(note=_nothing(parts.closings, session, symbols))
    now, done, interrupted = parts.ib.current_time(), list[SavedSession](), False
    for waiting in chosen:
        if waiting.session.end > now:
            done += [_running(waiting.session, symbol, now) for symbol in waiting.symbols]
        elif not interrupted:
            fetched = _fetch(parts, waiting, progress=progress)
            interrupted = fetched.interrupted
            done += [
                _save(parts, waiting.session, symbol, fetched, now, provisional=provisional)
                for symbol in waiting.symbols
            ]
    return SessionReport(tuple(one for one in done if one.heard or not one.is_due), interrupted)


def _chosen(closings: Closings, session: date | None, symbols: Sequence[str]) -> list[Waiting]:
    waiting = [one for one in closings.waiting() if session in (None, one.session.label)]
    if symbols:
        waiting = [replace(one, symbols=tuple(name for name in one.symbols if name in symbols)) for one in waiting]
    return [one for one in waiting if one.symbols]


def _nothing(closings: Closings, session: date | None, symbols: Sequence[str]) -> str:
    """Say why there is nothing to do. Raises `InvalidInput` when what was asked for has never been there."""
    whose = f" of {', '.join(symbols)}" if symbols else ""
    waiting = ", ".join(str(one.session.label) for one in closings.waiting())
    if session is None:
        return f"nothing{whose} waits to be saved" + (f"; the journal has {waiting}" if waiting else "")
    if len(closings.load([session], symbols)):
        return f"{session}{whose} was saved before; nothing of it waits in the journal"
    has = f"it has {waiting}" if waiting else "it is empty; record with workbench live"
    raise InvalidInput(f"the journal has no live bars{whose} of {session}: {has}")


def _running(session: Session, symbol: str, now: datetime) -> SavedSession:
    end, clock = (f"{moment.astimezone(EXCHANGE_ZONE):%Y-%m-%d %H:%M}" for moment in (session.end, now))
    reason = f"it trades until {end[-5:]}; the gateway's clock says {clock} New York"
    return SavedSession(session.label, symbol, reason=reason, is_due=False)


def _fetch(parts: Parts, waiting: Waiting, *, progress: bool) -> BackfillReport:
    """Fetch what the store lacks of a session, five-second bars and every timeframe."""
    label = waiting.session.label
    planned = plan_backfill(
        parts.ib, parts.store, waiting.symbols, list(TIMEFRAMES), since=label, until=label + timedelta(days=1)
    )
    return planned.show_and_run() if progress else planned.run(progress=False)


def _save(
    parts: Parts, session: Session, symbol: str, fetched: BackfillReport, now: datetime, *, provisional: bool
) -> SavedSession:
    """Compare a symbol's built bars with history and empty the journal of them, or say why not."""
    until = parts.closings.newest()  # what the journal gets from here on stays for the next time
    heard = parts.journal.load(symbol, Interval(session.begin, session.end))
    if heard.empty:  # another process was faster
        return SavedSession(session.label, symbol)
    built = _built(heard)
    try:
        history = {name: _stored(parts.store, session, symbol, name) for name in TIMEFRAMES}
        found = {name: compare(built[name], history[name]) for name in TIMEFRAMES}
        one = SavedSession(session.label, symbol, len(heard), found)
        reason = _reason(parts.store, session, symbol, heard, history[_FIVE], fetched, now)
        stored: Mapping[str, int] = {}
        if reason and provisional and session.end + SETTLE <= now:
            stored = _store_built(parts, session, symbol, built)
            reason = _left(parts.store, session, symbol, heard)
    except WorkbenchError as error:
        return SavedSession(session.label, symbol, len(heard), reason=str(error))
    if not reason:
        parts.closings.close(Closing(session, symbol, len(heard), found, stored), until=until)
    return replace(one, provisional=stored, reason=reason)


def _built(heard: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {_FIVE: heard} | {name: aggregate_bars(heard, name) for name in TIMEFRAMES if name != _FIVE}


def _span(session: Session, timeframe: str) -> Interval:
    """Return where the bars of a session start; a daily one at its label."""
    is_daily = TIMEFRAMES[timeframe].is_daily
    return Interval(session.label_utc, session.label_utc + _DAY) if is_daily else Interval(session.begin, session.end)


def _stored(store: HistoricalDataManager, session: Session, symbol: str, timeframe: str) -> pd.DataFrame:
    span = _span(session, timeframe)
    is_there = bool(store.version(symbol, timeframe))
    return store.load_bars(symbol, timeframe, span.begin, span.end) if is_there else empty_bars()


def _open_in(store: HistoricalDataManager, session: Session, symbol: str, timeframe: str) -> Coverage:
    """Return of what of a session IB's history is not stored, or not final."""
    return store.coverage(symbol, timeframe).missing(_span(session, timeframe))


def _reason(
    store: HistoricalDataManager,
    session: Session,
    symbol: str,
    heard: pd.DataFrame,
    history: pd.DataFrame,
    fetched: BackfillReport,
    now: datetime,
) -> str:
    """Return why the bars of a session have to stay in the journal; nothing when history is whole."""
    lacking = [name for name in TIMEFRAMES if _open_in(store, session, symbol, name)]
    if not lacking:
        return _tell_holes(store, symbol, holes(heard, history))
    if now < session.end + SETTLE:
        return f"IB still revises it; save it after {(session.end + SETTLE).astimezone(EXCHANGE_ZONE):%H:%M} New York"
    mine = [one for one in fetched.series if one.symbol == symbol and one.timeframe in lacking]
    failed = [f"{one.timeframe}: {one.error}; {one.next_step}" for one in mine if one.error]
    if failed:
        return failed[0]
    names = ", ".join(lacking)
    if any(one.saved.held_back for one in mine):
        return f"bars of {names} are held back, for they look wrong: decide with workbench review {symbol}"
    return f"IB's history is not whole in {names}; save it again later, or with --provisional"


def _tell_holes(store: HistoricalDataManager, symbol: str, found: Coverage) -> str:
    """Tell what history has nothing of though it was heard, and have it asked for again the next time."""
    for hole in found:
        store.forget(symbol, _FIVE, hole)
    if not found:
        return ""
    begin, end = (moment.astimezone(EXCHANGE_ZONE) for moment in (next(iter(found)).begin, list(found)[-1].end))
    return (
        f"IB's history has no five-second bars of what was heard from {begin:%H:%M} to {end:%H:%M}; save it again "
        "later, or with --provisional"
    )


def _store_built(parts: Parts, session: Session, symbol: str, built: Mapping[str, pd.DataFrame]) -> dict[str, int]:
    """Store built bars where history has none; they cover nothing. Return how many of each timeframe."""
    counts = {}
    for name, bars in built.items():
        open_, stored = _open_in(parts.store, session, symbol, name), _stored(parts.store, session, symbol, name)
        inside = [any(span.begin <= start < span.end for span in open_) for start in bars.index]
        lacking = bars.loc[inside, list(COLUMNS)]
        lacking = lacking[~lacking.index.isin(stored.index)]
        if len(lacking):
            refuse_other_basis(parts.store, symbol, name, bars[list(COLUMNS)], "TRADES")
            saved = parts.store.save_bars(symbol, name, lacking, source=parts.ib.source)
            counts[name] = saved.added
    logger.warning("%s of %s is stored as it was built, where IB has no history: %s", session.label, symbol, counts)
    return counts


def _left(store: HistoricalDataManager, session: Session, symbol: str, heard: pd.DataFrame) -> str:
    """Return why the journal is still needed after the built bars were stored."""
    open_, stored = _open_in(store, session, symbol, _FIVE), _stored(store, session, symbol, _FIVE)
    traded = heard[has_trades(heard)]
    lost = [start for start in traded.index.difference(stored.index) if any(s.begin <= start < s.end for s in open_)]
    return f"{len(lost)} bars could not be stored: decide with workbench review {symbol}" if lost else ""
