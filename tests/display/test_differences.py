from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh

from workbench.display.charts import Chart
from workbench.display.differences import differences_chart
from workbench.errors import InvalidInput


def records(*rows: tuple[int, str, str, int, int, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["session", "symbol", "timeframe", "bars", "price", "extra"])
    return frame.assign(session=[date(2026, 11, day) for day in frame["session"]], volume=0, missing=0)


def cells(chart: Chart) -> np.ma.MaskedArray:
    (mesh,) = [one for one in chart.figure.axes[0].collections if one.get_gid() == "shares"]
    assert isinstance(mesh, QuadMesh)
    return np.ma.asarray(mesh.get_array())


def test_a_cell_is_the_share_that_differs_and_tells_how_many_and_blank_where_none_does() -> None:
    chart = differences_chart(records((20, "KO", "1min", 90, 9, 10), (20, "KO", "1day", 1, 0, 0)), source="IB")

    ax = chart.figure.axes[0]
    assert cells(chart).reshape(1, 2).tolist() == [[0.19, None]]
    assert [text.get_text() for text in ax.texts] == ["19"]
    assert ax.get_title(loc="left") == "Live bars that differ from IB's history, 2026-11-20, from IB"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1min\nof 100", "1day\nof 1"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["KO"]
    assert chart.to_png().startswith(b"\x89PNG")


def test_several_sessions_are_added_up_and_symbols_may_lack_a_timeframe() -> None:
    rows = records((19, "KO", "5sec", 10, 1, 0), (20, "KO", "5sec", 10, 2, 0), (20, "AAPL", "1min", 4, 0, 0))
    chart = differences_chart(rows, style="dark")

    assert "2 sessions, 2026-11-19 to 2026-11-20" in chart.title
    assert cells(chart).reshape(2, 2).tolist() == [[None, None], [0.15, None]]


def test_without_a_saved_session_the_error_says_what_to_do() -> None:
    with pytest.raises(InvalidInput, match="record one and save it"):
        differences_chart(records())
