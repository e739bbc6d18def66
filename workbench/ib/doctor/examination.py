"""The doctor: asks a gateway what it is like, and says in plain words what that means and what to do.

It has a connection of its own, so that nothing it asks for disturbs another, and it gives up nothing of what it has
found: each check has a time limit, and Ctrl-C, a dead connection or a silent gateway leave the checks before standing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from workbench.errors import IBError, RequestTimeout
from workbench.ib.budget import Ledger
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.doctor import bar_checks, checks
from workbench.ib.doctor.checks import Check, Quotes, Refusal, State
from workbench.ib.doctor.probe import Found, Probe, probe
from workbench.ib.doctor.report import DoctorReport
from workbench.ib.loop import LoopThread
from workbench.ib.notices import Notices, first_of, refusal_of
from workbench.ib.translate import BAR_SIZES, to_error, to_ib_contract
from workbench.ib.units import unit_of
from workbench.market.contracts import Contract
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.market.universe import Universe, default_universe

if TYPE_CHECKING:
    import ib_insync

PATIENCE_S = 90.0
"""How long the doctor takes at most, but for the connecting."""
_GREETING_S = 10.0
_STEP_S = 25.0
_QUOTE_S = 6.0
_ORDERS_S = 3.0
_STREAM_S = 22.0
_STREAMED_BARS = 3
_LINES_S = 15.0
_HEAD_S = 10.0
_MESSAGE_S = 0.025  # 40 messages a second: TWS takes 50
_SILENCES = 2
"""After so many questions without an answer no more are asked."""
_OF_THE_GATEWAY = ("clock", "IB's servers", "read-only")
"""What can be looked at while IB's servers are away."""
_KINDS = ("stock", "etf", "index")
_DELAYED_FROZEN = 4  # live where the account has it, else delayed; the last ones of a closed market
_LIVE = (1, 2)
_NO_LINE, _NOT_VALID = 101, 321
_PAIRS = (
    ("15min", "1min", "2 D", "2 D"),
    ("1hour", "15min", "10 D", "10 D"),
    ("4hour", "15min", "2 W", "10 D"),
)
"""Bars and the shorter ones that they are compared with, and IB's durations of both."""

T = TypeVar("T")
Step = tuple[str, Callable[[], Coroutine[Any, Any, list[Check]]]]


def examine(
    config: IBConnectionConfig,
    *,
    universe: Universe | None = None,
    open_ledger: Callable[[str], Ledger] | None = None,
    count_lines: bool = False,
    on_step: Callable[[str], None] = lambda _label: None,
    on_check: Callable[[Check], None] = lambda _check: None,
) -> DoctorReport:
    """Examine the gateway at an address; never raises for what is wrong with it.

    `on_step` is told what is being looked at, `on_check` each result as it comes. With `count_lines` the free market
    data lines are counted, which takes all of them for some seconds.
    """
    begun, found = datetime.now(UTC), list[Check]()
    patient = replace(
        config, timeout=min(config.timeout, _STEP_S), request_timeout_s=min(config.request_timeout_s, _STEP_S)
    )

    def add(check: Check) -> None:
        found.append(check)
        on_check(check)

    try:
        on_step("who listens there")
        told = _greeted(config, add)
        if told:
            on_step("connecting")
            with IBDataManager(patient, universe=universe, open_ledger=open_ledger) as ib:
                _Examination(ib, add, on_step, zone=told.zone, count_lines=count_lines).run()
    except IBError as error:
        add(Check("connection", State.PROBLEM, str(error)))
    except KeyboardInterrupt:
        return DoctorReport(str(config), begun, tuple(found), interrupted=True)
    return DoctorReport(str(config), begun, tuple(found))


def _greeted(config: IBConnectionConfig, add: Callable[[Check], None]) -> Probe | None:
    """Check who listens and how old it is; return it when it is worth connecting to."""
    thread = LoopThread("doctor")
    try:
        told = thread.run(probe(config.host, config.port, min(config.timeout, _GREETING_S)))
    finally:
        thread.close()
    add(checks.reach(str(config), told))
    if told.found is not Found.GATEWAY:
        return None
    version = checks.server_version(told.version)
    add(version)
    return None if version.state is State.PROBLEM else told


