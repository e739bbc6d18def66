"""Pictures of a screen: its best names side by side, and what came of its hits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.display.axis import time_axis
from workbench.display.charts import Chart
from workbench.display.panels import Canvas, draw_bollinger, draw_candles
from workbench.display.theme import Theme, drawing, find_theme
from workbench.errors import InvalidInput
from workbench.market.timeframes import parse_timeframe
from workbench.screening.windows import complete_until

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ZONE = "America/New_York"
_COLUMNS, _WIDTH, _ROW, _MARGIN = 3, 11.0, 2.1, 0.8
"""Of small multiples, and sizes in inches."""

Study = Callable[[str, str], pd.DataFrame]
"""Returns the bars of a symbol at a timeframe, with indicators."""


def names_chart(
    table: pd.DataFrame,
    study: Study,
    *,
    timeframe: str = "1day",
    as_of: datetime | None = None,
    last: int = 60,
    count: int = 9,
    source: str | None = None,
    style: str = "light",
) -> Chart:
    """Draw the first `count` rows of a screen's table: bars and Bollinger band, and where the score stands.

    Only bars that were complete at `as_of` are drawn, the `last` ones of each. Raises `InvalidInput` when there is
    nothing to draw.
    """
    from matplotlib.figure import Figure

    if table.empty or count < 1:
        raise InvalidInput("the screen's list is empty, so there is nothing to draw")
    theme, shown = find_theme(style), table.head(count)
    rows = -(-len(shown) // _COLUMNS)
    title = f"The best {len(shown)} of the screen, {timeframe} bars"
    height = _MARGIN + _ROW * rows
    with drawing(theme):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        figure.suptitle(f"{title}, from {source}" if source else title, x=0.01, ha="left", fontsize=11)
        axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for ax, (_, row) in zip(axes, shown.iterrows(), strict=False):
            bars = study(str(row["symbol"]), timeframe)
            if as_of is not None:
                bars = bars[pd.DatetimeIndex(bars.index).as_unit("us").asi8 < complete_until(as_of, timeframe)]
            _draw_name(ax, bars.tail(last), row, timeframe, theme)
        for ax in axes[len(shown) :]:
            ax.set_visible(False)
        figure.supxlabel("session" if timeframe == "1day" else "exchange time, New York", fontsize=8, color=theme.faint)
    return Chart(figure, title)


def _draw_name(ax: Axes, bars: pd.DataFrame, row: pd.Series, timeframe: str, theme: Theme) -> None:
    """Draw one name: what it is, its side and score in the colour of the side."""
    colour = theme.up if row["side"] == "long" else theme.down
    ax.set_title(f"{row['rank']}. {row['symbol']}", loc="left", fontsize=9, fontweight="bold")
    ax.set_title(f"{row['side']} {row['score']:.0f}", loc="right", fontsize=9, color=colour)
    ax.yaxis.tick_right()
    if bars.empty:
        ax.text(0.5, 0.5, f"no {timeframe} bars", transform=ax.transAxes, ha="center", color=theme.faint)
        return
    axis = time_axis(pd.DatetimeIndex(bars.index), parse_timeframe(timeframe), ZONE)
    canvas = Canvas(bars, axis, theme, "USD")
    draw_bollinger(ax, canvas)
    draw_candles(ax, canvas)
    ax.set_xlim(*axis.limits)
    low, high = (np.nanmin(bars[["low", "bb_lower"]]), np.nanmax(bars[["high", "bb_upper"]]))
    ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    ticks = axis.ticks(4)
    ax.set_xticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=7)
    ax.tick_params(axis="y", labelsize=7)


def edges_chart(stats: pd.DataFrame, *, timeframe: str, source: str | None = None, style: str = "light") -> Chart:
    """Draw the edge of each condition and side with twice its standard error, a panel a horizon.

    `stats` are those of a `ScreenHistory`, `timeframe` is its clock. What crosses zero is no edge. Conditions of which
    nothing counts are left out.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    stats = stats[stats["counted"] > 0] if len(stats) else stats
    if stats.empty:
        raise InvalidInput("there are no hits, so there is nothing to draw")
    theme, horizons = find_theme(style), sorted(stats["bars"].unique())
    names = list(dict.fromkeys(f"{row.what} {row.timeframe}".strip() for row in stats.itertuples()))
    title = f"Edge over any bar, by condition, on the clock of {timeframe}"
    with drawing(theme):
        figure = Figure(figsize=(_WIDTH, 1.6 + 0.36 * len(names)), layout="constrained")
        figure.suptitle(f"{title}, from {source}" if source else title, x=0.01, ha="left", fontsize=11)
        axes = figure.subplots(1, len(horizons), sharey=True, squeeze=False)[0]
        for ax, bars in zip(axes, horizons, strict=True):
            for side, colour, shift in (("long", theme.up, -0.14), ("short", theme.down, 0.14)):
                rows = stats[(stats["bars"] == bars) & (stats["side"] == side)]
                at = [names.index(f"{row.what} {row.timeframe}".strip()) + shift for row in rows.itertuples()]
                error = 2 * rows["se"].fillna(0).to_numpy()
                ax.errorbar(rows["edge"], at, xerr=error, fmt="o", ms=4, color=colour, label=side, lw=1.2)
            ax.axvline(0, color=theme.faint, lw=0.8)
            ax.set_title(f"after {bars} {'bar' if bars == 1 else 'bars'}", loc="left", fontsize=9)
            ax.xaxis.set_major_locator(MaxNLocator(5))
            ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g}%")
            ax.set_xlabel("mean return less that of any bar, ± 2 standard errors")
            ax.tick_params(axis="x", labelsize=7)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.5, -0.5)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="upper right", ncols=2, borderaxespad=0.2)
    return Chart(figure, title)
