from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgba

from workbench.display.charts import Chart
from workbench.display.coverage import coverage_chart
from workbench.display.theme import THEMES
from workbench.errors import InvalidInput


def shares(rows: dict[str, list[float]]) -> pd.DataFrame:
    columns = [date(2026, 3, 2) + timedelta(days=day) for day in range(len(next(iter(rows.values()))))]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def mesh(chart: Chart, name: str) -> QuadMesh:
    (found,) = [one for one in chart.figure.axes[0].collections if one.get_gid() == name]
    assert isinstance(found, QuadMesh)
    return found


def test_every_session_is_a_cell_of_its_symbols_row_held_open_or_blank() -> None:
    chart = coverage_chart(shares({"AAPL": [np.nan, 0.5, 1.0], "KO": [-1.0, 1.0, -1.0]}), timeframe="15min")

    held, gaps = (np.ma.getmaskarray(mesh(chart, name).get_array()).reshape(2, 3) for name in ("held", "gaps"))
    assert (~held).tolist() == [[False, True, True], [False, True, False]]
    assert (~gaps).tolist() == [[False, False, False], [True, False, True]]


@pytest.mark.parametrize("style", ["light", "dark"])
def test_what_is_not_covered_stands_out_and_fuller_is_deeper(style: str) -> None:
    chart = coverage_chart(shares({"AAPL": [-1.0, 0.0, 0.5, 1.0]}), timeframe="1min", style=style)

    chart.to_png()  # colours are worked out when it is drawn
    held, gaps = (mesh(chart, name).get_facecolors() for name in ("held", "gaps"))
    theme = THEMES[style]
    assert gaps[0] == pytest.approx(to_rgba(theme.warning))
    assert held[3] == pytest.approx(to_rgba(theme.up), abs=0.01)
    away = [np.abs(colour[:3] - np.array(to_rgba(theme.up)[:3])).sum() for colour in held[1:4]]
    assert away == sorted(away, reverse=True)


def test_the_title_tells_what_is_shown_and_the_axes_name_symbols_and_sessions() -> None:
    rows = {f"S{number}": [1.0] * 90 for number in range(40)}
    chart = coverage_chart(shares(rows), timeframe="15min", source="IB")

    ax = chart.figure.axes[0]
    assert ax.get_title(loc="left") == "Coverage of 15min bars, 90 sessions, from IB"
    assert [label.get_text() for label in ax.get_yticklabels()] == list(rows)
    assert ax.get_xticklabels()[0].get_text() == "2026-03-02"
    assert len(ax.get_xticklabels()) <= 10
    assert "New York" in ax.get_xlabel()
    assert chart.to_png().startswith(b"\x89PNG")


def test_the_first_symbol_is_on_top() -> None:
    low, high = coverage_chart(shares({"A": [1.0], "B": [1.0]}), timeframe="1day").figure.axes[0].get_ylim()

    assert (low, high) == (1.5, -0.5)


def test_nothing_to_draw_and_an_unknown_style_are_refused() -> None:
    with pytest.raises(InvalidInput, match="nothing is stored of 1min"):
        coverage_chart(pd.DataFrame(), timeframe="1min")
    with pytest.raises(InvalidInput, match="no style"):
        coverage_chart(shares({"A": [1.0]}), timeframe="1min", style="pink")
