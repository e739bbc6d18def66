"""One client's market data lines: live five-second bars, and ticks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.errors import GatewayError
from workbench.gateway import answers
from workbench.gateway.asof import AS_TRADED, WHAT_TO_SHOW
from workbench.gateway.contracts import STOCK, in_its_hours
from workbench.gateway.realtime import Feed
from workbench.gateway.refusals import (
    DELAYED_SHOWN,
    DUPLICATE_ID,
    NO_TICKS,
    WHAT_TO_SHOW_INVALID,
    Notice,
    Refused,
    invalid,
    no_live_bars,
    no_live_market,
    no_live_ticks,
)
from workbench.gateway.requests import MarketDataRequest, RealTimeBarsRequest
from workbench.gateway.rules import Asked, Counted
from workbench.gateway.tape import Instrument
from workbench.gateway.ticks import DELAYED, DELAYED_FROZEN, LIVE, Layout, kind_told

if TYPE_CHECKING:
    from workbench.gateway.protocol import GatewayConnection
    from workbench.gateway.shared import Gateway


class Lines:
    """What one client is sent as it happens."""

    def __init__(self, gateway: Gateway, client: GatewayConnection) -> None:
        self._gateway = gateway
        self._client = client
        self.wanted = LIVE
        """The type of market data that the client asked for last."""

    def subscribe_bars(self, request: RealTimeBarsRequest, now: float) -> None:
        """Begin with live five-second bars. Raises Refused."""
        instrument = self._gateway.catalogue.one(request.contract)
        request = in_its_hours(request, instrument)
        if request.what_to_show not in WHAT_TO_SHOW:
            raise Refused(WHAT_TO_SHOW_INVALID)
        if not self._gateway.behaviour.market_data:
            raise Refused(NO_TICKS)
        if instrument.sec_type != STOCK and request.what_to_show not in AS_TRADED:
            raise Refused(no_live_market(instrument.symbol, request.what_to_show))
        if not instrument.streams:
            raise Refused(no_live_bars(instrument.symbol))
        self._refuse_held(request.req_id)
        self._admit(request, now, instrument)
        is_stock = instrument.sec_type == STOCK
        feed = Feed(instrument, request.what_to_show, request.use_rth, lots=is_stock, version=self._client.version)
        self._gateway.live.subscribe(self._client, request.req_id, feed, now)

    def cancel_bars(self, req_id: int) -> None:
        """End live five-second bars. Raises Refused when there are none."""
        if not self._gateway.live.holds(self._client, req_id):
            raise Refused(_unknown(req_id))
        self._gateway.live.cancel(self._client, req_id)
        self._free(req_id)

    def bars_broke(self, req_id: int, error: GatewayError) -> bytes:
        """End bars whose tape can no longer be read, and return what the client is told."""
        self.cancel_bars(req_id)
        return self._error(req_id, Notice(420, f"Invalid Real-time Query:{error}"))

    def subscribe_ticks(self, request: MarketDataRequest, now: float) -> Iterator[bytes]:
        """Answer with what is known of a contract; but for a snapshot, more follows. Raises Refused.

        Generic ticks are accepted and bring nothing: what they tell is on no tape.
        """
        instrument = self._gateway.catalogue.one(request.contract)
        subscribed = self._gateway.behaviour.market_data
        self._check(request, subscribed=subscribed)
        if not instrument.streams:
            raise Refused(no_live_ticks(instrument.symbol))
        self._admit(request, now, instrument)
        if not subscribed:
            yield self._error(request.req_id, DELAYED_SHOWN)
        snapshot = request.snapshot or request.regulatory_snapshot
        yield self._gateway.ticks.begin(
            self._client,
            request.req_id,
            Layout(instrument, self._client.version, delayed=not subscribed),
            now,
            kind=kind_told(self.wanted, self._gateway.behaviour.seen_until(now), subscribed=subscribed),
            snapshot=snapshot,
        )
        if snapshot:
            self._free(request.req_id)

    def cancel_ticks(self, req_id: int) -> None:
        """End ticks. Raises Refused when there are none."""
        if not self._gateway.ticks.holds(self._client, req_id):
            raise Refused(_unknown(req_id))
        self._gateway.ticks.cancel(self._client, req_id)
        self._free(req_id)

    def ticks_broke(self, req_id: int, error: GatewayError) -> bytes:
        """End ticks whose tape can no longer be read, and return what the client is told."""
        self.cancel_ticks(req_id)
        return self._error(req_id, Notice(322, f"Error processing request.-'bK' : cause - {error}"))

    def _check(self, request: MarketDataRequest, *, subscribed: bool) -> None:
        if request.snapshot and request.generic_ticks:
            raise Refused(invalid("Snapshot market data subscription is not applicable to generic ticks"))
        self._refuse_held(request.req_id)
        if not subscribed and self.wanted not in (DELAYED, DELAYED_FROZEN):
            raise Refused(NO_TICKS)

    def _refuse_held(self, req_id: int) -> None:
        """Raise Refused when any stream of the client has the id: a line is counted by it."""
        gateway = self._gateway
        if any(stream.holds(self._client, req_id) for stream in (gateway.live, gateway.ticks, gateway.kept)):
            raise Refused(DUPLICATE_ID)

    def _admit(self, request: MarketDataRequest | RealTimeBarsRequest, now: float, instrument: Instrument) -> None:
        """Count a request that passed validation. Raises Refused when that breaks one of IB's rules."""
        gateway = self._gateway
        gateway.rulebook.admit(Asked(self._client, request, instrument.con_id), gateway.rules_time(now))

    def _free(self, req_id: int) -> None:
        self._gateway.rulebook.release(self._client, req_id, Counted.LINES)

    def _error(self, req_id: int, notice: Notice) -> bytes:
        return answers.error(req_id, notice, self._client.version)


def _unknown(req_id: int) -> Notice:
    return Notice(300, f"Can't find EId with tickerId:{req_id}")
