"""Static charts: for executed notebooks, reports and print.

matplotlib is used without `pyplot`: no figure is registered anywhere, no setting of the session is changed, and
the result is the same in a script, a notebook and a thread. It is imported when the first chart is drawn.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd

from workbench.display.axis import TimeAxis, time_axis
from workbench.display.panels import OVERLAYS, PANELS, Canvas, Painter, draw_candles, draw_volume
from workbench.display.theme import ALONE, drawing, find_theme
from workbench.errors import InvalidInput
from workbench.market.names import as_names
from workbench.market.timeframes import parse_timeframe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DEFAULT_PANELS = ("stoch", "macd", "rsi")
DASH = "\N{EN DASH}"
LEFT, RIGHT, TOP, BOTTOM = 0.35, 0.85, 0.5, 0.6
"""Margins in inches, the same at every size."""

SHARPNESS = 2
"""Pixels of the picture for each pixel of a notebook's page, so that it is sharp on a fine screen."""


@dataclass(frozen=True, slots=True, repr=False)
class Chart:
    """A drawn chart. It shows itself in a notebook, where a bare `Figure` would be shown as text."""

    figure: Figure
    title: str

    def __repr__(self) -> str:
        return f"<Chart {self.title}>"

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
        width, height = (round(inches * self.figure.dpi) for inches in self.figure.get_size_inches())
        picture = base64.b64encode(self.to_png()).decode("ascii")
        size = {"width": width, "height": height}
        return {"image/png": picture, "text/plain": repr(self)}, {"image/png": size}

    def to_png(self) -> bytes:
        """Return the chart as a PNG."""
        buffer = io.BytesIO()
        with ALONE:
            self.figure.savefig(
                buffer, format="png", dpi=SHARPNESS * self.figure.dpi, facecolor=self.figure.get_facecolor()
            )
        return buffer.getvalue()

    def save(self, path: Path | str) -> Path:
        """Write the chart to a file whose suffix says the format: .png, .svg or .pdf. Return the path."""
        try:
            with ALONE:
                self.figure.savefig(path, dpi=SHARPNESS * self.figure.dpi, facecolor=self.figure.get_facecolor())
        except (OSError, ValueError) as error:
            raise InvalidInput(f"the chart cannot be saved as {path}: {error}") from error
        return Path(path)


def price_chart(
    bars: pd.DataFrame,
    *,
    symbol: str,
    timeframe: str,
    panels: str | Sequence[str] | None = None,
    overlays: str | Sequence[str] | None = None,
    last: int | None = None,
    style: Literal["light", "dark"] = "light",
    zone: str = "America/New_York",
    currency: str = "USD",
    source: str | None = None,
    size: tuple[float, float] = (12.0, 8.0),
) -> Chart:
    """Draw bars, their volume, and the indicators in their columns.

    `bars` has a sorted index of bar starts in UTC and the columns open, high, low, close; volume and the
    indicators' columns may be there. `panels` under the price are some of stoch, macd, rsi, atr; `overlays` on it some
    of bollinger, sma; unless given, all but atr for which `bars` has the columns. `last` draws that many bars
    only. `source` says where the bars come from; simulated ones are marked. `size` is in inches.

    Raise `InvalidInput` when there is nothing to draw, or something asked for is not there.
    """
    axis_of = parse_timeframe(timeframe)
    _check_size(size)
    check_bars(bars, f"{symbol} {timeframe}")
    chosen_panels = [PANELS[name] for name in choose("panel", panels, DEFAULT_PANELS, PANELS, bars)]
    chosen_overlays = [OVERLAYS[name] for name in choose("overlay", overlays, OVERLAYS, OVERLAYS, bars)]
    shown = bars.iloc[-_positive(last) :] if last is not None else bars
    axis = time_axis(_index(shown), axis_of, known_zone(zone))
    title = f"{symbol} · {timeframe} · {_span(axis)}"
    canvas = Canvas(shown, axis, find_theme(style), currency)

    with drawing(canvas.theme):
        figure = _draw(canvas, chosen_panels, chosen_overlays, size)
        _write(figure, canvas, title, zone, source)
    return Chart(figure, title)


