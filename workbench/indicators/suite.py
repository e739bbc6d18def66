"""Indicators as data: what is computed, of what, under which names.

The values are TA-Lib's, with its seeding. Two differ from what some charts show: MACD starts both averages at the
slow one's first bar (values agree with other programs after about 105 bars), and StochRSI is the slow stochastic of
RSI (14, 3, 3) by simple averages. `STOCH_RSI_TRADINGVIEW` is the form that TradingView draws: %K is the mean over 3
bars of where RSI stands between its extremes of 14 bars, %D the mean of 3 %K; it has a value for %K two bars earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Function = Callable[..., Floats | Sequence[Floats]]
"""A function over columns, oldest bar first, that gives one column or several, as long, with NaN for no value."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """One call of a function: of TA-Lib, by its name, or of the user's own.

    `inputs` are columns of bars, or outputs of indicators before it. `outputs` are the columns that it gives. `warm_up`
    is how many bars come before its first value, counted from the first bar on which all its inputs have one.
    """

    name: str
    function: str | Function
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    warm_up: int
    parameters: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    source: str = "TA-Lib"

    def __str__(self) -> str:
        told = ", ".join([*self.inputs, *(f"{name}={value:g}" for name, value in self.parameters.items())])
        function = self.function if isinstance(self.function, str) else self.source
        return f"{self.name}: {function}({told}) gives {', '.join(self.outputs)} from bar {self.warm_up} on"

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (
            self.name, self.function, self.inputs, self.outputs, self.warm_up, dict(self.parameters), self.source,
        )  # fmt: skip


def _remake(
    name: str,
    function: str | Function,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    warm_up: int,
    parameters: dict[str, float],
    source: str,
) -> Indicator:
    return Indicator(name, function, inputs, outputs, warm_up, MappingProxyType(parameters), source)


def _talib(name: str, function: str, inputs: str, outputs: str, warm_up: int, **parameters: float) -> Indicator:
    return Indicator(
        name, function, tuple(inputs.split()), tuple(outputs.split()), warm_up, MappingProxyType(parameters)
    )


SUITE: tuple[Indicator, ...] = (
    _talib("bb", "BBANDS", "close", "bb_upper bb_mid bb_lower", 19, timeperiod=20, nbdevup=2.0, nbdevdn=2.0, matype=0),
    _talib("rsi", "RSI", "close", "rsi", 14, timeperiod=14),
    _talib(
        "stoch", "STOCH", "rsi rsi rsi", "stoch_k stoch_d", 17,
        fastk_period=14, slowk_period=3, slowk_matype=0, slowd_period=3, slowd_matype=0,
    ),
    _talib("macd", "MACD", "close", "macd macd_signal macd_hist", 33, fastperiod=12, slowperiod=26, signalperiod=9),
    _talib("atr", "ATR", "high low close", "atr", 14, timeperiod=14),
    _talib("sma_20", "SMA", "close", "sma_20", 19, timeperiod=20),
    _talib("sma_50", "SMA", "close", "sma_50", 49, timeperiod=50),
    _talib("sma_200", "SMA", "close", "sma_200", 199, timeperiod=200),
)  # fmt: skip
"""Bollinger bands, RSI, StochRSI, MACD, ATR and three simple moving averages, in the order of their inputs."""

COLUMNS: tuple[str, ...] = (
    "bb_upper", "bb_mid", "bb_lower", "stoch_k", "stoch_d", "macd", "macd_signal", "macd_hist", "rsi", "atr",
    "sma_20", "sma_50", "sma_200",
)  # fmt: skip
"""The columns of the suite, in the specification's order."""


def stochrsi_tradingview(rsi: Floats, length: int = 14, k: int = 3, d: int = 3) -> tuple[Floats, Floats]:
    """Return %K and %D of RSI as TradingView draws them; where RSI stands still, there is no signal: NaN."""
    lowest, highest = _rolling(rsi, length, np.min), _rolling(rsi, length, np.max)
    with np.errstate(invalid="ignore", divide="ignore"):
        raw = np.where(highest - lowest > _STILL, 100 * (rsi - lowest) / (highest - lowest), np.nan)
    percent_k = _rolling(raw, k, np.mean)
    return percent_k, _rolling(percent_k, d, np.mean)


_STILL = 1e-6
"""A range of RSI below this is rounding noise."""


def _rolling(column: Floats, length: int, reduce: Callable[..., Floats]) -> Floats:
    result = np.full(len(column), np.nan)
    if len(column) >= length:
        result[length - 1 :] = reduce(np.lib.stride_tricks.sliding_window_view(column, length), axis=1)
    return result


STOCH_RSI_TRADINGVIEW = Indicator(
    "stochrsi_tv",
    stochrsi_tradingview,
    ("rsi",),
    ("stochrsi_tv_k", "stochrsi_tv_d"),
    15,
    source="TradingView's StochRSI",
)
"""Needs `rsi` before it in the suite."""
