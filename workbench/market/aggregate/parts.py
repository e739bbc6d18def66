"""Forming bars of many symbols at one timeframe, each kept as the shorter bars that have come of it.

A bar is made of its parts when it is asked for, of many symbols at once: so a five-second bar costs no more than to be
put down. Sums are made part after part, whatever the number of symbols, so that one symbol alone gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, nan
from typing import TypeVar

import numpy as np
import numpy.typing as npt

OPEN, HIGH, LOW, CLOSE, VOLUME, WEIGHTED, COUNT, RECEIVED, PLAIN, PLAINS, TRADED = range(11)
"""What is known of a bar, a row each: `WEIGHTED` is volume times price; `PLAIN` is the sum of the averages of those
`PLAINS` five-second bars that count, where there is no volume."""

_NEVER = 2**62
_Number = TypeVar("_Number", np.float64, np.int64)
Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Parts:
    """The forming bars of one timeframe, of up to `slots` parts with `fields` numbers each; a place a symbol.

    `begins` and `ends` are where they lie, in epoch seconds; `held` is how many parts have come.
    """

    def __init__(self, slots: int, fields: int = TRADED + 1) -> None:
        self._values: Floats = np.zeros((slots, fields, 0))
        self.begins, self.ends, self.held = (np.zeros(0, dtype=np.int64) for _ in range(3))

    def __len__(self) -> int:
        return len(self._values)

    def grow(self, places: int) -> None:
        """Have room for so many symbols."""
        self._values = grown(self._values, places, axis=2)
        self.begins, self.ends, self.held = (grown(each, places) for each in (self.begins, self.ends, self.held))

    def begin(self, places: Numbers, begin: int, end: int) -> None:
        """Begin new bars, of which nothing has come."""
        self.begins[places], self.ends[places], self.held[places] = begin, end, 0

    def add(self, places: Numbers | slice, parts: Floats) -> None:
        """Add a part to the bar of each place; a column each."""
        slots = self.held[places]
        if every(slots == slots[0]):  # a third of the time
            self._values[slots[0]][:, places] = parts
        else:
            self._values[slots, :, np.arange(len(self.held))[places]] = parts.T
        self.held[places] = slots + 1

    def add_one(self, place: int, part: Sequence[float] | Floats) -> None:
        """Add a part to the bar of one place."""
        self._values[self.held[place], :, place] = part
        self.held[place] += 1

    def next_end(self) -> float:
        """Return where the first of the bars ends of which something has come."""
        return float(self.ends[self.held > 0].min(initial=_NEVER))

    def of(self, places: Numbers) -> tuple[Floats, Flags]:
        """Return the parts of some places, by slot, field and place, and which slots are held; the others are 0."""
        values = self._values[:, :, places]
        held = np.arange(len(values))[:, None] < self.held[places]
        return (values if held.all() else np.where(held[:, None, :], values, 0.0)), held


def from_five_seconds(columns: Floats, held: Flags) -> Floats:
    """Return the bar that the five-second bars of each place make, as `joined` does of parts."""
    volume, average, count = columns[:, 4], columns[:, 5], columns[:, 6]
    has_volume = volume > 0
    traded = has_volume | (count > 0)
    sums = np.empty((len(columns), 3, columns.shape[2]))
    sums[:, 0], sums[:, 1], sums[:, 2] = volume, volume * average, count
    if not has_volume.all():
        np.copyto(sums[:, :2], 0.0, where=~has_volume[:, None])
    if not (count >= 0).all():
        np.copyto(sums[:, 2], nan, where=~(count >= 0))  # IB does not say
    bar, counts = _priced(columns, traded, held)
    bar[VOLUME:RECEIVED], bar[RECEIVED] = _summed(sums), held.sum(axis=0)
    if not bar[VOLUME].all():
        bar[PLAIN], bar[PLAINS] = _summed(np.where(counts, average, 0.0)), counts.sum(axis=0)
    return bar


def joined(parts: Floats, held: Flags) -> Floats:
    """Return the bar that the parts of each place make; at least one is held. By field and place."""
    bar, counts = _priced(parts, parts[:, TRADED] > 0, held)
    bar[VOLUME:PLAIN] = _summed(parts[:, VOLUME:PLAIN])
    if not bar[VOLUME].all():
        bar[PLAIN:TRADED] = _summed(np.where(counts[:, None], parts[:, PLAIN:TRADED], 0.0))
    return bar


def _priced(parts: Floats, traded: Flags, held: Flags) -> tuple[Floats, Flags]:
    """Return bars that have their prices so far, and which parts set these: those that trade, if there is one."""
    has_trades = np.logical_or.reduce(traded)
    counts = np.where(has_trades, traded, held)
    open_, high, low, close = parts[0, OPEN], parts[:, HIGH], parts[:, LOW], parts[-1, CLOSE]
    if not counts.all():
        high, low, places = np.where(counts, high, -inf), np.where(counts, low, inf), np.arange(parts.shape[2])
        open_ = parts[counts.argmax(axis=0), OPEN, places]
        close = parts[len(parts) - 1 - counts[::-1].argmax(axis=0), CLOSE, places]
    bar = np.zeros((TRADED + 1, parts.shape[2]))
    bar[OPEN], bar[CLOSE], bar[TRADED] = open_, close, has_trades
    np.maximum.reduce(high, out=bar[HIGH])
    np.minimum.reduce(low, out=bar[LOW])
    return bar, counts


def spread(parts: Floats, firsts: npt.NDArray[np.intp], slots: int) -> tuple[Floats, Flags]:
    """Return parts, a column each, by slot, field and bar; `firsts` says with which part each bar begins."""
    count = parts.shape[1]
    bars = np.repeat(np.arange(len(firsts)), np.diff(firsts, append=count))
    places = np.arange(count) - firsts[bars]
    values, held = np.zeros((slots, len(parts), len(firsts))), np.zeros((slots, len(firsts)), dtype=bool)
    values[places, :, bars], held[places, bars] = parts.T, True
    return values, held


def _summed(parts: Floats) -> Floats:
    """Return sums over the slots, made one after the other: `sum` takes another order for one place alone."""
    total: Floats = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def averages_of(bar: Floats) -> Floats:
    """Return the volume-weighted prices; without volume the means of the averages of what counts."""
    with np.errstate(invalid="ignore", divide="ignore"):
        average: Floats = np.where(bar[VOLUME] > 0, bar[WEIGHTED] / bar[VOLUME], bar[PLAIN] / bar[PLAINS])
    return average


def every(flags: Flags) -> bool:
    """Tell whether all of a row of flags are true: `all` takes some steps more."""
    return bool(np.logical_and.reduce(flags))


def grown(array: npt.NDArray[_Number], places: int, axis: int = 0) -> npt.NDArray[_Number]:
    """Return an array with room for so many places on an axis; the new ones are 0."""
    shape = list(array.shape)
    shape[axis] = places
    larger = np.zeros(shape, dtype=array.dtype)
    larger[tuple(slice(0, size) for size in array.shape)] = array
    return larger