# -- what may be asked for


class NeedsColumns(Protocol):
    """Something that is drawn from columns."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it needs."""


def check_bars(bars: pd.DataFrame, series: str) -> None:
    """Raise `InvalidInput` unless these are bars that can be drawn."""
    missing = [name for name in ("open", "high", "low", "close") if name not in bars]
    if missing:
        raise InvalidInput(f"bars of {series} without {', '.join(missing)} cannot be drawn")
    if bars.empty:
        raise InvalidInput(f"there are no bars of {series} to draw; backfill them, or ask for another interval")
    index = bars.index
    if not isinstance(index, pd.DatetimeIndex) or index.tz is None:
        raise InvalidInput(f"the index of {series} must be the bars' starts with a time zone, not {index.dtype}")
    if not index.is_monotonic_increasing or not index.is_unique:
        raise InvalidInput(f"the bars of {series} must be sorted by their starts, without duplicates")
    if not np.isfinite(bars[["open", "high", "low", "close"]].to_numpy(np.float64)).all():
        raise InvalidInput(f"the bars of {series} have prices that are not numbers")


def choose(
    kind: str,
    asked: str | Sequence[str] | None,
    default: Iterable[str],
    known: Mapping[str, NeedsColumns],
    bars: pd.DataFrame,
) -> list[str]:
    """Return the names that were asked for, or those of the default whose columns are there. Raise `InvalidInput`."""
    if asked is None:
        return [name for name in default if set(known[name].columns) <= set(bars.columns)]
    names = as_names(asked)
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise InvalidInput(f"there is no {kind} {name!r}; {hint}")
        missing = [column for column in known[name].columns if column not in bars]
        if missing:
            raise InvalidInput(f"the {kind} {name} needs {', '.join(missing)}; calculate the indicators first")
    return names


def _check_size(size: tuple[float, float]) -> None:
    if not (len(size) == 2 and all(2 <= length <= 100 for length in size)):
        raise InvalidInput(f"size is the width and height in inches, from 2 to 100, not {size!r}")


def _positive(last: int) -> int:
    if not isinstance(last, int) or last < 1:
        raise InvalidInput(f"last must be a whole number of bars, at least 1, not {last!r}")
    return last


def known_zone(zone: str) -> str:
    """Return the name of a time zone that there is. Raise `InvalidInput`."""
    try:
        return ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:
        raise InvalidInput(f"there is no time zone {zone!r}") from unknown


def _index(bars: pd.DataFrame) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(bars.index).tz_convert("UTC")


def _span(axis: TimeAxis) -> str:
    first, last = (f"{time:%Y-%m-%d}" for time in (axis.times[0], axis.times[-1]))
    return first if first == last else f"{first} {DASH} {last}"


# -- the figure


def _draw(canvas: Canvas, panels: list[Painter], overlays: list[Painter], size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    has_volume = "volume" in canvas.bars and bool((canvas.bars["volume"] > 0).any())
    heights = [5.0, *([1.1] if has_volume else []), *[1.5 for _ in panels]]
    width, height = size
    figure = Figure(figsize=size)
    all_axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    figure.subplots_adjust(
        left=LEFT / width, right=1 - RIGHT / width, bottom=BOTTOM / height, top=1 - TOP / height, hspace=0.07
    )
    rest = iter(all_axes)
    _draw_price(next(rest), canvas, overlays)
    if has_volume:
        draw_volume(next(rest), canvas)
    for ax, painter in zip(rest, panels, strict=True):
        _draw_panel(ax, canvas, painter)
    for ax in all_axes:
        ax.yaxis.tick_right()
        ax.yaxis.set_label_position("right")
        ax.yaxis.set_label_coords(1 + 0.68 / (width - LEFT - RIGHT), 0.5)  # below each other
        ax.tick_params(axis="x", length=0)
    _draw_time(list(all_axes), canvas.axis, canvas, room=max(2, int((width - LEFT - RIGHT) / 0.65)))
    return figure


def _draw_price(ax: Axes, canvas: Canvas, overlays: list[Painter]) -> None:
    from matplotlib.ticker import StrMethodFormatter

    draw_candles(ax, canvas)
    for overlay in overlays:
        overlay.draw(ax, canvas)
    ax.set_ylim(*_price_limits(canvas, [name for overlay in overlays for name in overlay.in_view]))
    ax.set_ylabel(canvas.currency)
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:,.2f}"))
    _mark_last(ax, canvas)
    _legend(ax)


