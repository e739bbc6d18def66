"""What a backfill will take: requests, bars, and time at IB's limits. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from workbench import html
from workbench.ib.pacing import PLACES, Ask, Pacer

ANSWER_S = 0.2
ANSWER_S_PER_1000_BARS = 1.0
"""How long IB takes: 0.3 to 1.0 s a thousand bars were measured at a live TWS; the slower is taken."""


LOOK, UNIT = "split check", "volume unit"
"""Stand in the place of a timeframe: requests that look whether stored bars still hold, and what volumes count."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A request that is going to be sent, and about how many bars it has."""

    timeframe: str
    ask: Ask
    bars: int


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """What is to be fetched at one timeframe, or to look at first."""

    timeframe: str
    series: int
    requests: int
    bars: int


@dataclass(frozen=True, slots=True, repr=False)
class Forecast:
    """What is to be fetched, by timeframe, and about how long it takes; None where the gateway has no limits."""

    rows: tuple[ForecastRow, ...]
    seconds: float | None

    @property
    def requests(self) -> int:
        """How many requests will be sent."""
        return sum(row.requests for row in self.rows)

    @property
    def bars(self) -> int:
        """About how many bars will come."""
        return sum(row.bars for row in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """Return the forecast as a table, a row a timeframe."""
        return pd.DataFrame([(row.timeframe, row.series, row.requests, row.bars) for row in self.rows],
                            columns=["timeframe", "series", "requests", "bars"])  # fmt: skip

    def _repr_html_(self) -> str:
        return html.card(str(self), html.table(self.to_frame()))

    def __repr__(self) -> str:
        if not self.requests:
            return "nothing is missing"
        text = f"to fetch: {self.requests:,} requests, about {self.bars:,} bars"
        return text if self.seconds is None else f"{text}, {format_duration(self.seconds)} at IB's limits"


def forecast(planned: Sequence[Planned], pacer: Pacer | None) -> Forecast:
    """Return what the planned requests take, sent as the pacer allows and answered as fast as IB does."""
    requests, bars = Counter[str](), Counter[str]()
    contracts: dict[str, set[str]] = {}
    for one in planned:
        requests[one.timeframe] += 1
        bars[one.timeframe] += one.bars
        contracts.setdefault(one.timeframe, set()).add(one.ask.contract)
    rows = tuple(ForecastRow(name, len(contracts[name]), requests[name], bars[name]) for name in requests)
    return Forecast(rows, None if pacer is None else seconds_of(planned, pacer))


def seconds_of(planned: Sequence[Planned], pacer: Pacer) -> float:
    """Return after how many seconds the last answer is there: every sending is booked, every answer awaited."""
    lanes = [[one for one in planned if one.ask.is_small is small] for small in (True, False)]
    waiting = [sorted(lane, key=lambda one: one.bars) for lane in lanes]  # the longest are taken first, from the end
    under_way: list[tuple[float, str]] = []
    now = 0.0
    while any(waiting) or under_way:
        room = PLACES - len(under_way)
        again = float("inf")
        for lane in waiting:
            again = min(again, _send(lane, room, pacer, now, under_way))
        now = min([again, *[ends for ends, _ in under_way[:1]]])
        while under_way and under_way[0][0] <= now:
            pacer.release([heapq.heappop(under_way)[1]])
    return now


def _send(lane: list[Planned], room: int, pacer: Pacer, now: float, under_way: list[tuple[float, str]]) -> float:
    """Send what may go of a lane; return when it is worth trying again."""
    if not lane or room <= 0:
        return float("inf")
    first = max(0, len(lane) - room)
    asked = lane[first:][::-1]
    granted = pacer.grant([one.ask for one in asked], now)
    for position, booking in granted.bookings.items():
        seconds = ANSWER_S + ANSWER_S_PER_1000_BARS * asked[position].bars / 1000
        heapq.heappush(under_way, (now + seconds, booking.token))
    lane[first:] = [one for position, one in enumerate(asked) if position not in granted.bookings][::-1]
    return granted.again


def format_duration(seconds: float) -> str:
    """Return a length of time in words.

    >>> format_duration(40), format_duration(1000), format_duration(9000)
    ('less than a minute', 'about 17 min', 'about 2.5 h')
    """
    if seconds < 60:
        return "less than a minute"
    return f"about {seconds / 60:.0f} min" if seconds < 7200 else f"about {seconds / 3600:.1f} h"
