"""The gateway without its sockets: bytes and the time in, effects out.

`Gateway` is what all clients of one gateway share; `GatewayConnection` is one client's conversation. Neither
reads a clock, waits or logs: the shell (`server.py`) hands in what it received and obeys what comes out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum, auto

from workbench.errors import GatewayError
from workbench.gateway import answers, history
from workbench.gateway import requests as asked
from workbench.gateway.asof import WHAT_TO_SHOW
from workbench.gateway.contracts import STOCK, Catalogue, details
from workbench.gateway.effects import Effect, Hangup, Ignored, Send
from workbench.gateway.fault_engine import FaultEngine
from workbench.gateway.hours import NEW_YORK
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
    invalid,
)
from workbench.gateway.tape import Tape
from workbench.gateway.wire import GREETING, FrameReader, MalformedStream, fields

MAX_VERSION = 178  # from 182 on layouts change, 201 brings protobuf; every client takes what is lower
MIN_VERSION = 100
FIRST_ORDER_ID = 1
_VERSIONS = re.compile(rb"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: .*)?\0?", re.DOTALL)


class Stage(Enum):
    """How far a conversation has come."""

    GREETING = auto()
    GREETED = auto()
    STARTED = auto()
    CLOSED = auto()


class Gateway:
    """What the clients of one gateway share: the tape, their ids, the live bars, the faults."""

    def __init__(self, tape: Tape, faults: FaultEngine | None = None) -> None:
        self.faults = faults or FaultEngine()
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
        self._client_ids = {key: held for key, held in self._client_ids.items() if held is not connection}

    def tick(self, now: float) -> list[tuple[GatewayConnection, bytes]]:
        """Return the live bars that are due: one block of bytes a client."""
        due = self.live.tick(now)
        return [
            (connection, connection.live_bars(due[connection]))
            for connection in list(self._client_ids.values())
            if connection in due
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
            self._gateway.live.cancel(self, req_id)
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
        yield from self._answered(request, now)

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
        req_id = getattr(request, "req_id", getattr(request, "order_id", NO_REQUEST))
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
                instrument = self._gateway.catalogue.one(request.contract)
                yield answers.head_timestamp(request.req_id, history.head(request, instrument, self._gateway.tape, now))
            case asked.RealTimeBarsRequest():
                self._subscribe(request, now)
            case asked.CancelRealTimeBars(req_id):
                self._unsubscribe(req_id)
            case asked.CancelHistorical(req_id):  # answers are immediate: nothing is left to cancel
                raise Refused(Notice(366, f"No historical data query found for ticker id:{req_id}"))
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
        found = history.answer(request, instrument, self._gateway.tape, now)
        if found.warning:
            yield self._error(request.req_id, found.warning)
        yield answers.historical_bars(
            request.req_id,
            found.period,
            found.stamps,
            found.bars,
            lots=instrument.sec_type == STOCK,
            version=self.version,
        )

    def _subscribe(self, request: asked.RealTimeBarsRequest, now: float) -> None:
        instrument = self._gateway.catalogue.one(request.contract)
        if request.what_to_show not in WHAT_TO_SHOW:
            raise Refused(invalid("What to show field is missing or incorrect."))
        if self._gateway.live.holds(self, request.req_id):
            raise Refused(DUPLICATE_ID)
        is_stock = instrument.sec_type == STOCK
        feed = Feed(instrument, request.what_to_show, request.use_rth, lots=is_stock, version=self.version)
        self._gateway.live.subscribe(self, request.req_id, feed, now)

    def _unsubscribe(self, req_id: int) -> None:
        if not self._gateway.live.holds(self, req_id):
            raise Refused(Notice(300, f"Can't find EId with tickerId:{req_id}"))
        self._gateway.live.cancel(self, req_id)

    def _error(self, req_id: int, notice: Notice) -> bytes:
        return answers.error(req_id, notice, self.version)

    def _hang_up(self, reason: str) -> Hangup:
        self._stage = Stage.CLOSED
        return Hangup(reason)
