"""In which shares IB tells the past: before anything is added to stored bars, the newest of them are asked for again.

Where they differ by a split, all series of the symbol are fetched anew and switched at once; where they differ as a
whole for another reason, nothing is added until somebody has looked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pandas as pd

from workbench.errors import BasisMismatch, CorruptPart, WorkbenchError
from workbench.ib.backfill.report import BackfillReport
from workbench.ib.connection import IBDataManager
from workbench.ib.plan import plan_requests
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import RebuildEvent, span_of, staging, stored_series, switch
from workbench.store.seriesinfo import SeriesInfo
from workbench.store.splits import Ratio, Suspicion, find_split

_BARS = 20
_AT_ONCE = 10

Refill = Callable[[HistoricalDataManager, SeriesInfo, datetime], BackfillReport]
"""What fetches one series into another store, since some instant."""


@dataclass(slots=True)
class Bases:
    """What came of looking at some symbols: those that were rebuilt, those to which nothing may be added, and notes."""

    events: list[RebuildEvent] = field(default_factory=list)
    errors: dict[str, WorkbenchError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def settle_bases(
    ib: IBDataManager, store: HistoricalDataManager, symbols: Iterable[str], now: datetime, refill: Refill
) -> Bases:
    """Compare some stored bars of each symbol with IB's, and rebuild what was split. `now` is the gateway's time."""
    found, chosen = Bases(), list(symbols)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="basis") as pool:
        looks = {symbol: pool.submit(compare, ib, store, symbol) for symbol in chosen}
    for symbol, look in looks.items():
        try:
            _settle(found, symbol, look.result(), lambda name: rebuild(ib, store, name, now, refill))
        except WorkbenchError as error:
            found.errors[symbol] = error
    return found


def compare(ib: IBDataManager, store: HistoricalDataManager, symbol: str) -> Ratio | Suspicion | None:
    """Ask IB for the newest stored bars of a symbol and return what makes them differ; None, too, without any."""
    told = [one.readable_info() for one in store.series_of(symbol)]
    info = max((one for one in told if one.last), key=_worth, default=None)
    if info is None:
        return None
    try:
        bars = store.load_bars(symbol, info.timeframe, *_tail(info), what_to_show=info.what_to_show).iloc[-_BARS:]
    except CorruptPart as error:
        return Suspicion(f"they could not be compared: {error}", is_of_all=False)
    return find_split(bars, _asked_again(ib, info, bars))


def refuse_other_basis(
    store: HistoricalDataManager, symbol: str, timeframe: str, bars: pd.DataFrame, prices: str
) -> None:
    """Raise `BasisMismatch` when fresh bars are not in the shares of the stored ones of the same times."""
    if bars.empty or not store.version(symbol, timeframe, what_to_show=prices):
        return
    begin, end = bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + timedelta(microseconds=1)
    try:
        stored = store.load_bars(symbol, timeframe, begin, end, what_to_show=prices)
    except CorruptPart:  # what is being fetched again; others were compared before the first request
        return
    if stored.empty:
        return
    split = find_split(stored, bars)
    if isinstance(split, Ratio) or (isinstance(split, Suspicion) and split.is_of_all):
        raise BasisMismatch(f"{symbol} {timeframe}: {_described(split)}. These bars were not stored; run it again")


def rebuild(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbol: str,
    now: datetime,
    refill: Refill,
    *,
    by_hand: bool = False,
) -> RebuildEvent | None:
    """Fetch all series of a symbol anew and let them take their places as one step; None when it is done already.

    `by_hand`: whether or not a split is found. Raises `BasisMismatch`: nothing was changed.
    """
    with staging(store, symbol, now.astimezone(EXCHANGE_ZONE).date()) as staged:
        split = compare(ib, store, symbol)  # another process may have been faster
        if not isinstance(split, Ratio) and not by_hand:
            return None
        stored = stored_series(store, symbol)
        if not stored:
            return None
        for series in stored:
            info = series.info()
            report = refill(staged, info, span_of(series))
            if report.failed or report.interrupted:
                reason = str(report.failed[0].error) if report.failed else "it was interrupted"
                raise BasisMismatch(
                    f"{symbol}: {_described(split)}; all its series have to be fetched anew, and {info.timeframe} was "
                    f"not: {reason}. Nothing was changed; run it again: it goes on from here"
                )
        return switch(store, staged, symbol, split if isinstance(split, Ratio) else None, now)


def _settle(
    found: Bases, symbol: str, look: Ratio | Suspicion | None, rebuilt: Callable[[str], RebuildEvent | None]
) -> None:
    match look:
        case Ratio():
            event = rebuilt(symbol)
            found.events += [event] if event else []
        case Suspicion(is_of_all=True):
            found.errors[symbol] = BasisMismatch(
                f"{symbol}: {_described(look)}. Nothing was added: look at it, then fetch all of it anew "
                f"(workbench rebuild '{symbol}')"
            )
        case Suspicion():
            found.notes.append(f"{symbol}: {_described(look)}. Look at it: workbench check '{symbol}'")


def _described(split: Ratio | Suspicion | None) -> str:
    match split:
        case Ratio():
            return f"IB's bars and the stored ones differ as after a split of {split}"
        case Suspicion():
            return f"IB's bars and the stored ones disagree: {split.reason}"
    return "IB's bars and the stored ones agree"


def _worth(info: SeriesInfo) -> tuple[bool, int, int]:
    """Return how well a series tells a split: with volumes, with enough bars, of long ones."""
    return info.what_to_show == "TRADES", min(info.bars, _BARS), parse_timeframe(info.timeframe).seconds


def _tail(info: SeriesInfo) -> tuple[datetime, datetime]:
    """Return a span that holds the newest bars of a series, if there are no long pauses."""
    assert info.last is not None  # noqa: S101  it has bars
    reach = max(timedelta(days=6), 2 * _BARS * parse_timeframe(info.timeframe).length)
    return info.last - reach, info.last + timedelta(microseconds=1)


def _asked_again(ib: IBDataManager, info: SeriesInfo, bars: pd.DataFrame) -> pd.DataFrame:
    timeframe = parse_timeframe(info.timeframe)
    first, last = bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime()
    calendar = session_calendar(use_rth=info.use_rth)
    end = calendar.first_start(last + timedelta(microseconds=1), timeframe)
    requests = plan_requests(Coverage([Interval(first, end)]), timeframe, calendar)
    answers = [
        ib.fetch(info.symbol, request, what_to_show=info.what_to_show, use_rth=info.use_rth) for request in requests
    ]
    joined = pd.concat(answers).sort_index() if answers else bars.iloc[:0]
    return joined[~joined.index.duplicated()]
