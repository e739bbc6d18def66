"""The answer to a historical request: validation, the interval, the bars, their stamps.

A bar belongs to the answer when it starts in `[begin, end)`, a daily, weekly or monthly one when one of its sessions
does. So a bar that reaches beyond a past end is given whole, and a week or a month that has begun before too; nothing
after the gateway's present is given at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import numpy as np

from workbench.gateway.aggregate import aggregate, between, grid, nothing, to_grid
from workbench.gateway.answers import SessionTexts
from workbench.gateway.asof import AS_TRADED, HISTORICAL, SCHEDULE, WHAT_TO_SHOW, AsOf, shown
from workbench.gateway.durations import Duration, begin_of, parse_duration, parse_end
from workbench.gateway.hours import KNOWN, Hours, hours
from workbench.gateway.refusals import (
    IMPLIED_ZONE,
    WHAT_TO_SHOW_INVALID,
    Notice,
    Refused,
    historical,
    invalid,
    no_data,
    no_market,
)
from workbench.gateway.requests import HeadTimestampRequest, HistoricalRequest
from workbench.gateway.stamps import dates, wall_times
from workbench.gateway.tape import DAY, STEPS, BarColumns, Instrument, Seconds, SessionHours, Tape

WEEK = 7 * DAY
MONTH = 30 * DAY  # a name, not a length

BAR_SIZES = {
    "1 secs": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30,
    "1 min": 60, "2 mins": 120, "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900, "20 mins": 1200,
    "30 mins": 1800, "1 hour": 3600, "2 hours": 7200, "3 hours": 10_800, "4 hours": 14_400, "8 hours": 28_800,
    "1 day": DAY, "1W": WEEK, "1M": MONTH,
}  # fmt: skip
"""IB's legal bar sizes, as its own error lists them."""

SYNONYMS = {"1 week": "1W", "1 month": "1M"}

STEPS_OF_UNIT = {"S": (1, 60), "D": (5, 3600), "W": (10, 14_400), "M": (30, 28_800), "Y": (60, DAY)}
"""Finest and coarsest bar size of a duration's unit (IBKR Campus).

Days and longer are served for every unit but seconds, as real gateways do: IB's own samples ask for days of them.
"""

LONGEST_OF_ONE_SECOND = 2000  # seconds
MOST_BARS = 100_000
"""Bars of one answer, a guard of ours: 365 D of 5 secs would keep every other client waiting for half a minute.

IB means an answer to be "a few thousand bars" and lets longer ones time out.
"""
SHORTEST_KEPT_UP = 5  # seconds


@dataclass(frozen=True, slots=True)
class History:
    """What message 17 tells, and a warning that goes before it."""

    period: tuple[str, str]
    stamps: list[str]
    bars: BarColumns
    warning: Notice | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """What message 106 tells."""

    period: tuple[str, str]
    zone: str
    sessions: list[SessionTexts]


def answer(
    request: HistoricalRequest,
    instrument: Instrument,
    tape: Tape,
    now: float,
    zone: ZoneInfo | None = None,
    *,
    seen_until: float | None = None,
) -> History:
    """Return the bars that a request asks for at `now`, as known at `seen_until`, by default the same (epoch seconds).

    Texts of time are in `zone`, the instrument's where None. Raises Refused.
    """
    size, duration = validated(request)
    _check_computed(request, instrument, size)
    end = parse_end(request.end, now)
    _check_known(end.instant, instrument, tape)
    begin = begin_of(duration, end.instant, hours(), use_rth=request.use_rth)
    _check_count(size, begin, end.instant, use_rth=request.use_rth)
    known = AsOf(tape, hours(), now if seen_until is None else seen_until)
    bars = bars_between(known, instrument.key, size, begin, end.instant, use_rth=request.use_rth)
    if not len(bars):
        raise Refused(no_data(instrument.symbol, request.contract.exchange, request.what_to_show))
    zone = zone or ZoneInfo(instrument.time_zone)
    period_begin, period_end = wall_times(np.array([begin, end.instant]), zone)
    return History(
        period=(period_begin, period_end),
        stamps=stamps(bars.start, zone, size=size, format_date=request.format_date),
        bars=shown(bars, request.what_to_show, instrument.min_tick),
        warning=IMPLIED_ZONE if end.implied_zone else None,
    )


