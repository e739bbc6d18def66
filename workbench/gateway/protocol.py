"""The gateway without its sockets: bytes and the time in, effects out.

`Gateway` is what all clients of one gateway share; `GatewayConnection` is one client's conversation. Neither
reads a clock, waits or logs: the shell (`server.py`) hands in what it received and obeys what comes out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from workbench.errors import GatewayError
from workbench.gateway import answers, history
from workbench.gateway import requests as asked
from workbench.gateway.asof import WHAT_TO_SHOW
from workbench.gateway.contracts import STOCK, Catalogue, details
from workbench.gateway.effects import Effect, Hangup, Ignored, Send
from workbench.gateway.fault_engine import FaultEngine
from workbench.gateway.hours import NEW_YORK
from workbench.gateway.pending import AT_ONCE, Answer, Latency, Pending
from workbench.gateway.realtime import Due, Feed, LiveBars
from workbench.gateway.refusals import (
    DUPLICATE_ID,
    FARMS,
    ID_IN_USE,
    NO_REQUEST,
    NO_TICKS,
    READ_ONLY,
    UNKNOWN_CONTRACT,
    Notice,
    Refused,
    cancelled,
    invalid,
    no_data,
)
from workbench.gateway.rules import Asked, Counted, Rulebook, no_rules, without_old
from workbench.gateway.tape import Instrument, Tape
from workbench.gateway.wire import GREETING, FrameReader, MalformedStream, fields

MAX_VERSION = 178  # from 182 on layouts change, 201 brings protobuf; every client takes what is lower
MIN_VERSION = 100
FIRST_ORDER_ID = 1
HISTORICAL_SERVICE = 162
_VERSIONS = re.compile(rb"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: .*)?\0?", re.DOTALL)


class Stage(Enum):
    """How far a conversation has come."""

    GREETING = auto()
    GREETED = auto()
    STARTED = auto()
    CLOSED = auto()


class Reply(NamedTuple):
    """The answer to a historical request: its bytes, how many bars, what goes before it, whether it ends there."""

    data: bytes
    bars: int = 0
    warning: bytes = b""
    ends: bool = True


class Gateway:
    """What the clients of one gateway share: the tape, their ids, the live bars, the faults."""

    def __init__(
        self,
        tape: Tape,
        faults: FaultEngine | None = None,
        *,
        rulebook: Rulebook | None = None,
        rules_time: Callable[[float], float] = float,
        latency: Latency = AT_ONCE,
    ) -> None:
        self.faults = faults or FaultEngine()
        self.rulebook = rulebook or no_rules()
        self.rules_time = rules_time
        """From gateway time to the time in which the windows of the rules run."""
        self.latency = latency
        self.pending = Pending()
        self.tape = tape
        self.catalogue = Catalogue(tape.instruments)
        self.live = LiveBars(tape)
        self._client_ids: dict[int, GatewayConnection] = {}

    def claim(self, client_id: int, connection: GatewayConnection) -> bool:
        """Give a client its id; False when another holds it."""
        return self._client_ids.setdefault(client_id, connection) is connection

    def release(self, connection: GatewayConnection) -> None:
        """Forget a client that has gone."""
        self.faults.forget(connection)
        self.live.forget(connection)
        self.pending.forget(connection)
        self.rulebook.forget(connection)
        self._client_ids = {key: held for key, held in self._client_ids.items() if held is not connection}

    def next_due(self, now: float) -> float | None:
        """Return the gateway time at which `tick` may have something to give, or None."""
        times = (self.live.next_due(now), self.pending.next_due())
        return min((due for due in times if due is not None), default=None)

    def tick(self, now: float) -> list[tuple[GatewayConnection, bytes]]:
        """Return the answers and the live bars that are due: one block of bytes a client."""
        answered: dict[object, bytes] = defaultdict(bytes)
        for client, req_id, answer in self.pending.take(now):
            answered[client] += answer.data
            if answer.ends:
                self.rulebook.release(client, req_id, Counted.HISTORICAL)
        due = self.live.tick(now)
        return [
            (connection, answered[connection] + (connection.live_bars(due[connection]) if connection in due else b""))
            for connection in list(self._client_ids.values())
            if connection in due or connection in answered
        ]


class GatewayConnection:
    """One client's conversation with the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._reader = FrameReader(greeting=GREETING)
        self._stage = Stage.GREETING
        self.version = MAX_VERSION
        """The negotiated version: the client's newest, at most ours."""

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """Take received bytes at gateway time `now` (epoch seconds); return what to do."""
        self._reader.feed(data)
        effects: list[Effect] = []
        try:
            for payload in self._reader.frames():
                if self._stage is Stage.CLOSED:
                    break
                effects += self._handle(payload, now)
        except MalformedStream as error:
            effects.append(self._hang_up(str(error)))
        return effects

    def close(self) -> None:
        """Free what the client held. The shell calls it when the socket is gone."""
        self._stage = Stage.CLOSED
        self._gateway.release(self)

    def live_bars(self, due: Due) -> bytes:
        """Return the bytes of a tick; a subscription whose bars cannot be read ends with an error."""
        for req_id, error in due.broken:
            self._end_live_bars(req_id)
            due.data += self._error(req_id, Notice(420, f"Invalid Real-time Query:{error}"))
        return bytes(due.data)

    def _handle(self, payload: bytes, now: float) -> Iterator[Effect]:
        if self._stage is Stage.GREETING:
            yield from self._negotiate(payload, now)
            return
        yield from self._gateway.faults.received(self, fields(payload), now)

    def take(self, texts: list[str], now: float) -> Iterator[Effect]:
        """Answer a message that no fault has kept back."""
        try:
            request = asked.parse(texts)
        except asked.MalformedField as error:
            yield from self._unreadable(texts, str(error))
            return
        starting = isinstance(request, asked.StartApi)
        if request is None or starting is (self._stage is Stage.STARTED):  # a client starts first, and once
            yield Ignored(" ".join(texts[:3])[:80])
            return
        try:
            self._gateway.rulebook.message(self, request, self._gateway.rules_time(now))
        except Refused as refused:
            yield from self._too_fast(request, refused.notice)
        else:
            yield from self._answered(request, now)

    def _too_fast(self, request: asked.Request, notice: Notice) -> Iterator[Effect]:
        """Answer a message that breaks the message rate; it is not served."""
        yield Send(self._error(_id_of(request), notice))
        if self._gateway.rulebook.has_struck_out(self):
            yield self._hang_up("the client sent too many messages a second, too often")

    def _negotiate(self, payload: bytes, now: float) -> Iterator[Effect]:
        offered = _VERSIONS.fullmatch(payload)
        newest = int(offered[2] or offered[1]) if offered else 0
        if newest < MIN_VERSION:
            yield self._hang_up("the client speaks no version of the protocol that the gateway knows")
            return
        self.version = min(newest, MAX_VERSION)
        self._stage = Stage.GREETED
        local = datetime.fromtimestamp(now, NEW_YORK)
        yield Send(answers.server_version(self.version, f"{local:%Y%m%d %H:%M:%S} Eastern Standard Time"))

    def _unreadable(self, texts: list[str], field: str) -> Iterator[Effect]:
        """Answer a message that cannot be read as TWS does, and hang up."""
        notice = Notice(320, "Error reading request:Unable to parse data. java.lang.NumberFormatException: "
                             f'For input string: "{field[:40]}"')  # fmt: skip
        yield Send(self._error(NO_REQUEST, notice))
        yield self._hang_up(f"message {texts[0][:12]!r} has {field[:40]!r} where a number belongs")

    def _answered(self, request: asked.Request, now: float) -> Iterator[Effect]:
        """Answer one request; whatever refuses it becomes its error."""
        req_id = _id_of(request)
        try:
            for item in self._answer(request, now):
                yield Send(item) if isinstance(item, bytes) else item
        except Refused as refused:
            yield Send(self._error(req_id, refused.notice))
        except GatewayError as error:
            yield Send(self._error(req_id, Notice(322, f"Error processing request.-'bK' : cause - {error}")))

    def _answer(self, request: asked.Request, now: float) -> Iterator[bytes | Hangup]:
        match request:
            case asked.StartApi():
                yield from self._start(request)
            case asked.HistoricalRequest():
                yield from self._history(request, now)
            case asked.ContractDetailsRequest():
                yield from self._contract_details(request, now)
            case asked.HeadTimestampRequest():
                yield from self._head(request, now)
            case asked.RealTimeBarsRequest():
                self._subscribe(request, now)
            case asked.CancelRealTimeBars(req_id):
                self._unsubscribe(req_id)
            case asked.CancelHistorical(req_id):
                if not self._drop_query(req_id):
                    raise Refused(Notice(366, f"No historical data query found for ticker id:{req_id}"))
                raise Refused(cancelled(req_id))
            case asked.CancelHeadTimestamp(req_id):  # what is there to cancel or not, TWS says nothing
                self._drop_query(req_id)
            case asked.CurrentTimeRequest():
                yield answers.current_time(int(now))
            case asked.IdsRequest():
                yield answers.next_valid_id(FIRST_ORDER_ID)
            case asked.ManagedAccountsRequest():
                yield answers.managed_accounts(self._gateway.tape.account)
            case asked.MarketDataRequest():
                raise Refused(NO_TICKS)
            case asked.OrderRequest():
                raise Refused(READ_ONLY)
            case _:
                yield from self._empty_account(request, now)

    def _empty_account(self, request: asked.Request, now: float) -> Iterator[bytes]:
        """Tell that the account holds nothing: each list is only its end."""
        match request:
            case asked.PositionsRequest():
                yield answers.positions_end()
            case asked.OpenOrdersRequest():
                yield answers.open_orders_end()
            case asked.CompletedOrdersRequest():
                yield answers.completed_orders_end()
            case asked.AccountUpdatesRequest(subscribe=True, account=account):
                wall_time = f"{datetime.fromtimestamp(now, NEW_YORK):%H:%M}"
                yield answers.account_download_end(account or self._gateway.tape.account, wall_time)
            case asked.AccountUpdatesMultiRequest(req_id):
                yield answers.account_multi_end(req_id)
            case asked.AccountSummaryRequest(req_id):
                yield answers.account_summary_end(req_id)
            case asked.ExecutionsRequest(req_id):
                yield answers.executions_end(req_id)

    def _start(self, request: asked.StartApi) -> Iterator[bytes | Hangup]:
        if not self._gateway.claim(request.client_id, self):
            yield self._error(NO_REQUEST, ID_IN_USE)
            yield self._hang_up(f"client id {request.client_id} is in use")
            return
        self._stage = Stage.STARTED
        yield answers.managed_accounts(self._gateway.tape.account)
        yield answers.next_valid_id(FIRST_ORDER_ID)
        for farm in FARMS:
            yield self._error(NO_REQUEST, farm)

    def _contract_details(self, request: asked.ContractDetailsRequest, now: float) -> Iterator[bytes]:
        found = self._gateway.catalogue.find(request.contract)
        if not found:
            raise Refused(UNKNOWN_CONTRACT)
        for instrument in found:
            told = details(instrument, request.contract.exchange, now)
            yield answers.contract_details(request.req_id, told, self.version)
        yield answers.contract_details_end(request.req_id)

    def _history(self, request: asked.HistoricalRequest, now: float) -> Iterator[bytes]:
        instrument = self._gateway.catalogue.one(request.contract)
        self._gateway.pending.check(self, request.req_id)
        try:
            reply = self._bars(request, instrument, now)
        except Refused as refused:
            reply = self._service_error(request.req_id, refused)
        self._admit(request, now, instrument)
        if reply.warning:
            yield reply.warning
        yield from self._in_time(request.req_id, reply, now)

    def _bars(self, request: asked.HistoricalRequest, instrument: Instrument, now: float) -> Reply:
        found = history.answer(request, instrument, self._gateway.tape, now)
        found = without_old(found, self._gateway.rulebook.oldest_kept(request, now))
        if not len(found.bars):
            raise Refused(no_data(instrument.symbol, request.contract.exchange, request.what_to_show))
        data = answers.historical_bars(
            request.req_id,
            found.period,
            found.stamps,
            found.bars,
            lots=instrument.sec_type == STOCK,
            version=self.version,
        )
        warning = self._error(request.req_id, found.warning) if found.warning else b""
        return Reply(data, bars=len(found.bars), warning=warning)

    def _head(self, request: asked.HeadTimestampRequest, now: float) -> Iterator[bytes]:
        instrument = self._gateway.catalogue.one(request.contract)
        self._gateway.pending.check(self, request.req_id)
        try:
            value = history.head(request, instrument, self._gateway.tape, now)
            reply = Reply(answers.head_timestamp(request.req_id, value), ends=False)
        except Refused as refused:
            reply = self._service_error(request.req_id, refused)
        self._admit(request, now, instrument)
        yield from self._in_time(request.req_id, reply, now)

    def _service_error(self, req_id: int, refused: Refused) -> Reply:
        """Return an answer of the historical service; what TWS itself refuses never reaches it and counts nowhere."""
        if refused.notice.code != HISTORICAL_SERVICE:
            raise refused
        return Reply(self._error(req_id, refused.notice))

    def _in_time(self, req_id: int, reply: Reply, now: float) -> Iterator[bytes]:
        """Give the answer of a historical request now, or let it wait as long as such an answer takes."""
        seconds = self._gateway.latency.of(reply.bars)
        if seconds:
            self._gateway.pending.put(self, req_id, Answer(now + seconds, reply.data, reply.ends))
            return
        if reply.ends:
            self._gateway.rulebook.release(self, req_id, Counted.HISTORICAL)
        yield reply.data

    def _drop_query(self, req_id: int) -> bool:
        """Give back what a historical request holds; return whether its answer was still to come."""
        self._gateway.rulebook.release(self, req_id, Counted.HISTORICAL)
        waited = self._gateway.pending.holds(self, req_id)
        if waited:
            self._gateway.pending.cancel(self, req_id)
        return waited

    def _admit(self, request: asked.Request, now: float, instrument: Instrument) -> None:
        """Count a request that passed validation. Raises Refused when that breaks one of IB's rules."""
        gateway = self._gateway
        gateway.rulebook.admit(Asked(self, request, instrument.con_id), gateway.rules_time(now))

    def _subscribe(self, request: asked.RealTimeBarsRequest, now: float) -> None:
        instrument = self._gateway.catalogue.one(request.contract)
        if request.what_to_show not in WHAT_TO_SHOW:
            raise Refused(invalid("What to show field is missing or incorrect."))
        if self._gateway.live.holds(self, request.req_id):
            raise Refused(DUPLICATE_ID)
        self._admit(request, now, instrument)
        is_stock = instrument.sec_type == STOCK
        feed = Feed(instrument, request.what_to_show, request.use_rth, lots=is_stock, version=self.version)
        self._gateway.live.subscribe(self, request.req_id, feed, now)

    def _unsubscribe(self, req_id: int) -> None:
        if not self._gateway.live.holds(self, req_id):
            raise Refused(Notice(300, f"Can't find EId with tickerId:{req_id}"))
        self._end_live_bars(req_id)

    def _end_live_bars(self, req_id: int) -> None:
        self._gateway.live.cancel(self, req_id)
        self._gateway.rulebook.release(self, req_id, Counted.LINES)

    def _error(self, req_id: int, notice: Notice) -> bytes:
        return answers.error(req_id, notice, self.version)

    def _hang_up(self, reason: str) -> Hangup:
        self._stage = Stage.CLOSED
        return Hangup(reason)


def _id_of(request: asked.Request) -> int:
    return int(getattr(request, "req_id", getattr(request, "order_id", NO_REQUEST)))
