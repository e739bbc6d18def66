"""The indicators that are computed, as data: the specification's suite.

The values are TA-Lib's, with its seeding. Two differ from what some charts show: MACD starts both averages at the
slow one's first bar (values agree with other programs after about 105 bars), and StochRSI is the slow stochastic
of RSI (14, 3, 3) by simple averages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Indicator:
    """One call of a TA-Lib function.

    `inputs` are columns of bars, or outputs of indicators before it. `outputs` are the columns it gives; a name that
    starts with an underscore is an intermediate result and not shown. `warm_up` is how many bars come before the
    first value.
    """

    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    warm_up: int
    parameters: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


def _indicator(function: str, inputs: str, outputs: str, warm_up: int, **parameters: float) -> Indicator:
    return Indicator(function, tuple(inputs.split()), tuple(outputs.split()), warm_up, MappingProxyType(parameters))


SUITE: tuple[Indicator, ...] = (
    _indicator("BBANDS", "close", "bb_upper bb_mid bb_lower", 19, timeperiod=20, nbdevup=2.0, nbdevdn=2.0, matype=0),
    _indicator("RSI", "close", "rsi", 14, timeperiod=14),
    _indicator(
        "STOCH",
        "rsi rsi rsi",
        "stoch_k stoch_d",
        31,
        fastk_period=14,
        slowk_period=3,
        slowk_matype=0,
        slowd_period=3,
        slowd_matype=0,
    ),
    _indicator("MACD", "close", "macd macd_signal macd_hist", 33, fastperiod=12, slowperiod=26, signalperiod=9),
    _indicator("ATR", "high low close", "atr", 14, timeperiod=14),
    _indicator("SMA", "close", "sma_20", 19, timeperiod=20),
    _indicator("SMA", "close", "sma_50", 49, timeperiod=50),
    _indicator("SMA", "close", "sma_200", 199, timeperiod=200),
)
"""Bollinger bands, RSI, StochRSI, MACD, ATR and three simple moving averages, in the order of their inputs."""

COLUMNS: tuple[str, ...] = (
    "bb_upper",
    "bb_mid",
    "bb_lower",
    "stoch_k",
    "stoch_d",
    "macd",
    "macd_signal",
    "macd_hist",
    "rsi",
    "atr",
    "sma_20",
    "sma_50",
    "sma_200",
)
"""The columns of the suite, in the specification's order."""
