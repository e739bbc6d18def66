"""What the panes of a live chart hold, as data: the browser draws whatever is named here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """A column drawn as a line. `colour` names one of the theme; `trend.1` is the second of several."""

    column: str
    label: str
    colour: str
    decimals: int = 2
    dashed: bool = False
    width: float = 1.5


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two columns."""

    upper: str
    lower: str
    colour: str = "band"


@dataclass(frozen=True, slots=True)
class Pane:
    """One pane under the price, or what is drawn over the price.

    `histogram` is a column drawn from zero. `bounds` are the ends of a fixed scale, `levels` the lines of its extremes.
    """

    lines: tuple[Line, ...]
    histogram: str = ""
    band: Band | None = None
    bounds: tuple[float, float] | None = None
    levels: tuple[float, float] | None = None
    stretch: float = 1.5

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs."""
        named = [self.histogram, *((self.band.upper, self.band.lower) if self.band else ())]
        return tuple(dict.fromkeys([*(line.column for line in self.lines), *filter(None, named)]))


OVERLAYS: Mapping[str, Pane] = {
    "bollinger": Pane(
        (
            Line("bb_upper", "Bollinger 20, 2", "band", width=1),
            Line("bb_mid", "", "band", dashed=True, width=1),
            Line("bb_lower", "", "band", width=1),
        ),
        band=Band("bb_upper", "bb_lower"),
    ),
    "sma": Pane(
        (
            Line("sma_20", "SMA 20", "trend.0"),
            Line("sma_50", "SMA 50", "trend.1"),
            Line("sma_200", "SMA 200", "trend.2"),
        )
    ),
}
PANELS: Mapping[str, Pane] = {
    "stoch": Pane(
        (Line("stoch_k", "StochRSI %K", "fast", 1), Line("stoch_d", "%D", "slow", 1)),
        bounds=(0, 100),
        levels=(20, 80),
    ),
    "macd": Pane(
        (Line("macd", "MACD 12, 26", "fast"), Line("macd_signal", "signal 9", "slow")),
        histogram="macd_hist",
    ),
    "rsi": Pane((Line("rsi", "RSI 14", "trend.1", 1),), bounds=(0, 100), levels=(30, 70)),
    "atr": Pane((Line("atr", "ATR 14", "slow"),)),
}
"""The same names and columns as those of the static chart."""
