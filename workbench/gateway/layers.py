"""One symbol's bars on a replayed tape: what its files hold of different lengths, laid over one another.

What is streamed is the five-second bars, so they are the truth of every session that they hold: longer bars are made
of them. One-minute bars are the truth of the others, and a longer file of the rest. A session is held when there are
shorter bars in every bar of it in which the longer file has trades: a recording that began at noon does not hold its
morning. Where the longer file says otherwise than what is served, it is told by name.

In regular hours a window of five seconds in which nobody traded repeats the last price with volume 0, as IB's live
bars do, from the first price of its session on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.gateway.aggregate import concatenate, grid, nothing, select, to_grid
from workbench.gateway.bar_files import PRICES, read_bars, timeframe
from workbench.gateway.hours import NEW_YORK, hours
from workbench.gateway.tape import DAY, BarColumns, Floats, Seconds

Flags = npt.NDArray[np.bool_]

log = logging.getLogger(__name__)

STREAMED = 5
MINUTE = 60


class Layers:
    """The bars of one symbol by step. Files are read when first asked for, and kept."""

    def __init__(self, symbol: str, files: Mapping[int, Path]) -> None:
        self._symbol = symbol
        self.files = files
        self._loaded: dict[int, BarColumns] = {}
        self._holds: dict[int, Flags] = {}
        self._served: dict[tuple[int, bool], BarColumns] = {}

    @property
    def streams(self) -> bool:
        """Whether there is anything to stream: five-second bars, or what makes them."""
        return bool(self.files.keys() & {1, STREAMED})

    def bars(self, step: int, *, use_rth: bool) -> BarColumns:
        """Return all bars of a step. Raises GatewayError where a file cannot be read."""
        if (step, use_rth) not in self._served:
            if step > STREAMED:
                served = self._laid(step, use_rth=use_rth)
            elif use_rth:
                served = in_regular_hours(self.bars(step, use_rth=False))
            else:
                served = without_gaps(self._recorded()) if step == STREAMED else self._file(step)
            self._served[step, use_rth] = served
        return self._served[step, use_rth]

    def compare(self) -> None:
        """Say where files disagree."""
        for step in self.files:
            self.bars(step, use_rth=True)

    def _file(self, step: int) -> BarColumns:
        if step not in self.files:
            return nothing()
        if step not in self._loaded:
            self._loaded[step] = self._on_the_clock(read_bars(self.files[step]), step)
        return self._loaded[step]

    def _on_the_clock(self, bars: BarColumns, step: int) -> BarColumns:
        """Return a file's bars; none when they do not begin where IB's do: nobody knows when such a bar is over."""
        if step in (1, DAY) or not len(bars):
            return bars
        sessions = hours().touching(int(bars.start[0]), int(bars.start[-1]) + 1, use_rth=False)
        starts = [grid(hours(), sessions, step, use_rth=use_rth) for use_rth in (False, True)]
        inside = bars.start < hours().post_closes[_session_of(bars.start)]
        wrong = bars.start[inside & ~np.isin(bars.start, np.concatenate(starts))]
        if not len(wrong):
            return bars
        self._say(f"{timeframe(step)} has bars that do not begin on New York's clock, as IB's do (first {_at(wrong)}); "
                  "it is left out, such bars are made of shorter ones")  # fmt: skip
        return nothing()

    def _recorded(self) -> BarColumns:
        """Return the five-second bars as they were recorded: without those in which nobody traded."""
        if STREAMED in self.files:
            return self._file(STREAMED)
        return made_of(self._file(1), STREAMED, use_rth=False)

    def _laid(self, step: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of the longer files, and over them those that are made of what is truer."""
        own, made = self._own(step, use_rth=use_rth), self._made(step, use_rth=use_rth)
        if not len(made) or not len(own):
            return made if len(made) else own
        held = self._held(step)
        rows = concatenate(select(own, ~held[_sessions(own, step)]), select(made, held[_sessions(made, step)]))
        return select(rows, np.argsort(rows.start, kind="stable"))

    def _own(self, step: int, *, use_rth: bool) -> BarColumns:
        """Return the bars of the step's file, or of the longest shorter one."""
        source = max((it for it in self.files if MINUTE < it <= step and len(self._file(it))), default=step)
        bars = self._file(step) if source == step else made_of(self._file(source), step, use_rth=use_rth)
        return in_regular_hours(bars) if use_rth and step < DAY else bars

    def _made(self, step: int, *, use_rth: bool) -> BarColumns:
        """Return the bars that are made of the truth: of minutes, which are made of five seconds themselves."""
        return made_of(self.bars(STREAMED if step == MINUTE else MINUTE, use_rth=use_rth), step, use_rth=use_rth)

    def _held(self, step: int) -> Flags:
        """Return which sessions of the calendar the truth holds; the first time, say what it does not."""
        if step not in self._holds:
            self._holds[step] = self._found_held(step)
        return self._holds[step]

    def _found_held(self, step: int) -> Flags:
        own, made = _traded(self._own(step, use_rth=True)), _traded(self._made(step, use_rth=True))
        missing = _sessions(select(own, ~np.isin(own.start, made.start)), step)
        held = np.zeros(len(hours()), dtype=bool)
        held[_sessions(made, step)] = True
        partly = np.unique(missing[held[missing]])
        held[missing] = False
        if len(partly):
            self._say(f"{self._truth} has only part of {len(partly)} sessions (first {_date(partly)}): there "
                      f"{timeframe(step)} is served, with which a stream may not agree")  # fmt: skip
        if step in self.files:
            self._compare(step, held)
        return held

    def _compare(self, step: int, held: Flags) -> None:
        """Say how many bars of a file differ from those that are served."""
        own, made = (_traded(it(step, use_rth=True)) for it in (self._own, self._made))
        own = select(own, held[_sessions(own, step)])
        made = select(made, np.isin(made.start, own.start))
        same = [np.isclose(getattr(own, it), getattr(made, it), rtol=1e-9, atol=0) for it in (*PRICES, "volume")]
        own = select(own, ~np.logical_and.reduce(same))
        if len(own):
            first = _date(_sessions(own, step)) if step >= DAY else _at(own.start)
            self._say(f"{len(own)} of {len(made)} bars of {timeframe(step)} differ from those made of shorter ones "
                      f"(first {first}); the latter are served")  # fmt: skip

    @property
    def _truth(self) -> str:
        return timeframe(STREAMED if self.streams else MINUTE)

    def _say(self, text: str) -> None:
        log.warning("%s: %s", self._symbol, text)


