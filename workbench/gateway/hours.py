"""When the gateway's market is open, and where its bars begin.

The one exchange calendar is XNYS. The gateway reads it by itself instead of through `workbench.market`: what it
serves must be an independent witness for the session logic of the client side.
"""

from __future__ import annotations

import warnings
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from workbench.errors import GatewayError
from workbench.gateway.tape import DAY, Seconds, SessionHours

NEW_YORK = ZoneInfo("America/New_York")
FIRST_SESSION = "1990-01-02"
LAST_SESSION = "2049-12-31"
"""A fixed end: what is served at some instant does not depend on the day on which the gateway was started."""

KNOWN = f"sessions are known from {FIRST_SESSION} to {LAST_SESSION}"
PRE_MARKET_S = 5 * 3600 + 1800  # 04:00 is five and a half hours before the open
POST_MARKET_S = 4 * 3600  # 20:00 is four hours after the close; after an early close at 13:00 it ends at 17:00


class Hours:
    """All sessions of the calendar as parallel arrays in epoch seconds, one element a session."""

    def __init__(self) -> None:
        import exchange_calendars

        with warnings.catch_warnings():  # exchange_calendars 4.13 uses what pandas 3.1 deprecates
            warnings.filterwarnings("ignore", message="Series.values", category=DeprecationWarning)
            calendar = exchange_calendars.get_calendar("XNYS", start=FIRST_SESSION, end=LAST_SESSION)
        wall = calendar.opens.dt.tz_convert(NEW_YORK).dt.tz_localize(None)
        utc = calendar.opens.dt.tz_localize(None)
        self.labels: Seconds = calendar.sessions.to_numpy().astype("datetime64[s]").astype(np.int64)
        self.opens: Seconds = utc.to_numpy().astype("datetime64[s]").astype(np.int64)
        self.closes: Seconds = calendar.closes.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
        self.utc_offsets: Seconds = (wall - utc).dt.total_seconds().to_numpy().astype(np.int64)
        self.pre_opens = self.opens - PRE_MARKET_S
        self.post_closes = self.closes + POST_MARKET_S

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> SessionHours:
        return SessionHours(
            label=int(self.labels[index]),
            pre_open=int(self.pre_opens[index]),
            open=int(self.opens[index]),
            close=int(self.closes[index]),
            post_close=int(self.post_closes[index]),
            utc_offset=int(self.utc_offsets[index]),
        )

    def knows(self, instant: float) -> bool:
        """Return whether an instant lies among the sessions: none of what is said of it is a guess."""
        return bool(self.labels[0] <= instant < self.labels[-1] + DAY)

    def touching(self, begin: int, end: int, *, use_rth: bool) -> range:
        """Return the indices of the sessions whose trading hours meet `[begin, end)`."""
        starts = self.opens if use_rth else self.pre_opens
        ends = self.closes if use_rth else self.post_closes
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(starts, end, side="left"))
        return range(first, max(first, last))

    def labelled(self, begin: int, end: int) -> range:
        """Return the indices of the sessions whose date at 00:00 UTC lies in `[begin, end)`."""
        first, last = np.searchsorted(self.labels, [begin, end])
        return range(int(first), max(int(first), int(last)))


@cache
def hours() -> Hours:
    """Return the calendar, read once."""
    return Hours()


def require_known(instant: float, verb: str) -> None:
    """Raise GatewayError when the clock cannot start at, or jump to, an instant of which the calendar knows nothing."""
    if not hours().knows(instant):
        raise GatewayError(f"the clock cannot {verb} {_readable(instant)}: {KNOWN}")


def _readable(instant: float) -> str:
    try:
        return f"{datetime.fromtimestamp(instant, NEW_YORK):%Y-%m-%d %H:%M:%S} New York"
    except (ValueError, OverflowError, OSError):  # of no year that a calendar has
        return f"{instant:g} seconds since 1970"


def bar_starts(session: SessionHours, step: int, *, use_rth: bool) -> Seconds:
    """Return the starts of a session's bars, in epoch seconds.

    Bars sit on New York's wall clock and the first is cut at the open, as IB does it: bars of one hour start
    09:30, 10:00, 11:00 …, of four hours 09:30 and 12:00.
    """
    if step >= DAY:
        return np.array([session.label], dtype=np.int64)
    begin, end = session.begin(use_rth=use_rth), session.end(use_rth=use_rth)
    midnight = session.label - session.utc_offset
    first = midnight + (begin - midnight) // step * step
    starts = np.arange(first, end, step, dtype=np.int64)
    starts[0] = begin
    return starts
