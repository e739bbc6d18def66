"""The seven timeframes, from five seconds to a day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from workbench.errors import UnknownTimeframe


@dataclass(frozen=True, slots=True)
class Timeframe:
    """The length of a bar. `str()` gives its name, as used in files, tables and on the command line."""

    name: str
    seconds: int

    def __str__(self) -> str:
        return self.name

    @property
    def length(self) -> timedelta:
        """The length as a time span; a daily bar's is its calendar day."""
        return timedelta(seconds=self.seconds)

    @property
    def is_daily(self) -> bool:
        """Whether bars are labelled by a session's date instead of an instant."""
        return self.seconds == _DAY_S


_DAY_S = 86_400

TIMEFRAMES: dict[str, Timeframe] = {
    name: Timeframe(name, seconds)
    for name, seconds in {
        "5sec": 5,
        "1min": 60,
        "5min": 300,
        "15min": 900,
        "1hour": 3600,
        "4hour": 14_400,
        "1day": _DAY_S,
    }.items()
}


def parse_timeframe(name: str | Timeframe) -> Timeframe:
    """Return the timeframe of that name.

    >>> parse_timeframe("15min").seconds
    900
    >>> parse_timeframe("15mins")
    Traceback (most recent call last):
    workbench.errors.UnknownTimeframe: there is no timeframe '15mins'; did you mean 15min? ...
    """
    if isinstance(name, Timeframe):
        return name
    if name in TIMEFRAMES:
        return TIMEFRAMES[name]
    near = get_close_matches(str(name), TIMEFRAMES, n=1)
    hint = f"; did you mean {near[0]}?" if near else "."
    raise UnknownTimeframe(f"there is no timeframe {name!r}{hint} There are: {', '.join(TIMEFRAMES)}")
