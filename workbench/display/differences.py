"""How live bars differ from history, as a heat map: symbols by timeframes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.display.charts import Chart
from workbench.display.theme import Theme, drawing, find_theme
from workbench.errors import InvalidInput
from workbench.market.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_WIDTH, _MARGIN, _ROW = 8.5, 1.7, 0.3
"""In inches."""
_DARK_FROM = 0.55
_KINDS = ["price", "volume", "missing", "extra"]


def differences_chart(records: pd.DataFrame, *, source: str | None = None, style: str = "light") -> Chart:
    """Draw the share of bars that were built live and differ from IB's history, by symbol and timeframe.

    `records` are rows of `desk.closings.load()`; several sessions are added up. A cell says how many bars differ; its
    colour is their share, on a scale of its own where the shares are small. Where no bar differs a cell is blank.
    """
    if records.empty:
        raise InvalidInput("no session was saved yet, so there are no differences to draw; record one and save it")
    from matplotlib.figure import Figure

    theme, counts = find_theme(style), _counts(records)
    title = f"Live bars that differ from IB's history, {_tell_sessions(records)}"
    with drawing(theme):
        figure = Figure(figsize=(_WIDTH, _MARGIN + _ROW * len(counts["bars"])), layout="constrained")
        ax = figure.subplots()
        _draw_cells(figure, ax, counts["different"], counts["bars"], theme)
        _name_axes(ax, counts["bars"])
        ax.set_title(f"{title}, from {source}" if source else title, loc="left", fontsize=10)
    return Chart(figure, title)


def _counts(records: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return how many bars differ and how many there are: a row a symbol, a column a timeframe."""
    rows = records.assign(different=records[_KINDS].sum(axis=1), bars=records["bars"] + records["extra"])
    names = [name for name in TIMEFRAMES if name in set(rows["timeframe"])]
    return {
        kind: rows.pivot_table(index="symbol", columns="timeframe", values=kind, aggfunc="sum").reindex(columns=names)
        for kind in ("different", "bars")
    }


def _tell_sessions(records: pd.DataFrame) -> str:
    days = sorted(records["session"].unique())
    return str(days[0]) if len(days) == 1 else f"{len(days)} sessions, {days[0]} to {days[-1]}"


def _draw_cells(figure: Figure, ax: Axes, different: pd.DataFrame, bars: pd.DataFrame, theme: Theme) -> None:
    """Draw one cell a series: its share by depth of colour, the number of bars in it."""
    shares = (different / bars.where(bars > 0, 1)).to_numpy(np.float64)
    values, (rows, columns) = different.to_numpy(np.float64), shares.shape
    most = max(float(np.nanmax(shares, initial=0.0)), 0.01)
    edges = np.arange(columns + 1) - 0.5, np.arange(rows + 1) - 0.5
    mesh = ax.pcolormesh(*edges, np.ma.masked_where(~(shares > 0), shares), cmap=_shades(theme), vmin=0, vmax=most)
    mesh.set_gid("shares")
    ax.set_ylim(rows - 0.5, -0.5)
    for row, column in np.argwhere(shares > 0).tolist():
        ink = theme.paper if shares[row, column] > _DARK_FROM * most else theme.ink
        text = f"{values[row, column]:,.0f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=8, color=ink)
    scale = figure.colorbar(mesh, ax=ax, shrink=0.9, aspect=12, pad=0.01)
    scale.ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}" if most > 0.1 else f"{value:.1%}")
    scale.set_label("share of bars that differ")
    scale.outline.set_visible(False)


def _shades(theme: Theme) -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("different", [theme.grid, theme.warning])


def _name_axes(ax: Axes, bars: pd.DataFrame) -> None:
    ax.set_yticks(range(len(bars)), list(bars.index))
    labels = [f"{name}\nof {int(total):,}" for name, total in bars.sum().items()]
    ax.set_xticks(range(len(labels)), labels)
    ax.set_xlabel("timeframe, and how many bars there are of all symbols")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for row in range(1, len(bars)):
        ax.axhline(row - 0.5, color=ax.get_facecolor(), linewidth=2)
    for column in range(1, len(labels)):
        ax.axvline(column - 0.5, color=ax.get_facecolor(), linewidth=2)
