from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.dates import num2date

from workbench.display.charts import Chart
from workbench.display.runs import freshness, runs_chart
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


def test_a_series_is_as_far_behind_as_sessions_that_have_ended_are_not_in_it() -> None:
    """The Wednesday before Thanksgiving, the holiday, the half day after it, which ends at 18:00 UTC."""
    lasts = [
        ("AAPL", "1day", "2026-11-25T00:00Z", 10),
        ("AAPL", "15min", "2026-11-26T00:45Z", 10),  # still Wednesday in New York
        ("MSFT", "15min", "2026-11-27T16:00Z", 10),  # in the middle of the half day
        ("KO", "1day", "2026-11-23T00:00Z", 10),
        ("XOM", "1day", "2026-11-27T00:00Z", 0),  # nothing stored
    ]
    catalog = pd.DataFrame(lasts, columns=["symbol", "timeframe", "last", "bars"])
    catalog["last"] = pd.to_datetime(catalog["last"], utc=True)

    before, after = (freshness(catalog, datetime(2026, 11, 27, hour, 30, tzinfo=UTC)) for hour in (17, 18))

    assert before.columns.tolist() == ["15min", "1day"]
    assert before.index.tolist() == ["KO", "AAPL", "MSFT"]
    assert before.fillna(-1).values.tolist() == [[-1, 2], [0, 0], [0, -1]]
    assert after.fillna(-1).values.tolist() == [[-1, 3], [1, 1], [0, -1]]
    assert len(freshness(catalog[catalog["bars"] == 0], datetime(2026, 11, 27, tzinfo=UTC))) == 0
