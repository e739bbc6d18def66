"""Which five-second bars of the running session have come, and which are missing. Pure: times are epoch seconds.

The rules:

- In a session a bar is expected for every five seconds, from the session's open on, whenever following it began: what
  lies before the first live bar is a gap like any other, to be filled from history.
- A bar that is newer than all others is taken; what it skips is a gap. One that lies in a gap is taken as well: late,
  but not lost. Any other is a repetition and dropped: the first one stands.
- When a session has ended, what is missing to its end is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from workbench.market.aggregate.clock import SessionClock
from workbench.market.aggregate.levels import STEP_S
from workbench.market.sessions import SessionCalendar


class Gap(NamedTuple):
    """What is missing: starts of bars in `[begin, end)`, in epoch seconds."""

    begin: int
    end: int

    @property
    def bars(self) -> int:
        """How many bars that are."""
        return (self.end - self.begin) // STEP_S


@dataclass(slots=True)
class _Series:
    """One symbol in the session that it has reached: all before `until` has come, but for the gaps."""

    begin: int = 0
    end: int = 0
    until: int = 0
    gaps: list[Gap] = field(default_factory=list)


class Gaps:
    """The gaps of many symbols.

    >>> from workbench.market.sessions import session_calendar
    >>> gaps, opens = Gaps(session_calendar()), 1795185000
    >>> gaps.take("AAPL", opens), gaps.take("AAPL", opens + 15), gaps.take("AAPL", opens)
    (True, True, False)
    >>> gaps.of("AAPL")
    [Gap(begin=1795185005, end=1795185015)]
    """

    def __init__(self, calendar: SessionCalendar) -> None:
        self._clock = SessionClock(calendar)
        self._series: dict[str, _Series] = {}

    def follow(self, symbol: str) -> None:
        """Begin to expect the bars of a symbol, from the open of the first session on that is seen."""
        self._series.setdefault(symbol, _Series())

    def forget(self, symbol: str) -> None:
        """Expect nothing any more."""
        self._series.pop(symbol, None)

    def of(self, symbol: str) -> list[Gap]:
        """Return the gaps of a symbol, oldest first."""
        series = self._series.get(symbol)
        return list(series.gaps) if series else []

    def all(self) -> dict[str, list[Gap]]:
        """Return the gaps of each symbol that has some."""
        return {symbol: list(series.gaps) for symbol, series in self._series.items() if series.gaps}

    def take(self, symbol: str, start: int) -> bool:
        """Return whether a bar is one that was missing, and count it as received."""
        series = self._series.setdefault(symbol, _Series())
        if start >= series.end and not self._enter(series, start):
            return False
        if start >= series.until:
            if start > series.until:
                series.gaps.append(Gap(series.until, start))
            series.until = start + STEP_S
            return True
        return self._take_late(series, start)

    def pass_time(self, now: float) -> None:
        """Know that the time has come to `now`: a session may have begun, or ended with bars missing."""
        for series in self._series.values():
            if series.until < series.end <= now:
                series.gaps.append(Gap(series.until, series.end))
                series.until = series.end
            if now >= series.end:
                self._enter(series, int(now))

    def settle(self, symbol: str, gap: Gap) -> None:
        """Expect nothing of a gap any more."""
        series = self._series.get(symbol)
        if series is None:
            return
        left: list[Gap] = []
        for one in series.gaps:
            parts = (Gap(one.begin, min(one.end, gap.begin)), Gap(max(one.begin, gap.end), one.end))
            left += [part for part in parts if part.begin < part.end]
        series.gaps = left

    def _enter(self, series: _Series, start: int) -> bool:
        """Go on to the session that trades at `start`; return whether there is one."""
        if not self._clock.move(start):
            return False
        if series.until < series.end:
            series.gaps.append(Gap(series.until, series.end))
        series.begin, series.end, series.until = self._clock.begin, self._clock.end, self._clock.begin
        return True

    def _take_late(self, series: _Series, start: int) -> bool:
        for number, gap in enumerate(series.gaps):
            if gap.begin <= start < gap.end:
                parts = (Gap(gap.begin, start), Gap(start + STEP_S, gap.end))
                series.gaps[number : number + 1] = [part for part in parts if part.begin < part.end]
                return True
        return False
