"""What differs from one real gateway to the next, or what nobody has seen of a real one, as named settings.

The defaults are what the workbench's own users meet; each comment says what is known of the real thing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zoneinfo import ZoneInfo

DatesIn = Literal["instrument", "operator", "UTC"]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The manners of one gateway."""

    market_data: bool = True
    """Whether the account is subscribed to live market data. Without, real-time bars and live ticks are refused by
    10089, delayed ticks come after 10167, and history ends `delay_s` ago, after 2188. That such an account cannot keep
    bars up to date follows; by which code TWS says so is on no record: here it is 162 without permission, as TWS
    answers history that an account may not have at all."""

    refuses_order_lists: bool = False
    """Whether lists of orders are refused by 321 with request id -1, as TWS does in read-only mode. A client that
    asks for them while it connects (ib_insync without `readonly`) then waits for its whole timeout. Refused or
    not, nothing is in them."""

    dates_in: DatesIn = "instrument"
    """The zone of texts under formatDate=1; TWS lets its user choose among the three."""

    operator_zone: str = "US/Eastern"
    """The zone that TWS was logged in with."""

    update_s: int = 5
    """Seconds between two updates of a forming bar (keepUpToDate). Two texts of IB say one to two and four to six;
    nothing finer than five-second bars is on every tape, so a shorter time sends little more."""

    delay_s: int = 900
    """How far delayed market data lie behind: IB says 15 to 20 minutes."""

    max_clients: int = 32
    """Clients at the same time. TWS's number; that it closes the next one without a word is not verified."""

    def seen_until(self, now: float) -> float:
        """Return the gateway time up to which the account sees the market at `now`."""
        return now if self.market_data else now - self.delay_s

    def zone_of_dates(self, instrument_zone: str) -> ZoneInfo:
        """Return the zone of texts about an instrument."""
        zones = {"instrument": instrument_zone, "operator": self.operator_zone, "UTC": "UTC"}
        return ZoneInfo(zones[self.dates_in])
