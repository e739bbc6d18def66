"""One series under examination: its bars, its coverage and its calendar, loaded once for all checks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
import pyarrow as pa

from workbench.market.bars import TIMESTAMP, to_table
from workbench.market.coverage import Coverage, Interval
from workbench.market.doubts import protrusion, usual_range
from workbench.market.sessions import SessionCalendar, session_calendar
from workbench.market.timeframes import Timeframe
from workbench.store.parts import to_micros
from workbench.store.quality.findings import Finding, Kind, tell_time
from workbench.store.review import moment_of, slot_of


@dataclass(frozen=True)
class Subject:
    """A series, as far as it is examined. `bars` are sorted, unique and sound; `stored` are as they lie on the disk.

    `hours` is the calendar of the series' hours; None for an index, which is calculated at hours of its own. Nothing
    from `as_of` on is expected.
    """

    symbol: str
    timeframe: Timeframe
    what_to_show: str
    use_rth: bool
    coverage: Coverage
    stored: pd.DataFrame
    bars: pd.DataFrame
    judged: pd.DataFrame
    is_index: bool
    as_of: datetime

    @property
    def calendar(self) -> SessionCalendar:
        """The sessions of its hours."""
        return session_calendar(use_rth=self.use_rth)

    @cached_property
    def stamps(self) -> np.ndarray:
        """The bars' starts as int64 microseconds since 1970 (UTC)."""
        index = self.bars.index
        assert isinstance(index, pd.DatetimeIndex)  # noqa: S101  as load_bars gives them
        return np.asarray(index.as_unit("us").asi8)

    @cached_property
    def settled(self) -> np.ndarray:
        """The starts of the bars, of those that are held back and of those that were dropped: no one misses them."""
        judged = pd.DatetimeIndex(self.judged.loc[self.judged["judgement"] != "accepted", TIMESTAMP])
        return np.union1d(self.stamps, judged.as_unit("us").asi8)

    @cached_property
    def table(self) -> pa.Table:
        """The bars as an Arrow table."""
        return to_table(self.bars)

    @cached_property
    def protrusion(self) -> np.ndarray:
        """How far each bar sticks out of those beside it, in usual ranges."""
        return protrusion(self.table, self.timeframe)

    @cached_property
    def usual_range(self) -> np.ndarray:
        """The usual range around each bar, as a share of the price."""
        return usual_range(self.table, self.timeframe)

    def start(self, row: int) -> datetime:
        """Return the start of a bar."""
        return moment_of(self.stamps[row])

    @property
    def held_back(self) -> list[datetime]:
        """The starts of the bars that wait for a decision."""
        waiting = self.judged["judgement"] == "held back"
        return [stamp.to_pydatetime() for stamp in self.judged.loc[waiting, TIMESTAMP]]

    def slot(self, start: datetime) -> Interval | None:
        """Return the time that the bar at `start` stands for; None outside of the sessions."""
        return slot_of(start, self.timeframe, self.calendar)

    def end(self, start: datetime) -> datetime:
        """Return where the bar that starts at `start` ends."""
        slot = self.slot(start)
        return slot.end if slot else start + self.timeframe.length

    @property
    def key(self) -> str:
        """The series as the command line names it."""
        quotes = "" if self.what_to_show == "TRADES" else f" --what-to-show {self.what_to_show}"
        return f"{shlex.quote(self.symbol)} -t {self.timeframe}{quotes}"

    def stamp(self, start: datetime) -> str:
        """Return a bar's start as the command line takes it."""
        return f"{start:%Y-%m-%d}" if self.timeframe.is_daily else f"{start:%Y-%m-%dT%H:%M:%SZ}"

    def tell(self, moment: datetime) -> str:
        """Return a moment as people read it."""
        return tell_time(moment, is_daily=self.timeframe.is_daily)

    def finding(self, kind: Kind, begin: datetime, end: datetime, what: str, step: str) -> Finding:
        """Return a finding in this series."""
        return Finding(self.symbol, str(self.timeframe), self.what_to_show, kind, begin, end, what, step)


def runs(flagged: np.ndarray) -> Iterator[tuple[int, int]]:
    """Give each run of true values as its first position and the one after its last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flagged, np.int8), [0]])))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def covered(begins: np.ndarray, ends: np.ndarray, coverage: Coverage) -> np.ndarray:
    """Return which spans, in microseconds, lie within the coverage as a whole."""
    spans = np.array([(to_micros(span.begin), to_micros(span.end)) for span in coverage], np.int64).reshape(-1, 2)
    if not len(spans):
        return np.zeros(len(begins), dtype=bool)
    at = np.searchsorted(spans[:, 0], begins, side="right") - 1
    return np.asarray((at >= 0) & (ends <= spans[at, 1]))