def _price_limits(canvas: Canvas, in_view: list[str]) -> tuple[float, float]:
    """Return limits that hold all bars, and the band as long as it does not press them flat.

    A split makes the band of unadjusted prices wider than all prices; averages far away leave the picture.
    """
    low, high = canvas.values("low").min(), canvas.values("high").max()
    height = (high - low) or 0.01 * abs(high) or 1.0
    band = canvas.bars[in_view].to_numpy(np.float64)
    if np.isfinite(band).any():
        low = min(low, max(np.nanmin(band), low - 0.5 * height))
        high = max(high, min(np.nanmax(band), high + 0.5 * height))
    bottom = low - 0.05 * height
    return float(max(bottom, 0.0) if canvas.values("low").min() > 0 else bottom), float(high + 0.14 * height)


def _mark_last(ax: Axes, canvas: Canvas) -> None:
    """Mark the last price, by a line and by a label in place of the tick labels that it would cover."""
    close = float(canvas.values("close")[-1])
    bottom, top = ax.get_ylim()
    covered = 17 / ax.bbox.height * (top - bottom)  # 17 of the figure's 100 pixels an inch
    ax.set_yticks([tick for tick in ax.get_yticks() if bottom < tick < top and abs(tick - close) > covered])
    colour = str(canvas.colours(canvas.is_up()[-1:])[0])
    ax.axhline(close, color=colour, linewidth=0.8, linestyle=(0, (1, 2)), zorder=6, gid="last")
    ax.annotate(
        f"{close:,.2f}",
        (1, close),
        xycoords=("axes fraction", "data"),
        xytext=(3.5, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        fontweight="bold",
        color=canvas.theme.paper,
        bbox={"boxstyle": "square,pad=0.25", "facecolor": colour, "edgecolor": "none"},
        zorder=10,
    )


def _draw_panel(ax: Axes, canvas: Canvas, painter: Painter) -> None:
    painter.draw(ax, canvas)
    _legend(ax)
    if not canvas.bars[list(painter.columns)].notna().to_numpy().any():
        ax.text(0.5, 0.5, "no value yet: more bars are needed", transform=ax.transAxes, ha="center", va="center")


def _legend(ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.legend(handles, labels, loc="upper left", ncols=len(labels))


def _draw_time(all_axes: Sequence[Axes], axis: TimeAxis, canvas: Canvas, room: int) -> None:
    """Mark the ticks below the lowest panel, and in all of them where sessions begin."""
    ticks = axis.ticks(room)
    all_axes[-1].set_xticks([position for position, _ in ticks], [label for _, label in ticks])
    all_axes[-1].set_xlim(*axis.limits)
    if axis.timeframe.is_daily or len(axis.dates) > 3 * room:
        return
    for ax in all_axes:
        for start, end in list(zip(axis.starts, axis.ends, strict=True))[1::2]:
            ax.axvspan(start - 0.5, end - 0.5, color=canvas.theme.shade, linewidth=0, zorder=-1, gid="session")


def _write(figure: Figure, canvas: Canvas, title: str, zone: str, source: str | None) -> None:
    """Write the title, the unit of the time axis, and where the bars come from."""
    width, height = figure.get_size_inches()
    figure.text(LEFT / width, 1 - 0.3 / height, title, fontsize=12, fontweight="bold", va="center", parse_math=False)
    city = zone.rpartition("/")[2].replace("_", " ")
    figure.axes[-1].set_xlabel("session" if canvas.axis.timeframe.is_daily else f"exchange time, {city}")
    if source is not None:
        simulated = "simulated" in source.lower()
        note = f"Simulated data: {source}" if simulated else f"Source: {source}"
        colour = canvas.theme.warning if simulated else canvas.theme.faint
        figure.text(1 - RIGHT / width, 0.12 / height, note, fontsize=8, color=colour, ha="right", gid="source")
