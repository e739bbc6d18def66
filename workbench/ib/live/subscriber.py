"""Live five-second bars of many symbols: requested within IB's limits, watched, and requested again when they die.

Everything runs on the connection's thread; what comes is put on a queue, `arrivals`, and nothing else is done there.
A bar that is broken, or stamped later than now, is dropped and told; whoever takes the bars finds that it is missing.

Streams are requested in the order in which the symbols were given, as IB's limits allow: so many at a time as the
account has market data lines, and sixty new ones in ten minutes. A stream is requested again when IB ends or refuses
it, when IB says that data were lost, when the connection was made anew, and when it is silent in a session. One that
is refused is tried again, less and less often, for as long as it is wanted: what IB says in trouble is not final.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import Disconnected, IBError, PacingViolation, RequestTimeout, UnreadableAnswer
from workbench.ib.budget import Budget
from workbench.ib.codes import Reaction, explain
from workbench.ib.health import Event, Health, Streams, Told
from workbench.ib.history import Desk
from workbench.ib.live.liveness import Liveness, TimeKeeper
from workbench.ib.live.streams import read_live_bar
from workbench.ib.pacing import LIVE, Ask
from workbench.ib.supervision import Link
from workbench.ib.translate import to_error
from workbench.market.aggregate.live import STEP_S
from workbench.market.contracts import Contract, check_what_to_show
from workbench.market.sessions import session_calendar
from workbench.store.journal import LiveBar

if TYPE_CHECKING:
    from workbench.ib.connection import IBDataManager

logger = logging.getLogger(__name__)

_DATA_LOST = 1101
_WARNINGS = range(2100, 2200)
_GOES_ON = (Reaction.INFORM, Reaction.MARKED, Reaction.RESUME)
_LOOK_S = 0.25
_READ_CLOCK_S = 30.0
_TELL_WAITING_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0
"""Before a stream that was refused is requested again, in the gateway's time."""
_AHEAD_S = 10.0
LAG_S = 1.0
"""How much later than due, in real seconds, a bar may be heard."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes. `error` says why, where it was not asked for."""

    error: BaseException | None = None


Arrival = LiveBar | Ended


@dataclass(slots=True)
class _Stream:
    """One symbol that is wanted. `number` is the id of its stream; before `again_at` it is not requested."""

    symbol: str
    contract: Contract
    number: int | None = None
    asking: asyncio.Task[None] | None = None
    again_at: float = float("-inf")
    refusals: int = 0
    reason: str = ""
    is_suspect: bool = True


@dataclass(frozen=True, slots=True)
class StreamsStatus:
    """How live streams are. Ages are seconds of the session since the end of each symbol's newest bar."""

    wanted: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    """Symbols whose stream is not requested yet: of IB's limits, or of trouble."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why IB refuses a symbol's stream."""
    ages: dict[str, float] = field(default_factory=dict)
    renewed: int = 0
    """How often a stream was requested again for its silence."""
    broken: int = 0
    """How many bars were dropped, for they were broken."""


