"""Time that is covered and has no bars, accepted as it is: a halt, or nobody traded. A check tells it no more.

It is remembered in the review, a row a bar that is not there, with prices of nothing, which no bar can have: should IB
tell of bars there one day, they are stored as any others are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import pandas as pd

from workbench.errors import InvalidInput
from workbench.market.bars import COLUMNS, TIMESTAMP
from workbench.market.coverage import Interval
from workbench.market.sessions import SessionCalendar, session_calendar
from workbench.market.timeframes import Timeframe, parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.review import slot_of, to_rows

REASON = "no bar: accepted as a halt, or as time in which nobody traded"
_MOMENT = timedelta(microseconds=1)


def accept_quiet(
    store: HistoricalDataManager, symbol: str, timeframe: str, start: datetime, *, what_to_show: str = "TRADES"
) -> Interval:
    """Accept that there are no bars from `start` on to the next one, or to the session's end; return that time.

    Of daily bars it reaches to the next one. Raises `InvalidInput` where a bar starts, none can, or nothing is covered.
    """
    length, key = parse_timeframe(timeframe), (symbol, timeframe, what_to_show)
    info = store.known_info(*key[:2], what_to_show=what_to_show)
    calendar = session_calendar(use_rth=info.use_rth)
    slot = slot_of(start, length, calendar)
    if slot is None or calendar.first_start(start, length) != start:
        raise InvalidInput(f"no bar of {symbol} {timeframe} can start at {start}; see what workbench check tells")
    if info.coverage.missing(slot):
        raise InvalidInput(f"{start} is not covered in {symbol} {timeframe}: backfill it first")
    until = next(span.end for span in info.coverage if span.begin <= start < span.end)
    stored = store.load_bars(symbol, timeframe, start, until, columns=["close"], what_to_show=what_to_show)
    until = until if stored.empty else stored.index[0].to_pydatetime()
    slots = list(_slots(start, until, length, calendar))
    if not slots:
        raise InvalidInput(f"a bar of {symbol} {timeframe} starts at {start}")
    index = pd.DatetimeIndex([one.begin for one in slots], name=TIMESTAMP).as_unit("us")
    frame = pd.DataFrame(0.0, index=index, columns=list(COLUMNS)).reset_index().assign(reason=REASON)
    store.review.note(to_rows(frame, *key, use_rth=info.use_rth, source=info.source, judgement="dropped"))
    return Interval(slots[0].begin, slots[-1].end)


def without_bars(
    store: HistoricalDataManager, symbol: str, timeframe: str, starts: Sequence[datetime], *, what_to_show: str
) -> list[datetime]:
    """Return at which of these starts there is no bar: none is stored, and none was held back or dropped."""
    if not starts:
        return []
    judged = store.review.of(symbol, timeframe, what_to_show)
    judged = judged[judged["reason"] != REASON]
    stored = store.load_bars(symbol, timeframe, columns=["close"], what_to_show=what_to_show).index
    return [start for start in starts if start not in stored and not (judged[TIMESTAMP] == start).any()]


def _slots(start: datetime, until: datetime, timeframe: Timeframe, calendar: SessionCalendar) -> Iterator[Interval]:
    """Give the time of each bar that could start in `[start, until)`, within the first one's session."""
    if timeframe.is_daily:
        for session in calendar.during(start, until, timeframe):
            yield Interval(session.label_utc, session.label_utc + timeframe.length)
        return
    (session,) = calendar.during(start, start + _MOMENT, timeframe)
    while start < min(until, session.end) and (slot := slot_of(start, timeframe, calendar)):
        yield slot
        start = slot.end
