"""Colours and lettering of charts, light and dark."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from workbench.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of one style, named for what they colour."""

    paper: str
    ink: str
    faint: str
    grid: str
    shade: str
    up: str
    down: str
    band: str
    fast: str
    slow: str
    trend: tuple[str, str, str]
    longer: tuple[str, str, str]
    warning: str

    @property
    def rc(self) -> dict[str, object]:
        """The settings of matplotlib for this style, to be used in a local context."""
        return {
            "font.size": 9,
            "figure.facecolor": self.paper,
            "axes.facecolor": self.paper,
            "axes.edgecolor": self.grid,
            "axes.labelcolor": self.faint,
            "axes.labelsize": 8,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.left": False,
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "text.color": self.ink,
            "xtick.color": self.grid,
            "ytick.color": self.grid,
            "xtick.labelcolor": self.faint,
            "ytick.labelcolor": self.faint,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "lines.linewidth": 1.1,
            "legend.fontsize": 8,
            "legend.frameon": True,
            "legend.framealpha": 0.75,
            "legend.edgecolor": "none",
            "legend.borderpad": 0.2,
            "legend.borderaxespad": 0.3,
            "legend.handlelength": 1.2,
            "legend.handletextpad": 0.4,
            "legend.columnspacing": 1.2,
            "legend.labelcolor": self.ink,
        }


THEMES: Mapping[str, Theme] = {
    "light": Theme(
        paper="#ffffff",
        ink="#1c2230",
        faint="#5d6675",
        grid="#e3e6ec",
        shade="#f4f6f9",
        up="#12907f",
        down="#d8404a",
        band="#5b7bd5",
        fast="#2962c9",
        slow="#e07b1f",
        trend=("#b8860b", "#8e44ad", "#4a5568"),
        longer=("#4a5568", "#12907f", "#d6336c"),
        warning="#b45309",
    ),
    "dark": Theme(
        paper="#12161f",
        ink="#e4e8f0",
        faint="#98a2b5",
        grid="#262d3b",
        shade="#171d28",
        up="#2fb8a6",
        down="#f0616a",
        band="#6f8fe8",
        fast="#6ea2ff",
        slow="#f5a04c",
        trend=("#e3b341", "#c084fc", "#a8b3c7"),
        longer=("#a8b3c7", "#2fb8a6", "#f472b6"),
        warning="#f5b54c",
    ),
}


ALONE = threading.RLock()
"""Who draws or renders holds it: matplotlib's settings are the process's, and a figure changes while it is rendered."""


@contextmanager
def drawing(theme: Theme) -> Iterator[None]:
    """Draw in a style, from matplotlib's defaults on: what the user has set for plots of their own does not reach ours.

    Threads wait for one another: controls of a notebook are answered in several.
    """
    from matplotlib import style

    with ALONE, style.context(["default", theme.rc]):
        yield


def find_theme(style: str) -> Theme:
    """Return the theme of that name."""
    if style not in THEMES:
        raise InvalidInput(f"there is no style {style!r}; there are {', '.join(THEMES)}")
    return THEMES[style]
