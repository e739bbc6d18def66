"""When a job is due, as a trader says it: on the exchange's clock, on its sessions.

    06:00                      at that time, on every session
    09:00..15:00 every 1h      at the first time, and then every hour up to the last
    open-30m, close+30m        before or after the session's open and close; a half day closes early
    cron 0 18 * * sun          a cron expression, on any day

Several are joined by commas. All times are New York's, whatever the clock of the machine says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from workbench.errors import InvalidSettings
from workbench.market.sessions import EXCHANGE_ZONE, Session, session_calendar
from workbench.market.timeframes import TIMEFRAMES

Times = Callable[[datetime, datetime], list[datetime]]
"""Gives the instants in `[begin, end)` at which something is due, in UTC."""

_UNITS = {"h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = r"(?:\d+[hms])+"
_TIME = r"\d{1,2}:\d{2}"
_HELP = "write 06:00, 09:00..15:00 every 1h, open-30m, close+30m or cron 0 18 * * sun"


@cache
def parse_trigger(text: str) -> Times:
    """Return the times that a trigger means. Raises `InvalidSettings`."""
    parts = [part.strip() for part in text.split(",")] if not text.strip().startswith("cron") else [text.strip()]
    every = [_parse_one(part) for part in parts]
    return lambda begin, end: sorted({due for times in every for due in times(begin, end)})


def _parse_one(text: str) -> Times:
    if text.startswith("cron "):
        return _cron(text.removeprefix("cron ").strip())
    if found := re.fullmatch(rf"(open|close)(?:([+-])({_DURATION}))?", text):
        edge, sign, duration = found.groups()
        offset = parse_duration(duration or "0s") * (-1 if sign == "-" else 1)
        return _on_sessions(lambda session: [(session.begin if edge == "open" else session.end) + offset])
    if found := re.fullmatch(rf"({_TIME})(?:\.\.({_TIME}) every ({_DURATION}))?", text):
        first, last, step = found.groups()
        clock = _clock_times(_parse_time(first), _parse_time(last or first), parse_duration(step or "24h"))
        return _on_sessions(lambda session: [_at(session.label, one) for one in clock])
    raise InvalidSettings(f"{text!r} says no time of a job; {_HELP}")


def _on_sessions(times_of: Callable[[Session], list[datetime]]) -> Times:
    far = timedelta(days=2)  # what is due hours before the open or after the close belongs to its session

    def times(begin: datetime, end: datetime) -> list[datetime]:
        sessions = session_calendar().during(begin - far, end + far, TIMEFRAMES["1min"])
        return [due for session in sessions for due in times_of(session) if begin <= due < end]

    return times


def _cron(expression: str) -> Times:
    from apscheduler.triggers.cron import CronTrigger

    try:
        trigger = CronTrigger.from_crontab(expression, timezone=EXCHANGE_ZONE)
    except ValueError as error:
        raise InvalidSettings(f"cron {expression}: {error}; write five fields, as in cron 0 18 * * sun") from error

    # When the clocks go back, 01:30 comes twice: a job of every hour runs at both, one of 01:30 at the first alone.
    is_hourly = expression.split()[1].startswith("*")

    def times(begin: datetime, end: datetime) -> list[datetime]:
        found: list[datetime] = []
        due = trigger.get_next_fire_time(None, begin)
        while due is not None and due < end:
            found += [due.astimezone(UTC)] if is_hourly or not due.fold else []
            due = trigger.get_next_fire_time(due, due)
        return found

    return times


def _clock_times(first: time, last: time, step: timedelta) -> list[time]:
    """Return the times of day from the first to the last, one a step."""
    if last < first or step < timedelta(minutes=1):
        raise InvalidSettings(f"{first:%H:%M}..{last:%H:%M} every {format_duration(step)} has no times; {_HELP}")
    day = datetime(2000, 1, 1)  # noqa: DTZ001  any day: only its clock is used
    begin, end = datetime.combine(day, first), datetime.combine(day, last)
    return [(begin + number * step).time() for number in range((end - begin) // step + 1)]


def _at(label: date, clock: time) -> datetime:
    return datetime.combine(label, clock, EXCHANGE_ZONE).astimezone(UTC)


def _parse_time(text: str) -> time:
    hours, minutes = map(int, text.split(":"))
    if hours > 23 or minutes > 59:
        raise InvalidSettings(f"{text} is no time of day; {_HELP}")
    return time(hours, minutes)


# -- durations


def parse_duration(text: str) -> timedelta:
    """Return a duration that is written `90s`, `30m`, `2h` or `1h30m`.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    if not re.fullmatch(_DURATION, text.strip()):
        raise InvalidSettings(f"{text!r} is no duration; write 90s, 30m, 2h or 1h30m")
    parts = re.findall(r"(\d+)([hms])", text)
    return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())


def format_duration(duration: timedelta) -> str:
    """Return a duration as `parse_duration` reads it, to the second.

    >>> format_duration(timedelta(hours=1, minutes=30))
    '1h30m'
    """
    seconds = round(duration.total_seconds())
    parts = [(seconds // 3600, "h"), (seconds % 3600 // 60, "m"), (seconds % 60, "s")]
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"
