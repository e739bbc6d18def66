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
from workbench.indicators.batch import call, compute, lacking
from workbench.indicators.suite import Floats, Indicator

Numbers = Sequence[float]


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
        steps = [(one.inputs, one.outputs, _step(one, [values[name] for name in one.inputs])) for one in suite]
        self._updates = [(inputs, outputs, step.update) for inputs, outputs, step in steps]
        self._peeks = [(inputs, outputs, step.peek) for inputs, outputs, step in steps]
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
            told = step([values[name] for name in inputs])
            if len(outputs) == 1:
                values[outputs[0]] = told[0]
            else:
                values.update(zip(outputs, told, strict=True))
        return {name: values[name] for name in self._outputs}


class _Step(Protocol):
    """What carries one indicator on."""

    def update(self, numbers: Numbers) -> Numbers: ...

    def peek(self, numbers: Numbers) -> Numbers: ...


_Call = tuple[tuple[str, ...], tuple[str, ...], Callable[[Numbers], Numbers]]


def _step(indicator: Indicator, columns: Sequence[Floats]) -> _Step:
    if not isinstance(indicator.function, str):
        return _Whole(indicator, columns)
    return _Streamed(indicator, columns)


class _Streamed:
    """An indicator of TA-Lib: its handle, or the bars so far while they are too few for one."""

    def __init__(self, indicator: Indicator, columns: Sequence[Floats]) -> None:
        self._indicator = indicator
        self._handle: Any = None
        self._bars = [column[len(column) - _kept(columns) :].tolist() for column in columns]
        self._nothing = (nan,) * len(indicator.outputs)
        self._open()

    def update(self, numbers: Numbers) -> Numbers:
        if self._handle is None:
            if any(number != number for number in numbers):  # an input that has no value yet
                return self._nothing
            for bars, number in zip(self._bars, numbers, strict=True):
                bars.append(number)
            return self._open()
        return self._told(self._handle.update(*numbers))

    def peek(self, numbers: Numbers) -> Numbers:
        if self._handle is not None:
            return self._told(self._handle.peek(*numbers))
        if any(number != number for number in numbers):
            return self._nothing
        twin = _Streamed(self._indicator, [np.array(bars) for bars in self._bars])
        return twin.update(numbers)

    def _open(self) -> Numbers:
        """Open the handle if there are bars enough; return the values at the last one."""
        if len(self._bars[0]) <= self._indicator.warm_up:
            return self._nothing
        opened = getattr(stream, self._indicator.function)  # type: ignore[arg-type]
        try:
            self._handle = opened(*map(np.array, self._bars), **self._indicator.parameters)
        except InsufficientHistory:
            return self._nothing
        self._bars = []
        return self._told(self._handle.value)

    def _told(self, value: Any) -> Numbers:
        return value if isinstance(value, tuple) else (value,)


def _kept(columns: Sequence[Floats]) -> int:
    """Return how many bars at the end have all inputs; those before are not history to TA-Lib."""
    missing = lacking(columns)
    return len(missing) if not missing.any() else int(np.argmax(missing[::-1]))


class _Whole:
    """An indicator of the user's own, computed over all bars each time."""

    def __init__(self, indicator: Indicator, columns: Sequence[Floats]) -> None:
        self._indicator = indicator
        self._bars = [column.tolist() for column in columns]

    def update(self, numbers: Numbers) -> Numbers:
        for bars, number in zip(self._bars, numbers, strict=True):
            bars.append(number)
        return self._compute(self._bars)

    def peek(self, numbers: Numbers) -> Numbers:
        return self._compute([[*bars, number] for bars, number in zip(self._bars, numbers, strict=True)])

    def _compute(self, bars: list[list[float]]) -> Numbers:
        return [_last(output) for output in call(self._indicator, [np.array(column) for column in bars])]


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