def schedule(request: HistoricalRequest, instrument: Instrument, now: float) -> Schedule:
    """Return the sessions of a duration, in the form that IB's own samples have. Raises Refused."""
    size, duration = validated(request)
    if size != DAY:  # IB's text for this is on no record
        raise Refused(invalid("Historical schedule requests need a bar size of 1 day"))
    end = parse_end(request.end, now)
    _check_known(end.instant, instrument)
    begin = begin_of(duration, end.instant, hours(), use_rth=request.use_rth)
    zone = ZoneInfo(instrument.time_zone)
    begins = hours().opens if request.use_rth else hours().pre_opens
    found = [hours()[int(index)] for index in np.flatnonzero((begins >= begin) & (begins < end.instant))]
    return Schedule(
        period=(_dashed(begin, zone), _dashed(end.instant, zone)),
        zone=zone.key,
        sessions=[_session_texts(session, zone, use_rth=request.use_rth) for session in found],
    )


def _check_known(end: int, instrument: Instrument, tape: Tape | None = None) -> None:
    """Refuse what ends where the calendar knows no sessions, unless it ends before all bars: there are none then.

    "No data" would be taken for an answer about the market. The text is no text of IB's.
    """
    if hours().knows(end):
        return
    start = tape.head(instrument.key, use_rth=False) if tape else None
    if start is None or end > start:
        raise Refused(historical(f"The built-in gateway cannot tell: {KNOWN}"))


def _session_texts(session: SessionHours, zone: ZoneInfo, *, use_rth: bool) -> SessionTexts:
    begin, end = session.begin(use_rth=use_rth), session.end(use_rth=use_rth)
    return _dashed(begin, zone), _dashed(end, zone), f"{datetime.fromtimestamp(session.label, UTC):%Y%m%d}"


def head(request: HeadTimestampRequest, instrument: Instrument, tape: Tape, now: float) -> str:
    """Return the earliest instant of a series in IB's form. Raises Refused."""
    _check_common(request.what_to_show, HISTORICAL, request.format_date)
    start = tape.head(instrument.key, use_rth=request.use_rth) if _has(instrument, request.what_to_show) else None
    if start is None or start > now:  # IB's text for this is on no record
        raise Refused(historical("No head time stamp"))
    return str(start) if request.format_date == 2 else _dashed(start, UTC)