class RealtimeDataSubscriber:
    """The live streams of some symbols over one connection, from now until `close` or `disconnect`.

    Any thread may call the methods. `arrivals` has the bars as they come, and `Ended` last; one reader takes them.
    """

    def __init__(self, ib: IBDataManager, *, what_to_show: str = "TRADES") -> None:
        self.what_to_show = check_what_to_show(what_to_show)
        self.arrivals: SimpleQueue[Arrival] = SimpleQueue()
        self._ib, self._config = ib, ib.config
        self._lag_s = LAG_S * self._config.gateway_speed
        self._liveness = Liveness(session_calendar(), lag_s=self._lag_s)
        self._time = TimeKeeper(self._config.gateway_speed)
        self._changing = threading.Lock()
        self._wanted: dict[str, Contract] = {}
        self._streams: dict[str, _Stream] = {}
        self._closing = self._violated = False
        self._renewed = self._broken = 0
        self._desk: Desk | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stir = asyncio.Event()
        self._waiting_since: float | None = None
        self._serving: Future[None] = ib.begin(self._serve)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[LiveBar]:
        """Give the bars as they come, until the streams are ended; raise what ended them otherwise."""
        while True:
            try:
                arrival = self.arrivals.get(timeout=_LOOK_S)
            except Empty:
                continue
            if isinstance(arrival, Ended):
                if arrival.error is not None:
                    raise arrival.error
                return
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
        wanted = {symbol: self._ib.universe.contract(symbol) for symbol in watchlist}
        with self._changing:
            self._wanted = wanted
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
        streams = {symbol: stream for symbol in wanted if (stream := self._streams.get(symbol))}
        return StreamsStatus(
            wanted,
            tuple(symbol for symbol in wanted if symbol not in streams or streams[symbol].number is None),
            {symbol: stream.reason for symbol, stream in streams.items() if stream.reason},
            {} if now is None else {symbol: self._liveness.age(symbol, now) for symbol in wanted},
            self._renewed,
            self._broken,
        )

    def _poke(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._stir.set)

    # From here on all runs on the connection's loop.

    async def _serve(self, link: Link, budget: Budget) -> None:
        self._loop = asyncio.get_running_loop()
        stop_listening = self._ib.listen(self._on_event)
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
                    if self._violated:
                        begin(budget.cool_down())
                        self._violated = False
                    for stream in self._due(link):
                        stream.asking = begin(self._request(stream, link, budget))
                    await self._stirred()
                for task in list(tasks):
                    task.cancel()
        except BaseException as raised:
            error = raised
            raise
        finally:
            stop_listening()
            for stream in self._streams.values():
                self._end(stream)
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

    def _due(self, link: Link) -> list[_Stream]:
        """Return the streams to request now; what is not wanted, lost or silent is ended."""
        now = self._time.now(time.time())
        self._drop_unwanted()
        if (desk := link.desk if link.health.connected else None) is not self._desk:
            self._desk = desk
            for stream in self._streams.values():
                stream.number = None
        if link.health.connected and link.health.reaches_ib:
            for symbol in self._liveness.silent(now):
                self._renew_silent(self._streams.get(symbol), now)
        self._tell_renewed(link)
        lines = self._config.market_data_lines if self._config.paced else len(self._streams)
        places = self._in_order()[:lines]
        for stream in self._in_order()[lines:]:
            self._end(stream)
        absent = [stream for stream in places if stream.number is None]
        self._tell_waiting(len(self._streams) - len(places), absent)
        return [
            stream for stream in absent if (stream.asking is None or stream.asking.done()) and stream.again_at <= now
        ]

    def _in_order(self) -> list[_Stream]:
        return [self._streams[symbol] for symbol in self._wanted if symbol in self._streams]

    def _drop_unwanted(self) -> None:
        with self._changing:
            wanted = dict(self._wanted)
        for symbol in [symbol for symbol in self._streams if symbol not in wanted]:
            stream = self._streams.pop(symbol)
            if stream.asking is not None:
                stream.asking.cancel()
            self._end(stream)
            self._liveness.forget(symbol)
        for symbol, contract in wanted.items():
            self._streams.setdefault(symbol, _Stream(symbol, contract))

    def _renew_silent(self, stream: _Stream | None, now: float) -> None:
        """End a stream that is silent, to be requested again."""
        if stream is None or stream.number is None:
            return
        logger.warning("%s: live bars stay away; requesting them again", stream.symbol)
        self._renewed += 1
        self._end(stream)
        stream.again_at = now

    def _tell_renewed(self, link: Link) -> None:
        """Let the connection know that all streams flow again."""
        if link.health.streams is Streams.ALIVE or not link.health.reaches_ib or not self._streams:
            return
        if not any(stream.is_suspect for stream in self._streams.values()):
            link.streams_renewed()

    def _tell_waiting(self, lineless: int, asked: Sequence[_Stream]) -> None:
        """Tell once when streams wait for IB's limits for long."""
        waits = lineless or any(stream.asking is not None and not stream.asking.done() for stream in asked)
        if not waits:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.time()
        elif 0 < self._waiting_since < time.time() - _TELL_WAITING_S:
            self._waiting_since = 0.0
            logger.warning(
                "%d of %d symbols have no live bars yet: IB allows %d at a time and 60 new ones in ten minutes. The "
                "others follow; their missing bars are filled from history",
                len(asked) + lineless, len(self._streams), self._config.market_data_lines,
            )  # fmt: skip

    async def _request(self, stream: _Stream, link: Link, budget: Budget) -> None:
        ask = Ask(stream.symbol, stream.contract.exchange, self.what_to_show, STEP_S, LIVE)
        try:
            await link.ready()
            async with budget.turn(ask):
                if link.is_ready and self._streams.get(stream.symbol) is stream:
                    self._open(stream, link.desk)
        except Disconnected as error:  # we are patient no longer; streams are wanted for as long as it takes
            logger.debug("%s", error)
        except IBError as error:
            self._refuse(stream, error)

    def _open(self, stream: _Stream, desk: Desk) -> None:
        if desk is not self._desk:
            return  # the connection is another one; it is looked at again
        stream.is_suspect = True
        stream.number = desk.streams.open(
            stream.contract,
            self.what_to_show,
            on_fields=lambda fields: self._on_fields(stream, fields),
            on_error=lambda code, text: self._on_error(stream, code, text),
        )
        self._liveness.asked(stream.symbol, self._time.now(time.time()))

    def _end(self, stream: _Stream) -> None:
        number, stream.number = stream.number, None
        if number is not None and self._desk is not None:
            self._desk.streams.close(number)

    def _on_fields(self, stream: _Stream, fields: Sequence[str]) -> None:
        try:
            bar = read_live_bar(stream.symbol, fields)
            if bar.timestamp + STEP_S > self._time.now(time.time()) + _AHEAD_S + self._lag_s:
                raise UnreadableAnswer(f"a live bar of {stream.symbol} is of the future, and was not used: {fields}")
        except UnreadableAnswer as error:
            self._broken += 1
            logger.warning("%s", error)
            return
        if bar.timestamp + STEP_S > self._time.now(time.time()):
            self._time.tell(bar.timestamp + STEP_S, time.time())
        self._liveness.heard(stream.symbol, bar.timestamp)
        stream.is_suspect, stream.refusals, stream.reason = False, 0, ""
        self.arrivals.put(bar)

    def _on_error(self, stream: _Stream, code: int, text: str) -> None:
        row = explain(code, text)
        if code in _WARNINGS or (row is not None and row.reaction in _GOES_ON):
            return
        self._end(stream)
        if row is not None and row.reaction is Reaction.RESUBSCRIBE:
            logger.warning("%s: IB has ended its live bars (IB code %d); requesting them again", stream.symbol, code)
        else:
            self._refuse(stream, to_error(code, text, request=f"live bars of {stream.symbol}"))
        self._stir.set()

    def _refuse(self, stream: _Stream, error: IBError) -> None:
        pause_s = min(_FIRST_PAUSE_S * 2**stream.refusals, _LONGEST_PAUSE_S)
        if not stream.reason:
            logger.warning("%s. It is tried again", error)
        stream.reason, stream.refusals = str(error), stream.refusals + 1
        stream.again_at = self._time.now(time.time()) + pause_s
        self._violated = self._violated or isinstance(error, PacingViolation)

    def _on_event(self, event: Event, health: Health) -> None:
        if health.streams is not Streams.ALIVE:
            for stream in self._streams.values():
                stream.is_suspect = True
        if isinstance(event, Told) and event.code == _DATA_LOST:
            for stream in self._streams.values():
                self._end(stream)
        self._stir.set()


def is_cancel(error: BaseException | None) -> bool:
    """Return whether a task was ended from outside."""
    return isinstance(error, asyncio.CancelledError)
