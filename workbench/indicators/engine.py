"""The indicator engine: bars in, the same bars with indicators out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import talib

from workbench import html
from workbench.errors import InvalidBars, NothingStored
from workbench.indicators.batch import compute, compute_runs
from workbench.indicators.cache import IndicatorCache, Version
from workbench.indicators.define import check_suite
from workbench.indicators.expression import Expression
from workbench.indicators.frames import Panel, columns_of, panel_of, universe_of, with_columns
from workbench.indicators.growing import GrowingValues
from workbench.indicators.incremental import LiveIndicators
from workbench.indicators.suite import COLUMNS, SUITE, Floats, Indicator, stochrsi_tradingview
from workbench.market.bars import COLUMNS as BAR_COLUMNS
from workbench.market.spans import Bound, Last, cut
from workbench.market.timeframes import parse_timeframe

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
        identities = [_identity(one) for one in self.suite]
        self._is_lasting = None not in identities
        self._identity = talib.__version__, *(one or uuid4().hex for one in identities)
        self._lock = threading.Lock()
        self._growing: OrderedDict[Hashable, GrowingValues] = OrderedDict()

    def __repr__(self) -> str:
        return f"IndicatorEngine({', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        lines = [str(one).split(": ", 1) for one in self.suite]
        steps = [('desk.indicators("AAPL", "15min", last="60d")', "the stored bars with these columns")]
        return html.card("Indicators", html.rows(("name", "how"), lines), html.steps(steps))

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
        return _calculated(df, SUITE, COLUMNS)

    def calculate(self, bars: Frame) -> Frame:
        """Return a copy of the bars with the columns of this engine's suite added; see `calculate_all_indicators`."""
        return _calculated(bars, self.suite, self.columns)

    def calculate_universe(self, bars: Frame) -> Frame:
        """Return the bars of many symbols with the indicators of each added.

        A column `symbol`, or a level of the index of that name, says whose a row is; the rows of a symbol lie
        together, oldest first.
        """
        columns, bounds = universe_of(bars, self.suite)
        values = compute_runs(self.suite, columns, bounds)
        return with_columns(bars, {name: values[name] for name in self.columns})

    def calculate_panel(self, panel: Panel) -> dict[str, Floats]:
        """Return the indicators over a panel of the store: by column, symbols by bars, NaN where there is no value."""
        columns, bounds, present = panel_of(panel, self.suite)
        values = compute_runs(self.suite, columns, bounds)
        return {name: _placed(values[name], present) for name in self.columns}

    def calculate_indicators_cached(self, symbol: str, timeframe: str, force_refresh: bool = False) -> pd.DataFrame:  # noqa: FBT001, FBT002  as specified
        """Return the stored bars of a symbol with the indicators added, from the cache while the bars are the same.

        Bars that were appended since extend what is there; bars that were revised compute it anew. What a Python
        function gives is kept for this engine only and not on disk: nobody can see whether its code is still the same.
        """
        load, version = self._source()
        now = version(symbol, timeframe)  # before the bars: what comes in between is seen next time
        key = (symbol, timeframe, self._identity)
        cached = None if force_refresh else self.cache.get(key, now)
        if cached is not None:
            return cached
        result = self._grown(key, load(symbol, timeframe))
        self.cache.set(key, result, now, on_disk=self._is_lasting)
        return result

    def __call__(
        self, symbol: str, timeframe: str, *, start: Bound = None, end: Bound = None, last: Last = None
    ) -> pd.DataFrame:
        """Return stored bars of a symbol with the indicators added, as they are after all bars before them.

            desk.indicators("AAPL", "15min", last="60d")[["close", "rsi", "stoch_k"]]

        `start`, `end` and `last` are those of `desk.bars`. Raises `NothingStored`.
        """
        study = self.calculate_indicators_cached(symbol, str(parse_timeframe(timeframe)))
        if study.empty:
            raise NothingStored(symbol, timeframe)
        return cut(study, timeframe, start, end, last)

    def _grown(self, key: Hashable, bars: pd.DataFrame) -> pd.DataFrame:
        """Return the bars with the indicators added, carried on from the last time where they only grew."""
        columns = columns_of(bars, self.suite)
        with self._lock:
            growing = self._growing.pop(key, None) or GrowingValues(self.suite)
            self._growing[key] = growing
            if len(self._growing) > _GROWING:
                self._growing.popitem(last=False)
            values = growing.over(pd.DatetimeIndex(bars.index), columns)
        return with_columns(bars, {name: values[name] for name in self.columns})

    def live(self, symbol: str, timeframe: str) -> LiveIndicators:
        """Return the indicators opened on all stored bars of a symbol, to be carried on bar by bar."""
        load, _ = self._source()
        bars = load(symbol, timeframe)
        return LiveIndicators(self.suite, columns_of(bars, self.suite))

    def _source(self) -> tuple[Load, Callable[[str, str], Version]]:
        if self._load is None or self._version is None:
            raise InvalidBars("this engine has no store to load bars from; take the one of workbench.open()")
        return self._load, self._version


def _identity(indicator: Indicator) -> str | None:
    """Return what tells a definition from every other one; None for Python code, which may change under its name."""
    function = indicator.function
    if isinstance(function, Expression):
        function = function.identity or ""
    if function is stochrsi_tradingview:
        function = "TradingView's StochRSI"
    if not (isinstance(function, str) and function):
        return None
    parameters = sorted(indicator.parameters.items())
    return repr((indicator.name, function, indicator.inputs, indicator.outputs, parameters))


def _calculated(bars: Frame, suite: Sequence[Indicator], names: Sequence[str]) -> Frame:
    values = compute(suite, columns_of(bars, suite))
    return with_columns(bars, {name: values[name] for name in names})


def _placed(column: Floats, present: npt.NDArray[np.bool_]) -> Floats:
    """Return values in the rows and columns of a panel."""
    if present.all():
        return column.reshape(present.shape)
    whole = np.full(present.shape, np.nan)
    whole[present] = column
    return whole
