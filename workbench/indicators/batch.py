"""Indicators over whole columns, in numpy."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from talib import _ta_lib

from workbench.indicators.suite import Floats, Indicator

Runs = Sequence[Floats]
"""A column that is cut into runs of rows, each with nothing to do with the others."""

_TOGETHER = 16  # runs that go through the suite together: few enough for their values to stay in the processor's cache


def compute(suite: Sequence[Indicator], columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every output of the suite, as long as the columns; NaN where it has no value.

    `columns` are contiguous arrays of finite float64 of equal length, oldest bar first.
    """
    made = _compute(suite, {name: [column] for name, column in columns.items()})
    return {name: runs[0] for name, runs in made.items()}


def compute_runs(suite: Sequence[Indicator], columns: Mapping[str, Floats], bounds: Sequence[int]) -> dict[str, Floats]:
    """Return every output of the suite over runs of rows, each by itself: run i is `[bounds[i], bounds[i + 1])`."""
    outputs = {name: np.empty(bounds[-1] if bounds else 0) for indicator in suite for name in indicator.outputs}
    for first in range(0, len(bounds) - 1, _TOGETHER):
        some = bounds[first : first + _TOGETHER + 1]
        runs = {name: [column[begin:end] for begin, end in pairwise(some)] for name, column in columns.items()}
        for name, made in _compute(suite, runs).items():
            np.concatenate(made, out=outputs[name][some[0] : some[-1]])
    return outputs


def call(indicator: Indicator, inputs: Sequence[Floats]) -> list[Floats]:
    """Return the outputs of one indicator, whose inputs have values on all rows."""
    return [runs[0] for runs in _call(indicator, [[column] for column in inputs], [0])]


def lacking(columns: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    """Return the rows on which a column has no value."""
    missing: npt.NDArray[np.bool_] = np.logical_or.reduce([np.isnan(column) for column in columns])
    return missing


def _compute(suite: Sequence[Indicator], columns: Mapping[str, Runs]) -> dict[str, Runs]:
    """Return every output of the suite over all runs."""
    at_once = [0] * len(next(iter(columns.values()), ()))
    values, begins = dict(columns), dict.fromkeys(columns, at_once)
    for indicator in suite:
        begin = list(map(max, at_once, *(begins[name] for name in indicator.inputs)))
        made = _call(indicator, [values[name] for name in indicator.inputs], begin)
        values.update(zip(indicator.outputs, made, strict=True))
        begins.update(dict.fromkeys(indicator.outputs, _begins_after(indicator, begin, made)))
    return {name: values[name] for indicator in suite for name in indicator.outputs}


def _begins_after(indicator: Indicator, begins: Sequence[int], made: Sequence[Runs]) -> list[int]:
    """Return the first row of each run with values. TA-Lib's functions keep to their warm-up; others are looked at."""
    if isinstance(indicator.function, str):
        return [begin + indicator.warm_up for begin in begins]
    missing = [lacking(columns) for columns in zip(*made, strict=True)]
    return [len(each) if each.all() else int(np.argmin(each)) for each in missing]


def _call(indicator: Indicator, inputs: Sequence[Runs], begins: Sequence[int]) -> Sequence[Runs]:
    """Return the outputs of one indicator over runs, whose inputs all have values from row `begins` on."""
    if not isinstance(indicator.function, str):
        return _by_output([_own(indicator, columns) for columns in zip(*inputs, strict=True)])
    function = partial(_bare(indicator.function), **indicator.parameters)
    made = [
        function(*columns) if len(columns[0]) - begin > indicator.warm_up else _nothing(indicator, len(columns[0]))
        for begin, *columns in zip(begins, *inputs, strict=True)
    ]
    outputs = [made] if len(indicator.outputs) == 1 else _by_output(made)
    return [_as_floats(runs, begins, indicator.warm_up) for runs in outputs]


def _by_output(made: Sequence[Sequence[Floats]]) -> list[Runs]:
    return list(zip(*made, strict=True))


def _nothing(indicator: Indicator, rows: int) -> Any:
    """Return what TA-Lib gives, for rows too few for a value: it refuses columns without a single one."""
    columns = [np.full(rows, np.nan) for _ in indicator.outputs]
    return columns if len(columns) > 1 else columns[0]


@cache
def _bare(function: str) -> Callable[..., Any]:
    """Return TA-Lib's function without its wrapper, which looks for pandas and doubles the cost of 500 bars."""
    bare: Callable[..., Any] = inspect.unwrap(getattr(_ta_lib, function))
    return bare


def _own(indicator: Indicator, inputs: Sequence[Floats]) -> list[Floats]:
    """Return the outputs of an indicator of the user's own; neither do they share memory with what it was given."""
    result = indicator.function(*map(_read_only, inputs), **indicator.parameters)  # type: ignore[operator]
    outputs = result if isinstance(result, tuple | list) else (result,)
    made, rows = [np.array(output, dtype=np.float64) for output in outputs], len(inputs[0])
    if len(made) != len(indicator.outputs) or any(output.shape != (rows,) for output in made):
        shapes = ", ".join(str(output.shape) for output in made)
        raise ValueError(
            f"{indicator.name} must give {len(indicator.outputs)} columns of {rows} rows; it gave {shapes}"
        )
    return made


def _read_only(column: Floats) -> Floats:
    view = column.view()
    view.flags.writeable = False
    return view


def _as_floats(runs: Sequence[np.ndarray], begins: Sequence[int], warm_up: int) -> Runs:
    """Return numbers as floats. Whole ones, such as patterns', are 0 where TA-Lib has no value: NaN says so."""
    if all(values.dtype == np.float64 for values in runs):
        return runs
    floats = [values.astype(np.float64) for values in runs]
    for values, begin in zip(floats, begins, strict=True):
        values[: begin + warm_up] = np.nan
    return floats
