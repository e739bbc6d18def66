"""The scheduler's runs as a picture: when each ran, how it ended, how long it took; and how fresh what they left is."""

from __future__ import annotations

from bisect import bisect_right
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pandas as pd

from workbench.display.charts import Chart
from workbench.display.theme import Theme, drawing, find_theme
from workbench.errors import InvalidInput
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH, _MARGIN, _ROW = 9.0, 2.6, 0.45
"""In inches."""
_MARKS = {"succeeded": "o", "running": "D", "missed": "x", "stopped": "s", "lost": "P", "failed": "X"}
_FAR = timedelta(days=400)
"""A series that ends before that is told as so far behind."""


def freshness(catalog: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """Return how many sessions that have ended by `now` each series lacks at its end; the furthest behind come first.

    `catalog` are rows of `desk.store.catalog()`. A row a symbol, a column a timeframe, from the shortest; NaN where
    there is no such series.
    """
    kept = catalog[catalog["bars"] > 0]
    if kept.empty:
        return pd.DataFrame(index=pd.Index([], name="symbol"))
    ended = session_calendar().during(now - _FAR, now, TIMEFRAMES["1min"])
    labels = [one.label for one in ended if one.end <= now]
    is_daily = kept["timeframe"].map(lambda name: TIMEFRAMES[name].is_daily).astype(bool)
    local = kept["last"].dt.tz_convert(EXCHANGE_ZONE).dt.date
    days = local.where(~is_daily, kept["last"].dt.date)
    behind = kept.assign(behind=[len(labels) - bisect_right(labels, day) for day in days])
    table = behind.pivot_table(index="symbol", columns="timeframe", values="behind", aggfunc="max")
    table = table[[name for name in TIMEFRAMES if name in table.columns]]
    return table.loc[table.max(axis=1).sort_values(ascending=False, kind="stable").index]


def runs_chart(runs: pd.DataFrame, *, style: str = "light") -> Chart:
    """Draw runs over the time at which they were due (New York): above how each ended, below how long it took.

    `runs` are rows of `desk.runs.load()`.
    """
    if runs.empty:
        raise InvalidInput("there are no runs to draw; workbench schedule makes them")
    from matplotlib.figure import Figure

    theme, told = find_theme(style), runs.sort_values(["due", "id"])
    due = told["due"].dt.tz_convert(EXCHANGE_ZONE)
    told = told.assign(due=due.dt.tz_localize(None))
    jobs = list(dict.fromkeys(told["job"]))
    days = (
        f"{due.min():%Y-%m-%d}"
        if due.min().date() == due.max().date()
        else f"{due.min():%Y-%m-%d} to {due.max():%Y-%m-%d}"
    )
    title = f"{len(told)} runs of {len(jobs)} jobs, {days}"
    with drawing(theme):
        figure = Figure(figsize=(_WIDTH, _MARGIN + _ROW * len(jobs)), layout="constrained")
        outcomes, times = figure.subplots(2, sharex=True, height_ratios=[_ROW * len(jobs) + 0.3, 1.5])
        _draw_outcomes(outcomes, told, jobs, theme)
        _draw_times(times, told, jobs, theme)
        outcomes.set_title(title, loc="left", fontsize=10)
    return Chart(figure, title)


def _draw_outcomes(ax: Axes, told: pd.DataFrame, jobs: list[str], theme: Theme) -> None:
    colours = {"succeeded": theme.up, "running": theme.fast, "missed": theme.faint, "failed": theme.down}
    for outcome, mark in _MARKS.items():
        some = told[told["outcome"] == outcome]
        if len(some):
            rows = [jobs.index(job) for job in some["job"]]
            ax.scatter(
                some["due"], rows, marker=mark, s=34, color=colours.get(outcome, theme.warning), label=outcome, zorder=3
            ).set_gid(outcome)
    ax.set_yticks(range(len(jobs)), jobs)
    ax.set_ylim(len(jobs) - 0.5, -0.5)
    ax.legend(loc="lower left", bbox_to_anchor=(0, -0.02), ncols=len(_MARKS), fontsize=7)


def _draw_times(ax: Axes, told: pd.DataFrame, jobs: list[str], theme: Theme) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    took = (told["ended"] - told["started"]).dt.total_seconds()
    for job, colour in zip(jobs, (theme.fast, theme.slow, *theme.trend) * len(jobs), strict=False):
        mine = (told["job"] == job) & took.notna()
        ax.plot(told["due"][mine], took[mine], ".-", color=colour, label=job, linewidth=0.8)
    ax.set_ylabel("took, in seconds")
    ax.set_ylim(0, 1.3 * max(1.0, took.max(skipna=True)) if took.notna().any() else 1.0)
    locator = AutoDateLocator(minticks=3, maxticks=9)
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    ax.set_xlabel("due, New York")
    ax.legend(loc="upper left", ncols=min(4, len(jobs)), fontsize=7)
