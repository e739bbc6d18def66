"""The rows that a live chart draws: bars in their slots, with an empty row for each slot that has no bar.

Nights, weekends and holidays have no slots. Each session has those that its hours are cut into, so what is missing
leaves room, at a session's begin and end as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from math import nan
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.display.axis import Floats
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import Timeframe

Row = tuple[float, ...]
"""Start in epoch seconds, then the values of the columns; NaN in all of them where a slot has no bar."""

BAR = ("open", "high", "low", "close", "volume", "forming", "missing")
"""The first columns of every chart. `forming` is 1 for the bar that is not complete; `missing` counts the five-second
bars that a live bar lacks."""


def slots(after: int, before: int, timeframe: Timeframe) -> Iterator[int]:
    """Give the starts of the bars that lie between two others, in epoch seconds, both excluded.

    >>> from workbench.market.timeframes import TIMEFRAMES
    >>> friday, monday = (datetime(2026, 11, day, hour, 30, tzinfo=UTC) for day, hour in ((20, 19), (23, 15)))
    >>> between = slots(int(friday.timestamp()), int(monday.timestamp()), TIMEFRAMES["1hour"])
    >>> [datetime.fromtimestamp(at, EXCHANGE_ZONE).strftime("%a %H:%M") for at in between]
    ['Fri 15:00', 'Mon 09:30', 'Mon 10:00']
    """
    begin, end = (datetime.fromtimestamp(at, UTC) for at in (after, before))
    for session in session_calendar().during(begin, end, timeframe):
        if timeframe.is_daily:
            starts = [int(session.label_utc.timestamp())]
        else:
            first, last = int(session.begin.timestamp()), int(session.end.timestamp())
            midnight = int(datetime.combine(session.label, time(), EXCHANGE_ZONE).timestamp())
            step = timeframe.seconds
            starts = [first, *range(midnight + ((first - midnight) // step + 1) * step, last, step)]
        yield from (start for start in starts if after < start < before)


def study_rows(study: pd.DataFrame, columns: Sequence[str], timeframe: Timeframe, most: int) -> list[Row]:
    """Return the newest `most` slots of bars with their indicators as rows; a column that is not there is NaN."""
    shown = study.iloc[-most:]
    marks = {name: 0.0 for name in ("forming", "missing") if name not in shown}
    values = shown.assign(**marks).reindex(columns=list(columns)).to_numpy(np.float64)
    rows: list[Row] = []
    for start, row in zip(_seconds(shown), values.tolist(), strict=True):
        add_row(rows, (start, *row), timeframe)
    return rows[-most:]


def add_row(rows: list[Row], row: Row, timeframe: Timeframe) -> int:
    """Put a row at the end, behind empty ones for the slots in between, or in place of the last one.

    Return how many rows at the end are new or other ones. A row that is older than the last is not added: 0.
    """
    if not rows or row[0] == rows[-1][0]:
        rows[-1:] = [row]
        return 1
    if row[0] < rows[-1][0]:
        return 0
    last, count = int(rows[-1][0]), len(rows)
    if row[0] - last != timeframe.seconds:
        rows.extend((start, *[nan] * (len(row) - 1)) for start in slots(last, int(row[0]), timeframe))
    rows.append(row)
    return len(rows) - count


def encode(rows: Sequence[Row], timeframe: Timeframe, zone: ZoneInfo) -> bytes:
    """Return rows as float64, row by row. Their starts become readings of the exchange's clock, in seconds.

    Where the clock is set back a reading may come twice; then it is pushed on by a second, for the browser needs an
    order.
    """
    if not rows:
        return b""
    table: Floats = np.array(rows, dtype=np.float64)
    if not timeframe.is_daily:
        table[:, 0] = wall_clock(table[:, 0], zone)
    return table.tobytes()


def wall_clock(starts: Floats, zone: ZoneInfo) -> Floats:
    """Return the readings of the exchange's clock at instants, both in seconds since 1970."""
    offsets: npt.NDArray[np.float64] = np.array([_offset(int(start) // 3600, zone) for start in starts])
    walls = starts + offsets
    order = np.arange(len(walls))
    return np.asarray(np.maximum.accumulate(walls - order) + order)


def _offset(hour: int, zone: ZoneInfo) -> float:
    """Return how far the exchange's clock is ahead of UTC in that hour since 1970, in seconds."""
    offset = datetime.fromtimestamp(hour * 3600, zone).utcoffset()
    return (offset or timedelta()).total_seconds()


def rows_frame(rows: Sequence[Row], columns: Sequence[str]) -> pd.DataFrame:
    """Return the rows that are bars as a frame, as the static chart draws it."""
    table = np.array([row for row in rows if row[1] == row[1]], dtype=np.float64).reshape(-1, 1 + len(columns))
    index = pd.DatetimeIndex(table[:, 0].astype("datetime64[s]").astype("datetime64[us]"), name="timestamp")
    return pd.DataFrame(table[:, 1:], index=index.tz_localize("UTC"), columns=list(columns))


def as_row(bar: Mapping[str, float], columns: Sequence[str]) -> Row:
    """Return a bar and its indicators as a row; what it does not have is NaN."""
    return (bar["timestamp"], *[bar.get(name, nan) for name in columns])


def _seconds(bars: pd.DataFrame) -> list[int]:
    return list(pd.DatetimeIndex(bars.index).as_unit("s").asi8.tolist())
