"""The indicator engine: bars in, the same bars with indicators out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InvalidBars
from workbench.indicators.batch import compute, compute_runs
from workbench.indicators.cache import IndicatorCache, Version
from workbench.indicators.define import check_suite
from workbench.indicators.growing import GrowingValues
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import COLUMNS, SUITE, Floats, Indicator
from workbench.market.bars import COLUMNS as BAR_COLUMNS
from workbench.market.bars import TIMESTAMP

if TYPE_CHECKING:
    import polars as pl

    Frame = TypeVar("Frame", pd.DataFrame, pl.DataFrame)

Load = Callable[[str, str], pd.DataFrame]

_GROWING = 256  # series whose indicators are carried on at the same time


class IndicatorEngine:
    """A suite of indicators over bars.

    `suite` is what is computed, the specification's by default. `load` gives the stored bars of a symbol and
    timeframe, and `version` what changes whenever they do (the app hands in the store's).
    """

    def __init__(
        self,
        suite: Sequence[Indicator] = SUITE,
        *,
        load: Load | None = None,
        version: Callable[[str, str], Version] | None = None,
        cache: IndicatorCache | None = None,
    ) -> None:
        self.suite = check_suite(suite, BAR_COLUMNS)
        self.cache = cache or IndicatorCache()
        self._load, self._version = load, version
        self._lock = threading.Lock()
        self._growing: OrderedDict[Hashable, GrowingValues] = OrderedDict()

    def __repr__(self) -> str:
        return f"IndicatorEngine({', '.join(self.columns)})"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it adds."""
        made = tuple(name for indicator in self.suite for name in indicator.outputs)
        return COLUMNS if set(made) == set(COLUMNS) else made

    @staticmethod
    def calculate_all_indicators(df: Frame) -> Frame:
        """Return a copy of the bars with the columns of the specification's suite added.

        The bars are sorted, oldest first; pandas or polars. A value at a bar depends on that bar and earlier ones only;
        bars before an indicator's warm-up have NaN, and so have all bars when there are too few. Columns: bb_upper
        bb_mid bb_lower stoch_k stoch_d macd macd_signal macd_hist rsi atr sma_20 sma_50 sma_200.

        Raises `InvalidBars` when a column is missing, a price is not finite or the bars are not sorted.
        """
        return _add(df, SUITE, COLUMNS)

    def calculate(self, bars: Frame) -> Frame:
        """Return a copy of the bars with the columns of this engine's suite added; see `calculate_all_indicators`."""
        return _add(bars, self.suite, self.columns)

    def calculate_universe(self, bars: Frame) -> Frame:
        """Return the bars of many symbols with the indicators of each added.

        A column `symbol` says whose a row is; the rows of a symbol lie together, oldest first.
        """
        begins: npt.NDArray[np.int64] = _begins(bars)
        columns = columns_of(bars, self.suite, is_sorted=_is_sorted_by_symbol(bars, begins))
        values = compute_runs(self.suite, columns, [*begins.tolist(), len(bars)])
        return _assign(bars, {name: values[name] for name in self.columns})

    def calculate_indicators_cached(self, symbol: str, timeframe: str, force_refresh: bool = False) -> pd.DataFrame:  # noqa: FBT001, FBT002  as specified
        """Return the stored bars of a symbol with the indicators added, from the cache while the bars are the same.

        Bars that were appended since extend what is there; bars that were revised compute it anew.
        """
        load, version = self._source()
        now = version(symbol, timeframe)  # before the bars: what comes in between is seen next time
        key = (symbol, timeframe, self._name())
        cached = None if force_refresh else self.cache.get(key, now)
        if cached is not None:
            return cached
        result = self._grown(key, load(symbol, timeframe))
        self.cache.set(key, result, now)
        return result

    def _grown(self, key: Hashable, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the bars with the indicators added, carried on from the last time where they only grew."""
        columns = columns_of(bars, self.suite)
        with self._lock:
            growing = self._growing.pop(key, None) or GrowingValues(self.suite)
            self._growing[key] = growing
            if len(self._growing) > _GROWING:
                self._growing.popitem(last=False)
            values = growing.over(pd.DatetimeIndex(bars.index), columns)
        return _assign(bars, {name: values[name] for name in self.columns})

    def live(self, symbol: str, timeframe: str) -> LiveIndicators:
        """Return the indicators opened on all stored bars of a symbol, to be carried on bar by bar."""
        load, _ = self._source()
        bars = load(symbol, timeframe)
        return LiveIndicators(self.suite, columns_of(bars, self.suite))

    def _source(self) -> tuple[Load, Callable[[str, str], Version]]:
        if self._load is None or self._version is None:
            raise InvalidBars("this engine has no store to load bars from; take the one of workbench.open()")
        return self._load, self._version

    def _name(self) -> str:
        return "; ".join(map(str, self.suite))


def columns_of(bars: Frame, suite: Sequence[Indicator], *, is_sorted: bool | None = None) -> dict[str, Floats]:
    """Return the columns that a suite needs, as TA-Lib wants them. Raises `InvalidBars`."""
    if not (isinstance(bars, pd.DataFrame) or _is_polars(bars)):
        raise InvalidBars(f"bars come as a pandas or polars DataFrame, not as {type(bars).__name__}")
    made = {name for indicator in suite for name in indicator.outputs}
    needed = dict.fromkeys(name for indicator in suite for name in indicator.inputs if name not in made)
    missing = [name for name in needed if name not in bars.columns]
    if missing:
        raise InvalidBars(f"indicators need the columns {', '.join(needed)}; {', '.join(missing)} is missing")
    if len(set(bars.columns)) < len(bars.columns):
        raise InvalidBars("a column occurs twice")
    if not (_is_sorted(bars) if is_sorted is None else is_sorted):
        raise InvalidBars("indicators need bars sorted by time, oldest first, and none twice; see sort_index()")
    return {name: _floats(bars, name) for name in needed}


def _add(bars: Frame, suite: Sequence[Indicator], names: Sequence[str]) -> Frame:
    values = compute(suite, columns_of(bars, suite))
    return _assign(bars, {name: values[name] for name in names})


def _assign(bars: Frame, values: Mapping[str, Floats]) -> Frame:
    if isinstance(bars, pd.DataFrame):
        columns: dict[Hashable, Any] = {name: column for name, column in bars.items() if name not in values}
        columns.update(values)
        # Nothing is copied: pandas copies a shared column when it is written to.
        frame = pd.DataFrame(columns, index=bars.index, copy=False)
        frame.attrs = dict(bars.attrs)
        return frame
    import polars as pl

    return bars.with_columns(pl.Series(name, column) for name, column in values.items())


def _is_polars(bars: object) -> bool:
    return type(bars).__module__.partition(".")[0] == "polars" and type(bars).__name__ == "DataFrame"


def _is_sorted(bars: Frame) -> bool:
    if isinstance(bars, pd.DataFrame):
        return bool(bars.index.is_monotonic_increasing and bars.index.is_unique)
    if TIMESTAMP not in bars.columns:
        raise InvalidBars(f"a polars frame of bars has its time in the column {TIMESTAMP}; there is none")
    return bool((bars[TIMESTAMP].diff().drop_nulls().dt.total_microseconds() > 0).all())


def _begins(bars: Frame) -> npt.NDArray[np.int64]:
    """Return the rows at which another symbol begins."""
    if "symbol" not in bars.columns:
        raise InvalidBars("the bars of a universe have a column symbol; there is none")
    symbols = bars["symbol"]
    if isinstance(symbols, pd.Series):
        begins = np.flatnonzero((symbols != symbols.shift()).to_numpy(dtype=bool))
        different = symbols.iloc[begins].nunique()
    else:
        begins = np.flatnonzero(symbols.ne_missing(symbols.shift()).to_numpy())
        different = symbols.gather(begins).n_unique()
    if len(begins) > different:
        raise InvalidBars("the rows of a symbol do not lie together; sort them by symbol and time")
    return begins


def _is_sorted_by_symbol(bars: Frame, begins: npt.NDArray[np.int64]) -> bool:
    if isinstance(bars, pd.DataFrame):
        index = pd.DatetimeIndex(bars[TIMESTAMP] if TIMESTAMP in bars.columns else bars.index)
        stamps = index.as_unit("us").asi8
    else:
        stamps = bars[TIMESTAMP].dt.epoch("us").to_numpy()
    steps = np.diff(stamps)
    steps[begins[1:] - 1] = 1  # another symbol begins
    return bool((steps > 0).all())


def _floats(bars: Frame, name: str) -> Floats:
    """Return a column as TA-Lib wants it; refuse what is no finite number."""
    try:
        if isinstance(bars, pd.DataFrame):
            column = np.ascontiguousarray(bars[name].to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            column = np.ascontiguousarray(bars[name].fill_null(np.nan).to_numpy(), dtype=np.float64)
    except Exception as error:
        raise InvalidBars(f"the column {name} holds something that is no number: {error}") from error
    finite = np.isfinite(column)
    if not finite.all():
        row = int(np.argmin(finite))
        stamp = bars.index[row] if isinstance(bars, pd.DataFrame) else bars[TIMESTAMP][row]
        raise InvalidBars(f"row {row} ({stamp}) has no finite {name}: an indicator over it would be wrong")
    return column
