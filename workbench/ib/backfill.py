"""Backfill: what is missing in the store is planned, fetched and saved, request by request.

Each answer is saved with the interval it settles before the next is asked for. A backfill that was ended, by Ctrl-C,
a crash or a lost connection, goes on where it was when it is called again; one that is called twice fetches nothing
twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NoReturn

import pandas as pd
from tqdm.auto import tqdm

from workbench.errors import RequestRefused, WorkbenchError
from workbench.ib.connection import IBDataManager
from workbench.ib.plan import HistoryRequest, plan_requests, settled
from workbench.market.contracts import check_symbol
from workbench.market.coverage import Interval, parse_moment
from workbench.market.sessions import FIRST_DATE, session_calendar
from workbench.market.timeframes import Timeframe, parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.merge import SaveReport

DEFAULT_TIMEFRAMES = ("15min", "1hour", "4hour", "1day")

DEFAULT_DAYS = {
    "5sec": 5,
    "1min": 30,
    "5min": 90,
    "15min": 730,
    "1hour": 730,
    "4hour": 730,
    "1day": 3650,
}
"""How many calendar days a backfill reaches back when it is not told since when."""

SETTLE = timedelta(minutes=15)
"""IB goes on revising its newest bars: those younger than this are stored, and asked for again next time."""

_IN_FLIGHT = 6


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What a backfill did to one series. `error` is why it could not be finished."""

    symbol: str
    timeframe: str
    requests: int = 0
    saved: SaveReport = field(default_factory=SaveReport)
    error: WorkbenchError | None = None


@dataclass(frozen=True, slots=True, repr=False)
class BackfillReport:
    """What a backfill did, series by series, in the order in which they were named."""

    series: tuple[SeriesReport, ...]
    interrupted: bool = False

    @property
    def failed(self) -> tuple[SeriesReport, ...]:
        """The series that could not be finished."""
        return tuple(report for report in self.series if report.error is not None)

    @property
    def requests(self) -> int:
        """How many requests were answered."""
        return sum(report.requests for report in self.series)

    @property
    def added(self) -> int:
        """How many bars are new in the store."""
        return sum(report.saved.added for report in self.series)

    def to_frame(self) -> pd.DataFrame:
        """Return the report as a table, a row a series."""
        rows = [
            (
                one.symbol,
                one.timeframe,
                one.requests,
                one.saved.added,
                one.saved.revised,
                one.saved.removed,
                str(one.error or ""),
            )
            for one in self.series
        ]
        return pd.DataFrame(rows, columns=["symbol", "timeframe", "requests", "added", "revised", "removed", "error"])

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))

    def __repr__(self) -> str:
        text = f"{self.added:,} bars added to {len(self.series)} series by {self.requests} requests"
        if self.failed:
            text += "; failed: " + "; ".join(f"{one.symbol} {one.timeframe}: {one.error}" for one in self.failed)
        return f"{text}; interrupted: call it again, it goes on from here" if self.interrupted else text


def download_historical_universe(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbols: Sequence[str],
    timeframes: Sequence[str] = DEFAULT_TIMEFRAMES,
    *,
    since: str | date | datetime | None = None,
    until: str | date | datetime | None = None,
    what_to_show: str = "TRADES",
    use_rth: bool = True,
    progress: bool = True,
) -> BackfillReport:
    """Fetch and store what is missing of each symbol and timeframe, and say what came of it.

    `since` and `until` bound the timestamps: dates mean 00:00 UTC, moments carry their zone. Without `since` each
    timeframe reaches back by `DEFAULT_DAYS`; without `until` up to the newest complete bar. A series that fails is
    named in the report and does not stop the others. Ctrl-C ends after the requests under way; call again to go on.
    """
    prices = _Prices(what_to_show, use_rth)
    begin, end = (None if moment is None else parse_moment(moment) for moment in (since, until))
    if begin and end:
        Interval(begin, end)  # refuses an end before its begin
    symbols, lengths = [check_symbol(symbol) for symbol in symbols], [parse_timeframe(name) for name in timeframes]
    now = ib.current_time()
    fills = [_SeriesFill(ib, store, symbol, length, prices) for symbol in symbols for length in lengths]
    with tqdm(disable=not progress, unit="request", desc="backfill", total=0) as bar:
        for fill in fills:
            fill.plan(_wanted(fill.timeframe, begin, end, now, prices), now)
            bar.total += len(fill.requests)
        bar.refresh()
        interrupted = _run_all(fills, bar)
    return BackfillReport(tuple(fill.report() for fill in fills), interrupted)


