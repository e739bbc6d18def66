"""What an outage is made of: an `Episode` is data, and the session faults are a table of them.

An episode begins with notices to every client, keeps requests from being answered and streams from flowing while it
lasts, and ends with notices and with the fate of the streams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from workbench.gateway.effects import Effect
from workbench.gateway.messages import REQUEST_NAMES, STREAMS
from workbench.gateway.refusals import Notice

ALL_STREAMS = frozenset(STREAMS.values())
BARS = frozenset({"realtimeBar"})
UPDATES = frozenset({"historicalDataUpdate"})
MARKET_DATA = frozenset({"realtimeBar", "tickPrice"})

ASKED_OF_IB = frozenset({"reqContractDetails", "reqMatchingSymbols", "reqHeadTimeStamp", "reqHistoricalData"})
"""Requests that wait for IB's servers.

Subscriptions are not among them: they are taken, and flow once data do. What TWS does with one is not on record.
"""

HISTORICAL = frozenset({"reqHistoricalData", "reqHeadTimeStamp"})
DEFINITIONS = frozenset({"reqContractDetails", "reqMatchingSymbols"})
ALL_REQUESTS = REQUEST_NAMES - {"startApi"}


class Fate(Enum):
    """What becomes of streams when an episode ends."""

    ALIVE = "alive"
    DEAD = "dead"
    """Silent until the client requests them again."""
    GONE = "gone"
    """As dead, and the gateway has forgotten them: cancelling is answered by an error."""


@dataclass(frozen=True, slots=True)
class Episode:
    """What is told, kept back and ended. `symbols` narrows streams and requests; empty means all."""

    begin: tuple[Notice, ...] = ()
    every: float = math.inf
    """After so many seconds the first notice is told again, and again."""
    told: Notice | None = None
    """Told to each of `streams` under its own request id."""
    seconds: float = 0.0
    unanswered: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)
    """Requests, and the name of the reason for which they are refused (`connectivity.REASONS`)."""
    silent: frozenset[str] = frozenset()
    """Streams of which nothing is sent while it lasts; nothing of it is sent later."""
    end: tuple[Notice, ...] = ()
    streams: frozenset[str] = ALL_STREAMS
    """The streams that `told` and `fate` are about."""
    fate: Fate = Fate.ALIVE
    symbols: tuple[str, ...] = ()
    keeps_id: bool = False
    """The connections are reset, and their client ids stay in use while it lasts."""
    at_first: Effect | None = None
    at_last: Effect | None = None
    """What the gateway itself does when it begins and ends."""

    def is_about(self, symbol: str) -> bool:
        """Return whether it befalls a symbol."""
        return not self.symbols or symbol in self.symbols


@dataclass(slots=True)
class Running:
    """An episode that lasts, whom it befalls (None: all), the client ids it keeps, when it is told again."""

    episode: Episode
    until: float
    client_id: int | None
    kept_ids: frozenset[int]
    again: float

    def befalls(self, client_id: int | None, symbol: str) -> bool:
        """Return whether it is about a symbol of a client."""
        return self.client_id in (None, client_id) and self.episode.is_about(symbol)
