"""The indicator engine: bars in, the same bars with indicators out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InvalidBars
from workbench.indicators.batch import compute
from workbench.indicators.suite import COLUMNS, SUITE

_INPUTS = ("high", "low", "close")


class IndicatorEngine:
    """Technical indicators by TA-Lib."""

    @staticmethod
    def calculate_all_indicators(df: pd.DataFrame) -> pd.DataFrame:
        """Return a copy of the bars with the columns of the suite added.

        The bars are sorted, oldest first. A value at a bar depends on that bar and earlier ones only; bars before an
        indicator's warm-up have NaN, and so have all bars when there are too few. Columns: bb_upper bb_mid bb_lower
        stoch_k stoch_d macd macd_signal macd_hist rsi atr sma_20 sma_50 sma_200.

        Raises `InvalidBars` when a column is missing, a price is not finite or the bars are not sorted.
        """
        if not isinstance(df, pd.DataFrame):
            raise InvalidBars(f"bars come as a pandas DataFrame, not as {type(df).__name__}")
        missing = [name for name in _INPUTS if name not in df.columns]
        if missing:
            raise InvalidBars(f"indicators need the columns {', '.join(_INPUTS)}; {', '.join(missing)} is missing")
        if not df.columns.is_unique:
            raise InvalidBars("a column occurs twice")
        if not (df.index.is_monotonic_increasing and df.index.is_unique):
            raise InvalidBars("indicators need bars sorted by time, oldest first, and none twice; see sort_index()")
        columns = {name: _floats(df, name) for name in _INPUTS}
        values = compute(SUITE, columns)
        return df.assign(**{name: values[name] for name in COLUMNS})


def _floats(df: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    """Return a column as TA-Lib wants it; refuse what is no finite number."""
    try:
        column = np.ascontiguousarray(df[name].to_numpy(dtype=np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise InvalidBars(f"the column {name} holds something that is no number: {error}") from error
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidBars(f"row {row} ({df.index[row]}) has no finite {name}: an indicator over it would be wrong")
    return column
