"""A chart with its controls: symbol, timeframe, panels, longer timeframes beside it, style.

In a live notebook the controls redraw the chart; in an executed one, in HTML and in print, the chart stands alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from html import escape
from math import inf
from typing import Any

import ipywidgets as widgets
import pandas as pd

from workbench.display.charts import DEFAULT_PANELS, Chart, price_chart
from workbench.display.panels import PANELS
from workbench.display.theme import THEMES
from workbench.errors import InvalidInput, WorkbenchError
from workbench.indicators.join import join_timeframes
from workbench.market.names import as_names
from workbench.market.timeframes import parse_timeframe

Study = Callable[[str, str], pd.DataFrame]
"""Gives the bars of a symbol and timeframe with their indicators."""

_ALL = 0  # a menu takes None for no choice
_LENGTHS = {"120 bars": 120, "260 bars": 260, "520 bars": 520, "all": _ALL}


class Explorer(widgets.VBox):  # type: ignore[misc]
    """The chart of a series, and controls to choose another one.

    `study` gives the bars with their indicators. `chart` is what is drawn now, None where that was not possible: then
    the reason stands in its place.
    """

    def __init__(
        self,
        study: Study,
        symbols: str | Sequence[str],
        timeframes: str | Sequence[str],
        *,
        panels: str | Sequence[str] = DEFAULT_PANELS,
        last: int = 260,
        style: str = "light",
        source: str | None = None,
    ) -> None:
        self.chart: Chart | None = None
        self._redrawing = threading.Lock()  # Jupyter may answer each control in a thread of its own
        self._study, self._source = study, source
        lengths = dict(sorted({f"{last} bars": last, **_LENGTHS}.items(), key=lambda one: one[1] or inf))
        names = as_names(symbols)
        # A name that is not among the options is told, not ignored: the field would show it over another one's chart.
        self.symbol = widgets.Combobox(options=names, value=names[0], description="symbol", continuous_update=False)
        self.timeframe = widgets.Dropdown(options=as_names(timeframes), description="timeframe")
        self.panels = widgets.SelectMultiple(
            options=list(PANELS), value=tuple(as_names(panels)), rows=len(PANELS), description="panels"
        )
        self.last = widgets.Dropdown(options=lengths, value=last, description="show")
        self.beside = widgets.Checkbox(description="longer timeframes beside it", indent=False)
        self.style = widgets.ToggleButtons(options=list(THEMES), value=style)
        self._picture = widgets.Image(format="png", layout={"width": "100%", "max_width": "1200px"})
        self._problem = widgets.HTML()
        self._controls = (self.symbol, self.timeframe, self.last, self.style, self.beside, self.panels)
        rows = [self.symbol, self.timeframe, self.last], [self.style, self.beside]
        choices = widgets.VBox([widgets.HBox(row) for row in rows])
        super().__init__([widgets.HBox([choices, self.panels]), self._problem, self._picture])
        for control in self._controls:
            control.observe(self._redraw, names="value")
        self._redraw()

    def _redraw(self, _change: object = None) -> None:
        """Draw what is chosen; what cannot be drawn is told in the chart's place."""
        with self._redrawing:
            try:
                self.chart, told = self._drawn(), ""
            except WorkbenchError as error:
                self.chart, told = None, f"<p role='alert'>{escape(str(error))}</p>"
            self._problem.value = told
            self._picture.value = self.chart.to_png() if self.chart else b""
            self._picture.layout.display = None if self.chart else "none"  # a browser shows an empty one as broken

    def _drawn(self) -> Chart:
        return price_chart(
            self._bars(),
            symbol=self._chosen_symbol(),
            timeframe=self.timeframe.value,
            panels=list(self.panels.value),
            last=self.last.value or None,
            style=self.style.value,
            source=self._source,
        )

    def _chosen_symbol(self) -> str:
        symbol: str = self.symbol.value.strip().upper()
        if symbol not in self.symbol.options:
            near = get_close_matches(symbol, self.symbol.options, n=3, cutoff=0.5)
            told = f"{symbol} is not stored" if symbol else "no symbol is chosen"
            raise InvalidInput(f"{told}; try {', '.join(near or self.symbol.options[:3])}")
        return symbol

    def _bars(self) -> pd.DataFrame:
        """Return the chosen series with its indicators, and those of longer timeframes as they were known then."""
        symbol, timeframe = self._chosen_symbol(), self.timeframe.value
        bars = self._study(symbol, timeframe)
        if not self.beside.value:
            return bars
        shown = parse_timeframe(timeframe).seconds
        longer = [name for name in self.timeframe.options if parse_timeframe(name).seconds > shown]
        frames = {name: self._study(symbol, name) for name in longer}
        return join_timeframes(bars, timeframe, {name: frame for name, frame in frames.items() if len(frame)})

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the live form, and the picture for readers without a kernel."""
        bundle = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        if self.chart is None:
            return data, metadata
        picture, sizes = self.chart._repr_mimebundle_()
        return {**(data or {}), **picture}, {**metadata, **sizes}
