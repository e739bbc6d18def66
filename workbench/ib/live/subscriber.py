"""Live five-second bars of many symbols: requested within IB's limits, watched, and requested again when they die.

Streams are requested in the order in which the symbols were given, as IB's limits allow: so many at a time as the
account has market data lines, and sixty new ones in ten minutes. A stream is requested again when IB ends or refuses
it, when IB says that data were lost, when the connection was made anew, and when it is silent in a session. One that
is refused is tried again, less and less often, for as long as it is wanted: what IB says in trouble is not final.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import Disconnected, RequestTimeout
from workbench.ib.budget import Budget
from workbench.ib.live.lines import Lines
from workbench.ib.live.liveness import TimeKeeper
from workbench.ib.live.status import StreamsStatus
from workbench.ib.live.streams import Arrival, Ended, Unknown
from workbench.ib.supervision import Link
from workbench.market.contracts import Contract, check_what_to_show
from workbench.store.journal import LiveBar

if TYPE_CHECKING:
    from workbench.ib.connection import IBDataManager

_LOOK_S = 0.25
_READ_CLOCK_S = 30.0


class RealtimeDataSubscriber:
    """The live streams of some symbols over one connection, from now until `close` or `disconnect`.

    Any thread may call the methods. `arrivals` has the bars as they come, and `Ended` last; one reader takes them.
    """

    def __init__(self, ib: IBDataManager, *, what_to_show: str = "TRADES") -> None:
        self.what_to_show = check_what_to_show(what_to_show)
        self.arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self._ib = ib
        self._time = TimeKeeper(ib.config.gateway_speed)
        self._stir = asyncio.Event()
        self._lines = Lines(
            ib.config,
            self.what_to_show,
            clock=self._time,
            on_arrival=self.arrivals.put,
            stir=self._stir.set,
        )
        self._wanted: dict[str, Contract] = {}
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._serving: Future[None] = ib.begin(self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveBar]:
        """Give the bars as they come, until the streams are ended; raise what ended them otherwise.

        Raises `UnknownContract` for a symbol that IB does not know.
        """
        while True:
            try:
                arrival = self.arrivals.get(timeout=_LOOK_S)
            except Empty:
                continue
            if isinstance(arrival, Ended):
                if arrival.error is not None:
                    raise arrival.error
                return
            if isinstance(arrival, Unknown):
                raise arrival.error
            if isinstance(arrival, LiveBar):
                yield arrival

    @property
    def symbols(self) -> list[str]:
        """The symbols that are wanted."""
        return list(self._wanted)

    def subscribe_symbols(self, symbols: Iterable[str]) -> None:
        """Follow these symbols as well. Raises `InvalidSymbol`."""
        self.update_subscriptions([*self._wanted, *symbols])

    def unsubscribe_symbol(self, symbol: str) -> None:
        """Follow a symbol no more."""
        self.update_subscriptions([one for one in self._wanted if one != symbol])

    def update_subscriptions(self, watchlist: Iterable[str]) -> None:
        """Follow these symbols and no others, the first ones first; streams that stay are not touched."""
        self._wanted = {symbol: self._ib.universe.contract(symbol) for symbol in watchlist}
        self._poke()

    def close(self) -> None:
        """End all streams."""
        self._closing = True
        self._poke()
        with suppress(Disconnected):
            self._serving.result()

    def now(self) -> float | None:
        """Return the gateway's time in epoch seconds; None before it is known."""
        return self._time.now(time.time()) if self._time.is_set else None

    def status(self) -> StreamsStatus:
        """Return how the streams are."""
        now, wanted = self.now(), tuple(self._wanted)
        streams = {symbol: stream for symbol in wanted if (stream := self._lines.streams.get(symbol))}
        ages = self._lines.ages(now) if now is not None else {}
        return StreamsStatus(
            wanted,
            tuple(symbol for symbol in wanted if symbol not in streams or streams[symbol].number is None),
            {symbol: stream.reason for symbol, stream in streams.items() if stream.reason},
            {symbol: ages.get(symbol, inf) for symbol in wanted} if ages else {},
            self._lines.renewed,
            self._lines.broken,
        )

    def _poke(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stir.set)

    # From here on all runs on the connection's loop.

    async def _serve(self, link: Link, budget: Budget) -> None:
        self._loop = asyncio.get_running_loop()
        stop_listening = self._ib.listen(self._lines.on_event)
        error: BaseException | None = None
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._read_clock(link)
            async with asyncio.TaskGroup() as group:

                def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
                    task = group.create_task(work)
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    return task

                begin(self._keep_time(link))
                while not self._closing:
                    if self._lines.is_violated:
                        begin(budget.cool_down())
                        self._lines.is_violated = False
                    for stream in self._lines.due(link, self._wanted):
                        stream.asking = begin(self._lines.request(stream, link, budget))
                    for stream in self._lines.unknown():
                        stream.asking = begin(self._lines.judge(stream, link))
                    await self._stirred()
                for task in list(tasks):
                    task.cancel()
        except BaseException as raised:
            error = raised
            raise
        finally:
            stop_listening()
            self._lines.end_all()
            self.arrivals.put(Ended(Disconnected("disconnect() was called") if is_cancel(error) else error))

    async def _stirred(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await self._stir.wait()
        self._stir.clear()

    async def _keep_time(self, link: Link) -> None:
        while True:
            await asyncio.sleep(_READ_CLOCK_S)
            await self._read_clock(link)

    async def _read_clock(self, link: Link) -> None:
        while True:
            try:
                told = await link.current_time()
            except (Disconnected, RequestTimeout):
                await asyncio.sleep(_LOOK_S)  # the link dials again, and says so
            else:
                self._time.tell(told.timestamp(), time.time())
                return


def is_cancel(error: BaseException | None) -> bool:
    """Return whether a task was ended from outside."""
    return isinstance(error, asyncio.CancelledError)
