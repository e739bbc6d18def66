"""In which shares IB tells the past: before anything is added to stored bars, the newest of them are asked for again.

Where they differ by a split, all series of the symbol are fetched anew and switched at once; where they differ as a
whole for another reason, nothing is added until somebody has looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import pandas as pd

from workbench.errors import BasisMismatch, CorruptPart, StoreError, WorkbenchError
from workbench.ib.backfill.difference import find_difference
from workbench.ib.backfill.report import BackfillReport
from workbench.ib.connection import IBDataManager
from workbench.ib.loop import LoopThread
from workbench.ib.plan import HistoryRequest, plan_requests
from workbench.market.coverage import Coverage, Interval
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import RebuildEvent, span_of, staging, stored_series, switch
from workbench.store.seriesinfo import SeriesInfo
from workbench.store.splits import Ratio, Suspicion

_BARS = 20
_AT_ONCE = 50

Refill = Callable[[HistoricalDataManager, SeriesInfo, datetime], BackfillReport]
"""What fetches one series into another store, since some instant."""


@dataclass(slots=True)
class Bases:
    """What came of looking at some symbols: those that were rebuilt, those to which nothing may be added, and notes.

    IB has answered for the `answered` ones; the looks took so many `requests`.
    """

    events: list[RebuildEvent] = field(default_factory=list)
    errors: dict[str, WorkbenchError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    answered: set[str] = field(default_factory=set)
    requests: int = 0


class Look(NamedTuple):
    """Stored bars of a symbol, and the requests that ask for them again."""

    info: SeriesInfo
    bars: pd.DataFrame
    requests: Sequence[HistoryRequest]


def settle_bases(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbols: Iterable[str],
    now: datetime,
    refill: Refill,
    on_look: Callable[[int], None] = lambda _requests: None,
) -> Bases:
    """Compare some stored bars of each symbol with IB's, and rebuild what was split. `now` is the gateway's time.

    `on_look` is told, on another thread, how many requests a look has taken.
    """
    found = Bases()

    def answered(symbol: str, requests: int) -> None:
        found.answered.add(symbol)
        found.requests += requests
        on_look(requests)

    for symbol, look in compare(ib, store, symbols, answered).items():
        try:
            if isinstance(look, WorkbenchError):
                raise look
            _settle(found, symbol, look, lambda name: rebuild(ib, store, name, now, refill))
        except WorkbenchError as error:
            found.errors[symbol] = error
    return found


def plan_looks(store: HistoricalDataManager, symbols: Iterable[str]) -> list[Look]:
    """Return the looks at all symbols of which there is something to look at."""
    looks = []
    for symbol in symbols:
        with suppress(StoreError):  # told when the look is taken
            looks.append(plan_look(store, symbol))
    return [look for look in looks if look]


def plan_look(store: HistoricalDataManager, symbol: str) -> Look | None:
    """Return which stored bars of a symbol are asked for again, the best that tell a split; None without any.

    Raises `CorruptPart` when they cannot be read.
    """
    told = [one.readable_info() for one in store.series_of(symbol)]
    info = max((one for one in told if one.last), key=_worth, default=None)
    if info is None:
        return None
    bars = store.load_bars(symbol, info.timeframe, *_tail(info), what_to_show=info.what_to_show).iloc[-_BARS:]
    timeframe, calendar = parse_timeframe(info.timeframe), session_calendar(use_rth=info.use_rth)
    end = calendar.first_start(bars.index[-1].to_pydatetime() + timedelta(microseconds=1), timeframe)
    gaps = Coverage([Interval(bars.index[0].to_pydatetime(), end)])
    return Look(info, bars, list(plan_requests(gaps, timeframe, calendar)))


def compare(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbols: Iterable[str],
    answered: Callable[[str, int], None] = lambda _symbol, _requests: None,
) -> dict[str, Ratio | Suspicion | WorkbenchError | None]:
    """Ask IB for the newest stored bars of each symbol and return what makes them differ; None, too, without any."""
    thread, at_once = LoopThread("basis"), asyncio.Semaphore(_AT_ONCE)

    async def compared(symbol: str) -> Ratio | Suspicion | WorkbenchError | None:
        try:
            async with at_once:
                return await _compared(ib, store, symbol, answered)
        except WorkbenchError as error:
            return error

    async def all_compared() -> dict[str, Ratio | Suspicion | WorkbenchError | None]:
        chosen = list(symbols)
        return dict(zip(chosen, await asyncio.gather(*map(compared, chosen)), strict=True))

    try:
        return thread.run(all_compared())
    finally:
        thread.close()


async def _compared(
    ib: IBDataManager, store: HistoricalDataManager, symbol: str, answered: Callable[[str, int], None]
) -> Ratio | Suspicion | None:
    try:
        look = await asyncio.to_thread(plan_look, store, symbol)
    except CorruptPart as error:
        return Suspicion(f"they could not be compared: {error}", is_of_all=False)
    if look is None:
        return None
    fresh = await _asked_again(ib, look)
    answered(symbol, len(look.requests))
    return find_difference(look.bars, fresh)


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
    split = find_difference(stored, bars)
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
        split = compare(ib, store, [symbol])[symbol]  # another process may have been faster
        if isinstance(split, WorkbenchError):
            raise split
        if not isinstance(split, Ratio) and not by_hand:
            return None
        stored = stored_series(store, symbol)
        if not stored:
            return None
        for series in stored:
            info = series.info()
            report = refill(staged, info, span_of(series))
            if report.interrupted:
                raise KeyboardInterrupt
            if report.failed:
                raise BasisMismatch(
                    f"{symbol}: {_described(split)}; all its series have to be fetched anew, and {info.timeframe} was "
                    f"not: {report.failed[0].error}. Nothing was changed; run it again: it goes on from here"
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


async def _asked_again(ib: IBDataManager, look: Look) -> pd.DataFrame:
    info = look.info
    answers = [
        await ib.fetch_async(info.symbol, request, what_to_show=info.what_to_show, use_rth=info.use_rth)
        for request in look.requests
    ]
    joined = pd.concat(answers).sort_index() if answers else look.bars.iloc[:0]
    return joined[~joined.index.duplicated()]
