from __future__ import annotations

import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.dates import num2date

from workbench.display.charts import Chart
from workbench.display.runs import runs_chart
from workbench.errors import InvalidInput


def runs(*rows: tuple[str, str, float | None, str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["job", "due", "took", "outcome"])
    due = pd.to_datetime(frame["due"], utc=True)
    started = due.where(frame["took"].notna())
    ended = started + pd.to_timedelta(frame["took"], unit="s")
    return frame.assign(id=range(1, len(frame) + 1), due=due, started=started, ended=ended).drop(columns="took")


def marks(chart: Chart, outcome: str) -> list[tuple[str, float]]:
    """Return when (New York) and in which row an outcome is marked."""
    found = [one for one in chart.figure.axes[0].collections if one.get_gid() == outcome]
    assert all(isinstance(one, PathCollection) for one in found)
    return [(f"{num2date(x):%d %H:%M}", y) for one in found for x, y in one.get_offsets().tolist()]


def test_a_run_is_marked_where_it_was_due_by_how_it_ended_and_how_long_it_took() -> None:
    chart = runs_chart(
        runs(
            ("screen", "2026-11-20T15:00Z", 20.0, "succeeded"),
            ("screen", "2026-11-20T14:00Z", 10.0, "failed"),
            ("update", "2026-11-23T11:00Z", None, "missed"),
        )
    )

    upper, lower = chart.figure.axes
    assert [label.get_text() for label in upper.get_yticklabels()] == ["screen", "update"]
    assert marks(chart, "failed") == [("20 09:00", 0)]
    assert marks(chart, "succeeded") == [("20 10:00", 0)]
    assert marks(chart, "missed") == [("23 06:00", 1)]
    assert [line.get_ydata().tolist() for line in lower.lines] == [[10.0, 20.0], []]
    assert chart.title == "3 runs of 2 jobs, 2026-11-20 to 2026-11-23"
    assert chart.to_png().startswith(b"\x89PNG")


@pytest.mark.parametrize("style", ["light", "dark"])
def test_runs_of_which_none_has_ended_are_drawn(style: str) -> None:
    chart = runs_chart(runs(("screen", "2026-11-20T15:00Z", None, "running")), style=style)

    assert marks(chart, "running") == [("20 10:00", 0)]


def test_without_runs_there_is_nothing_to_draw() -> None:
    with pytest.raises(InvalidInput, match="workbench schedule"):
        runs_chart(runs())
