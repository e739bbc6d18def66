"""The connection to TWS, IB Gateway or the built-in gateway."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pandas as pd

from workbench.errors import Disconnected, PacingViolation, RequestTimeout
from workbench.ib.budget import Budget, Ledger, MemoryLedger
from workbench.ib.dial import IBConnectionConfig, dial_any, hang_up, source_of
from workbench.ib.history import request_bars, request_head_timestamp
from workbench.ib.loop import LoopThread
from workbench.ib.pacing import SMALL_BARS_S, Ask, Pacer, limits_for, messages_a_second
from workbench.ib.plan import HistoryRequest, complete_until
from workbench.ib.translate import check_duration, parse_bar_size
from workbench.market.contracts import check_what_to_show
from workbench.market.coverage import as_utc
from workbench.market.sessions import session_calendar
from workbench.market.universe import Universe, default_universe

if TYPE_CHECKING:
    import ib_insync

logger = logging.getLogger(__name__)
# ib_insync logs as errors what we raise as errors; without a handler of the user's, nobody wants it on the terminal.
logging.getLogger("ib_insync").addHandler(logging.NullHandler())

T = TypeVar("T")

_CURRENT_TIME_SPACING_S = 1.1  # IB ignores a second question within one second, and ib_insync then waits for ever
_CURRENT_TIME_TIMEOUT_S = 10.0
_PACING_RETRIES = 3


class IBDataManager:
    """A connection to IB that any thread, cell or loop may use.

    ib_insync runs on a thread and loop of its own. Methods block until they have their answer; each has a twin whose
    name ends in `_async`, to await in code that lives on a loop. Use it as a context manager, or call `connect` and
    `disconnect`. The session asked for is read-only: nothing here can place an order.
    """

    def __init__(
        self,
        config: IBConnectionConfig | None = None,
        *,
        universe: Universe | None = None,
        open_ledger: Callable[[str], Ledger] | None = None,
    ) -> None:
        """Prepare a connection. `open_ledger` gives the ledger of an account, where others book as well."""
        self.config = config or IBConnectionConfig()
        self.universe = universe or default_universe()
        self._open_ledger = open_ledger
        self._thread: LoopThread | None = None
        self._ib: ib_insync.IB | None = None
        self._changing = threading.RLock()
        self._ledger: Ledger | None = None
        self._budget: Budget | None = None
        self._clock_lock = asyncio.Lock()
        self._clock_read: tuple[float, datetime] | None = None  # loop time, IB's time

    def __repr__(self) -> str:
        return f"IBDataManager({self.config}, {'connected' if self.connected else 'not connected'})"

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.disconnect()

    @property
    def connected(self) -> bool:
        """Whether the connection stands."""
        return self._ib is not None and self._ib.isConnected()

    @property
    def source(self) -> str:
        """Where this connection's bars come from: `IB`, or a built-in gateway and the tape that it plays."""
        accounts = self._connected_ib().managedAccounts()
        return source_of(accounts[0] if accounts else "")

    @property
    def ledger(self) -> Ledger:
        """Where requests are booked: shared with other processes where the app says so, else this object's own."""
        if self._ledger is None:
            accounts = self._connected_ib().managedAccounts()
            self._ledger = self._opened_ledger(accounts[0] if accounts else "")
        return self._ledger

    def _opened_ledger(self, account: str) -> Ledger:
        if self._open_ledger is not None and self.config.paced:
            return self._open_ledger(account)
        limits = limits_for(self.config.market_data_lines) if self.config.paced else ()
        return MemoryLedger(Pacer(limits, hold_s=self.config.hold_s, stretch=self.config.gateway_speed))

    def connect(self) -> None:
        """Connect; do nothing when connected already. Raises `ConnectionFailed`, saying what to check."""
        with self._changing:
            if self.connected:
                return
            self.disconnect()
            self._thread = LoopThread(f"ib {self.config}")
            try:
                self._ib = self._thread.run(dial_any(self.config))
                self._ib.client.MaxRequests = messages_a_second(self.config.market_data_lines)  # the budget keeps less
                self._budget = Budget(self.ledger, speed=self.config.gateway_speed)
            except BaseException:
                self.disconnect()
                raise
        logger.info("connected to %s", self.config)

    async def connect_async(self) -> None:
        """Connect, without blocking the caller's loop."""
        await asyncio.to_thread(self.connect)

    def disconnect(self) -> None:
        """End the connection; requests under way fail with `Disconnected`."""
        with self._changing:
            self._disconnect()

    def _disconnect(self) -> None:
        thread, ib, self._thread, self._ib = self._thread, self._ib, None, None
        self._clock_read = None
        if thread is None:
            return
        if ib is not None:
            thread.run(hang_up(ib))
            logger.info("disconnected from %s", self.config)
        thread.close()

    async def disconnect_async(self) -> None:
        """End the connection, without blocking the caller's loop."""
        await asyncio.to_thread(self.disconnect)

    def fetch_historical_bars(
        self,
        symbol: str,
        bar_size: str,
        duration: str,
        what_to_show: str = "TRADES",
        *,
        end: datetime | None = None,
        use_rth: bool = True,
    ) -> pd.DataFrame:
        """Return the complete bars that reach back by `duration` from `end`, indexed by their start in UTC.

        `bar_size` is IB's (`15 mins`) or our timeframe (`15min`); `duration` is IB's (`5 D`, `2 Y`); `end` is now
        unless given, with its time zone. The bar that is still forming is left out. An empty frame is IB's word
        that it has nothing; any failure is an `IBError`.

            ib.fetch_historical_bars("AAPL", "15 mins", "5 D")
        """
        return self._run(self._fetch(symbol, bar_size, duration, what_to_show, end=end, use_rth=use_rth))

    async def fetch_historical_bars_async(
        self,
        symbol: str,
        bar_size: str,
        duration: str,
        what_to_show: str = "TRADES",
        *,
        end: datetime | None = None,
        use_rth: bool = True,
    ) -> pd.DataFrame:
        """Return what `fetch_historical_bars` does, to await."""
        return await self._run_async(self._fetch(symbol, bar_size, duration, what_to_show, end=end, use_rth=use_rth))

    def fetch(
        self, symbol: str, request: HistoryRequest, *, what_to_show: str = "TRADES", use_rth: bool = True
    ) -> pd.DataFrame:
        """Return IB's answer to one planned request, the forming bar included."""
        return self._run(self._request(symbol, request, what_to_show, use_rth=use_rth))

    async def fetch_async(
        self, symbol: str, request: HistoryRequest, *, what_to_show: str = "TRADES", use_rth: bool = True
    ) -> pd.DataFrame:
        """Return what `fetch` does, to await."""
        return await self._run_async(self._request(symbol, request, what_to_show, use_rth=use_rth))

    def fetch_head_timestamp(self, symbol: str, what_to_show: str = "TRADES", *, use_rth: bool = True) -> datetime:
        """Return the earliest instant (UTC) of which IB has data."""
        return self._run(self._head_timestamp(symbol, what_to_show, use_rth=use_rth))

    async def fetch_head_timestamp_async(
        self, symbol: str, what_to_show: str = "TRADES", *, use_rth: bool = True
    ) -> datetime:
        """Return what `fetch_head_timestamp` does, to await."""
        return await self._run_async(self._head_timestamp(symbol, what_to_show, use_rth=use_rth))

    def use(self, work: Callable[[ib_insync.IB], Coroutine[Any, Any, T]]) -> T:
        """Run `work` with ib_insync's own object, on its thread and loop: for what has no method here."""
        return self._run(work(self._connected_ib()))

    def current_time(self) -> datetime:
        """Return the gateway's time (UTC), at most about a second old and never ahead of it."""
        return self._run(self._current_time())

    async def current_time_async(self) -> datetime:
        """Return what `current_time` does, to await."""
        return await self._run_async(self._current_time())

    async def _head_timestamp(self, symbol: str, what_to_show: str, *, use_rth: bool) -> datetime:
        contract = self.universe.contract(symbol)
        # IB counts it like a request for small bars.
        rest = f"head timestamp {use_rth}"
        async with self._turns().turn(Ask(symbol, contract.exchange, what_to_show, SMALL_BARS_S, rest, messages=2)):
            return await request_head_timestamp(
                self._connected_ib(),
                contract,
                what_to_show=what_to_show,
                use_rth=use_rth,
                timeout_s=self.config.request_timeout_s,
            )

    async def _fetch(
        self, symbol: str, bar_size: str, duration: str, what_to_show: str, *, end: datetime | None, use_rth: bool
    ) -> pd.DataFrame:
        request = HistoryRequest(
            parse_bar_size(bar_size), check_duration(duration), as_utc(end) if end is not None else None
        )
        bars = await self._request(symbol, request, check_what_to_show(what_to_show), use_rth=use_rth)
        now = await self._current_time()
        limit = complete_until(now, request.timeframe, session_calendar(use_rth=use_rth))
        return bars[bars.index < limit]

    async def _request(self, symbol: str, request: HistoryRequest, what_to_show: str, *, use_rth: bool) -> pd.DataFrame:
        contract = self.universe.contract(symbol)
        rest = f"{request.end} {request.duration} {use_rth}"
        ask = Ask(symbol, contract.exchange, what_to_show, request.timeframe.seconds, rest)
        for is_last in (*[False] * _PACING_RETRIES, True):
            try:
                async with self._turns().turn(ask):
                    bars = await request_bars(
                        self._connected_ib(),
                        contract,
                        request,
                        what_to_show=what_to_show,
                        use_rth=use_rth,
                        timeout_s=self.config.request_timeout_s,
                    )
            except PacingViolation:
                if is_last:
                    raise
                await self._turns().cool_down()
            else:
                break
        bars.attrs["source"] = self.source
        return bars

    def _turns(self) -> Budget:
        if self._budget is None:
            raise Disconnected(f"not connected to {self.config}; call connect()")
        return self._budget

    async def _current_time(self) -> datetime:
        loop, ib = asyncio.get_running_loop(), self._connected_ib()
        async with self._clock_lock:
            if self._clock_read and loop.time() - self._clock_read[0] < _CURRENT_TIME_SPACING_S:
                return self._clock_read[1]
            try:
                told = await asyncio.wait_for(ib.reqCurrentTimeAsync(), _CURRENT_TIME_TIMEOUT_S)
            except TimeoutError as error:
                raise RequestTimeout(f"{self.config} did not tell its time; restart TWS or IB Gateway") from error
            except ConnectionError as error:
                raise Disconnected(f"{self.config}: the connection ended; connect again") from error
            self._clock_read = (loop.time(), told.astimezone(UTC))
            return self._clock_read[1]

    def _connected_ib(self) -> ib_insync.IB:
        if self._ib is None or not self._ib.isConnected():
            raise Disconnected(f"not connected to {self.config}; call connect()")
        return self._ib

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._running_thread(coroutine).run(coroutine)

    async def _run_async(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._running_thread(coroutine).submit(coroutine))

    def _running_thread(self, coroutine: Coroutine[Any, Any, Any]) -> LoopThread:
        if self._thread is None:
            coroutine.close()
            raise Disconnected(f"not connected to {self.config}; call connect()")
        return self._thread
