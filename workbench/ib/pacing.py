"""IB's limits on requests, all in one budget, kept before IB has to enforce them. Pure: the time is an argument.

Windows limit how much is sent: bars up to 30 seconds and head timestamps have three of their own, and every message
counts for the message rate. Places limit how much is under way. Longer bars have no window but that of the messages;
IB's servers only get slower. Times are in seconds on any one clock.

IB measures when a request arrives, not when it leaves, and a gateway that is busy for a moment takes what has queued up
meanwhile all at once. So windows are longer here than IB's by a margin: however late each message arrives, up to the
margin, none of IB's windows holds more than its limit.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple
from uuid import uuid4

SMALL_BARS_S = 30
LIVE = "live"
"""The rest of a request for a live stream."""
MARGIN_S = 1.0
COOL_DOWN_S = 60.0
"""How long nothing is asked for after IB has reported a violation."""
PLACES = 50
"""Historical requests under way at the same time, those that are kept up to date and head timestamps among them."""
MARKET_DATA_LINES = 100
_SPARE_MESSAGES = 0.1
"""The share of the message rate that is left to what is not booked: questions for the time, cancels, subscriptions."""
_MESSAGES_MARGIN_S = 0.25
_BUNCH, _BUNCH_S, _BUNCH_MARGIN_S = 0.18, 0.2, 0.02
"""The share of a second's messages that goes at once, and for how long that is it: many at once keep a gateway busy, so
that the last of them are late by that alone."""
_MANY = 1000


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a request IB's limits look at."""

    contract: str
    exchange: str
    what_to_show: str
    bar_seconds: int
    rest: str = ""
    """Whatever else makes a request another one: its end, duration and hours."""
    messages: int = 1
    """How many messages it takes: a head timestamp is cancelled afterwards."""

    @property
    def is_small(self) -> bool:
        """Whether the limits on small bars of history apply."""
        return self.bar_seconds <= SMALL_BARS_S and not self.is_live

    @property
    def is_live(self) -> bool:
        """Whether it is a request for a live stream, which has a window of its own."""
        return self.rest == LIVE

    @property
    def weight(self) -> int:
        """How many requests it counts for."""
        return 2 if self.what_to_show == "BID_ASK" else 1


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` of one `key` in any `window_s` seconds; a key of None is not counted."""

    name: str
    count: int
    window_s: float
    key: Callable[[Ask], Hashable]
    weight: Callable[[Ask], int]
    margin_s: float = MARGIN_S


SMALL_BAR_LIMITS = (
    Limit("identical requests", 1, 15.0, lambda ask: ask if ask.is_small else None, lambda _: 1),
    Limit(
        "requests of one contract, exchange and price",
        5,
        2.0,
        lambda ask: (ask.contract, ask.exchange, ask.what_to_show) if ask.is_small else None,
        lambda ask: ask.weight,
    ),
    Limit("requests of small bars", 60, 600.0, lambda ask: "all" if ask.is_small else None, lambda ask: ask.weight),
)
"""Source: IBKR Campus, "Pacing Violations for Small Bars (30 secs or less)": identical ones within 15 seconds; six or
more of the same contract, exchange and tick type within two; more than 60 in ten minutes."""

LIVE_LIMIT = Limit("new live streams", 60, 600.0, lambda ask: "all" if ask.is_live else None, lambda _: 1)
"""Source: IBKR, live five-second bars: no more than 60 new requests in ten minutes."""


def messages_a_second(lines: int = MARKET_DATA_LINES) -> int:
    """Return how many messages IB takes in a second from an account of so many market data lines: half as many."""
    return max(1, lines // 2)


def limits_for(lines: int = MARKET_DATA_LINES) -> tuple[Limit, ...]:
    """Return all limits that have a window, for an account of so many market data lines."""
    booked = max(2, math.floor(messages_a_second(lines) * (1 - _SPARE_MESSAGES)))
    rate = Limit("messages", booked, 1.0, lambda _: "all", lambda ask: ask.messages, _MESSAGES_MARGIN_S)
    bunch = replace(rate, count=max(2, math.floor(booked * _BUNCH)), window_s=_BUNCH_S, margin_s=_BUNCH_MARGIN_S)
    return (*SMALL_BAR_LIMITS, LIVE_LIMIT, rate, bunch)


def cold_until(now: float) -> float:
    """Return until when nothing is sent after a violation that is reported now."""
    return now + COOL_DOWN_S


class Booking(NamedTuple):
    """A request that was let go: when, and until when it keeps its place unless it gives it back."""

    token: str
    ask: Ask
    sent: float
    held_until: float


class Granted(NamedTuple):
    """What may be sent now, by its position among what was asked; and when it is worth asking again for the rest.

    When it is `crowded`, a place that is given back is worth asking again, too.
    """

    bookings: Mapping[int, Booking]
    again: float
    crowded: bool = False


class Pacer:
    """The budget of one account: lets requests go so that no window ever holds more than its limit.

    `places` limits how many are under way; each is held for `hold_s` at most, so that those of a process that died
    come back. `stretch` is how many seconds of the limits' clock pass in a real one: margins are of real time.

    >>> pacer, ask = Pacer(), Ask("AAPL", "SMART", "TRADES", bar_seconds=5)
    >>> pacer.grant([ask], 0.0).again, pacer.grant([ask], 1.0).again
    (inf, 16.0)
    """

    def __init__(
        self,
        limits: Sequence[Limit] = limits_for(),
        *,
        places: int = PLACES,
        hold_s: float = 90.0,
        stretch: float = 1.0,
        booked: Iterable[Booking] = (),
        cold_until: float = -math.inf,
    ) -> None:
        self.cold_until = cold_until
        self._rules = [(limit, limit.window_s + limit.margin_s * stretch) for limit in limits]
        self._places, self._hold_s = places, hold_s
        self._sent: defaultdict[tuple[int, Hashable], deque[tuple[float, int]]] = defaultdict(deque)
        self._held: dict[str, float] = {}
        for booking in sorted(booked, key=lambda one: one.sent):
            self._enter(booking)

    def grant(self, asks: Sequence[Ask], now: float) -> Granted:
        """Let go of these what may be sent now, the first ones first."""
        self._held = {token: until for token, until in self._held.items() if until > now}
        if len(self._sent) > _MANY:
            self._forget(now)
        bookings, again = {}, math.inf
        for position, ask in enumerate(asks):
            when = self.earliest(ask, now)
            if when > now:
                again = min(again, when)
                continue
            bookings[position] = Booking(uuid4().hex, ask, now, now + self._hold_s)
            self._enter(bookings[position])
        return Granted(bookings, again, crowded=len(self._held) >= self._places)

    def earliest(self, ask: Ask, now: float) -> float:
        """Return the first moment from now on at which the request may go, when nothing else goes before."""
        when = max(now, self.cold_until)
        if len(self._held) >= self._places and not ask.is_live:
            when = max(when, min(self._held.values()))
        for number, (limit, window_s) in enumerate(self._rules):
            if (key := limit.key(ask)) is not None:
                when = max(when, self._room(number, key, window_s, limit.count - limit.weight(ask), now))
        return when

    def release(self, tokens: Collection[str]) -> None:
        """Give places back; in the windows the requests go on to count."""
        for token in tokens:
            self._held.pop(token, None)

    def cool_down(self, now: float) -> None:
        """Let nothing be sent for a while: IB has reported a violation."""
        self.cold_until = max(self.cold_until, cold_until(now))

    def _enter(self, booking: Booking) -> None:
        if not booking.ask.is_live:  # a stream takes a market data line, no place among the requests of history
            self._held[booking.token] = booking.held_until
        for number, (limit, _) in enumerate(self._rules):
            if (key := limit.key(booking.ask)) is not None:
                self._sent[number, key].append((booking.sent, limit.weight(booking.ask)))

    def _forget(self, now: float) -> None:
        """Drop the windows that have emptied; nobody may ask for their keys again."""
        longest = max((window_s for _, window_s in self._rules), default=0.0)
        self._sent = defaultdict(deque, {at: sent for at, sent in self._sent.items() if sent[-1][0] + longest > now})

    def _room(self, number: int, key: Hashable, window_s: float, most: int, now: float) -> float:
        """Return when no more than `most` of this key is left in the window; forget what has left it."""
        sent = self._sent.get((number, key))
        if sent is None:
            return now
        while sent and sent[0][0] + window_s <= now:
            sent.popleft()
        if not sent:
            del self._sent[number, key]
            return now
        used, when = sum(weight for _, weight in sent), now
        for time, weight in sent:
            if used <= most:
                break
            used, when = used - weight, time + window_s
        return when
