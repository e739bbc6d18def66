"""What the panels of a chart draw: bars, volume, and indicators.

Each painter draws one thing into one `Axes`; everything of a kind is one collection, so a thousand bars cost as
much as ten. A collection carries a name (`gid`), by which tests, and the elements of an SVG, find it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.display.axis import Floats, TimeAxis
from workbench.display.theme import Theme
from workbench.market.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BODY = 0.72
"""The width of a bar's body, in slots."""

MINUS = "\N{MINUS SIGN}"
HEADROOM = 0.38
"""Room for the legend above what an indicator's panel draws, as part of its height."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """What every painter needs: the bars, where they stand, how to paint, and the unit of prices."""

    bars: pd.DataFrame
    axis: TimeAxis
    theme: Theme
    currency: str

    def values(self, column: str) -> Floats:
        """Return a column as floats."""
        return self.bars[column].to_numpy(np.float64)

    def is_up(self) -> np.ndarray:
        """Say for each bar whether it closed at or above its open."""
        return self.values("close") >= self.values("open")

    def colours(self, is_up: np.ndarray) -> np.ndarray:
        """Return the colour of each bar or column."""
        return np.where(is_up, self.theme.up, self.theme.down)


# -- the price and its volume


def draw_candles(ax: Axes, canvas: Canvas) -> None:
    """Draw each bar: a body from open to close, a wick from low to high."""
    from matplotlib.collections import LineCollection

    at = canvas.axis.positions
    opened, high, low, close = (canvas.values(name) for name in ("open", "high", "low", "close"))
    colours = canvas.colours(canvas.is_up())
    wicks = np.stack([np.c_[at, low], np.c_[at, high]], axis=1)
    ax.add_collection(LineCollection(list(wicks), colors=colours, linewidths=0.8, gid="wicks", zorder=3))
    # The edge keeps a bar that closed where it opened visible: as a dash.
    _columns(ax, canvas, opened, close, colours, "bodies", edge=0.8)


def draw_volume(ax: Axes, canvas: Canvas) -> None:
    """Draw the volume as columns from zero."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    volume = np.nan_to_num(canvas.values("volume"))
    _columns(ax, canvas, np.zeros_like(volume), volume, canvas.colours(canvas.is_up()), "volume", alpha=0.55)
    ax.set_ylim(0, 1.15 * volume.max())
    ax.set_ylabel("shares")
    ax.yaxis.set_major_locator(MaxNLocator(2, prune="lower"))
    ax.yaxis.set_major_formatter(EngFormatter(sep=""))


def _columns(
    ax: Axes,
    canvas: Canvas,
    base: Floats,
    top: Floats,
    colours: np.ndarray,
    name: str,
    *,
    edge: float = 0.0,
    alpha: float = 1.0,
) -> None:
    """Draw one rectangle a bar, from `base` to `top`."""
    from matplotlib.collections import PolyCollection

    left, right = canvas.axis.positions - BODY / 2, canvas.axis.positions + BODY / 2
    corners = np.stack([np.c_[left, base], np.c_[left, top], np.c_[right, top], np.c_[right, base]], axis=1)
    edges = colours if edge else "none"
    ax.add_collection(
        PolyCollection(
            list(corners), facecolors=colours, edgecolors=edges, linewidths=edge, alpha=alpha, gid=name, zorder=4
        )
    )


# -- over the price


def draw_bollinger(ax: Axes, canvas: Canvas) -> None:
    """Shade the Bollinger band and draw its middle."""
    at, upper = canvas.axis.bridged(canvas.values("bb_upper"))
    _, lower = canvas.axis.bridged(canvas.values("bb_lower"))
    colour = canvas.theme.band
    ax.fill_between(at, lower, upper, color=colour, alpha=0.12, linewidth=0, gid="band", zorder=1)
    for edge, label in ((upper, "Bollinger 20, 2"), (lower, None)):
        ax.plot(at, edge, color=colour, linewidth=0.7, alpha=0.7, label=label, zorder=2)
    _, middle = canvas.axis.bridged(canvas.values("bb_mid"))
    ax.plot(at, middle, color=colour, linewidth=0.8, linestyle="--", gid="bb_mid", zorder=2)


def draw_averages(ax: Axes, canvas: Canvas) -> None:
    """Draw the moving averages that have values here."""
    for column, colour in zip(("sma_20", "sma_50", "sma_200"), canvas.theme.trend, strict=True):
        if column in canvas.bars and canvas.bars[column].notna().any():
            _line(ax, canvas, column, column.upper().replace("_", " "), colour, decimals=2)


# -- under the price


def draw_stoch(ax: Axes, canvas: Canvas) -> None:
    """Draw StochRSI between 0 and 100, with the levels of its extremes."""
    _line(ax, canvas, "stoch_k", "StochRSI %K", canvas.theme.fast, decimals=1)
    _line(ax, canvas, "stoch_d", "%D", canvas.theme.slow, decimals=1)
    _longer(ax, canvas, "stoch_k", "%K")
    _levels(ax, canvas, 20, 80)


