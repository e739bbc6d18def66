"""When IB resets its servers: windows in which its word that something is not there is not to be believed. Pure.

Source: IB's system status page, a stored copy of unknown date, so the region is a setting. Which region holds is
decided by the data centre of the login, not by the exchange. IB says that the nightly ones are on Sunday to Friday; on
Saturday there is nothing to fetch that could not wait, so every day is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Region = Literal["america", "europe", "asia"]

_FRIDAY = 4
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class ResetWindow:
    """A time of day in a zone, on every day or on one weekday (Monday is 0).

    One that ends before it begins ends on the next day.
    """

    zone: str
    begin: time
    end: time
    weekday: int | None = None

    def end_after(self, moment: datetime) -> datetime | None:
        """Return when the window that holds the moment ends; None when it is not in one."""
        zone = ZoneInfo(self.zone)
        today = moment.astimezone(zone).date()
        for day in (today - _DAY, today):
            if self.weekday not in (None, day.weekday()):
                continue
            begin = datetime.combine(day, self.begin, zone)
            end = datetime.combine(day if self.begin < self.end else day + _DAY, self.end, zone)
            if begin.timestamp() <= moment.timestamp() < end.timestamp():
                return end
        return None


_WEEKEND = ResetWindow("America/New_York", time(23), time(3), _FRIDAY)
RESETS: dict[Region, tuple[ResetWindow, ...]] = {
    "america": (ResetWindow("America/New_York", time(0, 15), time(1, 45)), _WEEKEND),
    "europe": (ResetWindow("Europe/Zurich", time(6, 25), time(7, 45)), _WEEKEND),
    "asia": (
        ResetWindow("Asia/Hong_Kong", time(4, 45), time(6, 5)),
        ResetWindow("Asia/Hong_Kong", time(20, 15), time(21, 15)),
        _WEEKEND,
    ),
}


def reset_end(moment: datetime, region: Region | None) -> datetime | None:
    """Return when the reset that is on at the moment ends, in the zone of the region; None when none is.

    >>> from datetime import UTC
    >>> str(reset_end(datetime(2026, 11, 20, 5, 30, tzinfo=UTC), "america"))
    '2026-11-20 01:45:00-05:00'
    """
    windows = RESETS[region] if region else ()
    return max(filter(None, (window.end_after(moment) for window in windows)), default=None)
