"""What a cell asks of an open workbench: bars, indicators, charts, the watchlist."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import workbench as wb
from workbench.errors import NothingStored
from workbench.market.coverage import Interval
from workbench.settings import Settings


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[wb.Workbench]:
    """Return a workbench with 90 daily bars of AAPL, and nothing connected."""
    for name in [name for name in os.environ if name.startswith("WORKBENCH_") or name == "DATABASE_URL"]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    with wb.open(settings=Settings(data_dir=tmp_path / "data")) as opened:
        labels = pd.bdate_range("2026-07-06", periods=90, tz="UTC", name="timestamp")
        labels = labels.drop(["2026-09-07"])
        closes = [100.0 + at % 7 for at in range(len(labels))]
        bars = pd.DataFrame({"open": closes, "high": closes, "low": closes, "close": closes, "volume": 10.0}, labels)
        covered = Interval(labels[0].to_pydatetime(), labels[-1].to_pydatetime() + pd.Timedelta(days=1))
        opened.store.save_bars("AAPL", "1day", bars, source="built-in gateway (simulated)", covers=covered)
        yield opened


def test_bars_are_those_of_the_store(desk: wb.Workbench) -> None:
    pd.testing.assert_frame_equal(desk.bars("AAPL", "1day"), desk.store.load_bars("AAPL", "1day"))
    assert len(desk.bars("AAPL", "1day", last=10)) == 10
    assert desk.bars("AAPL", "1day", last="7d").index[0] == pd.Timestamp("2026-11-02", tz="UTC")


def test_indicators_do_not_depend_on_how_much_is_asked_for(desk: wb.Workbench) -> None:
    whole = desk.indicators.calculate_all_indicators(desk.store.load_bars("AAPL", "1day"))

    pd.testing.assert_frame_equal(desk.indicators("AAPL", "1day", last=5), whole.iloc[-5:], check_freq=False)


def test_a_chart_shows_the_part_that_is_asked_for(desk: wb.Workbench) -> None:
    assert desk.chart("AAPL", "1day", last="7d").title.endswith("2026-11-02 – 2026-11-06")  # noqa: RUF001


@pytest.mark.parametrize("ask", ["bars", "indicators", "chart"])
def test_what_is_not_stored_is_an_error_with_the_next_step(desk: wb.Workbench, ask: str) -> None:
    with pytest.raises(NothingStored, match=r'desk.backfill\("AAPL", "15min"\), or workbench backfill AAPL -t 15min'):
        getattr(desk, ask)("AAPL", "15min")


def test_the_error_tells_what_is_stored_or_spelt_alike(desk: wb.Workbench) -> None:
    with pytest.raises(NothingStored, match="stored of AAPL: 1day"):
        desk.bars("AAPL", "15min")
    with pytest.raises(NothingStored, match="did you mean AAPL"):
        desk.bars("APPL", "1day")
    with pytest.raises(NothingStored, match="has bars from 2026-07-06 00:00 to 2026-11-06 00:00 UTC"):
        desk.bars("AAPL", "1day", start="2026-11-07", end="2026-11-10")


def test_a_store_that_begins_later_than_asked_for_says_so(desk: wb.Workbench, caplog: pytest.LogCaptureFixture) -> None:
    assert len(desk.bars("AAPL", "1day", start="2026-07-04")) == 89  # a holiday and a weekend
    assert not caplog.messages

    assert len(desk.bars("AAPL", "1day", start="2026-07-01")) == 89
    assert caplog.messages == [
        "AAPL 1day is stored from 2026-07-06 on only; for what is before: "
        "desk.backfill('AAPL', '1day', since='2026-07-01')"
    ]


def test_an_empty_watchlist_says_how_to_fill_it(desk: wb.Workbench, caplog: pytest.LogCaptureFixture) -> None:
    assert desk.watchlist().empty
    assert caplog.messages == ["the watchlist is empty; to fill it: desk.update_watchlist(desk.screen().table)"]

    ranked = pd.DataFrame({"symbol": ["AAPL"], "side": ["long"], "score": [70.0]})
    desk.update_watchlist(ranked)

    assert desk.watchlist()["symbol"].tolist() == ["AAPL"]