def draw_rsi(ax: Axes, canvas: Canvas) -> None:
    """Draw RSI between 0 and 100, with the levels of its extremes."""
    _line(ax, canvas, "rsi", "RSI 14", canvas.theme.trend[1], decimals=1)
    _longer(ax, canvas, "rsi", "RSI")
    _levels(ax, canvas, 30, 70)


def draw_macd(ax: Axes, canvas: Canvas) -> None:
    """Draw MACD and its signal as lines, and their difference as columns."""
    from matplotlib.ticker import MaxNLocator

    histogram = canvas.values("macd_hist")
    colours = canvas.colours(histogram >= 0)
    _columns(ax, canvas, np.zeros_like(histogram), histogram, colours, "macd_hist", alpha=0.45)
    _line(ax, canvas, "macd", "MACD 12, 26", canvas.theme.fast, decimals=2)
    _line(ax, canvas, "macd_signal", "signal 9", canvas.theme.slow, decimals=2)
    ax.axhline(0, color=canvas.theme.faint, linewidth=0.6, alpha=0.6, zorder=1)
    ax.set_ylabel(canvas.currency)
    _fit(ax, canvas, "macd", "macd_signal", "macd_hist")
    ax.yaxis.set_major_locator(MaxNLocator(4, prune="both"))


def draw_atr(ax: Axes, canvas: Canvas) -> None:
    """Draw the average true range."""
    from matplotlib.ticker import MaxNLocator

    _line(ax, canvas, "atr", "ATR 14", canvas.theme.slow, decimals=2)
    ax.set_ylabel(canvas.currency)
    _fit(ax, canvas, "atr")
    ax.yaxis.set_major_locator(MaxNLocator(3, prune="both"))


def _line(ax: Axes, canvas: Canvas, column: str, label: str, colour: str, *, decimals: int, style: str = "-") -> None:
    """Draw a column as a line; its label in the legend ends with the last value."""
    values = canvas.values(column)
    if np.isfinite(values[-1]):
        label = f"{label}  {values[-1]:,.{decimals}f}".replace("-", MINUS)
    at, bridged = canvas.axis.bridged(values)
    ax.plot(at, bridged, color=colour, linestyle=style, label=label, gid=column, zorder=5)


def _longer(ax: Axes, canvas: Canvas, column: str, label: str) -> None:
    """Draw the same indicator of longer timeframes, where `join_timeframes` has put them beside."""
    joined = [name for name in TIMEFRAMES if f"{column}_{name}" in canvas.bars]
    looks = [(colour, style) for style in ("-", "--", ":") for colour in canvas.theme.longer]
    for name, (colour, style) in zip(joined, looks, strict=False):
        _line(ax, canvas, f"{column}_{name}", f"{label} {name}", colour, decimals=1, style=style)


def _fit(ax: Axes, canvas: Canvas, *columns: str) -> None:
    """Set the limits to what the columns hold, with room for the legend."""
    values = canvas.bars[list(columns)].to_numpy(np.float64)
    if np.isfinite(values).any():
        low, high = np.nanmin(values), np.nanmax(values)
        height = (high - low) or abs(high) or 1.0
        ax.set_ylim(low - 0.1 * height, high + HEADROOM * height)


def _levels(ax: Axes, canvas: Canvas, low: float, high: float) -> None:
    for level in (low, high):
        ax.axhline(level, color=canvas.theme.faint, linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
    ax.axhspan(0, low, color=canvas.theme.up, alpha=0.06, linewidth=0, zorder=0)
    ax.axhspan(high, 100, color=canvas.theme.down, alpha=0.06, linewidth=0, zorder=0)
    ax.set_ylim(-6, 100 * (1 + HEADROOM))
    ax.set_yticks([low, high])
    ax.set_ylabel("0 to 100")


@dataclass(frozen=True, slots=True)
class Painter:
    """How something is drawn, the columns it needs, and those of them that the price's limits make room for."""

    draw: Callable[[Axes, Canvas], None]
    columns: tuple[str, ...]
    in_view: tuple[str, ...] = ()


OVERLAYS: Mapping[str, Painter] = {
    "bollinger": Painter(draw_bollinger, ("bb_upper", "bb_mid", "bb_lower"), in_view=("bb_lower", "bb_upper")),
    "sma": Painter(draw_averages, ("sma_20", "sma_50", "sma_200")),
}
PANELS: Mapping[str, Painter] = {
    "stoch": Painter(draw_stoch, ("stoch_k", "stoch_d")),
    "macd": Painter(draw_macd, ("macd", "macd_signal", "macd_hist")),
    "rsi": Painter(draw_rsi, ("rsi",)),
    "atr": Painter(draw_atr, ("atr",)),
}
