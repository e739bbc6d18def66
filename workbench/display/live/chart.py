"""A chart that moves: an anywidget that is sent its history once, and then a row for each bar that changes.

What is sent is numbered. A browser that has missed something, was reloaded, or shows a chart that was out of sight,
asks for the history again; so each view ends with the same bars, and nothing is sent to nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal
from zoneinfo import ZoneInfo

import anywidget
import pandas as pd
import traitlets

from workbench.display.charts import DEFAULT_PANELS, Chart, check_bars, choose, known_zone, price_chart
from workbench.display.live.assets import script, style_sheet, why_not
from workbench.display.live.panes import OVERLAYS, PANELS, Pane
from workbench.display.live.rows import BAR, Row, add_row, as_row, encode, rows_frame, study_rows
from workbench.display.theme import THEMES
from workbench.errors import InvalidInput
from workbench.market.timeframes import parse_timeframe

MOST = 1000
"""So many slots of history are sent; older bars are in the static chart."""

_STYLES = ("auto", *THEMES)


class LiveChart(anywidget.AnyWidget):
    """A chart of bars, their volume and the indicators in their columns, for a notebook.

    `study`, `panels`, `overlays`, `zone`, `currency` and `source` are as in `price_chart`; `study` may be empty. The
    view begins with the newest `last` slots. `style` `auto` follows JupyterLab's theme. `height` is in pixels.

    `update` sends bars that have changed, `show` another study; any thread may call them. A `live` chart tells when no
    bar has come for a while; a `compact` one says less, for it is small. In an executed notebook and in HTML the chart
    is a picture of the bars that were there when it was displayed.
    """

    setup = traitlets.Dict().tag(sync=True)
    history = traitlets.Bytes().tag(sync=True)
    number = traitlets.Int().tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        study: pd.DataFrame,
        *,
        symbol: str,
        timeframe: str,
        panels: str | Sequence[str] | None = None,
        overlays: str | Sequence[str] | None = None,
        last: int = 200,
        style: Literal["auto", "light", "dark"] = "auto",
        zone: str = "America/New_York",
        currency: str = "USD",
        source: str | None = None,
        height: int = 640,
        live: bool = False,
        compact: bool = False,
    ) -> None:
        if style not in _STYLES:
            raise InvalidInput(f"there is no style {style!r}; there are {', '.join(_STYLES)}")
        if not (isinstance(last, int) and 10 <= last <= MOST):
            raise InvalidInput(f"last must be a whole number of bars, from 10 to {MOST}, not {last!r}")
        if not (isinstance(height, int) and 200 <= height <= 4000):
            raise InvalidInput(f"height must be a whole number of pixels, from 200 to 4000, not {height!r}")
        self._lock = threading.RLock()
        self._panels, self._overlays = panels, overlays
        self._fixed: dict[str, Any] = {
            "style": style,
            "last": last,
            "currency": currency,
            "height": height,
            "live": live,
            "compact": compact,
        }
        self._zone, self._source = ZoneInfo(known_zone(zone)), source
        self._number, self._notice = 0, ""
        self._take(study, symbol, timeframe)
        super().__init__(_esm=script(), _css=style_sheet())
        self.is_shown = False
        self.on_msg(self._on_message)

    def __repr__(self) -> str:
        return f"<LiveChart {self.symbol} · {self.timeframe}>"

    @property
    def notice(self) -> str:
        """What is wrong, told in the chart's head line; empty when nothing is."""
        return self._notice

    @notice.setter
    def notice(self, text: str) -> None:
        with self._lock:
            if text != self._notice:
                self._notice = text
                self.send({"kind": "notice", "text": text})

    @property
    def bars(self) -> pd.DataFrame:
        """The bars that are drawn now, with their indicators; `forming` is 1 for the one that is not complete."""
        with self._lock:
            return rows_frame(self._rows, self._columns)

    # -- what is drawn

    def show(self, study: pd.DataFrame, *, symbol: str = "", timeframe: str = "") -> None:
        """Draw another study, of another symbol or timeframe if given, in place of all that is there."""
        with self._lock:
            self._take(study, symbol or self.symbol, timeframe or self.timeframe)
            self._number += 1
            self._send_history()

    def update(self, bars: Sequence[Mapping[str, float]]) -> None:
        """Draw bars that are new, or that have changed since they were the newest; one message for all.

        Each has `timestamp` (its start in epoch seconds), the columns of a bar and of the indicators, and `forming`: 1
        unless it is complete. A bar that is older than the newest is not drawn: that takes a `show`.
        """
        with self._lock:
            first = len(self._rows)
            for bar in bars:
                added = add_row(self._rows, as_row(bar, self._columns), self._timeframe)
                first = min(first, len(self._rows) - added)
            changed = self._rows[first:]
            if not changed:
                return
            del self._rows[:-MOST]
            self._number += 1
            if self.is_shown:
                self.send({"kind": "rows", "n": self._number}, [encode(changed, self._timeframe, self._zone)])

    def static(self, style: str = "light", *, size: tuple[float, float] = (12.0, 8.0)) -> Chart:
        """Return the chart as it is now, as a picture; `size` is in inches."""
        return price_chart(
            self.bars,
            symbol=self.symbol,
            timeframe=self.timeframe,
            panels=list(self._under),
            overlays=list(self._over),
            last=self._fixed["last"],
            style="dark" if style == "dark" else "light",
            zone=self._zone.key,
            currency=self._fixed["currency"],
            source=self._source,
            size=size,
        )

    def _take(self, study: pd.DataFrame, symbol: str, timeframe: str) -> None:
        self._timeframe = parse_timeframe(timeframe)
        if not study.empty:
            check_bars(study, f"{symbol} {timeframe}")
        self._under = {name: PANELS[name] for name in choose("panel", self._panels, DEFAULT_PANELS, PANELS, study)}
        self._over = {name: OVERLAYS[name] for name in choose("overlay", self._overlays, OVERLAYS, OVERLAYS, study)}
        panes: list[Pane] = [*self._over.values(), *self._under.values()]
        self._columns = tuple(dict.fromkeys([*BAR, *(column for pane in panes for column in pane.columns)]))
        self._rows: list[Row] = study_rows(study, self._columns, self._timeframe, MOST)
        self.symbol, self.timeframe = symbol, self._timeframe.name

    # -- between kernel and browser

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:  # noqa: FBT001, FBT002
        """Return what a browser needs to draw all that is there now; made when it asks, never kept."""
        state: dict[str, Any] = super().get_state(key, drop_defaults)
        with self._lock:
            fresh = {
                "setup": self._setup,
                "history": lambda: encode(self._rows, self._timeframe, self._zone),
                "number": lambda: self._number,
                "picture": self._picture,
            }
            return state | {name: make() for name, make in fresh.items() if name in state}

    def _send_history(self) -> None:
        if self.is_shown:
            rows = encode(self._rows, self._timeframe, self._zone)
            self.send({"kind": "history", "n": self._number, "setup": self._setup()}, [rows])

    def _setup(self) -> dict[str, Any]:
        zone = self._zone.key.rpartition("/")[2].replace("_", " ")
        return self._fixed | {
            "symbol": self.symbol,
            "timeframe": self.timeframe,
            "seconds": self._timeframe.seconds,
            "daily": self._timeframe.is_daily,
            "zone": zone,
            "most": MOST,
            "source": self._source or "",
            "columns": ["wall", *self._columns],
            "over": [asdict(pane) for pane in self._over.values()],
            "under": [asdict(pane) for pane in self._under.values()],
            "themes": {name: asdict(theme) for name, theme in THEMES.items()},
            "notice": self._notice or why_not(),
        }

    def _on_message(self, _widget: object, content: Mapping[str, Any], _buffers: object) -> None:
        """Hear from a browser. Any thread of the kernel may be the one that hears."""
        with self._lock:
            if content.get("kind") == "shown":
                self.is_shown = True
                if content.get("n") != self._number:
                    self._send_history()
            elif content.get("kind") == "hidden":  # here; another browser may still show it, and says so
                self.is_shown = False
                self.send({"kind": "who"})

    # -- on paper

    def _picture(self) -> bytes:
        """Return the static picture where there is no bundle to draw a better one."""
        return self.static(self._fixed["style"]).to_png() if why_not() and self._has_bars else b""

    @property
    def _has_bars(self) -> bool:
        return any(row[1] == row[1] for row in self._rows)

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Give the live form, and the picture for readers without a kernel."""
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        if not self._has_bars:
            return data, metadata
        picture, sizes = self.static(self._fixed["style"])._repr_mimebundle_()
        return {**data, **picture}, {**metadata, **sizes}
