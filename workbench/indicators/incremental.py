"""Indicators bar by bar: each new complete bar costs the same, however long the history.

Functions of TA-Lib are carried on by its own stream handles, whose values are bit for bit those of the whole history.
An indicator of the user's own is computed anew over all bars: right by its definition, and as slow as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from typing import Any, Protocol

import numpy as np
from talib import InsufficientHistory, stream  # type: ignore[attr-defined]

from workbench.errors import InvalidBars
from workbench.indicators.batch import compute, lacking, own_values
from workbench.indicators.suite import Floats, Indicator


class LiveIndicators:
    """A suite over one series that grows.

    `columns` are what is stored: contiguous float64 arrays of equal length, oldest bar first, complete bars only. It
    cannot be pickled or take a bar back: when a bar is revised, open another one on what is then stored.
    """

    def __init__(self, suite: Sequence[Indicator], columns: Mapping[str, Floats]) -> None:
        made = [name for indicator in suite for name in indicator.outputs]
        self._needed = tuple(dict.fromkeys(name for one in suite for name in one.inputs if name not in made))
        _refuse_not_finite(columns, self._needed)
        values = dict(columns) | compute(suite, columns)
        steps = [_step(one, [values[name] for name in one.inputs], made) for one in suite]
        self._updates = [(one.inputs, one.outputs, step.update) for one, step in zip(suite, steps, strict=True)]
        self._peeks = [(one.inputs, one.outputs, step.peek) for one, step in zip(suite, steps, strict=True)]
        self._outputs = tuple(made)
        self.values: dict[str, float] = {name: _last(values[name]) for name in made}
        self._broken = ""

    def update(self, bar: Mapping[str, float]) -> dict[str, float]:
        """Take in a complete bar; return the values at it, NaN during the warm-up. Raises `InvalidBars`."""
        values = self._checked(bar)
        try:
            self.values = self._run(self._updates, values)
        except Exception as error:  # some have taken the bar in, others have not
            self._broken = f"an indicator failed at an earlier bar ({error}); open the indicators anew"
            raise
        return self.values

    def peek(self, bar: Mapping[str, float]) -> dict[str, float]:
        """Return the values if the forming bar were complete as it is. Nothing is taken in."""
        return self._run(self._peeks, self._checked(bar))

    def _checked(self, bar: Mapping[str, float]) -> dict[str, float]:
        if self._broken:
            raise InvalidBars(self._broken)
        try:
            values = {name: bar[name] for name in self._needed}
            if isfinite(sum(values.values())):
                return values
        except (KeyError, TypeError) as error:
            raise InvalidBars(f"the indicators need {', '.join(self._needed)}; the bar has {dict(bar)}") from error
        raise InvalidBars(f"the indicators need finite {', '.join(self._needed)}; the bar has {dict(bar)}")

    def _run(self, steps: Sequence[_Call], values: dict[str, float]) -> dict[str, float]:
        for inputs, outputs, step in steps:
            told = step(*[values[name] for name in inputs])
            if len(outputs) == 1:
                values[outputs[0]] = told
            else:
                values.update(zip(outputs, told, strict=True))
        return {name: values[name] for name in self._outputs}


class _Step(Protocol):
    """What carries one indicator on: numbers in, its value out, or a tuple of values if it has several outputs."""

    def update(self, *numbers: float) -> Any: ...

    def peek(self, *numbers: float) -> Any: ...


_Call = tuple[tuple[str, ...], tuple[str, ...], Callable[..., Any]]


def _step(indicator: Indicator, columns: Sequence[Floats], made: Sequence[str]) -> _Step:
    if not isinstance(indicator.function, str):
        return _Whole(indicator, columns)
    return _Streamed(indicator, columns, of_bars=not any(name in made for name in indicator.inputs))


class _Streamed:
    """An indicator of TA-Lib: its handle, or the bars so far while they are too few for one.

    Inputs that are not `of_bars` may have holes, behind which it begins anew, as `batch` has it.
    """

    def __init__(self, indicator: Indicator, columns: Sequence[Floats], *, of_bars: bool) -> None:
        self._indicator, self._of_bars = indicator, of_bars
        self._handle: Any = None
        self._nothing = nan if len(indicator.outputs) == 1 else (nan,) * len(indicator.outputs)
        self._bars: list[Floats] = []
        self._open([column[_behind_holes(columns) :] for column in columns])

    def update(self, *numbers: float) -> Any:
        if not (self._of_bars or all(map(isfinite, numbers))):
            self._handle, self._bars = None, [np.empty(0) for _ in numbers]
            return self._nothing
        if self._handle is not None:
            return self._handle.update(*numbers)
        return self._open([np.append(column, number) for column, number in zip(self._bars, numbers, strict=True)])

    def peek(self, *numbers: float) -> Any:
        if not (self._of_bars or all(map(isfinite, numbers))):
            return self._nothing
        if self._handle is not None:
            return self._handle.peek(*numbers)
        return _Streamed(self._indicator, self._bars, of_bars=self._of_bars).update(*numbers)

    def _open(self, bars: list[Floats]) -> Any:
        """Open the handle if these are bars enough, or keep them; return the values at the last one."""
        self._bars = bars
        if len(bars[0]) <= self._indicator.warm_up:
            return self._nothing
        opened = getattr(stream, self._indicator.function)  # type: ignore[arg-type]
        try:
            self._handle = opened(*bars, **self._indicator.parameters)
        except InsufficientHistory:
            return self._nothing
        self._bars = []
        return self._handle.value


def _behind_holes(columns: Sequence[Floats]) -> int:
    """Return the row behind the last hole in a column; what lies before it is not history to TA-Lib."""
    missing = lacking(columns)
    return len(missing) - int(np.argmax(missing[::-1])) if missing.any() else 0


class _Whole:
    """An indicator of the user's own, computed over all bars each time."""

    def __init__(self, indicator: Indicator, columns: Sequence[Floats]) -> None:
        self._indicator = indicator
        self._bars = [column.tolist() for column in columns]

    def update(self, *numbers: float) -> Any:
        for bars, number in zip(self._bars, numbers, strict=True):
            bars.append(number)
        return self._compute(self._bars)

    def peek(self, *numbers: float) -> Any:
        return self._compute([[*bars, number] for bars, number in zip(self._bars, numbers, strict=True)])

    def _compute(self, bars: list[list[float]]) -> Any:
        values = [_last(output) for output in own_values(self._indicator, [np.array(column) for column in bars])]
        return values[0] if len(values) == 1 else values


def _last(column: Floats) -> float:
    return float(column[-1]) if len(column) else nan


def _refuse_not_finite(columns: Mapping[str, Floats], needed: Sequence[str]) -> None:
    for name in needed:
        if name not in columns:
            raise InvalidBars(f"the indicators need the column {name}; there are {', '.join(columns)}")
        finite = np.isfinite(columns[name])
        if not finite.all():
            row = int(np.argmin(finite))
            raise InvalidBars(f"row {row} has no finite {name}: an indicator over it would be wrong")
