"""The bars that sessions are cut into, for whole columns of starts at once."""

from __future__ import annotations

from datetime import UTC, datetime, time

import numpy as np
import numpy.typing as npt

from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import TIMEFRAMES, Timeframe

Seconds = npt.NDArray[np.int64]
"""Instants in epoch seconds."""


class Grid:
    """The bars that the exchange's sessions are cut into, over the sessions that some bars lie in."""

    def __init__(self, first: int, last: int, *, use_rth: bool = True) -> None:
        begin, end = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last + 1, UTC)
        sessions = session_calendar(use_rth=use_rth).during(begin, end, TIMEFRAMES["5sec"])
        midnights = [datetime.combine(one.label, time(), EXCHANGE_ZONE) for one in sessions]
        self.begins, self.ends, self.labels, self._midnights = (
            np.array([int(moment.timestamp()) for moment in moments], dtype=np.int64)
            for moments in (
                [one.begin for one in sessions], [one.end for one in sessions], [one.label_utc for one in sessions],
                midnights,
            )
        )  # fmt: skip

    def session(self, starts: Seconds) -> Seconds:
        """Return the number of the session that each start lies in, -1 for those outside of all."""
        if len(self.begins) == 1:  # a whole market's session: three times as fast
            return np.where((starts >= self.begins[0]) & (starts < self.ends[0]), 0, -1)
        numbers = np.searchsorted(self.begins, starts, side="right") - 1
        if not len(self.ends):
            return numbers
        return np.where(starts < self.ends[numbers], numbers, -1)

    def cut(self, starts: Seconds, timeframe: Timeframe) -> tuple[Seconds, Seconds]:
        """Return begin and end of the bar that each start, inside a session, lies in."""
        numbers = self.session(starts) if len(self.begins) > 1 else 0
        since = (starts - self._midnights[numbers]).astype(np.int32)  # a day's seconds; the remainder is quicker so
        steps = starts - since % np.int32(timeframe.seconds)
        return np.maximum(steps, self.begins[numbers]), np.minimum(steps + timeframe.seconds, self.ends[numbers])


def bar_ends(starts: Seconds, timeframe: Timeframe, *, use_rth: bool = True) -> Seconds:
    """Return when each bar was complete. `starts` ascend; those of daily bars are their labels.

    Where IB cuts its four-hour bars is not verified: they are taken for complete at the end of their session. A bar
    outside of all sessions ends with its length.
    """
    if not len(starts):
        return starts
    day = TIMEFRAMES["1day"].seconds
    grid = Grid(int(starts[0]) - day, int(starts[-1]) + 2 * day, use_rth=use_rth)
    if timeframe.is_daily:
        sessions = np.clip(np.searchsorted(grid.labels, starts), 0, len(grid.labels) - 1)
        is_known, ends = grid.labels[sessions] == starts, grid.ends[sessions]
    else:
        sessions = grid.session(starts)
        is_known = sessions >= 0
        ends = grid.ends[sessions] if timeframe.name == "4hour" else grid.cut(starts, timeframe)[1]
    known_ends: Seconds = np.where(is_known, ends, starts + timeframe.seconds)
    return known_ends
