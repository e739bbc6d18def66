from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from tests.screening.bars import daily
from workbench.display.screens import edges_chart, names_chart
from workbench.errors import InvalidInput
from workbench.indicators.engine import IndicatorEngine

CLOSE = datetime(2026, 11, 20, 21, tzinfo=UTC)
TABLE = pd.DataFrame({"rank": [1, 2], "symbol": ["KO", "NONE"], "side": ["long", "short"], "score": [61.0, 40.0]})
BARS = IndicatorEngine.calculate_all_indicators(daily(CLOSE, [100.0 + day % 7 for day in range(80)]))


def study(symbol: str, timeframe: str) -> pd.DataFrame:
    return BARS if symbol == "KO" else BARS.iloc[:0]


@pytest.mark.parametrize(("as_of", "bars"), [(CLOSE, 80), (CLOSE.replace(hour=20), 79), (None, 80)])
def test_each_name_is_drawn_up_to_the_moment_of_the_screen(as_of: datetime | None, bars: int) -> None:
    """The running session's daily bar carries a stamp of before the moment, and is not complete."""
    chart = names_chart(TABLE, study, as_of=as_of, last=100, style="dark")

    first, second = chart.figure.axes[:2]
    (bodies,) = [one for one in first.collections if one.get_gid() == "bodies"]
    assert len(bodies.get_paths()) == bars
    assert (first.get_title(loc="left"), first.get_title(loc="right")) == ("1. KO", "long 61")
    assert [text.get_text() for text in second.texts] == ["no 1day bars"]
    assert chart.to_png().startswith(b"\x89PNG")


def test_an_edge_is_drawn_with_two_standard_errors_to_each_side() -> None:
    row = {"what": "turning", "timeframe": "1day", "side": "long", "bars": 5, "counted": 9, "edge": 0.01, "se": 0.004}
    empty = row | {"what": "stretched", "counted": 0, "edge": float("nan")}

    chart = edges_chart(pd.DataFrame([row, empty]), timeframe="1day")

    (ax,) = chart.figure.axes
    (bar,) = [line for one in ax.collections for line in one.get_segments()]
    assert bar[:, 0].tolist() == pytest.approx([0.002, 0.018])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["turning 1day"]


def test_there_must_be_something_to_draw() -> None:
    with pytest.raises(InvalidInput, match="nothing to draw"):
        names_chart(TABLE.iloc[:0], study)
    with pytest.raises(InvalidInput, match="nothing to draw"):
        edges_chart(pd.DataFrame(), timeframe="1day")
