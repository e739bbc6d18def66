"""The coverage of a store as a heat map, symbols by sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.display.charts import Chart
from workbench.display.theme import Theme, drawing, find_theme
from workbench.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_TICKS = 10
_WIDTH, _MARGIN, _ROW = 9.5, 1.6, 0.26
"""In inches."""


def coverage_chart(shares: pd.DataFrame, *, timeframe: str, source: str | None = None, style: str = "light") -> Chart:
    """Draw what is stored of each symbol, session by session.

    `shares` is a row a symbol and a column a session: the share of its bars that are there, negative where the session
    is not covered, NaN before the series begins (`workbench.store.quality.map_coverage`). Deeper is fuller; what is not
    covered stands out; before its begin a series is blank.
    """
    from matplotlib.figure import Figure

    if shares.empty:
        raise InvalidInput(f"nothing is stored of {timeframe}, so there is no coverage to draw; backfill first")
    theme = find_theme(style)
    title = f"Coverage of {timeframe} bars, {len(shares.columns)} sessions"

    with drawing(theme):
        figure = Figure(figsize=(_WIDTH, _MARGIN + _ROW * len(shares)), layout="constrained")
        ax = figure.subplots()
        _draw_cells(ax, shares, theme)
        _name_axes(ax, shares)
        ax.set_title(f"{title}, from {source}" if source else title, loc="left", fontsize=10)
        _explain(figure, ax, theme)
    return Chart(figure, title)


def _draw_cells(ax: Axes, shares: pd.DataFrame, theme: Theme) -> None:
    """Draw one cell a session: its share by depth of colour, a session that is not covered in the warning colour."""
    from matplotlib.colors import ListedColormap

    values = shares.to_numpy(np.float64)
    rows, columns = values.shape
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    held = np.ma.masked_where(~(values >= 0), values)
    gaps = np.ma.masked_where(~(values < 0), values)
    ax.pcolormesh(*edges, held, cmap=_shades(theme), vmin=0, vmax=1, gid="held", rasterized=True)
    ax.pcolormesh(*edges, gaps, cmap=ListedColormap([theme.warning]), gid="gaps", rasterized=True)
    ax.set_ylim(rows - 0.5, -0.5)
    for row in range(1, rows):
        ax.axhline(row - 0.5, color=theme.paper, linewidth=2)


def _shades(theme: Theme) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("held", [theme.grid, theme.up])


def _name_axes(ax: Axes, shares: pd.DataFrame) -> None:
    ax.set_yticks(range(len(shares)), list(shares.index))
    step = max(1, -(-len(shares.columns) // _TICKS))
    at = range(0, len(shares.columns), step)
    ax.set_xticks(at, [f"{shares.columns[place]:%Y-%m-%d}" for place in at], rotation=30, ha="right")
    ax.set_xlabel("session (New York)")
    ax.grid(visible=False)


def _explain(figure: Figure, ax: Axes, theme: Theme) -> None:
    """Draw the legend: the scale of shares, and what a gap looks like."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.patches import Patch

    scale = figure.colorbar(ScalarMappable(cmap=_shades(theme)), ax=ax, shrink=0.9, aspect=12, pad=0.01)
    scale.set_label("share of its bars")
    scale.outline.set_visible(False)
    gap = Patch(color=theme.warning, label="not covered")
    blank = Patch(facecolor=theme.paper, edgecolor=theme.grid, label="before its begin")
    ax.legend(handles=[gap, blank], loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2)
