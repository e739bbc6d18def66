"""Faults of the session: each is an `Episode` that befalls all clients, or the one that `When.client` names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.gateway import effects
from workbench.gateway.faults.connectivity import (
    BROKEN,
    BUST,
    COMPETING,
    INACTIVE,
    LOST,
    NO_LIVE_UPDATES,
    OK,
    RESTORED,
    RESTORED_LOST,
    SERVER_BROKEN,
)
from workbench.gateway.faults.episodes import (
    ALL_REQUESTS,
    ALL_STREAMS,
    ASKED_OF_IB,
    BARS,
    DEFINITIONS,
    HISTORICAL,
    MARKET_DATA,
    UPDATES,
    Episode,
    Fate,
)
from workbench.gateway.faults.stream import FOR_EVER, is_code, length_of_time, require
from workbench.gateway.refusals import Notice

Streams = Literal["alive", "dead"]


@dataclass(frozen=True, slots=True)
class ConnectivityLost:
    """1100; no data and no answers from IB for so long; then 1102, or 1101 when data are lost.

    `streams` are those after a 1102; after a 1101 all are gone. The 1100 comes again `every` so many seconds.
    """

    seconds: float = 60.0
    data: Literal["maintained", "lost"] = "maintained"
    streams: Streams = "alive"
    every: float = FOR_EVER

    def __post_init__(self) -> None:
        require(self.every > 0, f"every is {self.every}; give the seconds between two notices")

    def episode(self) -> Episode:
        """Return the outage."""
        restored = ConnectivityRestored(self.data, self.streams).episode()
        return Episode(
            begin=(LOST,),
            every=self.every,
            seconds=length_of_time(self.seconds),
            unanswered=ASKED_OF_IB,
            silent=ALL_STREAMS,
            end=restored.end,
            fate=restored.fate,
        )


@dataclass(frozen=True, slots=True)
class ConnectivityRestored:
    """1102 alone, or 1101 when data are lost."""

    data: Literal["maintained", "lost"] = "maintained"
    streams: Streams = "alive"

    def episode(self) -> Episode:
        """Return the end of an outage."""
        if self.data == "lost":
            return Episode(end=(RESTORED_LOST, *OK.values()), fate=Fate.GONE)
        return Episode(end=(RESTORED,), fate=Fate(self.streams))


@dataclass(frozen=True, slots=True)
class Tell:
    """Any code and text, told to the client and about no request (id -1); nothing else happens."""

    code: int
    text: str = ""

    def __post_init__(self) -> None:
        require(is_code(self.code), f"code is {self.code}; IB's codes are positive")

    def episode(self) -> Episode:
        """Return the notice."""
        return Episode(begin=(Notice(self.code, self.text),))


@dataclass(frozen=True, slots=True)
class FarmBroken:
    """2103, 2105 or 2157; what the farm serves stays away for so long; then 2104, 2106 or 2158."""

    farm: Literal["market", "historical", "secdef"] = "market"
    seconds: float = 5.0
    streams: Streams = "alive"

    def episode(self) -> Episode:
        """Return the flap."""
        unanswered = {"market": frozenset[str](), "historical": HISTORICAL, "secdef": DEFINITIONS}[self.farm]
        silent = {"market": MARKET_DATA, "historical": UPDATES, "secdef": frozenset[str]()}[self.farm]
        return Episode(
            begin=(BROKEN[self.farm],),
            seconds=length_of_time(self.seconds),
            unanswered=unanswered,
            silent=silent,
            end=(OK[self.farm],),
            streams=silent,
            fate=Fate(self.streams),
        )


@dataclass(frozen=True, slots=True)
class FarmInactive:
    """2107 (historical) or 2108 (market): the farm sleeps until it is needed."""

    farm: Literal["market", "historical"] = "historical"
    streams: Streams = "alive"

    def episode(self) -> Episode:
        """Return the notice."""
        served = MARKET_DATA if self.farm == "market" else UPDATES
        return Episode(begin=(INACTIVE[self.farm],), streams=served, fate=Fate(self.streams))


@dataclass(frozen=True, slots=True)
class ServerBroken:
    """2110, and as with 1100 no data for so long; then the farms are told to be OK."""

    seconds: float = 30.0
    streams: Streams = "alive"

    def episode(self) -> Episode:
        """Return the outage."""
        return Episode(
            begin=(SERVER_BROKEN,),
            seconds=length_of_time(self.seconds),
            unanswered=ASKED_OF_IB,
            silent=ALL_STREAMS,
            end=tuple(OK.values()),
            fate=Fate(self.streams),
        )


@dataclass(frozen=True, slots=True)
class LiveUpdatesFailed:
    """10182 for each request with keepUpToDate: its updates have ended."""

    symbols: tuple[str, ...] = ()

    def episode(self) -> Episode:
        """Return the blow."""
        return Episode(told=NO_LIVE_UPDATES, streams=UPDATES, fate=Fate.GONE, symbols=self.symbols)


@dataclass(frozen=True, slots=True)
class Bust:
    """10225 for each subscription to five-second bars: it is silent until cancelled and requested again."""

    symbols: tuple[str, ...] = ()

    def episode(self) -> Episode:
        """Return the blow."""
        return Episode(told=BUST, streams=BARS, fate=Fate.DEAD, symbols=self.symbols)


@dataclass(frozen=True, slots=True)
class PortReset:
    """1300: the gateway goes to another port (0: any free one) and ends all connections."""

    port: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65_535, f"port is {self.port}; 0 to 65535")

    def episode(self) -> Episode:
        """Return the move."""
        return Episode(at_first=effects.MovePort(self.port))


@dataclass(frozen=True, slots=True)
class ContractsUnknown:
    """200 for valid contracts, as in a reset window."""

    seconds: float = 60.0
    symbols: tuple[str, ...] = ()

    def episode(self) -> Episode:
        """Return the window."""
        names = ("reqContractDetails", "reqHeadTimeStamp", "reqHistoricalData", "reqRealTimeBars", "reqMktData")
        return Episode(
            seconds=length_of_time(self.seconds), refused=dict.fromkeys(names, "unknown"), symbols=self.symbols
        )


@dataclass(frozen=True, slots=True)
class Silence:
    """Live data stop, of all or of some symbols, on a connection that is otherwise healthy."""

    seconds: float = FOR_EVER
    symbols: tuple[str, ...] = ()

    def episode(self) -> Episode:
        """Return the silence."""
        return Episode(seconds=length_of_time(self.seconds), silent=ALL_STREAMS, symbols=self.symbols)


@dataclass(frozen=True, slots=True)
class CompetingSession:
    """10197 for each stream; live data are elsewhere for so long."""

    seconds: float = 60.0
    symbols: tuple[str, ...] = ()

    def episode(self) -> Episode:
        """Return the competition."""
        return Episode(
            told=COMPETING,
            seconds=length_of_time(self.seconds),
            refused=dict.fromkeys(("reqRealTimeBars", "reqMktData"), "competing"),
            silent=MARKET_DATA,
            streams=MARKET_DATA,
            symbols=self.symbols,
        )


@dataclass(frozen=True, slots=True)
class Restart:
    """The gateway goes away, refuses connections for so long, and comes back knowing nobody."""

    seconds: float = 60.0

    def episode(self) -> Episode:
        """Return the restart."""
        return Episode(seconds=length_of_time(self.seconds), at_first=effects.GoAway(), at_last=effects.ComeBack())


@dataclass(frozen=True, slots=True)
class ClientIdStuck:
    """The connection is reset, and its client id stays in use (326) for so long."""

    seconds: float = 60.0

    def episode(self) -> Episode:
        """Return the time in which the id is taken."""
        return Episode(seconds=length_of_time(self.seconds), keeps_id=True)


@dataclass(frozen=True, slots=True)
class NightlyReset:
    """IB's servers are reset: 1100, contracts unknown, history times out; then 1102.

    North America's window is `When(daily="00:15", times=0)` and 90 minutes.
    """

    seconds: float = 5400.0

    def episode(self) -> Episode:
        """Return the night."""
        return Episode(
            begin=(LOST, BROKEN["market"], BROKEN["historical"]),
            seconds=length_of_time(self.seconds),
            unanswered=frozenset({"reqMatchingSymbols", "reqHeadTimeStamp"}),
            refused={"reqContractDetails": "unknown", "reqHistoricalData": "timed-out"},
            silent=ALL_STREAMS,
            end=(RESTORED, OK["market"], OK["historical"]),
        )


@dataclass(frozen=True, slots=True)
class WeekendReset:
    """The handshake works, every request after it goes unanswered.

    North America's window is `When(daily="23:00", weekdays="Fri", times=0)` and four hours.
    """

    seconds: float = 14_400.0

    def episode(self) -> Episode:
        """Return the weekend."""
        return Episode(seconds=length_of_time(self.seconds), unanswered=ALL_REQUESTS, silent=ALL_STREAMS)
