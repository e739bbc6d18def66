"""The streams that are wanted over one connection: which to request now, and what comes of each.

All runs on the connection's loop; what comes is handed to `on_arrival`, and nothing else is done there. A bar that is
broken, or stamped later than now, is dropped and told; whoever takes the bars finds that it is missing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from workbench.errors import Disconnected, IBError, PacingViolation, UnknownContract, UnreadableAnswer
from workbench.ib.budget import Budget
from workbench.ib.codes import Reaction, explain
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.health import Event, Health, Streams, Told
from workbench.ib.history import Desk
from workbench.ib.live.liveness import LAG_S, Liveness, TimeKeeper
from workbench.ib.live.status import name_some
from workbench.ib.live.streams import Annulled, Arrival, Unknown, close_stream, open_stream, read_live_bar
from workbench.ib.mailbox import goes_on
from workbench.ib.pacing import LIVE, Ask
from workbench.ib.supervision import Link
from workbench.ib.translate import to_error
from workbench.market.aggregate.levels import STEP_S
from workbench.market.contracts import Contract
from workbench.market.sessions import session_calendar

logger = logging.getLogger(__name__)

_DATA_LOST, _ANNULLED = 1101, 10225
_TELL_WAITING_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 30.0, 600.0
"""Before a stream that was refused is requested again, in the gateway's time."""
_AHEAD_S = 10.0
_WORDS, _ASK_AGAIN_S = 1, 5.0
"""How often a symbol may be unknown before that is final, and how soon it is asked for again."""


@dataclass(slots=True)
class Stream:
    """One symbol that is wanted. `number` is the id of its stream; before `again_at` it is not requested."""

    symbol: str
    contract: Contract
    number: int | None = None
    asking: asyncio.Task[None] | None = None
    again_at: float = float("-inf")
    refusals: int = 0
    reason: str = ""
    is_suspect: bool = True
    was_heard: bool = False
    requested: float = 0.0
    """When it was requested, on the loop's clock."""
    unknown: UnknownContract | None = None
    """IB does not know it; whether that is its last word is not asked yet."""

    @property
    def is_asking(self) -> bool:
        """Whether its request waits for its turn."""
        return self.asking is not None and not self.asking.done()


