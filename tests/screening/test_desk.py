"""The screen over a store: from the panel and from the parts, from the desk and the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import workbench as wb
from tests.screening.bars import all_timeframes, quarters
from workbench.app import Workbench
from workbench.cli import app
from workbench.errors import InvalidInput
from workbench.screening.loading import from_panel, from_store
from workbench.screening.rules import make_rule
from workbench.screening.screen import run_screen
from workbench.screening.windows import complete_until

CLOSE = datetime(2026, 11, 20, 21, tzinfo=UTC)
GATES = {"price": False, "turnover": False, "range": False}
MARKET = {f"S{seed}": all_timeframes(quarters(CLOSE, 30, seed, drop=0.3 * seed)) for seed in range(3)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project's folder with a store of three symbols; one has no daily bars."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "workbench.toml").write_text("[screen.gates]\nprice = false\nturnover = false\nrange = false\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with wb.open() as desk:
            for symbol, frames in MARKET.items():
                for timeframe, bars in frames.items():
                    if (symbol, timeframe) != ("S2", "1day"):
                        desk.store.save_bars(symbol, timeframe, bars, source="made up")
    return folder


@pytest.fixture
def desk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Workbench:
    monkeypatch.chdir(folder)
    return wb.open()


@pytest.mark.parametrize("back_minutes", [0, 60, 400, 60 * 24 * 3, 60 * 24 * 12])
@pytest.mark.parametrize("bars", [40, 250, 900])
def test_the_panel_and_the_parts_tell_the_same(desk: Workbench, back_minutes: int, bars: int) -> None:
    """Also where the newest bars of the panel do not count yet, and where there are fewer than are wanted."""
    as_of, symbols = CLOSE - timedelta(minutes=back_minutes), ["S2", "S0", "NONE", "S1"]
    rule = make_rule(bars=bars, gates={})

    for name in MARKET["S0"]:
        one, other = (
            of(desk.store, symbols)(name, complete_until(as_of, name), bars) for of in (from_panel, from_store)
        )
        assert (one.bounds.tolist(), one.stamps.tolist()) == (other.bounds.tolist(), other.stamps.tolist())
    panel, parts = (run_screen(rule, symbols, of(desk.store, symbols), as_of) for of in (from_panel, from_store))

    for part in ("table", "reasons", "shut", "lacking"):
        pd.testing.assert_frame_equal(getattr(panel, part), getattr(parts, part), check_exact=True)
    assert set(panel.lacking.loc[panel.lacking["timeframe"] == "1day", "symbol"]) >= {"S2", "NONE"}
    desk.close()


def test_as_of_a_date_its_session_counts(desk: Workbench) -> None:
    found = desk.screen(list(MARKET), as_of="2026-11-20")
    before = desk.screen(list(MARKET), as_of="2026-11-20T15:59-05:00")

    assert found.as_of == datetime(2026, 11, 21, 5, tzinfo=UTC)
    at_close = desk.screen(list(MARKET), as_of=CLOSE)
    pd.testing.assert_frame_equal(found.table, at_close.table)
    assert not found.table["score"].equals(before.table["score"])
    assert all(before.reasons["since"] <= pd.Timestamp(before.as_of))
    desk.close()


def test_what_is_found_is_kept_in_the_database(desk: Workbench) -> None:
    result = desk.screen(list(MARKET), as_of=CLOSE, save=True)

    saved = desk.db.load_screening_results()
    assert (
        saved[["symbol", "side", "score"]].to_numpy().tolist()
        == result.table[["symbol", "side", "score"]].to_numpy().tolist()
    )
    assert saved["as_of"].unique().tolist() == [pd.Timestamp(CLOSE)]
    assert [{one["timeframe"] for one in row} <= set(MARKET["S0"]) for row in saved["reasons"]] == [True] * len(saved)
    desk.close()


def test_changes_overrule_the_settings(desk: Workbench) -> None:
    mine = dict.fromkeys(("stretched", "exhausted", "turning"), False) | {"always": "close > 0"}

    result = desk.screen(list(MARKET), as_of=CLOSE, weights={"15min": 1}, conditions=mine, trend_discount=0.0)

    assert result.table["score"].tolist() == [100.0] * 3
    with pytest.raises(InvalidInput, match="did you mean weights"):
        desk.screen(list(MARKET), wieghts={"15min": 1})
    desk.close()


def test_history_runs_over_the_store_and_counts_on_the_shortest_clock(desk: Workbench) -> None:
    history = desk.screen_history("2026-11-02", "2026-11-20", ["S0", "S1"], min_score=20, progress=False)

    assert history.timeframe == "15min"
    assert set(history.stats["bars"]) == {1, 5, 20}
    assert len(history.hits) > 50
    assert (np.diff(history.hits["at"].astype("int64")) >= 0).all()
    daily = desk.screen_history("2026-11-02", "2026-11-20", ["S0", "S1"], timeframe="1day", progress=False)
    assert daily.bars == 2 * 14  # sessions from the 2nd to the 19th
    desk.close()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda desk: desk.screen(["S0"], as_of="2030-01-01"), "lies in the future"),
        (lambda desk: desk.screen(["S0"], as_of="2026-13-01"), "is no date"),
        (lambda desk: desk.screen(["S0"], top=0), "at least 1"),
        (lambda desk: desk.screen_history("2026-11-02", "2026-11-01", ["S0"]), "does not lie after"),
        (lambda desk: desk.screen_history("2026-11-01", "2026-11-02", ["S0"], horizons=()), "horizons are"),
        (
            lambda desk: desk.screen_history("2026-11-01", "2026-11-02", ["NONE"], progress=False),
            "run workbench backfill",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(desk: Workbench, call: object, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        call(desk)  # type: ignore[operator]
    desk.close()


def test_the_command_prints_the_list_and_says_what_is_not_in_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    shown = CliRunner().invoke(app, ["screen", "S0", "S1", "S2", "NONE", "--as-of", "2026-11-20", "--top", "3"])

    assert shown.exit_code == 0, shown.output
    assert "S0" in shown.output
    assert "since (New York)" in shown.output
    assert "NONE: not known at 15min: no bars" in shown.output
    assert "S2: not known at 1day: no bars" in shown.output
    assert "3 rows of 4 symbols as of 2026-11-21 05:00 UTC" in shown.output
