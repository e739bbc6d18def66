"""The newest complete bars of many symbols at one timeframe, as a screen sees them. Pure.

As of a moment only bars count that were complete then: daily ones when their session had ended, four-hour ones too,
for where IB cuts them is not verified; any other when its interval had passed. A window ends there, and begins anew
where the price jumps as after a split, because indicators over both sides of one would be wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from workbench.indicators.suite import Floats
from workbench.market.aggregate.grid import bar_ends
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import Timeframe, parse_timeframe

Stamps = npt.NDArray[np.int64]
"""Instants in microseconds since 1970, UTC."""

JUMP, THREE_FOR_TWO, NEAR = 1.9, 1.5, 0.025
"""An open that is so many times the close before it, or so small a part, is taken for a split, and so is one near 3:2.
Of half a million real daily bars this found every split of 2:1 and more and all but 2 of 23 of 3:2, and took 5 falls
for splits that were none (Southwest after 2001-09-11, Fifth Third in September 2008)."""

_SECOND = 1_000_000
_SESSION_S, _WEEK = 23_400, 7 / 5


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Bars symbol by symbol, oldest first: those of symbol i are rows `bounds[i]` to `bounds[i + 1]`.

    `jumps` has the start of the bar at which a symbol's bars begin because the price jumps there, where it does.
    """

    timeframe: str
    symbols: tuple[str, ...]
    bounds: Stamps
    stamps: Stamps
    columns: Mapping[str, Floats]
    jumps: Mapping[str, int] = field(default_factory=dict)

    def of(self, number: int) -> slice:
        """Return the rows of a symbol."""
        return slice(int(self.bounds[number]), int(self.bounds[number + 1]))

    def some(self, numbers: Stamps) -> Window:
        """Return the bars of some of the symbols."""
        symbols = tuple(self.symbols[number] for number in numbers.tolist())
        return self._taken(symbols, self.bounds[:-1][numbers], self.bounds[1:][numbers], self.jumps)

    def cut(self, begins: Stamps, ends: Stamps, jumps: Mapping[str, int]) -> Window:
        """Return of each symbol the bars between two rows."""
        return self._taken(self.symbols, begins, ends, jumps)

    def _taken(self, symbols: tuple[str, ...], begins: Stamps, ends: Stamps, jumps: Mapping[str, int]) -> Window:
        counts = ends - begins
        kept = np.concatenate([[0], np.cumsum(counts)])
        rows = np.repeat(begins - kept[:-1], counts) + np.arange(kept[-1])
        taken = {name: np.ascontiguousarray(column[rows]) for name, column in self.columns.items()}
        return Window(self.timeframe, symbols, kept, self.stamps[rows], taken, jumps)


def newest_bars(window: Window, *, until: int, bars: int) -> Window:
    """Return the newest `bars` of each symbol that start before `until`, which is `complete_until` of a moment."""
    bounds, stamps = window.bounds, window.stamps
    counted = np.concatenate([[0], np.cumsum(stamps < until)])
    ends = bounds[:-1] + counted[bounds[1:]] - counted[bounds[:-1]]
    begins = np.maximum(bounds[:-1], ends - bars)
    jumps: dict[str, int] = {}
    for row, owner in find_jumps(window):
        if begins[owner] < row < ends[owner]:
            begins[owner], jumps[window.symbols[owner]] = row, int(stamps[row])
    if not jumps and (begins == bounds[:-1]).all() and (ends == bounds[1:]).all():
        return window
    return window.cut(begins, ends, jumps)


def find_jumps(window: Window) -> list[tuple[int, int]]:
    """Return the bars that jump from the one before them, as after a split, and whose they are; oldest first."""
    fall = window.columns["close"][:-1] / window.columns["open"][1:]
    far = np.flatnonzero(~((fall > 1 / JUMP) & (fall < THREE_FOR_TWO * (1 - 2 * NEAR))))
    fall = fall[far]
    is_split = (fall >= JUMP) | (fall <= 1 / JUMP) | (np.abs(fall / THREE_FOR_TWO - 1) <= NEAR)
    rows = far[is_split] + 1
    owners = np.searchsorted(window.bounds, rows, side="right") - 1
    same = rows > window.bounds[owners]  # else it is the first of the next symbol
    return list(zip(rows[same].tolist(), owners[same].tolist(), strict=True))


def complete_until(as_of: datetime, timeframe: str) -> int:
    """Return the first start of a bar that is not complete at a moment, in microseconds.

    >>> noon = datetime(2026, 11, 20, 17, tzinfo=UTC)
    >>> [str(np.datetime64(complete_until(noon, name), "us"))[:16] for name in ("1hour", "4hour", "1day")]
    ['2026-11-20T17:00', '2026-11-19T21:00', '2026-11-20T00:00']
    """
    length = parse_timeframe(timeframe)
    calendar = session_calendar()
    waits = length.name == "4hour"
    return micros(calendar.closed_until(as_of) if waits else calendar.complete_until(as_of, length))


def fresh_from(as_of: datetime, timeframe: str, sessions: int) -> int:
    """Return where the last `sessions` closed sessions begin: bars that all start before it are stale."""
    numbers = session_calendar().recent(as_of, sessions)
    labels, begins, _ = session_calendar().edges(numbers[:1])
    return int((labels if parse_timeframe(timeframe).is_daily else begins)[0]) if len(numbers) else 0


def ends_of(stamps: Stamps, timeframe: str) -> Stamps:
    """Return when bars were complete; the starts may come in any order."""
    starts, where = np.unique(stamps, return_inverse=True)
    return (bar_ends(starts // _SECOND, parse_timeframe(timeframe)) * _SECOND)[where]


def reach(as_of: datetime, timeframe: Timeframe, bars: int) -> datetime:
    """Return a moment from which on a busy symbol has traded in `bars` bars by `as_of`, with some to spare."""
    sessions = bars / max(1, _SESSION_S // timeframe.seconds)
    return as_of - timedelta(days=10 + 1.1 * _WEEK * sessions)


def micros(moment: datetime) -> int:
    """Return an instant in microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def moment_of(stamp: int) -> datetime:
    """Return the instant of a number of microseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(stamp))
