"""Indicators over whole columns, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from talib import _ta_lib

from workbench.indicators.suite import Floats, Indicator


def compute(suite: Sequence[Indicator], columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every output of the suite, as long as the columns; NaN where it has no value.

    `columns` are contiguous float64 arrays of equal length, oldest bar first.
    """
    values = dict(columns)
    for indicator in suite:
        inputs = [values[name] for name in indicator.inputs]
        values.update(zip(indicator.outputs, call(indicator, inputs), strict=True))
    return {name: values[name] for indicator in suite for name in indicator.outputs}


def call(indicator: Indicator, inputs: Sequence[Floats]) -> Sequence[Floats]:
    """Return the outputs of one indicator."""
    rows = len(inputs[0])
    if not isinstance(indicator.function, str):
        return _own(indicator, inputs, rows)
    begin = _first_with_all(inputs)
    if rows - begin <= indicator.warm_up:  # TA-Lib refuses columns without a single value
        return [np.full(rows, np.nan) for _ in indicator.outputs]
    # The bare function: its wrapper looks for pandas and polars, at twice the cost for 500 bars.
    result = getattr(_ta_lib, indicator.function)(*inputs, **indicator.parameters)
    outputs = result if isinstance(result, tuple) else (result,)
    return [_as_floats(output, begin + indicator.warm_up) for output in outputs]


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


def _first_with_all(inputs: Sequence[Floats]) -> int:
    """Return the first row on which all inputs have a value; TA-Lib begins there."""
    if all(len(column) and column[0] == column[0] for column in inputs):  # not NaN
        return 0
    missing = lacking(inputs)
    return len(missing) if missing.all() else int(np.argmin(missing))


def lacking(inputs: Sequence[Floats]) -> npt.NDArray[np.bool_]:
    """Return the rows on which an input has no value."""
    missing: npt.NDArray[np.bool_] = np.logical_or.reduce([np.isnan(column) for column in inputs])
    return missing


def _as_floats(output: np.ndarray, begin: int) -> Floats:
    """Return numbers as floats. Whole ones, such as patterns', are 0 where TA-Lib has no value: NaN says so."""
    if output.dtype == np.float64:
        return output
    values = output.astype(np.float64)
    values[:begin] = np.nan
    return values