class _Examination:
    """One run over a connection. All of it happens on the connection's own loop."""

    def __init__(
        self,
        manager: IBDataManager,
        add: Callable[[Check], None],
        on_step: Callable[[str], None],
        *,
        zone: str,
        count_lines: bool,
    ) -> None:
        self._manager, self._add, self._on_step = manager, add, on_step
        self._zone, self._counts_lines = zone, count_lines
        self._samples = [_sample(kind, manager.universe) for kind in _KINDS]
        self._stock = self._samples[0].symbol
        self._simulated = manager.source != "IB"
        self._now, self._is_open, self._closed = datetime.now(UTC), False, datetime.now(UTC)
        self._history, self._silences = pd.DataFrame(), 0

    def run(self) -> None:
        """Make all checks, within `PATIENCE_S`."""
        self._manager.use(self._run)

    async def _run(self, ib: ib_insync.IB) -> None:
        self._ib, self._told = ib, Notices(ib)
        ib.reqMarketDataType(_DELAYED_FROZEN)
        self._stream = ib.reqRealTimeBars(to_ib_contract(self._samples[0]), 5, "TRADES", useRTH=True)
        self._streams_until = asyncio.get_running_loop().time() + _STREAM_S
        try:
            async with asyncio.timeout(PATIENCE_S):
                for label, step in self._steps():
                    self._on_step(label)
                    await self._made(label, step)
                    if self._is_over():
                        break
        except TimeoutError:
            self._add(Check("time", State.LOOK, f"after {PATIENCE_S:.0f} s the rest was left out", "Ask again later."))
        finally:
            self._told.close()
            if ib.isConnected():
                ib.cancelRealTimeBars(self._stream)

    def _steps(self) -> Sequence[Step]:
        permissions = [(f"{one.symbol} ({one.kind})", partial(self._permission, one)) for one in self._samples]
        cuts = [(f"{pair[0]} bars", partial(self._alignment, *pair)) for pair in _PAIRS]
        return [
            ("clock", self._clock),
            ("IB's servers", self._servers),
            ("read-only", self._orders),
            *permissions,
            ("time zone", self._time_zone),
            *cuts,
            ("history", self._history_depth),
            ("market data lines", self._lines),
            ("live bars", self._live),
        ]

    async def _made(self, label: str, step: Callable[[], Coroutine[Any, Any, list[Check]]]) -> None:
        """Make one check; what keeps it from being made is its result."""
        if self._manager.health.trouble and label not in _OF_THE_GATEWAY:
            self._add(Check(label, State.UNKNOWN, f"not looked at: {self._manager.health.trouble}"))
            return
        try:
            async with asyncio.timeout(_STEP_S):
                for check in await step():
                    self._add(check)
        except IBError as error:
            self._add(Check(label, State.PROBLEM, str(error)))
        except TimeoutError:
            self._silences += 1
            self._add(Check(label, State.PROBLEM, f"no answer within {_STEP_S:.0f} s", "Restart TWS or IB Gateway."))
        except ConnectionError:
            self._add(Check(label, State.PROBLEM, "the connection ended before the answer"))

    def _is_over(self) -> bool:
        """Return whether it is of no use to go on, and say so."""
        if not self._ib.isConnected():
            found, remedy = "it ended; the rest was left out", "Look whether TWS or IB Gateway still runs."
        elif self._silences >= _SILENCES:
            found, remedy = "the gateway no longer answers; the rest was left out", "Restart TWS or IB Gateway."
        else:
            return False
        self._add(Check("connection", State.PROBLEM, found, remedy))
        return True

    async def _clock(self) -> list[Check]:
        self._now = await self._manager.current_time_async()
        # Whole seconds are told: half of one is what is missing on average.
        ahead = (self._now - datetime.now(UTC)).total_seconds() + 0.5
        calendar = session_calendar()
        near = calendar.during(self._now, self._now + timedelta(days=14), TIMEFRAMES["5sec"])
        self._is_open, self._closed = near[0].begin <= self._now, calendar.closed_until(self._now)
        market = checks.market(self._now, near[0] if self._is_open else None, near[self._is_open])
        return [checks.clock(ahead, simulated=self._simulated), market]

    async def _servers(self) -> list[Check]:
        return [checks.servers(self._manager.health.trouble)]

    async def _orders(self) -> list[Check]:
        """Ask for the list of open orders: in read-only mode TWS refuses even that, under no request's id."""
        if self._simulated:
            return [checks.orders(None, simulated=True)]
        asked = asyncio.ensure_future(self._ib.reqOpenOrdersAsync())
        refused = self._told.first(lambda _about, code, _text: code == _NOT_VALID)
        first = await first_of(_ORDERS_S, asked, refused)
        return [checks.orders(None if first is None else first is refused, simulated=False)]

    async def _permission(self, sample: Contract) -> list[Check]:
        quotes, refusal = await self._quotes(sample)
        try:
            bars = await self._manager.fetch_historical_bars_async(sample.symbol, "1day", "1 Y")
        except IBError as error:
            history: int | IBError = error
        else:
            history = len(bars)
            self._history = bars if sample.symbol == self._stock else self._history
        what = f"{sample.symbol} ({sample.kind})"
        return [checks.permission(what, quotes, refusal, history, is_open=self._is_open)]

    async def _quotes(self, sample: Contract) -> tuple[Quotes, Refusal | None]:
        """Ask for quotes until some come, or their refusal."""
        contract = to_ib_contract(sample)
        ticker, loop = self._ib.reqMktData(contract), asyncio.get_running_loop()
        come, refused = loop.create_future(), self._told.first(refusal_of(contract))
        ticker.updateEvent += lambda it: None if come.done() or not _has_price(it) else come.set_result(None)
        first = await first_of(_QUOTE_S, come, refused)
        if first is refused:
            return Quotes.REFUSED, Refusal(*refused.result()[1:])
        self._ib.cancelMktData(contract)
        if first is None:
            return Quotes.SILENT, None
        return (Quotes.LIVE if ticker.marketDataType in _LIVE else Quotes.DELAYED), None

    async def _time_zone(self) -> list[Check]:
        """Ask for bars until the last session's end, and see where they end."""
        if self._history.empty:
            return [checks.time_zone(self._zone, self._closed, None)]
        length = TIMEFRAMES["15min"].length
        bars = await self._manager.fetch_historical_bars_async(self._stock, "15min", "1 D", end=self._closed)
        last = None if bars.empty else bars.index[-1].to_pydatetime()
        return [checks.time_zone(self._zone, self._closed - length, last)]

    async def _alignment(self, name: str, finer: str, span: str, finer_span: str) -> list[Check]:
        """Compare bars of the last whole sessions with those that shorter ones make."""
        if self._history.empty:
            return [Check(f"{name} bars", State.UNKNOWN, f"there is no history of {self._stock} to see it by")]
        theirs, shorter = await self._raw_bars(name, span), await self._raw_bars(finer, finer_span)
        theirs, shorter = (bars[bars.index < self._closed] for bars in (theirs, shorter))
        return [bar_checks.alignment(TIMEFRAMES[name], theirs, shorter)]

    async def _raw_bars(self, timeframe: str, duration: str) -> pd.DataFrame:
        """Return bars as IB has them: a fetch of the workbench would refuse those that are cut elsewhere."""
        from ib_insync import util
        from ib_insync.wrapper import RequestError

        try:
            bars = await self._ib.reqHistoricalDataAsync(
                to_ib_contract(self._samples[0]),
                "",
                duration,
                BAR_SIZES[timeframe],
                "TRADES",
                useRTH=True,
                formatDate=2,
                timeout=_STEP_S,
            )
        except RequestError as error:
            raise to_error(error.code, error.message, request=f"{timeframe} bars of {self._stock}") from error
        if not bars:
            raise RequestTimeout(
                f"{timeframe} bars of {self._stock}: no answer within {_STEP_S:.0f} s; ask again later"
            )
        return pd.DataFrame(util.df(bars)).set_index("date")

    async def _history_depth(self) -> list[Check]:
        """Ask since when there is history; some gateways never tell, and nothing depends on it."""
        try:
            async with asyncio.timeout(_HEAD_S):
                return [checks.history_depth(self._stock, await self._manager.fetch_head_timestamp_async(self._stock))]
        except (TimeoutError, IBError) as error:
            why = str(error) or f"no answer within {_HEAD_S:.0f} s"
            return [Check("history", State.UNKNOWN, f"IB did not tell since when it has {self._stock}: {why}")]

    async def _lines(self) -> list[Check]:
        """Count market data lines, when that is wanted: subscribe to the whole universe until one is refused."""
        if not self._counts_lines:
            was_met = any(code == _NO_LINE for _, code, _ in self._told)
            return [checks.lines(0 if was_met else None, met=was_met)]
        contracts = [to_ib_contract(one) for one in self._manager.universe.values()]
        tickers = [await self._slowly(self._ib.reqMktData, contract) for contract in contracts]
        answered = asyncio.get_running_loop().create_future()

        def look(*_: object) -> None:
            if not answered.done() and all(map(self._is_answered, contracts, tickers)):
                answered.set_result(None)

        for event in (self._ib.pendingTickersEvent, self._ib.errorEvent):
            event += look
        look()
        await first_of(_LINES_S, answered)
        for event in (self._ib.pendingTickersEvent, self._ib.errorEvent):
            event -= look
        held = sum(map(_has_price, tickers))
        for contract in contracts:
            if not self._is_refused(contract):
                await self._slowly(self._ib.cancelMktData, contract)
        met = any(code == _NO_LINE for _, code, _ in self._told)
        return [checks.lines(held + 1, met=met)]  # and the one of the live bars

    async def _slowly(self, send: Callable[[ib_insync.Contract], T], contract: ib_insync.Contract) -> T:
        await asyncio.sleep(_MESSAGE_S)
        return send(contract)

    async def _live(self) -> list[Check]:
        """Wait for some live bars, then compare their volumes with history's."""
        come, refused = asyncio.get_running_loop().create_future(), self._told.first(refusal_of(self._stream.contract))

        def look(*_: object) -> None:
            if not come.done() and sum(bar.volume > 0 for bar in self._stream) >= _STREAMED_BARS:
                come.set_result(None)

        self._stream.updateEvent += look
        look()
        left = self._streams_until - asyncio.get_running_loop().time() if self._is_open else 0.0
        first = await first_of(max(left, 0.1), refused, come)
        self._stream.updateEvent -= look
        refusal = Refusal(*refused.result()[1:]) if first is refused else None
        live = checks.live_bars(self._stock, len(self._stream), refusal, is_open=self._is_open)
        return [live, await self._volume_unit()]

    async def _volume_unit(self) -> Check:
        unit, times = "" if self._history.empty else unit_of(self._history), None
        if len(self._stream):
            index = pd.DatetimeIndex([bar.time for bar in self._stream]).as_unit("us")
            streamed = pd.DataFrame({"volume": [float(bar.volume) for bar in self._stream]}, index=index)
            twin = await self._manager.fetch_historical_bars_async(self._stock, "5sec", "300 S")
            times = bar_checks.factor(streamed, twin)
        return bar_checks.volume_unit(unit, times, is_open=self._is_open)

    def _is_answered(self, contract: object, ticker: ib_insync.Ticker) -> bool:
        return _has_price(ticker) or self._is_refused(contract)

    def _is_refused(self, contract: object) -> bool:
        refuses = refusal_of(contract)
        return any(refuses(*notice) for notice in self._told)


def _has_price(ticker: ib_insync.Ticker) -> bool:
    return any(price > 0 for price in (ticker.bid, ticker.ask, ticker.last, ticker.close))


def _sample(kind: str, universe: Universe) -> Contract:
    return next(one for it in (universe, default_universe()) for one in it.values() if one.kind == kind)
