"""The timeframes that live bars are built into, and what is told of them."""

from __future__ import annotations

from typing import NamedTuple

from workbench.errors import UnknownTimeframe
from workbench.market.timeframes import TIMEFRAMES, parse_timeframe

STEP_S = 5
"""Length of a live bar."""

LEVELS = tuple(timeframe for timeframe in TIMEFRAMES.values() if timeframe.seconds > STEP_S)

DAILY = len(LEVELS) - 1
"""The level of daily bars, which carry a label."""


class ProvisionalBar(NamedTuple):
    """A complete bar built here from live bars. `timestamp` is its start in epoch seconds, a daily one's its label."""

    symbol: str
    timeframe: str
    timestamp: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    average: float
    bar_count: float
    received: int
    expected: int

    @property
    def is_whole(self) -> bool:
        """Whether all of its five-second bars came."""
        return self.received == self.expected


class LateBar(NamedTuple):
    """A five-second bar that was not added, for a newer one had come. `timestamp` is in epoch seconds."""

    symbol: str
    timestamp: int


def level_of(timeframe: str) -> int:
    """Return the number of a timeframe among `LEVELS`. Raises `UnknownTimeframe`."""
    wanted = parse_timeframe(timeframe)
    if wanted not in LEVELS:
        raise UnknownTimeframe(
            f"{wanted} bars come from IB and are not built here; there are {', '.join(map(str, LEVELS))}"
        )
    return LEVELS.index(wanted)
