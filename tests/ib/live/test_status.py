"""What people are told of live recording."""

from __future__ import annotations

import logging
from math import inf
from pathlib import Path

import pytest

from tests.ib.live_market import market_at, until
from workbench.gateway.faults import Silence
from workbench.ib.live.status import LiveStatus, StreamsStatus


def status(**ages: float) -> str:
    return str(LiveStatus(StreamsStatus(wanted=tuple(ages), ages=ages)))


def test_one_symbol_without_data_does_not_hide_how_old_the_others_are() -> None:
    assert "oldest data 7 s old, none yet of NOSUCH · no gaps" in status(AAPL=2.0, KO=7.0, NOSUCH=inf)
    assert "oldest data 7 s old · no gaps" in status(AAPL=2.0, KO=7.0)
    assert "oldest data none yet · no gaps" in status(AAPL=inf, KO=inf)


def test_many_symbols_without_data_are_counted() -> None:
    assert "none yet of A, B, C and 2 more" in status(AAPL=1.0, **dict.fromkeys("ABCDE", inf))


def test_streams_that_fall_silent_together_and_gaps_left_at_the_end_are_told_in_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    symbols = ["AAPL", "KO", "MSFT", "SPX"]
    with market_at("2026-11-20T10:00:00", 200.0, tmp_path) as market, caplog.at_level(logging.WARNING):
        market.live.start(symbols)
        market.wait_settled("2026-11-20T10:02:00")
        market.strike(Silence(600))
        until(lambda: market.live.status().streams.renewed >= len(symbols))
        market.wait_until("2026-11-20T10:14:00")
        market.live.stop()

    silent = [text for text in caplog.messages if "stay away" in text]
    left = [text for text in caplog.messages if text.startswith("not filled")]
    assert silent
    assert len(silent) <= market.live.status().streams.renewed // 2
    assert len(left) <= 1
