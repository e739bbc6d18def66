"""IB's limits on historical requests, kept before IB has to enforce them. Pure: the time is an argument.

The limits are those of bars up to 30 seconds; longer bars have none that IB states, and its servers only get slower.
Times are in seconds on any one clock. Windows are a little longer here than IB's: it measures when a request
arrives, not when it leaves.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from operator import itemgetter

SMALL_BARS_S = 30
MARGIN_S = 0.25
COOL_DOWN_S = 60.0
"""How long nothing is asked for after IB has reported a violation."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What of a request IB's limits look at."""

    contract: str
    exchange: str
    what_to_show: str
    bar_seconds: int
    rest: str = ""
    """Whatever else makes a request another one: its end, duration and hours."""

    @property
    def is_small(self) -> bool:
        """Whether the limits on small bars apply."""
        return self.bar_seconds <= SMALL_BARS_S

    @property
    def weight(self) -> int:
        """How many requests it counts for."""
        return 2 if self.what_to_show == "BID_ASK" else 1


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` requests of one `key` in any `window_s` seconds."""

    name: str
    count: int
    window_s: float
    key: Callable[[Ask], Hashable]


LIMITS = (
    Limit("identical requests", 1, 15.0, lambda ask: ask),
    Limit(
        "requests of one contract, exchange and price",
        5,
        2.0,
        lambda ask: (ask.contract, ask.exchange, ask.what_to_show),
    ),
    Limit("requests of small bars", 60, 600.0, lambda _ask: "all"),
)
"""Source: IBKR Campus, "Pacing Violations for Small Bars (30 secs or less)": identical ones within 15 seconds; six or
more of the same contract, exchange and tick type within two; more than 60 in ten minutes."""


class Pacer:
    """The budget of one account: books requests so that no window ever holds more than its limit.

    Without limits every request may go at once, but for the cooling down.

    >>> pacer, ask = Pacer(), Ask("AAPL", "SMART", "TRADES", bar_seconds=5)
    >>> [pacer.book(ask, now) for now in (0.0, 1.0)]
    [0.0, 15.25]
    """

    def __init__(self, limits: tuple[Limit, ...] = LIMITS) -> None:
        self._limits = limits
        self._longest = max((limit.window_s for limit in limits), default=0.0) + MARGIN_S
        self._booked: list[tuple[float, Ask]] = []
        self._cold_until = float("-inf")

    def book(self, ask: Ask, now: float) -> float:
        """Book a request; return the earliest time at which it may be sent."""
        when = max(now, self._cold_until)
        if not ask.is_small:
            return when
        self._booked = [(time, one) for time, one in self._booked if time + self._longest > now]
        while (later := max((self._earliest(limit, ask, when) for limit in self._limits), default=when)) > when:
            when = later
        insort(self._booked, (when, ask), key=itemgetter(0))
        return when

    def cool_down(self, now: float) -> None:
        """Let nothing be sent for a while: IB has reported a violation."""
        self._cold_until = max(self._cold_until, now + COOL_DOWN_S)

    def _earliest(self, limit: Limit, ask: Ask, when: float) -> float:
        """Return the first moment from `when` on at which the request leaves every window within the limit."""
        alike = [(time, one.weight) for time, one in self._booked if limit.key(one) == limit.key(ask)]
        times = [time for time, weight in alike for _ in range(weight)]
        window, count = limit.window_s + MARGIN_S, max(limit.count, ask.weight)
        moments = [when, *(time + window for time in times if time + window > when)]
        return next(moment for moment in moments if _fits(sorted([*times, *[moment] * ask.weight]), count, window))


def _fits(times: list[float], count: int, window: float) -> bool:
    """Return whether no window that begins with one of the sorted times holds more than `count` of them."""
    return all(later >= earlier + window for earlier, later in zip(times, times[count:], strict=False))
