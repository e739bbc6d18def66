"""Indicators over whole columns, in numpy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from talib import _ta_lib

from workbench.indicators.suite import Floats, Indicator


def compute(suite: Sequence[Indicator], columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every output of the suite, as long as the columns; NaN where it has no value.

    `columns` are contiguous arrays of finite float64 of equal length, oldest bar first.
    """
    values, begins = dict(columns), dict.fromkeys(columns, 0)
    for indicator in suite:
        begin = max([begins[name] for name in indicator.inputs], default=0)
        made = call(indicator, [values[name] for name in indicator.inputs], begin)
        values.update(zip(indicator.outputs, made, strict=True))
        begins.update(dict.fromkeys(indicator.outputs, _begin_after(indicator, begin, made)))
    return {name: values[name] for indicator in suite for name in indicator.outputs}


def compute_runs(suite: Sequence[Indicator], columns: Mapping[str, Floats], bounds: Sequence[int]) -> dict[str, Floats]:
    """Return every output of the suite over runs of rows, each by itself: run i is `[bounds[i], bounds[i + 1])`."""
    rows = bounds[-1] if bounds else 0
    outputs = {name: np.empty(rows) for indicator in suite for name in indicator.outputs}
    for begin, end in pairwise(bounds):
        values = compute(suite, {name: column[begin:end] for name, column in columns.items()})
        for name, column in values.items():
            outputs[name][begin:end] = column
    return outputs


def call(indicator: Indicator, inputs: Sequence[Floats], begin: int = 0) -> Sequence[Floats]:
    """Return the outputs of one indicator, whose inputs all have values from row `begin` on."""
    rows = len(inputs[0])
    if not isinstance(indicator.function, str):
        return _own(indicator, inputs, rows)
    if rows - begin <= indicator.warm_up:  # TA-Lib refuses columns without a single value
        return [np.full(rows, np.nan) for _ in indicator.outputs]
    result = _bare(indicator.function)(*inputs, **indicator.parameters)
    outputs = result if isinstance(result, tuple) else (result,)
    return [_as_floats(output, begin + indicator.warm_up) for output in outputs]


def _begin_after(indicator: Indicator, begin: int, made: Sequence[Floats]) -> int:
    """Return the first row on which an indicator has values. TA-Lib's keep to their warm-up; others are looked at."""
    if isinstance(indicator.function, str):
        return begin + indicator.warm_up
    missing = lacking(made)
    return len(missing) if missing.all() else int(np.argmin(missing))


def lacking(columns: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    """Return the rows on which a column has no value."""
    missing: npt.NDArray[np.bool_] = np.logical_or.reduce([np.isnan(column) for column in columns])
    return missing


@cache
def _bare(function: str) -> Callable[..., Any]:
    """Return TA-Lib's function without its wrapper, which looks for pandas and doubles the cost of 500 bars."""
    bare: Callable[..., Any] = inspect.unwrap(getattr(_ta_lib, function))
    return bare


def _own(indicator: Indicator, inputs: Sequence[Floats], rows: int) -> Sequence[Floats]:
    result = indicator.function(*inputs, **indicator.parameters)  # type: ignore[operator]
    outputs = result if isinstance(result, tuple | list) else (result,)
    made = [np.asarray(output, dtype=np.float64) for output in outputs]
    if len(made) != len(indicator.outputs) or any(output.shape != (rows,) for output in made):
        shapes = ", ".join(str(output.shape) for output in made)
        raise ValueError(
            f"{indicator.name} must give {len(indicator.outputs)} columns of {rows} rows; it gave {shapes}"
        )
    return made


def _as_floats(output: np.ndarray, begin: int) -> Floats:
    """Return numbers as floats. Whole ones, such as patterns', are 0 where TA-Lib has no value: NaN says so."""
    if output.dtype == np.float64:
        return output
    values = output.astype(np.float64)
    values[:begin] = np.nan
    return values
