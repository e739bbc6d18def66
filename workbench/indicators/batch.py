"""Indicators over whole columns, in numpy.

Bars have no holes, but what is computed of them may: no signal where a market stands still, a logarithm of zero. A
function of TA-Lib never reaches over a hole, nor over what is infinite: behind it it warms up again.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from operator import attrgetter, sub
from typing import Any

import numpy as np
import numpy.typing as npt
from talib import _ta_lib, abstract

from workbench.errors import InvalidIndicator
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
    names = [name for indicator in suite for name in indicator.outputs]
    # One piece of memory: the system hands it out in large pages, which costs half of that for many small ones.
    outputs = dict(zip(names, np.empty((len(names), bounds[-1] if bounds else 0)), strict=True))
    for first in range(0, len(bounds) - 1, _TOGETHER):
        some = bounds[first : first + _TOGETHER + 1]
        runs = {name: [column[begin:end] for begin, end in pairwise(some)] for name, column in columns.items()}
        for name, made in _compute(suite, runs).items():
            np.concatenate(made, out=outputs[name][some[0] : some[-1]])
    return outputs


def compute_newest(
    suite: Sequence[Indicator],
    columns: Mapping[str, Floats],
    bounds: Sequence[int],
    names: Iterable[str],
    bars: int,
) -> dict[str, Floats]:
    """Return some columns and outputs at the newest `bars` rows of each run, a row a run; NaN before its first row.

    The runs are those of `compute_runs`; one without rows is not computed.
    """
    found = {name: np.full((len(bounds) - 1, bars), np.nan) for name in names}
    filled = [number for number, (begin, end) in enumerate(pairwise(bounds)) if begin < end]
    for first in range(0, len(filled), _TOGETHER):
        some = filled[first : first + _TOGETHER]
        runs = {name: [column[bounds[at] : bounds[at + 1]] for at in some] for name, column in columns.items()}
        made = {**runs, **_compute(suite, runs)}
        for name, block in found.items():
            block[some] = _endings(made[name], bars)
    return found


def _endings(runs: Runs, bars: int) -> npt.NDArray[np.float64]:
    """Return the newest rows of runs, a row a run; NaN where there are fewer."""
    if min(map(len, runs)) >= bars:
        return np.array([run[-bars:] for run in runs])
    endings = np.full((len(runs), bars), np.nan)
    for ending, run in zip(endings, runs, strict=True):
        ending[max(0, bars - len(run)) :] = run[-bars:]
    return endings


def lacking(columns: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    """Return the rows on which a column has no value that one could go on from."""
    missing: npt.NDArray[np.bool_] = ~np.logical_and.reduce([np.isfinite(column) for column in columns])
    return missing


def _compute(suite: Sequence[Indicator], columns: Mapping[str, Runs]) -> dict[str, Runs]:
    """Return every output of the suite over all runs."""
    at_once = [0] * len(next(iter(columns.values()), ()))
    values, begins = dict(columns), dict.fromkeys(columns, at_once)  # the first row of each run with a value
    for indicator in suite:
        inputs = [values[name] for name in indicator.inputs]
        begin = list(map(max, at_once, *(begins[name] for name in indicator.inputs)))
        made = dict.fromkeys(name for name in indicator.inputs if name not in columns)
        if isinstance(indicator.function, str) and all(_has_no_hole(values[name], begins[name]) for name in made):
            outputs, after = _talib(indicator, inputs, begin), [row + indicator.warm_up for row in begin]
        else:
            outputs = _by_output([_one_by_one(indicator, run) for run in zip(*inputs, strict=True)])
            after = [_first_of(run) for run in zip(*outputs, strict=True)]
        values.update(zip(indicator.outputs, outputs, strict=True))
        begins.update(dict.fromkeys(indicator.outputs, after))
    return {name: values[name] for indicator in suite for name in indicator.outputs}


def _has_no_hole(runs: Runs, begins: Sequence[int]) -> bool:
    """Whether every run has values on all rows from `begins` on, and none before."""
    counts = [int(np.count_nonzero(np.isfinite(column))) for column in runs]
    return counts == [max(0, len(column) - begin) for column, begin in zip(runs, begins, strict=True)]


def _first_of(columns: Sequence[Floats]) -> int:
    """Return the first row on which all columns have a value."""
    missing = np.logical_or.reduce([np.isnan(column) for column in columns])
    return len(missing) if missing.all() else int(np.argmin(missing))


def _talib(indicator: Indicator, inputs: Sequence[Runs], begins: Sequence[int]) -> Sequence[Runs]:
    """Return the outputs of TA-Lib over runs, whose inputs all have values from row `begins` on."""
    function, chosen = _bare(indicator)
    if min(map(sub, map(len, inputs[0]), begins)) > indicator.warm_up:
        made = [function(*columns, *chosen) for columns in zip(*inputs, strict=True)]
    else:
        made = [
            function(*columns, *chosen) if len(columns[0]) - begin > indicator.warm_up
            else _nothing(indicator, len(columns[0]))
            for begin, *columns in zip(begins, *inputs, strict=True)
        ]  # fmt: skip
    outputs = [made] if len(indicator.outputs) == 1 else _by_output(made)
    return [_as_floats(runs, begins, indicator.warm_up) for runs in outputs]


def _one_by_one(indicator: Indicator, inputs: Sequence[Floats]) -> list[Floats]:
    """Return the outputs of one indicator over one run, whose inputs may lack values anywhere."""
    if not isinstance(indicator.function, str):
        return own_values(indicator, inputs)
    (function, chosen), rows = _bare(indicator), len(inputs[0])
    outputs = [np.full(rows, np.nan) for _ in indicator.outputs]
    for begin, end in _stretches(~lacking(inputs)):
        first = begin + indicator.warm_up
        if end <= first:
            continue
        result = function(*(column[begin:end] for column in inputs), *chosen)
        for output, values in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
            output[first:end] = values[indicator.warm_up :]
    return outputs


def _stretches(present: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return from where to where something is there."""
    edges = np.flatnonzero(np.diff(present.astype(np.int8), prepend=0, append=0)).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _by_output(made: Sequence[Sequence[Floats]]) -> list[Runs]:
    return list(zip(*made, strict=True))


