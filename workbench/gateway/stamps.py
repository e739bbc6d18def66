"""The texts of instants: dates and wall times of many bars, as `strftime` would write each.

`strftime` and a zone cost two microseconds an instant; here each day and each time of day is formatted once.
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np

from workbench.gateway.tape import DAY, Seconds


def dates(instants: Seconds) -> list[str]:
    """Return the dates in UTC of epoch seconds.

    >>> dates(np.array([1_775_136_600]))
    ['20260402']
    """
    days = instants.astype("datetime64[s]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    year, month = np.divmod(months.astype(np.int64), 12)
    day = (days - months).astype(np.int64)
    return list(map(str, (10_000 * (year + 1970) + 100 * (month + 1) + day + 1).tolist()))


def wall_times(instants: Seconds, zone: ZoneInfo) -> list[str]:
    """Return date, time and zone of epoch seconds.

    >>> wall_times(np.array([1_775_136_600]), ZoneInfo("US/Eastern"))
    ['20260402 09:30:00 US/Eastern']
    """
    wall = instants + _offsets(instants, zone)
    seconds = (wall % DAY).tolist()
    times = {it: f"{it // 3600:02}:{it % 3600 // 60:02}:{it % 60:02} {zone.key}" for it in set(seconds)}
    return [f"{date} {times[second]}" for date, second in zip(dates(wall), seconds, strict=True)]


def _offsets(instants: Seconds, zone: ZoneInfo) -> Seconds:
    """Return what to add to each instant for the wall clock; only on days on which that changes one by one."""
    days, place = np.unique(instants // DAY, return_inverse=True)
    at_begin = np.array([_offset(day * DAY, zone) for day in days.tolist()], dtype=np.int64)
    at_end = np.array([_offset((day + 1) * DAY, zone) for day in days.tolist()], dtype=np.int64)
    offsets, changing = at_begin[place], (at_begin != at_end)[place]
    offsets[changing] = [_offset(instant, zone) for instant in instants[changing].tolist()]
    return offsets


def _offset(instant: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(instant, zone).utcoffset()
    assert offset is not None  # noqa: S101  # a zone always has one
    return int(offset.total_seconds())