def made_of(bars: BarColumns, step: int, *, use_rth: bool) -> BarColumns:
    """Return bars as longer ones; what lies outside trading hours belongs to none."""
    if not len(bars):
        return bars
    sessions = hours().touching(int(bars.start[0]), int(bars.start[-1]) + 1, use_rth=use_rth)
    return to_grid(bars, hours(), sessions, step, use_rth=use_rth)


def without_gaps(bars: BarColumns) -> BarColumns:
    """Return five-second bars with one for each window of regular hours, from the first price of its session on."""
    calendar, sessions = hours(), np.unique(_sessions(in_regular_hours(bars), STREAMED))
    windows = [np.arange(calendar.opens[it], calendar.closes[it], STREAMED) for it in sessions.tolist()]
    missing = np.setdiff1d(np.concatenate([*windows, np.empty(0, dtype=np.int64)]), bars.start)
    before = np.searchsorted(bars.start, missing) - 1
    known = (before >= 0) & (bars.start[before] >= calendar.pre_opens[_session_of(missing)])
    rows = concatenate(bars, _flat(missing[known], bars.close[before[known]]))
    return select(rows, np.argsort(rows.start, kind="stable"))


def _flat(start: Seconds, price: Floats) -> BarColumns:
    """Return bars in which nobody traded."""
    none = np.zeros(len(start))
    return BarColumns(start, price, price, price, price, none, price, none.astype(np.int64))


def in_regular_hours(bars: BarColumns) -> BarColumns:
    """Return the bars that start in regular trading hours."""
    calendar = hours()
    session = np.searchsorted(calendar.opens, bars.start, side="right") - 1
    return select(bars, (session >= 0) & (bars.start < calendar.closes[session]))


def _traded(bars: BarColumns) -> BarColumns:
    """Return the bars with trades; all, where none has any: those of an index."""
    traded = (bars.volume > 0) | (bars.count > 0)
    return select(bars, traded) if traded.any() else bars


def _sessions(bars: BarColumns, step: int) -> Seconds:
    """Return the place of each bar's session in the calendar."""
    if step >= DAY:
        return np.searchsorted(hours().labels, bars.start, side="right") - 1
    return _session_of(bars.start)


def _session_of(start: Seconds) -> Seconds:
    return np.searchsorted(hours().pre_opens, start, side="right") - 1


def _at(starts: Seconds) -> str:
    return f"{datetime.fromtimestamp(int(starts[0]), NEW_YORK):%Y-%m-%d %H:%M:%S}"


def _date(sessions: Seconds) -> str:
    return f"{datetime.fromtimestamp(int(hours().labels[sessions[0]]), UTC):%Y-%m-%d}"
