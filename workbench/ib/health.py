"""What is known of the way to IB: a state machine over what the gateway tells. Pure: the time is an argument.

A connection to TWS says little by itself: TWS keeps it open while it has lost IB, or one of IB's farms of servers, and
then answers that contracts are unknown and that there are no data. So requests wait while anything is wrong, and IB's
word that something is not there counts only when nothing was wrong from the sending of the request to its answer.
Times are seconds on any one clock.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from enum import Enum

FARM_PATIENCE_S = 120.0
"""How long requests wait for a farm. TWS may have lost one that serves other exchanges than ours."""


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection to the gateway was made."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """The connection to the gateway has ended."""


@dataclass(frozen=True, slots=True)
class Told:
    """The gateway told a code about no request, or one of `STREAM_TROUBLE`."""

    code: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class StreamsRenewed:
    """Whoever has live streams has requested them again, or seen that they flow."""


Event = Connected | Dropped | Told | StreamsRenewed


class Farm(Enum):
    """A kind of IB's server farms, in words for people."""

    LIVE = "live data"
    HISTORY = "history"
    CONTRACTS = "contracts"


class Streams(Enum):
    """What is known of live streams."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    """They may have missed bars, or be silent from now on."""
    DEAD = "dead"
    """They are to be requested again."""


_IB_LOST, _DATA_LOST, _IB_BACK, _IB_BROKEN, _PORT_RESET = 1100, 1101, 1102, 2110, 1300
STREAM_TROUBLE = (10182, 10197)
"""Told about single requests, of streams: updates have ended, another login has the data."""
_FARM_LOST = {2103: Farm.LIVE, 2105: Farm.HISTORY, 2157: Farm.CONTRACTS}
_FARM_WELL = {
    2104: Farm.LIVE,
    2106: Farm.HISTORY,
    2107: Farm.HISTORY,  # asleep: it wakes at the next request
    2108: Farm.LIVE,
    2158: Farm.CONTRACTS,
}
_SERVES_HISTORY = (Farm.HISTORY, Farm.CONTRACTS)
_FARM_NAME = re.compile(r"([\w.-]+)\s*$")
_NOT_CONNECTED = re.compile(r"farms? (?:is|are) not connected:([^.]*)", re.IGNORECASE)
_PORT = re.compile(r"(\d{2,5})\D*$")


@dataclass(frozen=True, slots=True)
class Health:
    """The way to IB at one moment. `since` is when it was last found well, or ill, as it is now.

    >>> health = Health().after(Connected(), 1.0).after(Told(1100), 5.0)
    >>> health.is_well, health.since
    (False, 5.0)
    """

    connected: bool = False
    reaches_ib: bool = True
    is_repairing: bool = False
    """Whether TWS told that it repairs its line by itself (2110); then a farm that is well again is all it tells."""
    lost_farms: dict[tuple[Farm, str], float] = field(default_factory=dict)
    """Farms that are lost, and since when."""
    since: float = -math.inf
    streams: Streams = Streams.DEAD
    suspect_since: float | None = None
    """Since when live streams may have missed something; None when all is known to be well."""

    @property
    def is_well(self) -> bool:
        """Whether nothing is known to be wrong with history."""
        return self.connected and self.reaches_ib and not self._lost(*_SERVES_HISTORY)

    def after(self, event: Event, now: float) -> Health:
        """Return the health after an event at `now`."""
        new = self._after(event, now)
        return new if new.is_well == self.is_well else replace(new, since=now)

    def asks_from(self, now: float) -> float:
        """Return from when on requests may be sent if nothing else happens: now, later or never (infinity)."""
        if not (self.connected and self.reaches_ib):
            return math.inf
        return max((since + FARM_PATIENCE_S for since in self._lost(*_SERVES_HISTORY)), default=now)

    def believes(self, sent: float) -> bool:
        """Return whether an answer that comes now to a request sent then may be taken for final."""
        return self.is_well and self.since <= sent

    @property
    def trouble(self) -> str:
        """What is wrong, in words for people; empty when nothing is."""
        if not self.connected:
            return "there is no connection to the gateway"
        if not self.reaches_ib:
            return "TWS or IB Gateway has lost IB"
        farms = sorted({farm.value for farm, _ in self.lost_farms})
        return f"IB's servers of {' and '.join(farms)} are away" if farms else ""

    def _after(self, event: Event, now: float) -> Health:
        match event:
            case Connected():
                # What was lost before is told anew to a new connection.
                return replace(self, connected=True, reaches_ib=True, is_repairing=False, lost_farms={})
            case Dropped():
                return _worsened(replace(self, connected=False), Streams.DEAD, now)
            case StreamsRenewed():
                return replace(self, streams=Streams.ALIVE, suspect_since=None)
            case Told(code=code, text=text):
                return self._told(code, text, now)

    def _told(self, code: int, text: str, now: float) -> Health:
        if code in (_IB_LOST, _IB_BROKEN):
            repairing = code == _IB_BROKEN and (self.reaches_ib or self.is_repairing)
            return _worsened(replace(self, reaches_ib=False, is_repairing=repairing), Streams.SUSPECT, now)
        if code in (_DATA_LOST, _IB_BACK):
            back = replace(self, reaches_ib=True, is_repairing=False, lost_farms=self._still_lost(text))
            return _worsened(back, Streams.DEAD, now) if code == _DATA_LOST else back
        if farm := _FARM_LOST.get(code):
            lost = self.lost_farms | {(farm, _name(text)): self.lost_farms.get((farm, _name(text)), now)}
            ill = replace(self, lost_farms=lost)
            return _worsened(ill, Streams.SUSPECT, now) if farm is Farm.LIVE else ill
        if farm := _FARM_WELL.get(code):
            left = {known: since for known, since in self.lost_farms.items() if known != (farm, _name(text))}
            is_back = self.is_repairing and farm is Farm.HISTORY
            return replace(
                self,
                lost_farms=left,
                reaches_ib=self.reaches_ib or is_back,
                is_repairing=self.is_repairing and not is_back,
            )
        return _worsened(self, Streams.SUSPECT, now) if code in STREAM_TROUBLE else self

    def _still_lost(self, text: str) -> dict[tuple[Farm, str], float]:
        """Return the lost farms that TWS, back at IB, names as not connected yet."""
        told = _NOT_CONNECTED.search(text)
        names = {name.strip() for name in told.group(1).split(";")} if told else set()
        return {known: since for known, since in self.lost_farms.items() if known[1] in names}

    def _lost(self, *farms: Farm) -> list[float]:
        return [since for (farm, _), since in self.lost_farms.items() if farm in farms]


def _worsened(health: Health, streams: Streams, now: float) -> Health:
    """Return the health with streams that are at least so bad."""
    worse = Streams.DEAD if Streams.DEAD in (streams, health.streams) else streams
    since = now if health.suspect_since is None else health.suspect_since
    return replace(health, streams=worse, suspect_since=since)


def describe_change(before: Health, after: Health) -> str:
    """Return what an event has changed, in a sentence for people; empty when they need not know.

    An episode is told at its begin and at its end, however often the gateway repeats itself.
    """
    if before.trouble == after.trouble or not before.connected:
        return ""
    if not after.trouble:
        return "IB can be reached again; requests that waited go on"
    if not after.connected:
        return "the connection has ended; it is made anew, and requests under way are repeated"
    consequence = "live bars may stay away" if after.is_well else "requests wait until that is over"
    return f"{after.trouble}; {consequence}"


def new_port(event: Told) -> int | None:
    """Return the port that TWS says it moves to; None when it says nothing of the kind.

    >>> new_port(Told(1300, "… this connection is being dropped. Please reconnect on the new port - 7499"))
    7499
    """
    found = _PORT.search(event.text) if event.code == _PORT_RESET else None
    return int(found.group(1)) if found and int(found.group(1)) <= 65_535 else None


def _name(text: str) -> str:
    """Return the farm that a text ends with: after a colon, or after a dot.

    >>> _name("HMDS data farm connection is inactive but should be available upon demand.ushmds")
    'ushmds'
    """
    found = _FARM_NAME.search(text.replace("demand.", "demand:"))
    return found.group(1) if found else ""
