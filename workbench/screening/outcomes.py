"""What price did after each bar, over the next bars. Pure; the only place of this package that looks ahead.

The bar's answer is known when it is complete, so whoever acts on it gets the open of the next bar: that is the entry.
After N bars the return is from there to the close of the Nth; the adverse and the favourable excursion are the worst
and the best price on the way. A short's are mirrored: what it would have gained, and lost at worst. Dividends and
costs are not in it. Where a series ends, or jumps as after a split, within the N bars there is no outcome: NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from workbench.indicators.suite import Floats
from workbench.screening.windows import Stamps


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """By bar, in a row a side: shares of the entry's price; `adverse` is mostly below zero."""

    gain: Floats
    adverse: Floats
    favourable: Floats


def outcomes(columns: Mapping[str, Floats], bounds: Stamps, bars: int) -> Outcome:
    """Return what came of each bar over the next `bars`; series lie one behind the other, cut at `bounds`."""
    rows = len(columns["close"])
    at = np.arange(rows)
    lasts = np.repeat(bounds[1:] - 1, np.diff(bounds))
    whole = at + bars <= lasts
    entry, leave = (_later(columns[name], by) for name, by in (("open", 1), ("close", bars)))
    lowest, highest = _ahead(columns["low"], bars, np.min), _ahead(columns["high"], bars, np.max)
    long = [np.where(whole, price / entry - 1, np.nan) for price in (leave, lowest, highest)]
    return Outcome(*(np.vstack([up, -down]) for up, down in zip(long, (long[0], long[2], long[1]), strict=True)))


def _later(column: Floats, bars: int) -> Floats:
    found = np.full(len(column), np.nan)
    found[: max(0, len(column) - bars)] = column[bars:]
    return found


def _ahead(column: Floats, bars: int, extreme: Callable[..., Floats]) -> Floats:
    """Return the extreme of the next `bars` bars."""
    found = np.full(len(column), np.nan)
    if len(column) > bars:
        found[: len(column) - bars] = extreme(np.lib.stride_tricks.sliding_window_view(column[1:], bars), axis=1)
    return found


def apart(rows: Stamps, owners: Stamps, bars: int) -> np.ndarray:
    """Return which hits do not lie within `bars` of an earlier one of the same series that counts: each path once."""
    chosen, last, owner = np.zeros(len(rows), dtype=bool), 0, -1
    for number, (row, whose) in enumerate(zip(rows.tolist(), owners.tolist(), strict=True)):
        if whose != owner or row >= last + bars:
            chosen[number], last, owner = True, row, whose
    return chosen
