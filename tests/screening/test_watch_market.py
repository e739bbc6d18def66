"""The screen over a live market: real ib_insync over TCP, the recorder, the watch, the database."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from tests.ib.conftest import at
from tests.ib.live_market import market_at, until
from workbench.ib.live.session import LiveSession
from workbench.screening.conditions import condition
from workbench.screening.live import Turn, window_of
from workbench.screening.rules import make_rule
from workbench.screening.screen import run_screen
from workbench.screening.watch import ScreenWatch
from workbench.store.database import DatabaseManager

RULE = make_rule(
    conditions=[condition("rising", "close > open", "close < open")],
    weights={"15min": 1.0}, trend=(), gates={}, alert_score=100.0, alert_on=["rising"],
)  # fmt: skip
"""What turns at nearly every bar, and knows no warm-up."""


def test_each_complete_live_bar_is_judged_and_who_turns_is_told(tmp_path: Path) -> None:
    symbols, told = ["AAPL", "KO", "MSFT"], list[Turn]()
    with (
        market_at("2026-11-20T10:12:00", 100.0, tmp_path) as market,
        DatabaseManager(f"sqlite:///{tmp_path / 'watch.db'}") as database,
    ):
        watch: ScreenWatch
        live = LiveSession(lambda: market.ib, lambda: market.journal, on_bars=lambda changed: watch.tell(changed))
        watch = ScreenWatch(lambda: RULE, live.complete_rows, lambda: live.symbols, lambda: database)
        watch.start(told.append)
        live.start(symbols)

        def is_judged() -> bool:
            result = watch.result()
            return result is not None and result.as_of >= datetime.fromtimestamp(at("2026-11-20T10:30:00"), UTC)

        until(lambda: is_judged() and len(told) > 0, 60)
        live.stop()
        watch.stop()

        result = watch.result()
        assert result is not None
        rows = {symbol: live.complete_rows(symbol, "15min") for symbol in symbols}
        none = {symbol: one[:0] for symbol, one in rows.items()}
        coarse = run_screen(
            RULE, symbols, lambda name, _, bars: window_of(rows if name == "15min" else none, name, bars), result.as_of
        )
        both = [one.table.set_index(["symbol", "side"]).sort_index()["score"] for one in (result, coarse)]
        pd.testing.assert_series_equal(*both, check_exact=True)
        assert watch.error is None
        alerts = database.alerts()
        assert set(zip(alerts["symbol"], alerts["side"], alerts["at"], strict=True)) == {
            (one.symbol, one.side, pd.Timestamp(one.at)) for one in told
        }
        assert len(told) == len({(one.symbol, one.at) for one in told})
