"""The exchange's clock: where bars are cut."""

from __future__ import annotations

from datetime import UTC, datetime, time

import numpy as np
import numpy.typing as npt

from workbench.market.sessions import EXCHANGE_ZONE, Session, SessionCalendar
from workbench.market.timeframes import TIMEFRAMES

_FIVE = TIMEFRAMES["5sec"]


class SessionClock:
    """The bars of the session that was asked for last; times are epoch seconds.

    >>> from workbench.market.sessions import session_calendar
    >>> clock = SessionClock(session_calendar())
    >>> half_past_ten = int(datetime(2026, 11, 20, 15, 30, tzinfo=UTC).timestamp())
    >>> clock.move(half_past_ten)
    True
    >>> [datetime.fromtimestamp(at, EXCHANGE_ZONE).strftime("%H:%M") for at in clock.cut(half_past_ten, 14_400)]
    ['09:30', '12:00']
    """

    def __init__(self, calendar: SessionCalendar) -> None:
        self._calendar = calendar
        self.begin = self.end = self.label = self._midnight = 0

    def move(self, stamp: int) -> bool:
        """Go to the session that trades at `stamp`; return whether there is one."""
        if self.begin <= stamp < self.end:
            return True
        moment = datetime.fromtimestamp(stamp, UTC)
        found = self._calendar.during(moment, moment + _FIVE.length, _FIVE)
        if not found or found[0].begin > moment:
            return False
        self._enter(found[0])
        return True

    def cut(self, stamp: int, step: int) -> tuple[int, int]:
        """Return begin and end of the bar of `step` seconds that `stamp`, inside the session, lies in."""
        start = stamp - (stamp - self._midnight) % step
        return max(start, self.begin), min(start + step, self.end)

    def cuts(self, stamps: npt.NDArray[np.int64], step: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return begins and ends of the bars of `step` seconds that many stamps lie in."""
        starts = stamps - (stamps - self._midnight) % step
        return np.maximum(starts, self.begin), np.minimum(starts + step, self.end)

    def _enter(self, session: Session) -> None:
        self.begin, self.end = int(session.begin.timestamp()), int(session.end.timestamp())
        self.label = int(session.label_utc.timestamp())
        self._midnight = int(datetime.combine(session.label, time(), EXCHANGE_ZONE).timestamp())
