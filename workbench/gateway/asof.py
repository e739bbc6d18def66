"""A tape as far as it is known at an instant: nothing of the future leaves the gateway."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from workbench.gateway.aggregate import aggregate, concatenate, nothing, select
from workbench.gateway.hours import Hours
from workbench.gateway.tape import DAY, STEPS, BarColumns, Floats, Tape, told


@dataclass(frozen=True, slots=True)
class AsOf:
    """The tape's bars that are known at `now`, in epoch seconds.

    A bar is complete from its end on. The one bar that has begun and not ended is composed of the shorter bars that
    are complete.
    """

    tape: Tape
    calendar: Hours
    now: float

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of `step` seconds that start in `[begin, end)`, the last perhaps forming.

        `step` is one of `STEPS`, or 1. As on the tape, daily bars are asked for and labelled by their session's date
        at 00:00 UTC.
        """
        end = min(end, math.ceil(self.now))
        if end <= begin:
            return nothing()
        bars = self._played(symbol, step, begin, end, use_rth=use_rth)
        complete = self._complete(bars, step, use_rth=use_rth)
        if complete == len(bars):
            return bars
        forming = self._forming(symbol, step, int(bars.start[complete]), use_rth=use_rth)
        return concatenate(select(bars, slice(complete)), forming)

    @property
    def _told(self) -> Tape:
        return told(self.tape, self.now)

    def _played(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        return self._told.bars(symbol, step, begin, end, use_rth=use_rth)

    def _complete(self, bars: BarColumns, step: int, *, use_rth: bool) -> int:
        """Return how many bars have ended. Few have not: only these are looked at."""
        count = len(bars)
        while count and self.span(int(bars.start[count - 1]), step, use_rth=use_rth)[1] > self.now:
            count -= 1
        return count

    def _forming(self, symbol: str, step: int, label: int, *, use_rth: bool) -> BarColumns:
        """Compose the unfinished bar `label` of complete shorter ones, long before short; no bar when there are none.

        A day at 12:34:56 is a bar of four hours, half an hour, two quarters, … and the last seconds: whatever the time,
        each step is asked for the few bars that the next longer one does not hold.
        """
        at = self.span(label, step, use_rth=use_rth)[0]
        midnight, now = self._midnight(at), math.floor(self.now)
        parts = [nothing()]
        for shorter in (it for it in reversed(STEPS) if it < step):
            until = midnight + (now - midnight) // shorter * shorter
            if until > at:
                parts.append(self._told.bars(symbol, shorter, at, until, use_rth=use_rth))
                at = until
        known = concatenate(*parts)
        return aggregate(known, np.full(len(known), label))

    def _midnight(self, instant: int) -> int:
        """Return the begin of a session's day in New York, or of UTC's where there is no session."""
        found = self.calendar.touching(instant, instant + 1, use_rth=False)
        if not found:
            return instant // DAY * DAY
        session = self.calendar[found[0]]
        return session.label - session.utc_offset

    def span(self, start: int, step: int, *, use_rth: bool) -> tuple[int, int]:
        """Return the instants at which the bar labelled `start`, of at most a day, begins and ends."""
        if step >= DAY:
            found = self.calendar.labelled(start, start + DAY)
            session = self.calendar[found[0]] if found else None
            return (session.begin(use_rth=use_rth), session.end(use_rth=use_rth)) if session else (start, start + DAY)
        found = self.calendar.touching(start, start + 1, use_rth=use_rth)
        if not found:
            return start, start + step
        session = self.calendar[found[0]]
        midnight = session.label - session.utc_offset
        end = midnight + ((start - midnight) // step + 1) * step
        return start, min(end, session.end(use_rth=use_rth))


def shown(bars: BarColumns, what_to_show: str, min_tick: float) -> BarColumns:
    """Return trade bars as what was asked for; a quote lies half a tick beside the trade and has no volume."""
    if what_to_show in AS_TRADED:
        return bars
    columns = _averaged(bars) if what_to_show == "BID_ASK" else (bars.open, bars.high, bars.low, bars.close)
    shifts = QUOTES[what_to_show]
    moved = (np.round(column + ticks * min_tick, 6) for column, ticks in zip(columns, shifts, strict=True))
    open_, high, low, close = moved
    unknown = np.full(len(bars), -1.0)
    return BarColumns(bars.start, open_, high, low, close, unknown, unknown, np.full(len(bars), -1))


def _averaged(bars: BarColumns) -> tuple[Floats, ...]:
    """Return the columns that a BID_ASK bar is made of: the bid's mean over time, its extremes, the ask's mean.

    The mean of the four prices stands for the mean over time, which no tape has.
    """
    mean = (bars.open + bars.high + bars.low + bars.close) / 4
    return mean, bars.high, bars.low, mean


AS_TRADED = ("TRADES", "ADJUSTED_LAST")
"""What is the tape's bars themselves: no tape has dividends, so adjusting for them changes nothing."""

QUOTES = {
    "MIDPOINT": (0.0, 0.0, 0.0, 0.0),
    "BID": (-0.5, -0.5, -0.5, -0.5),
    "ASK": (0.5, 0.5, 0.5, 0.5),
    "BID_ASK": (-0.5, 0.5, -0.5, 0.5),
}
"""Where open, high, low and close of a quote lie from the trades', in ticks."""

WHAT_TO_SHOW = ("TRADES", "MIDPOINT", "BID", "ASK")
"""What live bars show, and bars that are kept up to date."""

SCHEDULE = "SCHEDULE"
"""Sessions instead of bars."""

HISTORICAL = (*WHAT_TO_SHOW, "BID_ASK", "ADJUSTED_LAST")
"""What historical bars show."""
