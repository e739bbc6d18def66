"""The indicator engine: bars in, the same bars with indicators out."""

from __future__ import annotations

import numpy as np
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
        missing = [name for name in _INPUTS if name not in df.columns]
        if missing:
            raise InvalidBars(f"indicators need the columns {', '.join(_INPUTS)}; {', '.join(missing)} is missing")
        if not df.index.is_monotonic_increasing:
            raise InvalidBars("indicators need bars sorted by time, oldest first; call sort_index() first")
        columns = {name: np.ascontiguousarray(df[name].to_numpy(dtype=np.float64)) for name in _INPUTS}
        for name, column in columns.items():
            _refuse_not_finite(name, column, df.index)
        values = compute(SUITE, columns)
        return df.assign(**{name: values[name] for name in COLUMNS})


def _refuse_not_finite(name: str, column: np.ndarray, index: pd.Index) -> None:
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InvalidBars(f"row {row} ({index[row]}) has no finite {name}: an indicator over it would be wrong")