def bars_between(known: AsOf, symbol: str, size: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
    """Return the bars of `size` seconds that start in `[begin, end)`."""
    if size >= DAY:
        return _days(known, symbol, size, begin, end, use_rth=use_rth)
    if size in STEPS or size == 1:
        return known.bars(symbol, size, begin, end, use_rth=use_rth)
    return _between_the_steps(known, symbol, size, begin, end, use_rth=use_rth)


def _between_the_steps(known: AsOf, symbol: str, size: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
    """Return bars of a size that the tape does not give, from its next finer step."""
    sessions = known.calendar.touching(begin, end, use_rth=use_rth)
    starts = between_starts(grid(known.calendar, sessions, size, use_rth=use_rth), begin, end)
    if not len(starts):
        return nothing()
    finer = max(step for step in STEPS if step < size and size % step == 0)
    parts = known.bars(symbol, finer, int(starts[0]), int(starts[-1]) + size, use_rth=use_rth)
    bars = to_grid(parts, known.calendar, sessions, size, use_rth=use_rth)
    return between(bars, int(starts[0]), int(starts[-1]) + 1)


def between_starts(starts: Seconds, begin: int, end: int) -> Seconds:
    """Return the starts that lie in `[begin, end)`."""
    first, last = np.searchsorted(starts, [begin, end])
    return starts[first:last]


def _days(known: AsOf, symbol: str, size: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
    """Return daily, weekly or monthly bars of which a session begins in `[begin, end)`."""
    calendar = known.calendar
    first, last = np.searchsorted(calendar.opens if use_rth else calendar.pre_opens, [begin, end])
    if first >= last:
        return nothing()
    periods = _periods(calendar.labels, size)
    whole = slice(np.searchsorted(periods, periods[first]), np.searchsorted(periods, periods[last - 1], side="right"))
    labels = calendar.labels[whole]
    days = known.bars(symbol, DAY, int(labels[0]), int(labels[-1]) + 1, use_rth=use_rth)
    return days if size == DAY else _longer(days, size)


def _longer(days: BarColumns, size: int) -> BarColumns:
    """Return weeks or months, labelled by their last trading day so far."""
    periods = _periods(days.start, size)
    last_of_each = np.searchsorted(periods, periods, side="right") - 1
    return aggregate(days, days.start[last_of_each])


def _periods(labels: Seconds, size: int) -> Seconds:
    """Return a number for the day, week or month of each session's label; the same in the same period."""
    if size == DAY:
        return labels // DAY
    if size == WEEK:
        return (labels // DAY + 3) // 7  # 1970-01-01 was a Thursday, weeks begin on Monday
    return labels.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)


def stamps(starts: Seconds, zone: ZoneInfo, *, size: int, format_date: int) -> list[str]:
    """Return the text of each bar's start: its date from a day on, else wall time (1) or epoch seconds (2)."""
    if size >= DAY:
        return dates(starts)
    if format_date == 2:
        return list(map(str, starts.tolist()))
    return wall_times(starts, zone)


def _dashed(instant: int, zone: tzinfo) -> str:
    return f"{datetime.fromtimestamp(instant, zone):%Y%m%d-%H:%M:%S}"


def begin_of_bar(calendar: Hours, start: int, size: int, *, use_rth: bool) -> int:
    """Return the instant from which on `bars_between` finds the bar labelled `start`."""
    if size < DAY:
        return start
    labels = calendar.labels
    first = np.searchsorted(_periods(labels, size), _periods(np.array([start]), size)[0])
    return int((calendar.opens if use_rth else calendar.pre_opens)[first])


def validated(request: HistoricalRequest) -> tuple[int, Duration]:
    """Return bar size in seconds and duration of a request that IB would serve. Raises Refused."""
    size = BAR_SIZES.get(SYNONYMS.get(request.bar_size, request.bar_size))
    if size is None:
        legal = ", ".join(BAR_SIZES)
        raise Refused(invalid(f"Historical data bar size setting is invalid. Legal ones are: {legal}"))
    _check_common(request.what_to_show, (*HISTORICAL, SCHEDULE), request.format_date)
    if request.keep_up_to_date:
        _check_kept_up(request, size)
    if request.what_to_show == "ADJUSTED_LAST" and request.end:  # IB's text for this is not verified
        raise Refused(invalid("End date not supported with adjusted last"))
    duration = parse_duration(request.duration)
    _check_step(size, duration)
    return size, duration


def _check_kept_up(request: HistoricalRequest, size: int) -> None:
    """Refuse what IB does not keep up to date; its texts for the end and for the size are on no record."""
    if request.end:
        raise Refused(invalid("End date not supported with keepUpToDate"))
    if size < SHORTEST_KEPT_UP:
        raise Refused(invalid("Bars of less than 5 secs cannot be kept up to date"))
    if request.what_to_show not in WHAT_TO_SHOW:
        raise Refused(WHAT_TO_SHOW_INVALID)


def _check_computed(request: HistoricalRequest, instrument: Instrument, size: int) -> None:
    """Refuse quotes of an index: it is computed, nobody offers it."""
    if not _has(instrument, request.what_to_show):
        raise Refused(no_market(instrument.symbol, request.contract.exchange, request.what_to_show, size))


def _has(instrument: Instrument, what_to_show: str) -> bool:
    return instrument.sec_type != "IND" or what_to_show in AS_TRADED


def _check_common(what_to_show: str, legal: Sequence[str], format_date: int) -> None:
    if what_to_show not in legal:
        raise Refused(WHAT_TO_SHOW_INVALID)
    if format_date not in (1, 2):
        raise Refused(invalid(f"Date formatting selection of {format_date} rejected"))


def _check_step(size: int, duration: Duration) -> None:
    finest, coarsest = STEPS_OF_UNIT[duration.unit]
    if size == 1 and duration.unit == "S" and duration.count > LONGEST_OF_ONE_SECOND:
        raise Refused(historical("Time length exceed max."))
    if size < finest or (size > coarsest and (size < DAY or duration.unit == "S")):
        raise Refused(historical(f"invalid step: {size}"))


def _check_count(size: int, begin: int, end: int, *, use_rth: bool) -> None:
    """Refuse what has far more bars than a client can mean."""
    calendar, sessions = hours(), hours().touching(begin, end, use_rth=use_rth)
    if not sessions:
        return
    first, last = sessions[0], sessions[-1] + 1
    opens, closes = (calendar.opens, calendar.closes) if use_rth else (calendar.pre_opens, calendar.post_closes)
    seconds = np.minimum(closes[first:last], end) - np.maximum(opens[first:last], begin)
    if int(seconds.sum()) // size > MOST_BARS:
        raise Refused(historical("Time length exceed max."))
