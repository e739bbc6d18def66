"""One client's requests of the historical service: bars, schedules, head timestamps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from workbench.errors import GatewayError
from workbench.gateway import answers, history
from workbench.gateway.asof import SCHEDULE
from workbench.gateway.contracts import STOCK, in_its_hours
from workbench.gateway.durations import parse_end
from workbench.gateway.hours import hours
from workbench.gateway.keepup import Kept
from workbench.gateway.pending import Answer
from workbench.gateway.refusals import (
    DUPLICATE_QUERY,
    NEWEST_LEFT_OUT,
    WHAT_TO_SHOW_INVALID,
    Notice,
    Refused,
    cancelled,
    historical,
    no_data,
    no_permission,
)
from workbench.gateway.requests import HeadTimestampRequest, HistoricalRequest
from workbench.gateway.rules import Asked, Counted, without_old
from workbench.gateway.tape import Instrument

if TYPE_CHECKING:
    from workbench.gateway.protocol import GatewayConnection
    from workbench.gateway.shared import Gateway

HISTORICAL_SERVICE = 162


class Reply(NamedTuple):
    """The answer to a historical request: its bytes, how many bars, what goes before it, and what follows it.

    Where it does not end the request, the request holds its place until it is cancelled. `newest` labels the last
    bar of those that are kept up to date.
    """

    data: bytes
    bars: int = 0
    warning: bytes = b""
    ends: bool = True
    newest: int | None = None


class Queries:
    """What one client asks of the historical service."""

    def __init__(self, gateway: Gateway, client: GatewayConnection) -> None:
        self._gateway = gateway
        self._client = client

    def history(self, request: HistoricalRequest, now: float) -> Iterator[bytes]:
        """Answer with bars or sessions; bars kept up to date are followed by more. Raises Refused."""
        instrument = self._gateway.catalogue.one(request.contract)
        request = in_its_hours(request, instrument)
        self._check_id(request.req_id)
        try:
            reply = self._found(request, instrument, now)
        except Refused as refused:
            reply = self._service_error(request.req_id, refused)
        self._admit(request, now, instrument)
        if self._ends_early(request, now):
            yield answers.error(request.req_id, NEWEST_LEFT_OUT, self._client.version)
        if reply.warning:
            yield reply.warning
        yield from self._in_time(request.req_id, reply, now)
        if reply.newest is not None:
            kept = self._kept(request, instrument)
            due = now + self._gateway.latency.of(reply.bars)
            self._gateway.kept.keep(self._client, request.req_id, kept, reply.newest, since=due)

    def head(self, request: HeadTimestampRequest, now: float) -> Iterator[bytes]:
        """Answer with the earliest instant of a series; it holds its place until it is cancelled. Raises Refused."""
        instrument = self._gateway.catalogue.one(request.contract)
        request = in_its_hours(request, instrument)
        self._check_id(request.req_id)
        try:
            value = history.head(request, instrument, self._gateway.tape, now)
            reply = Reply(answers.head_timestamp(request.req_id, value), ends=False)
        except Refused as refused:
            reply = self._service_error(request.req_id, refused)
        self._admit(request, now, instrument)
        yield from self._in_time(request.req_id, reply, now)

    def cancel(self, req_id: int) -> NoReturn:
        """End a request. Raises Refused always: it was cancelled, or there was none."""
        if not self._dropped(req_id):
            raise Refused(Notice(366, f"No historical data query found for ticker id:{req_id}"))
        raise Refused(cancelled(req_id))

    def cancel_head(self, req_id: int) -> None:
        """End a head timestamp request; whether there was one or not, TWS says nothing."""
        self._dropped(req_id)

    def broke(self, req_id: int, error: GatewayError) -> bytes:
        """End bars whose tape can no longer be read, and return what the client is told."""
        self._dropped(req_id)
        return answers.error(req_id, historical(str(error)), self._client.version)

    def _check_id(self, req_id: int) -> None:
        self._gateway.pending.check(self._client, req_id)
        if self._gateway.kept.holds(self._client, req_id):
            raise Refused(DUPLICATE_QUERY)

    def _found(self, request: HistoricalRequest, instrument: Instrument, now: float) -> Reply:
        if request.what_to_show == SCHEDULE:
            return self._schedule(request, instrument, now)
        return self._bars(request, instrument, now)

    def _schedule(self, request: HistoricalRequest, instrument: Instrument, now: float) -> Reply:
        if self._client.version < answers.SCHEDULES:
            raise Refused(WHAT_TO_SHOW_INVALID)
        found = history.schedule(request, instrument, now)
        data = answers.historical_schedule(request.req_id, found.period, found.zone, found.sessions)
        return Reply(data, bars=len(found.sessions))

    def _ends_early(self, request: HistoricalRequest, now: float) -> bool:
        """Return whether an answer lacks the newest bars, for the account sees the market late."""
        seen = self._gateway.behaviour.seen_until(now)
        if seen == now or request.what_to_show == SCHEDULE:
            return False
        begin, end = math.ceil(seen), parse_end(request.end, now).instant
        return begin < end and bool(hours().touching(begin, end, use_rth=request.use_rth))

    def _bars(self, request: HistoricalRequest, instrument: Instrument, now: float) -> Reply:
        behaviour = self._gateway.behaviour
        zone, seen = behaviour.zone_of_dates(instrument.time_zone), behaviour.seen_until(now)
        found = history.answer(request, instrument, self._gateway.tape, now, zone, seen_until=seen)
        if request.keep_up_to_date and not behaviour.market_data:
            raise Refused(no_permission(instrument.primary_exchange, instrument.sec_type))
        found = without_old(found, self._gateway.rulebook.oldest_kept(request, now))
        if not len(found.bars):
            raise Refused(no_data(instrument.symbol, request.contract.exchange, request.what_to_show))
        data = answers.historical_bars(
            request.req_id,
            found.period,
            found.stamps,
            found.bars,
            lots=instrument.sec_type == STOCK,
            version=self._client.version,
        )
        warning = answers.error(request.req_id, found.warning, self._client.version) if found.warning else b""
        newest = int(found.bars.start[-1]) if request.keep_up_to_date else None
        return Reply(data, len(found.bars), warning, ends=newest is None, newest=newest)

    def _kept(self, request: HistoricalRequest, instrument: Instrument) -> Kept:
        return Kept(
            instrument,
            history.validated(request)[0],
            request.what_to_show,
            request.use_rth,
            request.format_date,
            self._gateway.behaviour.zone_of_dates(instrument.time_zone),
            lots=instrument.sec_type == STOCK,
            version=self._client.version,
        )

    def _service_error(self, req_id: int, refused: Refused) -> Reply:
        """Return an answer of the historical service; what TWS itself refuses never reaches it and counts nowhere."""
        if refused.notice.code != HISTORICAL_SERVICE:
            raise refused
        return Reply(answers.error(req_id, refused.notice, self._client.version))

    def _in_time(self, req_id: int, reply: Reply, now: float) -> Iterator[bytes]:
        """Give the answer of a historical request now, or let it wait as long as such an answer takes."""
        seconds = self._gateway.latency.of(reply.bars)
        if seconds:
            self._gateway.pending.put(self._client, req_id, Answer(now + seconds, reply.data, reply.ends))
            return
        if reply.ends:
            self._gateway.rulebook.release(self._client, req_id, Counted.HISTORICAL)
        yield reply.data

    def _dropped(self, req_id: int) -> bool:
        """Give back what a historical request holds; return whether anything of it was still to come."""
        self._gateway.rulebook.release(self._client, req_id, Counted.HISTORICAL)
        held = False
        for holder in (self._gateway.pending, self._gateway.kept):
            if holder.holds(self._client, req_id):
                holder.cancel(self._client, req_id)
                held = True
        return held

    def _admit(self, request: HistoricalRequest | HeadTimestampRequest, now: float, instrument: Instrument) -> None:
        """Count a request that passed validation. Raises Refused when that breaks one of IB's rules."""
        gateway = self._gateway
        gateway.rulebook.admit(Asked(self._client, request, instrument.con_id), gateway.rules_time(now))
