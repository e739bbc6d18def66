"""Proofs for indicators, one's own above all: whether they look ahead, and how many bars they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InvalidBars, InvalidInput
from workbench.indicators.batch import compute
from workbench.indicators.define import check_suite
from workbench.indicators.frames import columns_of, place_of
from workbench.indicators.suite import Floats, Indicator

_CUTS = 60
_FEWEST = 10
_GROWTH = 1.05
_RELATIVE = 1e-12


@dataclass(frozen=True, slots=True)
class LookaheadReport:
    """Whether values changed when later bars came. True in a condition when none did."""

    indicator: str
    cuts: int
    changed: Mapping[str, object]
    """The first bar whose value changed, by output."""

    def __bool__(self) -> bool:
        return not self.changed

    def __str__(self) -> str:
        if self:
            return (
                f"{self.indicator} does not look ahead: the future was taken away {self.cuts} times, no value changed"
            )
        told = ", ".join(f"{output} at {bar}" for output, bar in self.changed.items())
        return f"{self.indicator} LOOKS AHEAD: its past changes when later bars come, first {told}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True)
class WarmupReport:
    """How many bars an indicator needs. `stable_after` is None when no number of the bars given was enough."""

    indicator: str
    stated: int
    first_value: int | None
    stable_after: int | None
    tolerance: float
    bars: int

    def __bool__(self) -> bool:
        return self.stated == self.first_value and self.stable_after is not None

    def __str__(self) -> str:
        if self.first_value is None:
            return f"{self.indicator} has no value over {self.bars} bars (stated: the first one after {self.stated})"
        first = f"{self.indicator} has its first value after {self.first_value} bars (stated: {self.stated})"
        if self.stable_after is None:
            return (
                f"{first}; even over {self.bars} bars it depends on the first of them: compute it from the same start"
            )
        return f"{first}; computed over the last {self.stable_after} bars it is within {self.tolerance:g} of the whole"

    __repr__ = __str__


def check_lookahead(
    indicator: Indicator | Sequence[Indicator], bars: pd.DataFrame, *, cuts: int = _CUTS
) -> LookaheadReport:
    """Take the future away, time and again, and see whether the past changes.

    `bars` are a few hundred or thousand bars; `indicator` may come with those that it is made of before it. Equal
    means to 1e-12, relative. Raises `InvalidBars` for too few bars to prove it.
    """
    suite, columns = _prepared(indicator, bars)
    if cuts < 1:
        raise InvalidInput(f"cuts is {cuts}: without a single one nothing is compared")
    rows, changed = len(bars), dict[str, object]()
    begin = max(_FEWEST, _stated(suite) + 1)  # with fewer bars there is nothing to compare
    if rows <= begin:
        raise InvalidBars(f"{rows} bars prove nothing about {suite[-1].name}; give it a few hundred more than {begin}")
    whole = compute(suite, columns)
    ends = np.unique(np.linspace(begin, rows, cuts + 1).astype(int)[:-1])
    for end in ends[::-1].tolist():
        known = compute(suite, {name: np.ascontiguousarray(column[:end]) for name, column in columns.items()})
        for output, values in known.items():
            differs = ~_same(values, whole[output][:end], _RELATIVE)
            if differs.any():
                changed[output] = place_of(bars, int(np.argmax(differs)))
    return LookaheadReport(suite[-1].name, len(ends), changed)


def check_warmup(
    indicator: Indicator | Sequence[Indicator], bars: pd.DataFrame, *, tolerance: float = 1e-6
) -> WarmupReport:
    """Measure when an indicator has its first value, and over how many bars its last one is that of the whole history.

    `tolerance` is relative to the value, or absolute below 1. Windows are tried in steps of five percent.
    """
    suite, columns = _prepared(indicator, bars)
    if not tolerance >= 0:
        raise InvalidInput(f"tolerance is {tolerance}; it is 0 or above, such as 1e-6")
    last, rows = suite[-1], len(bars)
    whole = compute(suite, columns)
    first = [_first(whole[output]) for output in last.outputs]
    found = None if None in first else max(one for one in first if one is not None)
    stable = None
    for window in reversed(_windows(rows)):
        values = compute(suite, {name: np.ascontiguousarray(column[-window:]) for name, column in columns.items()})
        if not all(_same(values[name][-1:], whole[name][-1:], tolerance).all() for name in last.outputs):
            break
        stable = window
    return WarmupReport(last.name, _stated(suite), found, stable, tolerance, rows)


def _prepared(
    indicator: Indicator | Sequence[Indicator], bars: pd.DataFrame
) -> tuple[tuple[Indicator, ...], dict[str, Floats]]:
    suite = (indicator,) if isinstance(indicator, Indicator | str) else tuple(indicator)
    if not suite:
        raise InvalidInput("no indicator is given")
    return check_suite(suite, bars.columns), columns_of(bars, suite)


def _windows(rows: int) -> list[int]:
    """Return lengths up to one bar less than all."""
    lengths = [_FEWEST]
    while lengths[-1] < rows - 1:
        lengths.append(min(rows - 1, max(lengths[-1] + 1, int(lengths[-1] * _GROWTH))))
    return lengths if rows > _FEWEST else []


def _stated(suite: Sequence[Indicator]) -> int:
    """Return the warm-up of the last indicator, that of what it is made of included."""
    begins: dict[str, int] = {}
    for one in suite:
        begin = one.warm_up + max((begins.get(name, 0) for name in one.inputs), default=0)
        begins.update(dict.fromkeys(one.outputs, begin))
    return begins[suite[-1].outputs[0]]


def _first(column: Floats) -> int | None:
    missing = np.isnan(column)
    return None if missing.all() else int(np.argmin(missing))


def _same(one: Floats, other: Floats, tolerance: float) -> npt.NDArray[np.bool_]:
    scale = np.maximum(np.abs(other), 1.0)
    with np.errstate(invalid="ignore"):
        near = np.abs(one - other) <= tolerance * scale
    same: npt.NDArray[np.bool_] = near | (one == other) | (np.isnan(one) & np.isnan(other))
    return same
