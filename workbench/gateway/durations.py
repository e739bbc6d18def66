"""Which interval a historical request means.

The end is a text in one of IB's forms, the duration a count of seconds, days, weeks, months or years back from
it. Seconds and days are trading time, the longer ones go by the calendar.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from workbench.gateway.hours import NEW_YORK, Hours
from workbench.gateway.refusals import INVALID_END, Notice, Refused, historical, invalid

_DASHED = re.compile(r"(\d{8})-(\d\d:\d\d:\d\d)")
_SPACED = re.compile(r"(?:(\d{8}) +)?(\d\d:\d\d:\d\d)(?: +(\S+))?")
_ZONE = re.compile(r"UTC|[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+")
MONTHS = {"M": 1, "Y": 12}
_DURATION = re.compile(r"([1-9]\d{0,5}) ([SDWMY])")


@dataclass(frozen=True, slots=True)
class End:
    """The end of a request in epoch seconds, and whether its zone had to be guessed."""

    instant: int
    implied_zone: bool = False


@dataclass(frozen=True, slots=True)
class Duration:
    """A count of units, `S D W M Y`."""

    count: int
    unit: str


def parse_end(text: str, now: float) -> End:
    """Read an end of one of IB's forms; nothing of it lies after `now`.

    >>> parse_end("20260402-13:30:00", now=2e9).instant
    1775136600
    """
    present = math.ceil(now)
    if not text:
        return End(present)
    if dashed := _DASHED.fullmatch(text):
        return End(_not_after(present, _instant(dashed[1], dashed[2], UTC)))
    spaced = _SPACED.fullmatch(text)
    if spaced is None:
        raise Refused(INVALID_END)
    date, clock, zone = spaced.groups()
    today = f"{datetime.fromtimestamp(now, NEW_YORK):%Y%m%d}"
    instant = _instant(date or today, clock, _zone(zone) if zone else NEW_YORK)
    return End(_not_after(present, instant), implied_zone=zone is None)


def _not_after(present: int, instant: int) -> int:
    """Cut an end to what the calendar knows: there are no bars before 1970, and none in the future."""
    return max(0, min(present, instant))


def _zone(name: str) -> tzinfo:
    """Return a zone as IB knows them: `UTC`, or a name of two parts; it refuses even `GMT`."""
    if not _ZONE.fullmatch(name):
        raise Refused(INVALID_END)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):  # a folder of zones is an OSError
        raise Refused(INVALID_END) from None


def _instant(date: str, clock: str, zone: tzinfo) -> int:
    try:
        wall = datetime.strptime(date + clock, "%Y%m%d%H:%M:%S")  # noqa: DTZ007 - the zone follows
        return int(wall.replace(tzinfo=zone).timestamp())
    except (ValueError, OverflowError):
        raise Refused(INVALID_END) from None


@dataclass(frozen=True, slots=True)
class Unit:
    """The longest duration in a unit, and what IB says of a longer one."""

    longest: int
    refusal: Notice


def _too_long(limit: str, unit: str) -> Notice:
    return invalid(f"Historical data requests for durations longer than {limit} must be made in {unit}.")


UNITS = {
    # The text for days is on record; those for seconds, weeks and months are by analogy.
    "S": Unit(86_400, _too_long("86400 seconds", "days")),
    "D": Unit(365, _too_long("365 days", "years")),
    "W": Unit(52, _too_long("52 weeks", "years")),
    "M": Unit(12, _too_long("12 months", "years")),
    "Y": Unit(68, historical("Time length exceed max.")),
}


def parse_duration(text: str) -> Duration:
    """Read a duration such as `5 D`.

    >>> parse_duration("2 W")
    Duration(count=2, unit='W')
    """
    matched = _DURATION.fullmatch(text)
    if matched is None:  # IB's text for this is on no record
        raise Refused(invalid("Historical data query duration is invalid. Legal ones are: SECS, DAYS, WEEKS, "
                              "MONTHS, YEARS"))  # fmt: skip
    duration = Duration(int(matched[1]), matched[2])
    unit = UNITS[duration.unit]
    if duration.count > unit.longest:
        raise Refused(unit.refusal)
    return duration


def begin_of(duration: Duration, end: int, calendar: Hours, *, use_rth: bool) -> int:
    """Return where the interval that ends at `end` begins, both in epoch seconds."""
    match duration.unit:
        case "S":
            return _trading_seconds_back(duration.count, end, calendar, use_rth=use_rth)
        case "D":
            return _sessions_back(duration.count, end, calendar, use_rth=use_rth)
        case "W":
            return _weeks_back(duration.count, end)
        case unit:
            return _months_back(duration.count * MONTHS[unit], end)


def _trading_seconds_back(count: int, end: int, calendar: Hours, *, use_rth: bool) -> int:
    """Go back `count` seconds of trading, into earlier sessions where one is too short."""
    index = _last_session(end, calendar, use_rth=use_rth)
    while index >= 0:
        session = calendar[index]
        stop = min(end, session.end(use_rth=use_rth))
        count -= stop - session.begin(use_rth=use_rth)
        if count <= 0:
            return session.begin(use_rth=use_rth) - count
        index -= 1
    return 0


def _sessions_back(count: int, end: int, calendar: Hours, *, use_rth: bool) -> int:
    """Go back to the begin of a session so that `count` sessions begin before `end`."""
    last = _last_session(end, calendar, use_rth=use_rth)
    return calendar[max(0, last - count + 1)].begin(use_rth=use_rth) if last >= 0 else end


def _last_session(end: int, calendar: Hours, *, use_rth: bool) -> int:
    """Return the index of the session that contains or precedes `end`; -1 before the first."""
    begins = calendar.opens if use_rth else calendar.pre_opens
    return int(np.searchsorted(begins, end)) - 1


def _weeks_back(count: int, end: int) -> int:
    wall = datetime.fromtimestamp(end, NEW_YORK)
    return int((wall - timedelta(weeks=count)).timestamp())  # the same time of the wall clock


def _months_back(count: int, end: int) -> int:
    wall = datetime.fromtimestamp(end, NEW_YORK)
    year, month = divmod(wall.year * 12 + wall.month - 1 - count, 12)
    day = min(wall.day, monthrange(year, month + 1)[1])
    return int(wall.replace(year=year, month=month + 1, day=day).timestamp())
