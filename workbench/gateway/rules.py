"""IB's limits on requests, a table; `rulebook.py` keeps account of them.

A rule admits so much within a window of time, or so much at the same time.

The numbers are those of IB's own pages on historical data limitations and market data lines. They do not say which
limits hold for each client and which for all clients of a gateway together. The pacing limits guard IB's servers and
the market data lines belong to the account, so those are shared here; that the other two guard the connection is not
verified.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np

from workbench.gateway.aggregate import select
from workbench.gateway.history import BAR_SIZES, History
from workbench.gateway.refusals import (
    NEW_LIVE_BARS_PACING,
    PACING,
    TOO_MANY_MESSAGES,
    TOO_MANY_SIMULTANEOUS,
    TOO_MANY_TICKERS,
    Notice,
)
from workbench.gateway.requests import (
    ContractQuery,
    HeadTimestampRequest,
    HistoricalRequest,
    MarketDataRequest,
    RealTimeBarsRequest,
    Request,
)

SMALL_BAR = 30  # seconds: the pacing of longer bars was lifted
SMALL_BARS_KEPT = 183 * 86_400  # seconds, "six months": IB serves no small bars that are older
HELD = math.inf
"""The window of what occupies a place until it is released."""


class Counted(Enum):
    """What a rule counts."""

    MESSAGES = auto()
    """Every message of a client."""
    SMALL_BARS = auto()
    """Historical requests for bars of 30 seconds or less, and for head timestamps."""
    HISTORICAL = auto()
    """Historical requests not answered yet, kept up to date, and head timestamps not cancelled."""
    LIVE_BARS = auto()
    """New requests for real-time bars."""
    LINES = auto()
    """Real-time bars and market data that are held."""


class Scope(Enum):
    """Who shares a limit."""

    ACCOUNT = auto()
    """All clients of the gateway."""
    CLIENT = auto()
    """Each connection has its own."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the rules see it: whose it is, of which contract, and the rest of what was asked."""

    client: Hashable
    request: Request
    con_id: int = 0

    @property
    def req_id(self) -> int:
        """The request's id, -1 for what has none."""
        return getattr(self.request, "req_id", -1)


def anything(_: Asked) -> Hashable:
    """Count all together."""
    return None


def identical(asked: Asked) -> Hashable:
    """Count equal requests together, however they name the contract."""
    request = asked.request
    if not isinstance(request, HistoricalRequest | HeadTimestampRequest):
        return request
    contract = ContractQuery(con_id=asked.con_id, exchange=request.contract.exchange)
    return replace(request, req_id=0, contract=contract)


def same_ticks(asked: Asked) -> Hashable:
    """Count requests for one contract, exchange and tick type together."""
    request = asked.request
    if not isinstance(request, HistoricalRequest | HeadTimestampRequest):
        return request
    return asked.con_id, request.contract.exchange, request.what_to_show


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `limit` of what is `counted` within any `window_s` seconds, which begin with a request."""

    name: str
    limit: int
    window_s: float
    counted: Counted
    scope: Scope
    notice: Notice
    source: str
    alike: Callable[[Asked], Hashable] = anything
    bid_ask_twice: bool = False
    strikes: int = 0  # after so many refusals the session ends; 0: never

    def weight(self, asked: Asked) -> int:
        """Return how often a request counts."""
        return 2 if self.bid_ask_twice and getattr(asked.request, "what_to_show", "") == "BID_ASK" else 1

    def group(self, asked: Asked) -> Hashable:
        """Return what the request is counted together with."""
        return (asked.client if self.scope is Scope.CLIENT else None), self.alike(asked)


IDENTICAL = Rule("identical request", 1, 15.0, Counted.SMALL_BARS, Scope.ACCOUNT, PACING, "A1, B10.1", identical)
# Which of the two counts BID_ASK twice is not said: both. An identical request is one request either way.
SAME_TICKS = Rule(
    "same contract, exchange and tick type", 5, 2.0, Counted.SMALL_BARS, Scope.ACCOUNT, PACING, "A1, B10.2",
    same_ticks, bid_ask_twice=True,
)  # fmt: skip
TEN_MINUTES = Rule(
    "small bars in ten minutes", 60, 600.0, Counted.SMALL_BARS, Scope.ACCOUNT, PACING, "A1, B10.3", bid_ask_twice=True
)
SIMULTANEOUS = Rule(
    "simultaneous historical requests", 50, HELD, Counted.HISTORICAL, Scope.CLIENT, TOO_MANY_SIMULTANEOUS, "A1, B7"
)
NEW_LIVE_BARS = Rule(
    "new real-time bars in ten minutes", 60, 600.0, Counted.LIVE_BARS, Scope.ACCOUNT, NEW_LIVE_BARS_PACING, "A1, B7"
)
LINES = Rule("market data lines", 100, HELD, Counted.LINES, Scope.ACCOUNT, TOO_MANY_TICKERS, "A1, A5")
MESSAGES = Rule(
    "messages per second", 50, 1.0, Counted.MESSAGES, Scope.CLIENT, TOO_MANY_MESSAGES, "A1, B9 (100)", strikes=3
)

RULES = (IDENTICAL, SAME_TICKS, TEN_MINUTES, SIMULTANEOUS, NEW_LIVE_BARS, LINES, MESSAGES)

# Not IB's but ours, and in force where IB's rules are not: what one client holds is kept in memory.
GUARDS = (
    Rule("lines of one client", 20_000, HELD, Counted.LINES, Scope.CLIENT, TOO_MANY_TICKERS, "ours"),
    # each different series that is kept up to date takes up to half a millisecond a tick: 200 leave 50 x real time
    Rule("queries of one client", 200, HELD, Counted.HISTORICAL, Scope.CLIENT, TOO_MANY_SIMULTANEOUS, "ours"),
)


def rules_for(lines: int = LINES.limit) -> tuple[Rule, ...]:
    """Return IB's rules for an account of so many market data lines; half as many messages a second go with them."""
    limits = {LINES: lines, MESSAGES: max(1, lines // 2)}
    return tuple(replace(rule, limit=limits.get(rule, rule.limit)) for rule in RULES)


_KINDS: dict[type[Request], frozenset[Counted]] = {
    HistoricalRequest: frozenset({Counted.SMALL_BARS, Counted.HISTORICAL}),
    HeadTimestampRequest: frozenset({Counted.SMALL_BARS, Counted.HISTORICAL}),
    RealTimeBarsRequest: frozenset({Counted.LIVE_BARS, Counted.LINES}),
    MarketDataRequest: frozenset({Counted.LINES}),
}


def counted(request: Request) -> frozenset[Counted]:
    """Return what a request that passed validation counts as."""
    kinds = _KINDS.get(type(request), frozenset())
    return kinds if is_small(request) else kinds - {Counted.SMALL_BARS}


def is_small(request: Request) -> bool:
    """Return whether the pacing of small bars holds for a historical request."""
    return not isinstance(request, HistoricalRequest) or BAR_SIZES.get(request.bar_size, math.inf) <= SMALL_BAR


def without_old(found: History, oldest: float) -> History:
    """Return an answer without the bars that start before `oldest`, in epoch seconds."""
    first = int(np.searchsorted(found.bars.start, oldest))
    return replace(found, stamps=found.stamps[first:], bars=select(found.bars, slice(first, None)))