def _nothing(indicator: Indicator, rows: int) -> Any:
    """Return what TA-Lib gives, for rows too few for a value: it refuses columns without a single one."""
    columns = [np.full(rows, np.nan) for _ in indicator.outputs]
    return columns if len(columns) > 1 else columns[0]


def _bare(indicator: Indicator) -> tuple[Callable[..., Any], tuple[float, ...]]:
    """Return TA-Lib's function, and its parameters by their places: names would take as long as a short column."""
    function = str(indicator.function)
    given, known = indicator.parameters, _parameters(function)
    if not given.keys() <= known.keys():
        raise InvalidIndicator(f"{indicator.name}: {function} has {', '.join(known)}; see talib_indicator")
    return _unwrapped(function), tuple(given.get(name, usual) for name, usual in known.items())


@cache
def _parameters(function: str) -> dict[str, float]:
    """Return the parameters of a function of TA-Lib and their usual values, in its order."""
    return dict(abstract.Function(function).info["parameters"])  # type: ignore[attr-defined]


@cache
def _unwrapped(function: str) -> Callable[..., Any]:
    """Return TA-Lib's function without its wrapper, which looks for pandas and doubles the cost of 500 bars."""
    unwrapped: Callable[..., Any] = inspect.unwrap(getattr(_ta_lib, function))
    return unwrapped


def own_values(indicator: Indicator, inputs: Sequence[Floats]) -> list[Floats]:
    """Return the outputs of an indicator of the user's own; neither do they share memory with what it was given."""
    result = indicator.function(*map(_read_only, inputs), **indicator.parameters)  # type: ignore[operator]
    outputs = result if isinstance(result, tuple | list) else (result,)
    made, rows = [np.array(output, dtype=np.float64) for output in outputs], len(inputs[0])
    if len(made) != len(indicator.outputs) or any(output.shape != (rows,) for output in made):
        shapes = ", ".join(str(output.shape) for output in made)
        raise InvalidIndicator(
            f"{indicator.name} must give {len(indicator.outputs)} columns of {rows} rows; it gave {shapes}"
        )
    return made


def _read_only(column: Floats) -> Floats:
    view = column.view()
    view.flags.writeable = False
    return view


def _as_floats(runs: Sequence[np.ndarray], begins: Sequence[int], warm_up: int) -> Runs:
    """Return numbers as floats. Whole ones, such as patterns', are 0 where TA-Lib has no value: NaN says so."""
    if set(map(attrgetter("dtype"), runs)) == {np.dtype(np.float64)}:
        return runs
    floats = [values.astype(np.float64) for values in runs]
    for values, begin in zip(floats, begins, strict=True):
        values[: begin + warm_up] = np.nan
    return floats
