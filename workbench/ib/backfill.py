"""Backfill: what is missing in the store is planned, fetched and saved, request by request.

Each answer is saved with the interval it settles before the next is asked for. A backfill that was ended, by Ctrl-C,
a crash or a lost connection, goes on where it was when it is called again; one that is called twice fetches nothing
twice.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NoReturn

import pandas as pd
from tqdm.auto import tqdm

from workbench.errors import InvalidInterval, RequestRefused, WorkbenchError
from workbench.ib.connection import IBDataManager
from workbench.ib.loop import await_done
from workbench.ib.plan import HistoryRequest, complete_until, plan_requests, settled
from workbench.market.contracts import check_symbol, check_what_to_show
from workbench.market.coverage import Interval
from workbench.market.names import as_names
from workbench.market.sessions import FIRST_DATE, parse_bound, session_calendar
from workbench.market.timeframes import Timeframe, parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.merge import SaveReport

logger = logging.getLogger(__name__)

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
        aside = [str(path) for one in self.series for path in one.saved.set_aside]
        if aside:
            text += f"; could not be read, were set aside and fetched anew as far as was asked: {', '.join(aside)}"
        return f"{text}; interrupted: call it again, it goes on from here" if self.interrupted else text


def download_historical_universe(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbols: str | Sequence[str],
    timeframes: str | Sequence[str] = DEFAULT_TIMEFRAMES,
    *,
    since: str | date | datetime | None = None,
    until: str | date | datetime | None = None,
    what_to_show: str = "TRADES",
    use_rth: bool = True,
    progress: bool = True,
) -> BackfillReport:
    """Fetch and store what is missing of each symbol and timeframe, and say what came of it.

    `since` and `until` bound the timestamps: dates are the exchange's, moments carry their zone. Without `since` each
    timeframe reaches back by `DEFAULT_DAYS` from the end; without `until` it goes up to the newest complete bar. A
    series that fails is named in the report and does not stop the others. Ctrl-C ends after the requests under way;
    call again to go on.

    Raises `InvalidInput` when an argument cannot be used, `IBError` when IB does not tell its time.
    """
    prices = _Prices(check_what_to_show(what_to_show), use_rth)
    chosen = [check_symbol(symbol) for symbol in as_names(symbols)]
    lengths = [parse_timeframe(name) for name in as_names(timeframes)]
    now = ib.current_time()
    wanted = [(length, _wanted(length, since, until, now, use_rth=use_rth)) for length in lengths]
    fills = [_SeriesFill(ib, store, symbol, length, prices, span, now) for symbol in chosen for length, span in wanted]
    with tqdm(disable=not progress, unit="request", desc="backfill", total=0) as bar:
        for fill in fills:
            fill.plan()
            bar.total += len(fill.requests)
        bar.refresh()
        interrupted = _run_all(fills, bar)
    return BackfillReport(tuple(fill.report() for fill in fills), interrupted)


@dataclass(frozen=True, slots=True)
class _Prices:
    """Which prices of which hours."""

    what_to_show: str
    use_rth: bool


Bound = str | date | datetime | None


def _wanted(timeframe: Timeframe, since: Bound, until: Bound, now: datetime, *, use_rth: bool) -> Interval | None:
    """Return the span in which complete bars are wanted, from bar edge to bar edge; None when no bar is complete yet.

    A request that ended within a bar might get that bar cut off.
    """
    calendar = session_calendar(use_rth=use_rth)
    asked_end = None if until is None else parse_bound(until, timeframe)
    last = now if asked_end is None else min(asked_end, now)
    first = last - timedelta(days=DEFAULT_DAYS[timeframe.name]) if since is None else parse_bound(since, timeframe)
    if asked_end is not None and asked_end <= first:
        raise InvalidInterval(f"the end {asked_end} does not lie after the begin {first}")
    if first >= now:
        raise InvalidInterval(f"{since} lies in the future: it is {now:%Y-%m-%d %H:%M} UTC at the gateway")
    oldest = parse_bound(FIRST_DATE, timeframe)
    if first < oldest:
        logger.warning("history before %s is not kept; the backfill begins there", FIRST_DATE)
    begin = calendar.first_start(max(first, oldest), timeframe)
    end = min(calendar.first_start(last, timeframe), complete_until(now, timeframe, calendar))
    return Interval(begin, end) if begin < end else None


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
            await_done(futures)
        except KeyboardInterrupt:
            stopping.set()
    for future in futures:
        future.result()
    return stopping.is_set()


class _SeriesFill:
    """The filling of one series."""

    def __init__(
        self,
        ib: IBDataManager,
        store: HistoricalDataManager,
        symbol: str,
        timeframe: Timeframe,
        prices: _Prices,
        wanted: Interval | None,
        now: datetime,
    ) -> None:
        self.timeframe = timeframe
        self.requests: list[HistoryRequest] = []
        self._ib, self._store, self._symbol, self._prices = ib, store, symbol, prices
        self._calendar = session_calendar(use_rth=prices.use_rth)
        self._wanted, self._final = wanted, complete_until(now - SETTLE, timeframe, self._calendar)
        self._answered, self._saved = 0, SaveReport()
        self._error: WorkbenchError | None = None

    def plan(self) -> None:
        """Find out what is missing."""
        with self._recorded():
            self._store.refuse_others(
                self._symbol,
                str(self.timeframe),
                source=self._ib.source,
                what_to_show=self._prices.what_to_show,
                use_rth=self._prices.use_rth,
            )
            self._saved += self._store.set_aside_corrupt(
                self._symbol,
                str(self.timeframe),
                source=self._ib.source,
                what_to_show=self._prices.what_to_show,
                use_rth=self._prices.use_rth,
                as_of=self._final,
            )
            self.requests = self._missing(self._wanted)

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
        return list(plan_requests(held.missing(wanted), self.timeframe, self._calendar))

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