@dataclass(frozen=True, slots=True)
class _Prices:
    """Which prices of which hours."""

    what_to_show: str
    use_rth: bool


def _wanted(
    timeframe: Timeframe, begin: datetime | None, end: datetime | None, now: datetime, prices: _Prices
) -> Interval | None:
    """Return the span in which complete bars are wanted, or None when it lies in the future."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    first = begin or today - timedelta(days=DEFAULT_DAYS[timeframe.name])
    complete = session_calendar(use_rth=prices.use_rth).complete_until(now, timeframe)
    last = complete if end is None else min(end, complete)
    first = max(first, parse_moment(FIRST_DATE))
    return Interval(first, last) if first < last else None


def _run_all(fills: Sequence[_SeriesFill], bar: tqdm[NoReturn]) -> bool:
    """Run the fills on a few threads; return whether Ctrl-C ended them."""
    stopping, drawing = threading.Event(), threading.Lock()

    def on_answer(more: int) -> None:
        with drawing:
            bar.total += more
            bar.update()

    with ThreadPoolExecutor(_IN_FLIGHT, thread_name_prefix="backfill") as pool:
        futures = [pool.submit(fill.run, stopping, on_answer) for fill in fills]
        try:
            for future in futures:
                future.result()
        except BaseException as error:
            stopping.set()
            if not isinstance(error, KeyboardInterrupt):
                raise
            return True
    return False


class _SeriesFill:
    """The filling of one series."""

    def __init__(
        self,
        ib: IBDataManager,
        store: HistoricalDataManager,
        symbol: str,
        timeframe: Timeframe,
        prices: _Prices,
    ) -> None:
        self.timeframe = timeframe
        self.requests: list[HistoryRequest] = []
        self._ib, self._store, self._symbol, self._prices = ib, store, symbol, prices
        self._calendar = session_calendar(use_rth=prices.use_rth)
        self._final = self._calendar.complete_until(parse_moment(FIRST_DATE), timeframe)
        self._answered, self._saved = 0, SaveReport()
        self._error: WorkbenchError | None = None

    def plan(self, wanted: Interval | None, now: datetime) -> None:
        """Find out what is missing in `wanted`."""
        self._final = self._calendar.complete_until(now - SETTLE, self.timeframe)
        self._wanted = wanted
        with self._recorded():
            self.requests = self._missing(wanted)

    def run(self, stopping: threading.Event, on_answer: Callable[[int], None]) -> None:
        """Answer the planned requests, then those for what the answers left open."""
        with self._recorded():
            while self.requests and not stopping.is_set():
                self._answer(self.requests.pop(0))
                more = []
                if not self.requests and self._wanted:
                    self.requests = more = self._missing(self._wanted.clip(self._wanted.begin, self._final))
                on_answer(len(more))

    def report(self) -> SeriesReport:
        """Return what came of it."""
        return SeriesReport(self._symbol, str(self.timeframe), self._answered, self._saved, self._error)

    def _missing(self, wanted: Interval | None) -> list[HistoryRequest]:
        if wanted is None:
            return []
        held = self._store.coverage(self._symbol, str(self.timeframe), what_to_show=self._prices.what_to_show)
        return plan_requests(held.missing(wanted), self.timeframe, self._calendar)

    def _answer(self, request: HistoryRequest) -> None:
        """Fetch one answer and save it: what it settles as covered, the newest bars without that claim."""
        assert request.covers is not None  # noqa: S101  planned requests say what they cover
        what_to_show, use_rth = self._prices.what_to_show, self._prices.use_rth
        bars = self._ib.fetch(self._symbol, request, what_to_show=what_to_show, use_rth=use_rth)
        self._answered += 1
        first = None if bars.empty else bars.index[0].to_pydatetime()
        settles = settled(request, first, limit=self._final)
        if settles is None and request.covers.begin < self._final:
            raise RequestRefused(f"IB's answer for {request.covers} begins at {first}, after all that was asked for")
        for span in filter(None, (settles, request.covers.clip(self._final, request.covers.end))):
            inside = bars[(bars.index >= span.begin) & (bars.index < span.end)]
            covers = span if span is settles else None
            self._saved += self._store.save_bars(
                self._symbol,
                str(self.timeframe),
                inside,
                what_to_show=what_to_show,
                use_rth=use_rth,
                source=bars.attrs["source"],
                covers=covers,
            )

    @contextmanager
    def _recorded(self) -> Iterator[None]:
        """Keep an error for the report: one failing series never stops the others."""
        try:
            yield
        except WorkbenchError as error:
            self._error, self.requests = error, []
