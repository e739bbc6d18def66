"""The time axis of a chart: where each bar stands, and what is written below.

Nights, weekends and holidays take no room: sessions follow each other. Inside a session every bar has the slot
that the clock gives it, so bars that are missing leave their slots empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.market.timeframes import Timeframe

Floats: TypeAlias = NDArray[np.float64]
Tick: TypeAlias = tuple[float, str]

LONGEST_BRIDGE = 4
"""A line is drawn across at most so many empty slots: quiet minutes of a thin stock do not tear it."""

STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Positions of bars, one unit a slot.

    `positions` has one for each bar. `starts` are the positions of the sessions' first bars and `slots` their
    numbers of slots since local midnight; both have one entry a session, and so has `dates`. `times` are the
    bars' starts on the exchange's clock, without a zone; of daily bars the session's date.
    """

    timeframe: Timeframe
    times: pd.DatetimeIndex
    positions: Floats
    dates: pd.DatetimeIndex
    starts: Floats
    slots: NDArray[np.int64]

    @property
    def limits(self) -> tuple[float, float]:
        """The left and right end, with a little room; more around few bars, lest they become walls."""
        taken = float(self.positions[-1] - self.positions[0])
        room = max(1.0, 0.01 * taken, (20 - taken) / 2)
        return self.positions[0] - room, self.positions[-1] + room

    @property
    def ends(self) -> Floats:
        """The position after the last bar of each session."""
        return np.append(self.starts[1:], self.positions[-1] + 1)

    def bridged(self, values: Floats) -> tuple[Floats, Floats]:
        """Return positions and values of a line that is interrupted where bars are missing."""
        torn = np.flatnonzero(np.diff(self.positions) > LONGEST_BRIDGE + 1) + 1
        return np.insert(self.positions, torn, np.nan), np.insert(values, torn, np.nan)

    def ticks(self, room: int) -> list[Tick]:
        """Return at most about `room` positions and their labels: times, dates, months or years."""
        if not self.timeframe.is_daily and 2 * len(self.dates) <= room:
            return self._clock_ticks(room)
        return self._calendar_ticks(room)

    def _clock_ticks(self, room: int) -> list[Tick]:
        """Dates where sessions begin, and round times between them."""
        distance = (self.limits[1] - self.limits[0]) / room
        dates = _apart([(start, _day(date)) for start, date in zip(self.starts, self.dates, strict=True)], distance)
        for step in STEPS_S:
            if step >= max(distance, 1) * self.timeframe.seconds:
                return _joined(dates, self._round_times(step), distance)
        return dates

    def _round_times(self, step_s: int) -> Iterator[Tick]:
        seconds = self.timeframe.seconds
        for start, end, slot in zip(self.starts, self.ends, self.slots, strict=True):
            first = -(-int(slot) * seconds // step_s) * step_s
            for second in range(first, int(slot + end - start) * seconds, step_s):
                yield start + second // seconds - slot, _clock(second, with_seconds=step_s < 60)

    def _calendar_ticks(self, room: int) -> list[Tick]:
        """The first bar of each day, week, month, quarter, year or five years: the finest that has room."""
        for period in CALENDAR:
            key = np.asarray(period.key(self.times))
            first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
            if len(first) <= room:
                break
        labels = [period.first(self.times[0]), *map(period.label, self.times[first[1:]])]
        ticks = list(zip(self.positions[first].tolist(), labels, strict=True))
        return _apart(ticks, 0.8 * (self.limits[1] - self.limits[0]) / room)


def time_axis(index: pd.DatetimeIndex, timeframe: Timeframe, zone: str) -> TimeAxis:
    """Place bars that begin at `index`, sorted and in UTC, on an axis in the time of `zone`."""
    if timeframe.is_daily:
        # The label of a session is a date; a time zone would move it to the day before.
        times = index.tz_localize(None)
        positions = np.arange(len(index), dtype=np.float64)
        return TimeAxis(timeframe, times, positions, times, positions, np.zeros(len(index), np.int64))
    times = index.tz_convert(zone).tz_localize(None)
    dates = times.normalize()
    slots = (times - dates) // timeframe.length
    first = np.flatnonzero(np.r_[True, np.asarray(dates[1:] != dates[:-1])])
    session = np.cumsum(np.r_[False, np.asarray(dates[1:] != dates[:-1])])
    spans = slots[np.r_[first[1:] - 1, len(slots) - 1]] - slots[first] + 1
    offsets = np.r_[0, np.cumsum(spans)[:-1]] - slots[first]
    positions = _increasing(np.asarray(slots + offsets[session], dtype=np.float64))
    return TimeAxis(timeframe, times, positions, dates[first], positions[first], np.asarray(slots[first]))


def _increasing(positions: Floats) -> Floats:
    """Push bars apart that share a slot, as the repeated hour does when summer time ends."""
    order = np.arange(len(positions))
    return np.maximum.accumulate(positions - order) + order


def _apart(ticks: list[Tick], distance: float) -> list[Tick]:
    """Leave out ticks that the next one comes too near to; the last always stays."""
    kept: list[Tick] = []
    for tick in reversed(ticks):
        if not kept or kept[-1][0] - tick[0] >= distance:
            kept.append(tick)
    return kept[::-1]


def _joined(ticks: list[Tick], welcome: Iterable[Tick], distance: float) -> list[Tick]:
    """Add to `ticks` those `welcome` ones that come no nearer to them than `distance`."""
    taken = np.array([position for position, _ in ticks])
    return sorted(ticks + [tick for tick in welcome if np.abs(taken - tick[0]).min() >= distance])


def _day(time: pd.Timestamp) -> str:
    return f"{time:%b} {time.day}"


def _month(time: pd.Timestamp) -> str:
    return f"{time:%Y}" if time.month == 1 else f"{time:%b}"


def _quarter(time: pd.Timestamp) -> str:
    return f"{time:%Y}" if time.month <= 3 else f"{time:%b}"


def _year(time: pd.Timestamp) -> str:
    return f"{time:%Y}"


def _month_of_year(time: pd.Timestamp) -> str:
    return f"{time:%b %Y}"


def _clock(second: int, *, with_seconds: bool) -> str:
    text = f"{second // 3600:02d}:{second // 60 % 60:02d}"
    return f"{text}:{second % 60:02d}" if with_seconds else text


@dataclass(frozen=True, slots=True)
class Period:
    """A period of the calendar: what tells one from the next, and how its first bar is labelled.

    The axis may begin in the middle of a period; then `first` labels it.
    """

    key: Callable[[pd.DatetimeIndex], object]
    label: Callable[[pd.Timestamp], str]
    first: Callable[[pd.Timestamp], str]


CALENDAR = (
    Period(lambda times: times.normalize(), _day, _day),
    Period(lambda times: times.to_period("W"), _day, _day),
    Period(lambda times: times.to_period("M"), _month, _day),
    Period(lambda times: times.to_period("Q"), _quarter, _month_of_year),
    Period(lambda times: times.year, _year, _month_of_year),
    Period(lambda times: times.year // 5, _year, _month_of_year),
)
"""From fine to coarse."""
