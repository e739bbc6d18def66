"""A backfill as a whole: planned and forecast, then run and reported; and the rebuild of a symbol."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import NoReturn

from tqdm.auto import tqdm

from workbench.errors import InvalidInput
from workbench.ib.backfill.basis import Bases, Refill, plan_looks, rebuild, settle_bases
from workbench.ib.backfill.fill import SeriesFill
from workbench.ib.backfill.forecast import LOOK, UNIT, Forecast, Planned, forecast
from workbench.ib.backfill.report import BackfillReport
from workbench.ib.backfill.runner import Run, recorded
from workbench.ib.backfill.shelf import Prices, Shelf
from workbench.ib.backfill.sizes import RequestSizes
from workbench.ib.backfill.wanted import DEFAULT_TIMEFRAMES, SETTLE, Bound, wanted_span
from workbench.ib.connection import LIQUID, IBDataManager
from workbench.ib.loop import LoopThread, await_done
from workbench.ib.pacing import Ask, Pacer, limits_for
from workbench.ib.plan import HistoryRequest, complete_until
from workbench.market.contracts import check_symbol, check_what_to_show
from workbench.market.coverage import Interval
from workbench.market.names import as_names
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import RebuildEvent
from workbench.store.seriesinfo import SeriesInfo

logger = logging.getLogger(__name__)

_SAVERS = 2


def download_historical_universe(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbols: str | Sequence[str],
    timeframes: str | Sequence[str] = DEFAULT_TIMEFRAMES,
    *,
    since: Bound = None,
    until: Bound = None,
    what_to_show: str = "TRADES",
    use_rth: bool = True,
    progress: bool = True,
) -> BackfillReport:
    """Fetch and store what is missing of each symbol and timeframe, and say what came of it.

    The same as `plan_backfill(…).run(…)`, with the forecast shown first where there is progress to be seen.
    """
    backfill = plan_backfill(
        ib, store, symbols, timeframes, since=since, until=until, what_to_show=what_to_show, use_rth=use_rth
    )
    return backfill.show_and_run() if progress else backfill.run(progress=False)


def plan_backfill(
    ib: IBDataManager,
    store: HistoricalDataManager,
    symbols: str | Sequence[str],
    timeframes: str | Sequence[str] = DEFAULT_TIMEFRAMES,
    *,
    since: Bound = None,
    until: Bound = None,
    what_to_show: str = "TRADES",
    use_rth: bool = True,
    overlap: bool = False,
) -> Backfill:
    """Find out what is missing of each symbol and timeframe, and what it takes to fetch it.

    `since` and `until` bound the timestamps: dates are the exchange's, moments carry their zone. Without `since` each
    timeframe reaches back by `DEFAULT_DAYS` from the end; without `until` it goes up to the newest complete bar. With
    `overlap` the last stored session is fetched again, for IB may have revised it.

    Raises `InvalidInput` when an argument cannot be used, `IBError` when IB does not tell its time.
    """
    prices = Prices(check_what_to_show(what_to_show), use_rth)
    chosen = [check_symbol(symbol) for symbol in as_names(symbols)]
    lengths = [parse_timeframe(name) for name in as_names(timeframes)]
    now = ib.current_time()
    wanted = [(length, wanted_span(length, since, until, now, use_rth=use_rth)) for length in lengths]
    return Backfill(ib, store, [(symbol, *what) for symbol in chosen for what in wanted], prices, now, overlap=overlap)


class Backfill:
    """What is missing, and how it will be fetched. Look at `forecast`, then `run`."""

    def __init__(
        self,
        ib: IBDataManager,
        store: HistoricalDataManager,
        wanted: Sequence[tuple[str, Timeframe, Interval | None]],
        prices: Prices,
        now: datetime,
        *,
        overlap: bool = False,
        is_rebuild: bool = False,
    ) -> None:
        self._is_rebuild = is_rebuild
        self._ib, self._now, calendar = ib, now, session_calendar(use_rth=prices.use_rth)
        self._shelf = Shelf(store, ib.source, prices, now, overlap=overlap)
        self._sizes = RequestSizes(ib.ledger)
        self._fills = [
            SeriesFill(symbol, length, span, complete_until(now - SETTLE, length, calendar), calendar, self._sizes.of)
            for symbol, length, span in wanted
        ]
        for fill in self._fills:
            with recorded(fill):
                self._shelf.prepare(fill)
        self.forecast = self._forecast()

    def __repr__(self) -> str:
        return repr(self.forecast)

    def _repr_html_(self) -> str:
        return self.forecast._repr_html_()

    def show_and_run(self) -> BackfillReport:
        """Print the forecast, then fetch and save under a bar of progress."""
        tqdm.write(str(self.forecast))
        return self.run()

    def run(self, *, progress: bool = True) -> BackfillReport:
        """Fetch and save. Ctrl-C ends it after some seconds; a series that fails does not stop the others."""
        logger.info("backfill: %s", self.forecast)
        with tqdm(disable=not progress, unit="request", desc="backfill", total=self.forecast.requests) as bar:
            try:
                self._learn_unit(bar)
                self._set_aside_corrupt()
                bases = self._settle_bases(bar, progress=progress)
            except KeyboardInterrupt:
                return BackfillReport(tuple(fill.report() for fill in self._fills), interrupted=True)
            is_interrupted = self._fill_all(bar, known=bases.answered)
        notes = (*map(str, bases.events), *bases.notes)
        return BackfillReport(tuple(fill.report() for fill in self._fills), is_interrupted, notes, bases.requests)

    def _fill_all(self, bar: tqdm[NoReturn], known: Collection[str]) -> bool:
        """Fill all series; return whether Ctrl-C has ended it."""
        thread = LoopThread("backfill")
        try:
            with ThreadPoolExecutor(_SAVERS, thread_name_prefix="backfill") as savers:
                run = Run(self._ib, self._fills, self._shelf, self._sizes, bar, savers, known)
                running = thread.submit(run.all())
                try:
                    await_done([running])
                except KeyboardInterrupt:
                    await_done([thread.submit(run.stop()), running])
                running.result()
        finally:
            thread.close()
        return run.is_stopping

    def _settle_bases(self, bar: tqdm[NoReturn], *, progress: bool) -> Bases:
        """Look for splits before anything is added to stored bars; what cannot be settled is not filled."""
        if self._is_rebuild:
            return Bases()
        refill = _refill(self._ib, self._now, progress=progress)
        bases = settle_bases(self._ib, self._shelf.store, self._to_look_at(), self._now, refill, bar.update)
        for note in (*bases.events, *bases.notes):
            logger.warning("%s", note)
        for fill in self._fills:
            if fill.symbol in bases.errors:
                fill.fail(bases.errors[fill.symbol])
        return bases

    def _set_aside_corrupt(self) -> None:
        for fill in self._fills:
            if fill.error is None:
                with recorded(fill):
                    self._shelf.set_aside_corrupt(fill)

    def _learn_unit(self, bar: tqdm[NoReturn]) -> None:
        """Learn what is recorded beside the bars."""
        if self._to_look_at():
            asks = self._asks_unit()
            self._shelf.know(self._ib)
            bar.update(asks)

    def _asks_unit(self) -> bool:
        """Tell whether it takes a request to learn what volumes count."""
        return self._shelf.prices.what_to_show == "TRADES" and not self._ib.knows_volume_unit

    def _to_look_at(self) -> list[str]:
        """Return the symbols to which something is going to be added."""
        return list(dict.fromkeys(fill.symbol for fill in self._fills if fill.left))

    def _forecast(self) -> Forecast:
        config, prices = self._ib.config, self._shelf.prices.what_to_show
        planned = [
            self._planned(str(fill.timeframe), fill.symbol, prices, request)
            for fill in self._fills
            for request in fill.plan()
        ]
        looks = [] if self._is_rebuild else plan_looks(self._shelf.store, self._to_look_at())
        planned += [
            self._planned(LOOK, look.info.symbol, look.info.what_to_show, request)
            for look in looks
            for request in look.requests
        ]
        if planned and self._asks_unit():
            planned.append(self._planned(UNIT, LIQUID, prices, HistoryRequest(TIMEFRAMES["1day"], "1 M", bars=21)))
        return forecast(planned, Pacer(limits_for(config.market_data_lines)) if config.paced else None)

    def _planned(self, what: str, symbol: str, prices: str, request: HistoryRequest) -> Planned:
        exchange = self._ib.universe.contract(symbol).exchange
        rest = f"{request.end} {request.duration}"
        return Planned(what, Ask(symbol, exchange, prices, request.timeframe.seconds, rest), request.bars)


def rebuild_symbol(
    ib: IBDataManager, store: HistoricalDataManager, symbol: str, *, progress: bool = True
) -> RebuildEvent:
    """Fetch all series of a symbol anew and let them take the place of the stored ones, as one step.

    Raises `BasisMismatch`, `StoreError`: nothing was changed.
    """
    now = ib.current_time()
    event = rebuild(ib, store, check_symbol(symbol), now, _refill(ib, now, progress=progress), by_hand=True)
    if event is None:
        raise InvalidInput(f"nothing is stored of {symbol}; fetch it with workbench backfill '{symbol}'")
    return event


def _refill(ib: IBDataManager, now: datetime, *, progress: bool) -> Refill:
    """Return what fetches one series up to now into a store where no split is looked for."""

    def refill(staged: HistoricalDataManager, info: SeriesInfo, since: datetime) -> BackfillReport:
        length = parse_timeframe(info.timeframe)
        span = wanted_span(length, since, None, now, use_rth=info.use_rth)
        prices = Prices(info.what_to_show, info.use_rth)
        one = Backfill(ib, staged, [(info.symbol, length, span)], prices, now, is_rebuild=True)
        return one.run(progress=progress)

    return refill
