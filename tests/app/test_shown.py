"""How a workbench and its parts show themselves."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from workbench.errors import StoreError
from workbench.ib.backfill.report import BackfillReport, SeriesReport
from workbench.ib.live.status import LiveStatus, StreamsStatus
from workbench.settings import IBSettings, Settings
from workbench.store.rebuild import RebuildEvent


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in [name for name in os.environ if name.startswith("WORKBENCH_") or name == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture
def desk(settings: Settings) -> Iterator[wb.Workbench]:
    with wb.open(settings=settings) as opened:
        yield opened


def test_showing_a_workbench_connects_nothing_and_writes_nothing(desk: wb.Workbench, tmp_path: Path) -> None:
    threads = set(threading.enumerate())

    page = desk._repr_html_()

    assert "not connected; the first request starts the built-in gateway" in page
    assert "desk.backfill" in page
    assert desk.known_ib is None
    assert set(threading.enumerate()) == threads
    assert list(tmp_path.iterdir()) == []


def test_a_workbench_for_ib_says_where_it_would_connect(settings: Settings) -> None:
    with wb.open(settings=settings.model_copy(update={"ib": IBSettings(port=4002)})) as desk:
        assert "the first request connects to 127.0.0.1:4002" in desk._repr_html_()
        assert desk.known_ib is None


def test_a_workbench_tells_what_is_stored_and_what_may_come_next(desk: wb.Workbench) -> None:
    save(desk)

    page = desk._repr_html_()

    assert '<td style="text-align:left">1day</td><td style="text-align:right">2</td>' in page
    assert "desk.chart(&quot;KO&quot;, &quot;1day&quot;)" in page
    assert desk.known_ib is None


def test_of_many_series_only_their_number_is_told(desk: wb.Workbench) -> None:
    save(desk)

    assert desk.store.overview()["bars"].tolist() == [20]
    assert desk.store.overview(most=1).to_dict("records") == [{"timeframe": "1day", "symbols": 2}]


def test_a_store_that_cannot_be_read_is_shown_as_that(desk: wb.Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    save(desk)

    def fail(*_: object) -> pd.DataFrame:
        raise StoreError("disk <3> is away")

    monkeypatch.setattr(type(desk.store), "overview", fail)

    assert "disk &lt;3&gt; is away" in desk._repr_html_()


@pytest.mark.parametrize(
    "part", ["store", "db", "indicators", "universe", "live", "watch", "closings", "runs", "pipeline"]
)
def test_every_part_shows_itself_and_connects_nothing(desk: wb.Workbench, part: str) -> None:
    save(desk)

    page = getattr(desk, part)._repr_html_()

    assert page.startswith("<div>")
    assert desk.known_ib is None


def test_what_jobs_give_back_shows_itself(desk: wb.Workbench) -> None:
    save(desk)

    results = [
        desk.store.compact(),
        desk.store.reindex(),
        desk.pipeline.status(),
        desk.check(progress=False),
        desk.screen(),
        RebuildEvent("KO", "2026-11-20", "2:1", ("1day",), 10, 0),
    ]

    for one in results:
        assert one._repr_html_().startswith("<div>"), one
    assert "2 series recorded anew" in results[1]._repr_html_()
    assert "a split of 2:1 was found" in results[-1]._repr_html_()
    assert desk.known_ib is None


def test_what_ib_says_is_escaped(desk: wb.Workbench) -> None:
    error = StoreError("no <script>alert(1)</script>")
    report = BackfillReport((SeriesReport("AAPL", "1day", error=error),), notes=("<i>split</i>",))

    page = report._repr_html_()

    assert "<script" not in page
    assert "<i>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert LiveStatus(StreamsStatus(("KO",), refused={"KO": "<b>no</b>"}))._repr_html_().count("<b>") == 0


PUBLIC = sorted(name for name in dir(wb.Workbench) if not name.startswith("_"))


@pytest.mark.parametrize("name", PUBLIC)
def test_help_on_every_name_of_a_workbench_says_something(name: str) -> None:
    member = getattr(wb.Workbench, name)
    told = inspect.getdoc(member)

    assert told, name
    if inspect.isfunction(member) and name != "close":
        example = next(line for line in told.splitlines() if f"desk.{name}(" in line)
        compile(example.strip(), name, "exec")


def test_completion_offers_a_page_of_names_and_no_more() -> None:
    assert {"bars", "chart", "indicators", "watchlist", "form", "board", "screen"} <= set(PUBLIC)
    assert len(PUBLIC) < 40


def save(desk: wb.Workbench) -> None:
    labels = pd.bdate_range("2026-10-05", periods=10, tz="UTC", name="timestamp")
    bars = pd.DataFrame({"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, labels)
    for symbol in ("KO", "PEP"):
        desk.store.save_bars(symbol, "1day", bars, source="built-in gateway (simulated)")
