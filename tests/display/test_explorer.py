from __future__ import annotations

import base64
import math
import threading
from itertools import combinations

import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from tests.indicators.bars import STAMPS, make_bars, walk
from workbench.display.charts import price_chart
from workbench.display.explorer import Explorer
from workbench.display.theme import THEMES
from workbench.errors import StoreError
from workbench.indicators.engine import IndicatorEngine
from workbench.indicators.join import join_timeframes
from workbench.market.aggregate.batch import aggregate_bars

asked: list[tuple[str, str]] = []


def study(symbol: str, timeframe: str) -> pd.DataFrame:
    asked.append((symbol, timeframe))
    if symbol == "GONE":
        raise StoreError("nothing is stored of <GONE>; backfill it")
    bars = make_bars(walk(len(STAMPS), len(symbol))).set_axis(STAMPS)
    longer = bars if timeframe == "15min" else aggregate_bars(bars, timeframe, step_s=900)
    return IndicatorEngine.calculate_all_indicators(longer[["open", "high", "low", "close", "volume"]])


@pytest.fixture
def explorer() -> Explorer:
    asked.clear()
    return Explorer(study, ["AAPL", "MSFT", "GONE"], ["15min", "1day"], source="built-in gateway (SIMULATED)")


def picture_of(explorer: Explorer) -> bytes:
    return bytes(explorer._picture.value)


@pytest.mark.parametrize(
    ("control", "value", "title"),
    [
        ("symbol", "MSFT", "MSFT · 15min"),
        ("symbol", " msft", "MSFT · 15min"),
        ("timeframe", "1day", "AAPL · 1day"),
        ("last", 120, "AAPL · 15min"),
        ("last", 0, "AAPL · 15min"),
        ("style", "dark", "AAPL · 15min"),
        ("panels", ("atr",), "AAPL · 15min"),
    ],
)
def test_each_control_redraws_the_chart(explorer: Explorer, control: str, value: object, title: str) -> None:
    before = picture_of(explorer)

    getattr(explorer, control).value = value

    assert picture_of(explorer) != before
    assert picture_of(explorer).startswith(b"\x89PNG")
    assert explorer.chart is not None
    assert explorer.chart.title.startswith(title)
    assert explorer.last.label in explorer.last.options  # a choice that is none would leave the menu blank


def test_what_cannot_be_drawn_is_told_in_its_place_and_passes(explorer: Explorer) -> None:
    explorer.symbol.value = "GONE"
    told, shown = explorer._problem.value, picture_of(explorer)
    explorer.symbol.value = "MSFT"

    assert "nothing is stored of &lt;GONE&gt;" in told
    assert shown == b""
    assert explorer._problem.value == ""
    assert picture_of(explorer).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("typed", "told"), [("APL", "APL is not stored; try AAPL"), ("", "no symbol is chosen; try AAPL")]
)
def test_a_symbol_that_is_not_stored_is_told_and_its_chart_is_not_another_ones(
    explorer: Explorer, typed: str, told: str
) -> None:
    explorer.symbol.value = typed

    assert told in explorer._problem.value
    assert picture_of(explorer) == b""
    assert explorer._picture.layout.display == "none"


def test_controls_that_are_answered_in_several_threads_leave_one_whole_picture(explorer: Explorer) -> None:
    changes = [("last", 120), ("style", "dark"), ("symbol", "MSFT"), ("panels", ("rsi",))]
    threads = [threading.Thread(target=setattr, args=(getattr(explorer, name), "value", to)) for name, to in changes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    alone = Explorer(
        study, "MSFT", "15min", last=120, style="dark", panels="rsi", source="built-in gateway (SIMULATED)"
    )
    assert picture_of(explorer) == picture_of(alone)


def test_longer_timeframes_are_drawn_beside_the_bars_when_they_are_asked_for(explorer: Explorer) -> None:
    explorer.beside.value = True

    assert explorer.chart is not None
    drawn = {line.get_gid() for ax in explorer.chart.figure.axes for line in ax.get_lines()}
    assert {"rsi", "rsi_1day", "stoch_k_1day"} <= drawn


def test_an_executed_notebook_has_the_picture_beside_the_widget(explorer: Explorer) -> None:
    data, _ = explorer._repr_mimebundle_()

    assert "application/vnd.jupyter.widget-view+json" in data
    assert base64.b64decode(data["image/png"]) == picture_of(explorer)


def test_indicators_of_longer_timeframes_are_drawn_beside_those_of_the_bars() -> None:
    index = pd.date_range("2026-01-05 09:30", "2026-01-05 15:45", freq="15min", tz="America/New_York").tz_convert("UTC")
    days = [index + pd.Timedelta(days=number) for number in (0, 1, 2, 3, 4, 7, 8, 9, 10, 11)]
    bars = make_bars(walk(260)).set_axis(pd.DatetimeIndex([at for day in days for at in day], name="timestamp"))
    hours = aggregate_bars(bars, "1hour", step_s=900)[["open", "high", "low", "close", "volume"]]
    study_of = IndicatorEngine.calculate_all_indicators
    joined = join_timeframes(study_of(bars), "15min", {"1hour": study_of(hours)})

    chart = price_chart(joined, symbol="AAPL", timeframe="15min", panels=["rsi", "stoch"])

    drawn = {line.get_gid() for ax in chart.figure.axes for line in ax.get_lines()}
    assert {"rsi", "rsi_1hour", "stoch_k", "stoch_k_1hour"} <= drawn


@pytest.mark.parametrize("style", THEMES)
def test_no_two_lines_of_a_panel_are_close_in_colour(style: str) -> None:
    theme = THEMES[style]
    colours = [to_rgb(colour) for colour in (theme.fast, theme.slow, theme.trend[1], *theme.longer)]

    nearest = min(math.dist(one, other) for one, other in combinations(colours, 2))

    assert nearest > 0.25  # what was taken for one another lay at 0.22
