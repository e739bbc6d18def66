"""The gateway without its sockets: bytes and the time in, effects out.

`GatewayConnection` is one client's conversation; what all clients share is `shared.py`. Neither reads a clock, waits or
logs: the shell (`server.py`) hands in what it received and obeys what comes out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum, auto

from workbench.errors import GatewayError
from workbench.gateway import account, answers
from workbench.gateway import requests as asked
from workbench.gateway.contracts import details
from workbench.gateway.effects import Effect, Hangup, Ignored, Send
from workbench.gateway.hours import NEW_YORK
from workbench.gateway.layouts import MalformedField, parse
from workbench.gateway.lines import Lines
from workbench.gateway.queries import Queries
from workbench.gateway.refusals import (
    FARMS,
    ID_IN_USE,
    NO_REQUEST,
    READ_ONLY,
    UNKNOWN_CONTRACT,
    Notice,
    Refused,
)
from workbench.gateway.shared import Gateway
from workbench.gateway.wire import GREETING, MAX_FRAME, FrameReader, MalformedStream, fields

MAX_VERSION = 178  # from 182 on layouts change, 201 brings protobuf; every client takes what is lower
MIN_VERSION = 100
FIRST_ORDER_ID = 1
STRANGERS_FRAME = 4096  # bytes: who has not started yet sends its versions and its id, nothing long
MUCH = 256 << 10  # bytes answered before other clients get their turn
TIME_TOLD_EVERY_S = 1.0  # who asks for the current time sooner gets no answer (B9)
_VERSIONS = re.compile(rb"v(\d{1,9})(?:\.\.(\d{1,9}))?(?: .*)?\0?", re.DOTALL)


class Stage(Enum):
    """How far a conversation has come."""

    GREETING = auto()
    GREETED = auto()
    STARTED = auto()
    CLOSED = auto()


class GatewayConnection:
    """One client's conversation with the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._reader = FrameReader(greeting=GREETING, limit=STRANGERS_FRAME)
        self._stage = Stage.GREETING
        self.behind = False
        """Whether received requests wait for the next call of `receive`."""
        self._time_told = -math.inf
        self.queries = Queries(gateway, self)
        self.lines = Lines(gateway, self)
        self.version = MAX_VERSION
        """The negotiated version: the client's newest, at most ours."""

    @property
    def has_started(self) -> bool:
        """Whether the client has shaken hands and told its id."""
        return self._stage is Stage.STARTED

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is taken from the client."""
        return self._stage is Stage.CLOSED

    def receive(self, data: bytes, now: float) -> list[Effect]:
        """Take received bytes at gateway time `now` (epoch seconds); return what to do.

        After much has been answered at once the connection is `behind`: the rest waits for the next call, which
        may bring no bytes, so that nobody's requests keep others from theirs. After a hang-up nothing is taken.
        """
        self.behind, answered = False, 0
        if self.has_ended:
            return []
        self._reader.feed(data)
        effects: list[Effect] = []
        try:
            for payload in self._reader.frames():
                if self.has_ended:
                    break
                given = list(self._handle(payload, now))
                effects += given
                answered += sum(len(effect.data) for effect in given if isinstance(effect, Send))
                if answered > MUCH:
                    self.behind = True
                    break
        except MalformedStream as error:
            effects.append(self._hang_up(str(error)))
        return effects

    def symbol_of(self, con_id: str) -> str:
        """Return the symbol of a contract id, for faults that are narrowed to one; empty when there is none."""
        query = asked.ContractQuery(con_id=int(con_id) if con_id.isdecimal() and len(con_id) < 19 else 0)
        return next((it.symbol for it in self._gateway.catalogue.find(query)), "")

    def close(self) -> None:
        """Free what the client held. The shell calls it when the socket is gone."""
        self._stage = Stage.CLOSED
        self._gateway.release(self)

    def _handle(self, payload: bytes, now: float) -> Iterator[Effect]:
        if self._stage is Stage.GREETING:
            yield from self._negotiate(payload, now)
            return
        yield from self._gateway.faults.received(self, fields(payload), now)

    def take(self, texts: list[str], now: float) -> Iterator[Effect]:
        """Answer a message that no fault has kept back."""
        try:
            request = parse(texts)
        except MalformedField as error:
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
                yield from self.queries.history(request, now)
            case asked.ContractDetailsRequest():
                yield from self._contract_details(request, now)
            case asked.MatchingSymbolsRequest(req_id, pattern):
                yield answers.symbol_samples(req_id, self._gateway.catalogue.matching(pattern), self.version)
            case asked.HeadTimestampRequest():
                yield from self.queries.head(request, now)
            case asked.RealTimeBarsRequest():
                self.lines.subscribe_bars(request, now)
            case asked.CancelRealTimeBars(req_id):
                self.lines.cancel_bars(req_id)
            case asked.CancelHistorical(req_id):
                self.queries.cancel(req_id)
            case asked.CancelHeadTimestamp(req_id):
                self.queries.cancel_head(req_id)
            case asked.MarketDataRequest():
                yield from self.lines.subscribe_ticks(request, now)
            case asked.CancelMarketData(req_id):
                self.lines.cancel_ticks(req_id)
            case asked.MarketDataTypeRequest(kind):
                self.lines.wanted = kind
            case asked.CurrentTimeRequest():
                yield from self._current_time(now)
            case asked.IdsRequest():
                yield answers.next_valid_id(FIRST_ORDER_ID)
            case asked.ManagedAccountsRequest():
                yield answers.managed_accounts(self._gateway.tape.account)
            case asked.OrderRequest():
                raise Refused(READ_ONLY)
            case _:
                refuses = self._gateway.behaviour.refuses_order_lists
                yield from account.told(request, self._gateway.tape.account, now, refuses_order_lists=refuses)

    def _current_time(self, now: float) -> Iterator[bytes]:
        moment = self._gateway.real_time(now)
        if abs(moment - self._time_told) >= TIME_TOLD_EVERY_S:
            self._time_told = moment
            yield answers.current_time(int(now))

    def _start(self, request: asked.StartApi) -> Iterator[bytes | Hangup]:
        too_many = self._gateway.is_full
        if not self._gateway.claim(request.client_id, self):
            yield self._error(NO_REQUEST, ID_IN_USE)
            yield self._hang_up(f"client id {request.client_id} is in use")
            return
        if too_many:
            yield self._hang_up(f"there are {self._gateway.behaviour.max_clients} clients already")
            return
        self._stage = Stage.STARTED
        self._reader.limit = MAX_FRAME
        yield answers.managed_accounts(self._gateway.tape.account)
        yield answers.next_valid_id(FIRST_ORDER_ID)
        for farm in FARMS:
            yield self._error(NO_REQUEST, farm)

    def _contract_details(self, request: asked.ContractDetailsRequest, now: float) -> Iterator[bytes]:
        catalogue = self._gateway.catalogue
        by_isin = request.sec_id_type == "ISIN"
        found = catalogue.by_isin(request.sec_id) if by_isin else catalogue.find(request.contract)
        if not found:
            raise Refused(UNKNOWN_CONTRACT)
        for instrument in found:
            told = details(instrument, request.contract.exchange, now)
            yield answers.contract_details(request.req_id, told, self.version)
        yield answers.contract_details_end(request.req_id)

    def _error(self, req_id: int, notice: Notice) -> bytes:
        return answers.error(req_id, notice, self.version)

    def _hang_up(self, reason: str) -> Hangup:
        self._stage = Stage.CLOSED
        return Hangup(reason)


def _id_of(request: asked.Request) -> int:
    return int(getattr(request, "req_id", getattr(request, "order_id", NO_REQUEST)))
