"""The connection to TWS, IB Gateway or the built-in gateway."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import pandas as pd

from workbench import html
from workbench.errors import Disconnected, IBError, InvalidInput, NoData
from workbench.ib.asking import Once, ask_until_answered
from workbench.ib.budget import Budget, Ledger, MemoryLedger
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.health import Health
from workbench.ib.history import Desk, request_bars, request_head_timestamp
from workbench.ib.loop import LoopThread
from workbench.ib.notices import NoticeLog
from workbench.ib.pacing import SMALL_BARS_S, Ask, Pacer, limits_for
from workbench.ib.plan import HistoryRequest, complete_until
from workbench.ib.supervision import Link, Listener
from workbench.ib.translate import check_duration, parse_bar_size
from workbench.ib.units import unit_of
from workbench.market.aggregate.levels import STEP_S
from workbench.market.bars import empty_bars
from workbench.market.contracts import check_what_to_show
from workbench.market.coverage import as_utc
from workbench.market.sessions import session_calendar
from workbench.market.universe import Universe, default_universe
from workbench.store.footer import SHARES

if TYPE_CHECKING:
    import ib_insync

    from workbench.ib.live.subscriber import RealtimeDataSubscriber

logger = logging.getLogger(__name__)
# ib_insync logs as errors what we raise as errors; without a handler of the user's, nobody wants it on the terminal.
logging.getLogger("ib_insync").addHandler(logging.NullHandler())

LIQUID = "SPY"
"""Its volume a trade tells what volumes count."""

T = TypeVar("T")


class IBDataManager:
    """A connection to IB that any thread, cell or loop may use.

    ib_insync runs on a thread and loop of its own. Methods block until they have their answer; each has a twin whose
    name ends in `_async`, to await in code that lives on a loop. Use it as a context manager, or call `connect` and
    `disconnect`. The session asked for is read-only: nothing here can place an order.

    Once made, a connection is kept until `disconnect`: it is made anew when it ends, and requests wait for that, for
    IB and for its farms, as long as `IBConnectionConfig.patience_s` allows; those under way are repeated.
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
        self._link: Link | None = None
        self._listeners: list[Listener] = [NoticeLog()]
        self._changing = threading.RLock()
        self._ledger: Ledger | None = None
        self._budget: Budget | None = None
        self._unit: tuple[int, str] | None = None

    def __repr__(self) -> str:
        return f"IBDataManager({self.config}, {'connected' if self.connected else 'not connected'})"

    def _repr_html_(self) -> str:
        health, link = self.health, self._link
        told = {
            "source": link.source if link and self.connected else "",
            "server version": str(link.version) if link and self.connected else "",
            "session": "read-only" if self.config.readonly else "NOT read-only",
            "client id": str(self.config.client_id),
            "lost farms": [f"{farm.value} {name}" for farm, name in health.lost_farms],
        }
        words = "connected" if self.connected else "not connected"
        words += "" if health.reaches_ib else ", IB is out of reach"
        state: html.State = "good" if health.is_well else "bad" if link else "plain"
        return html.card(f"{self.config}: {words}", html.facts(told), state=state)

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
        return self._link is not None and self._link.health.connected

    @property
    def health(self) -> Health:
        """What is known of the way to IB."""
        return self._link.health if self._link else Health()

    @property
    def source(self) -> str:
        """Where this connection's bars come from: `IB`, or a built-in gateway and the tape that it plays."""
        return self._made_link().source

    @property
    def gateway_version(self) -> str:
        """The server version that the gateway told."""
        return str(self._made_link().version)

    @property
    def knows_volume_unit(self) -> bool:
        """Whether `volume_unit` has its answer without a request."""
        link = self._made_link()
        return link.source != "IB" or (self._unit is not None and self._unit[0] == link.dials)

    def volume_unit(self) -> str:
        """Return whether volumes of stocks count `shares` or `lots`; empty when a liquid stock's bars do not tell.

        A gateway of IB's is asked once a connection: its setting may change between two of them.
        """
        if self.source != "IB":
            return SHARES
        if not self.knows_volume_unit:
            dials = self._made_link().dials
            try:
                self._unit = dials, unit_of(self.fetch_historical_bars(LIQUID, "1day", "1 M"))
            except IBError as error:
                logger.info("what volumes count is not known: %s", error)
                return ""
        return self._unit[1] if self._unit else ""

    @property
    def ledger(self) -> Ledger:
        """Where requests are booked: shared with other processes where the app says so, else this object's own."""
        if self._ledger is None:
            self._ledger = self._opened_ledger(self._made_link().account)
        return self._ledger

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event of the connection and the health after it; return what ends that.

        It is called on the connection's thread and must not block: put what it is told on a queue.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def streams_renewed(self) -> None:
        """Know that whoever has live streams has requested them again, or seen that they flow."""
        self._run(self._streams_renewed())

    async def _streams_renewed(self) -> None:
        self._made_link().streams_renewed()

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
            is_first = self._thread is None
            if self._thread is None:
                self._thread = LoopThread(f"ib {self.config}")
                self._link = Link(self.config, self._listeners)
            try:
                self._thread.run(self._made_link().open())
                self._budget = self._budget or Budget(self.ledger, speed=self.config.gateway_speed)
            except BaseException:
                if is_first:
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
        thread, link, self._thread, self._link, self._budget = self._thread, self._link, None, None, None
        if thread is None or link is None:
            return
        try:
            thread.run(link.close())
        finally:
            thread.close()
        logger.info("disconnected from %s", self.config)

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
        return self._run(work(self._made_link().desk.ib))

    def begin(self, work: Callable[[Link, Budget], Coroutine[Any, Any, T]]) -> Future[T]:
        """Begin `work` on the connection's thread, with its link and budget: for what goes on as long as it stands."""
        return self._running_thread(None).submit(work(self._made_link(), self._turns()))

    def subscribe_realtime_bars(
        self, symbol: str, bar_size: int = 5, what_to_show: str = "TRADES"
    ) -> RealtimeDataSubscriber:
        """Return the live bars of a symbol, which come as long as the connection stands or until it is closed.

            with ib.subscribe_realtime_bars("AAPL") as live:
                for bar in live:
                    print(bar)

        IB has live bars of five seconds only. Raises `InvalidInput`.
        """
        from workbench.ib.live.subscriber import RealtimeDataSubscriber

        if bar_size != STEP_S:
            raise InvalidInput(f"IB has live bars of 5 seconds, not of {bar_size}; longer ones are built from them")
        subscriber = RealtimeDataSubscriber(self, what_to_show=what_to_show)
        subscriber.subscribe_symbols([symbol])
        return subscriber

    def current_time(self) -> datetime:
        """Return the gateway's time (UTC), at most about a second old and never ahead of it."""
        return self._run(self._current_time())

    async def current_time_async(self) -> datetime:
        """Return what `current_time` does, to await."""
        return await self._run_async(self._current_time())

    async def _current_time(self) -> datetime:
        return await self._made_link().current_time()

    async def _head_timestamp(self, symbol: str, what_to_show: str, *, use_rth: bool) -> datetime:
        contract = self.universe.contract(symbol)
        # IB counts it like a request for small bars.
        ask = Ask(symbol, contract.exchange, what_to_show, SMALL_BARS_S, f"head timestamp {use_rth}", messages=2)

        def once(desk: Desk) -> Coroutine[Any, Any, datetime]:
            return request_head_timestamp(
                desk, contract, what_to_show=what_to_show, use_rth=use_rth, timeout_s=self.config.request_timeout_s
            )

        return await self._ask(ask, once)

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

        def once(desk: Desk) -> Coroutine[Any, Any, pd.DataFrame]:
            return request_bars(
                desk,
                contract,
                request,
                what_to_show=what_to_show,
                use_rth=use_rth,
                timeout_s=self.config.request_timeout_s,
            )

        try:
            return await self._ask(ask, once)
        except NoData:
            bars = empty_bars()
            bars.attrs = {"source": self.source, "delayed": False}
            return bars

    async def _ask(self, ask: Ask, once: Once[T]) -> T:
        return await ask_until_answered(self._made_link(), self._turns(), ask, once)

    def _turns(self) -> Budget:
        if self._budget is None:
            raise Disconnected(self._absent())
        return self._budget

    def _made_link(self) -> Link:
        if self._link is None:
            raise Disconnected(self._absent())
        return self._link

    def _absent(self) -> str:
        return f"not connected to {self.config}; call connect()"

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._running_thread(coroutine).run(coroutine)

    async def _run_async(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(self._running_thread(coroutine).submit(coroutine))

    def _running_thread(self, coroutine: Coroutine[Any, Any, Any] | None) -> LoopThread:
        thread = self._thread
        if thread is None:
            if coroutine is not None:
                coroutine.close()
            raise Disconnected(self._absent())
        return thread
