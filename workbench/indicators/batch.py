"""Indicators over whole columns, in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import talib

from workbench.indicators.suite import Indicator

Floats = npt.NDArray[np.float64]


def compute(suite: Sequence[Indicator], columns: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return every output of the suite, as long as the columns; NaN during the warm-up.

    `columns` are contiguous float64 arrays of equal length, oldest bar first.
    """
    values = dict(columns)
    for indicator in suite:
        inputs = [values[name] for name in indicator.inputs]
        values.update(zip(indicator.outputs, _call(indicator, inputs), strict=True))
    return {name: values[name] for indicator in suite for name in indicator.outputs}


def _call(indicator: Indicator, inputs: Sequence[Floats]) -> Sequence[Floats]:
    if len(inputs[0]) <= indicator.warm_up:  # TA-Lib refuses columns without a single value
        return [np.full(len(inputs[0]), np.nan) for _ in indicator.outputs]
    result = getattr(talib, indicator.function)(*inputs, **indicator.parameters)
    return result if isinstance(result, tuple) else (result,)