class Lines:
    """The streams of one subscriber. `clock` is the gateway's time; `stir` is called when there is work to do."""

    def __init__(
        self,
        config: IBConnectionConfig,
        what_to_show: str,
        *,
        clock: TimeKeeper,
        on_arrival: Callable[[Arrival], None],
        stir: Callable[[], None],
    ) -> None:
        self.what_to_show = what_to_show
        self.streams: dict[str, Stream] = {}
        self.renewed = self.broken = 0
        self.is_violated = False
        """Whether IB has complained of our pace since this was last cleared."""
        self._config, self._clock, self._on_arrival, self._stir = config, clock, on_arrival, stir
        self._lag_s = LAG_S * config.gateway_speed
        self._liveness = Liveness(session_calendar(), lag_s=self._lag_s)
        self._desk: Desk | None = None
        self._waiting_since: float | None = None

    def due(self, link: Link, wanted: Mapping[str, Contract]) -> list[Stream]:
        """Return the streams to request now; what is not wanted, lost or silent is ended."""
        now = self._now()
        self._follow(wanted)
        if (desk := link.desk if link.health.connected else None) is not self._desk:
            self._desk = desk
            for stream in self.streams.values():
                stream.number = None
        if link.health.connected and link.health.reaches_ib:
            self._renew_silent(self._liveness.silent(now), now)
        self._tell_renewed(link)
        in_order = [self.streams[symbol] for symbol in wanted]
        lines = self._config.market_data_lines if self._config.paced else len(self.streams)
        places = in_order[:lines]
        for stream in in_order[lines:]:
            self._end(stream)
        absent = [stream for stream in places if stream.number is None]
        if link.is_ready:  # else they wait for the connection, which tells so itself
            self._tell_waiting(len(self.streams) - len(places), absent)
        return [stream for stream in absent if not stream.is_asking and stream.again_at <= now and not stream.unknown]

    def unknown(self) -> list[Stream]:
        """Return the streams whose symbols IB does not know, to be judged."""
        return [stream for stream in self.streams.values() if stream.unknown and not stream.is_asking]

    async def judge(self, stream: Stream, link: Link) -> None:
        """Give a symbol up that IB does not know: told twice, while it is not in trouble, and never heard of before."""
        error, stream.unknown = stream.unknown, None
        assert error is not None  # noqa: S101  else there is nothing to judge
        is_known = stream.was_heard or await link.doubt(stream.requested)
        self._refuse(stream, error, is_last=stream.refusals >= _WORDS and not is_known)

    def on_event(self, event: Event, health: Health) -> None:
        """Know what has happened to the connection."""
        if health.streams is not Streams.ALIVE:
            for stream in self.streams.values():
                stream.is_suspect = True
        if isinstance(event, Told) and event.code == _DATA_LOST:
            self.end_all()
        self._stir()

    def end_all(self) -> None:
        """End every stream."""
        for stream in self.streams.values():
            self._end(stream)

    def ages(self, now: float) -> dict[str, float]:
        """Return how old the newest bar of each symbol is, in seconds of the session."""
        return {symbol: self._liveness.age(symbol, now) for symbol in list(self.streams)}

    def _follow(self, wanted: Mapping[str, Contract]) -> None:
        for symbol in [symbol for symbol in self.streams if symbol not in wanted]:
            stream = self.streams.pop(symbol)
            if stream.asking is not None:
                stream.asking.cancel()
            self._end(stream)
            self._liveness.forget(symbol)
        for symbol, contract in wanted.items():
            self.streams.setdefault(symbol, Stream(symbol, contract))

    def _now(self) -> float:
        return self._clock.now(time.time())

    def _renew_silent(self, symbols: Sequence[str], now: float) -> None:
        """End the streams that are silent, to be requested again."""
        silent = [stream for symbol in symbols if (stream := self.streams.get(symbol)) and stream.number is not None]
        if silent:
            names = name_some([stream.symbol for stream in silent])
            logger.warning("%s: live bars stay away; requesting them again", names)
        self.renewed += len(silent)
        for stream in silent:
            self._end(stream)
            stream.again_at = now

    def _tell_renewed(self, link: Link) -> None:
        """Let the connection know that all streams flow again."""
        if link.health.streams is Streams.ALIVE or not link.health.reaches_ib or not self.streams:
            return
        if not any(stream.is_suspect for stream in self.streams.values()):
            link.streams_renewed()

    def _tell_waiting(self, lineless: int, asked: Sequence[Stream]) -> None:
        """Tell once when streams wait for IB's limits for long."""
        waits = lineless or any(stream.is_asking for stream in asked)
        if not waits:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.time()
        elif 0 < self._waiting_since < time.time() - _TELL_WAITING_S:
            self._waiting_since = 0.0
            logger.warning(
                "%d of %d symbols have no live bars yet: IB allows %d at a time and 60 new ones in ten minutes. The "
                "others follow; their missing bars are filled from history",
                len(asked) + lineless, len(self.streams), self._config.market_data_lines,
            )  # fmt: skip

    async def request(self, stream: Stream, link: Link, budget: Budget) -> None:
        """Request a stream when its turn has come."""
        ask = Ask(stream.symbol, stream.contract.exchange, self.what_to_show, STEP_S, LIVE)
        try:
            await link.ready()
            async with budget.turn(ask):
                if link.is_ready and self.streams.get(stream.symbol) is stream:
                    self._open(stream, link.desk)
        except Disconnected as error:  # we are patient no longer; streams are wanted for as long as it takes
            logger.debug("%s", error)
        except IBError as error:
            self._refuse(stream, error)

    def _open(self, stream: Stream, desk: Desk) -> None:
        if desk is not self._desk:
            return  # the connection is another one; it is looked at again
        stream.is_suspect, stream.requested = True, asyncio.get_running_loop().time()
        stream.number = open_stream(
            desk.mailbox,
            stream.contract,
            self.what_to_show,
            on_fields=lambda fields: self._on_fields(stream, fields),
            on_error=lambda code, text: self._on_error(stream, code, text),
        )
        self._liveness.asked(stream.symbol, self._now())

    def _end(self, stream: Stream) -> None:
        number, stream.number = stream.number, None
        if number is not None and self._desk is not None:
            close_stream(self._desk.mailbox, number)

    def _on_fields(self, stream: Stream, fields: Sequence[str]) -> None:
        try:
            bar = read_live_bar(stream.symbol, fields)
            if bar.timestamp + STEP_S > self._now() + _AHEAD_S + self._lag_s:
                raise UnreadableAnswer(f"a live bar of {stream.symbol} is of the future, and was not used: {fields}")
        except UnreadableAnswer as error:
            self.broken += 1
            logger.warning("%s", error)
            return
        if bar.timestamp + STEP_S > self._now():
            self._clock.tell(bar.timestamp + STEP_S, time.time())
        self._liveness.heard(stream.symbol, bar.timestamp, self._now())
        stream.is_suspect, stream.refusals, stream.reason, stream.was_heard = False, 0, "", True
        self._on_arrival(bar)

    def _on_error(self, stream: Stream, code: int, text: str) -> None:
        row = explain(code, text)
        if goes_on(code, text):
            return
        self._end(stream)
        if code == _ANNULLED:
            self._on_arrival(Annulled(stream.symbol, self._now()))
        if row is not None and row.reaction is Reaction.RESUBSCRIBE:
            logger.warning("%s: IB has ended its live bars (IB code %d); requesting them again", stream.symbol, code)
        else:
            error = to_error(code, text, request=f"live bars of {stream.symbol}")
            if isinstance(error, UnknownContract):
                stream.unknown = error
            else:
                self._refuse(stream, error)
        self._stir()

    def _refuse(self, stream: Stream, error: IBError, *, is_last: bool = False) -> None:
        if is_last and isinstance(error, UnknownContract):
            stream.again_at = inf
            self._on_arrival(Unknown(stream.symbol, error))
            return
        first_s = _ASK_AGAIN_S if isinstance(error, UnknownContract) else _FIRST_PAUSE_S
        pause_s = min(first_s * 2**stream.refusals, _LONGEST_PAUSE_S)
        if not stream.reason:
            logger.warning("%s. It is tried again", error)
        stream.reason, stream.refusals = str(error), stream.refusals + 1
        stream.again_at = self._now() + pause_s
        self.is_violated = self.is_violated or isinstance(error, PacingViolation)
