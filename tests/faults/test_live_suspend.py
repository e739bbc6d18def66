"""A process that stands still for a while, as on a suspended machine: the recorder's, then the gateway's."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.live_market import assert_same, market_at, until
from tests.ib.live_process import recording
from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.live.session import LiveSession
from workbench.market.coverage import Interval
from workbench.store.database import DatabaseManager
from workbench.store.holders import Holder
from workbench.store.journal import LiveJournal

MORNING = "2026-11-20T09:40:00"
OPEN = datetime.fromtimestamp(at("2026-11-20T09:30:00"), UTC)
SPEED = 40.0
STANDS_S = 4.0


def whole_until(journal: LiveJournal, symbol: str) -> float:
    """Return up to when nothing is missing since the open, in epoch seconds."""
    starts = [start.timestamp() for start in journal.load(symbol).index]
    due = OPEN.timestamp()
    for start in starts:
        if start != due:
            break
        due += 5
    return due


def assert_history(journal: LiveJournal, port: int, end: float) -> None:
    span = Interval(OPEN, datetime.fromtimestamp(end, UTC))
    with IBDataManager(IBConnectionConfig("127.0.0.1", port, paced=False, reset_region=None)) as ib:
        for symbol in ("AAPL", "KO"):
            history = ib.fetch_historical_bars(symbol, "5sec", "1 D", end=span.end)
            assert_same(journal.load(symbol, span), history[history.index >= span.begin])


def test_a_recorder_that_stood_still_has_all_bars_again(tmp_path: Path) -> None:
    start = at(MORNING)
    with (
        running(SimulatedTape(1, start=int(start)), GatewayClock(start, SPEED)) as gateway,
        DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database,
        recording(tmp_path, gateway.port, "AAPL", "KO", speed=SPEED) as process,
    ):
        journal = LiveJournal(database)
        until(lambda: min(whole_until(journal, symbol) for symbol in ("AAPL", "KO")) > start)

        process.send_signal(signal.SIGSTOP)
        time.sleep(STANDS_S)
        process.send_signal(signal.SIGCONT)

        goal = gateway.clock.now() + 60
        until(lambda: min(whole_until(journal, symbol) for symbol in ("AAPL", "KO")) > goal)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert_history(journal, gateway.port, goal)


@contextmanager
def gateway_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "workbench", "gateway", "--port", "0", "--start", MORNING[:16]]
    command += ["--speed", f"{SPEED:g}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert address is not None
            yield process, int(address[1])
        finally:
            process.kill()


def test_a_gateway_that_stood_still_is_recorded_on_and_what_was_missed_is_filled_and_marked(tmp_path: Path) -> None:
    settings = {"timeout": 2.0, "paced": False, "reset_region": None, "gateway_speed": SPEED, "watchdog_s": 1.0}
    with (
        gateway_process() as (process, port),
        IBDataManager(IBConnectionConfig("127.0.0.1", port, **settings)) as ib,  # type: ignore[arg-type]
        DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database,
        LiveSession(lambda: ib, lambda: journal) as live,
    ):
        journal = LiveJournal(database)
        live.start(["AAPL", "KO"])
        until(lambda: min(whole_until(journal, symbol) for symbol in ("AAPL", "KO")) > at(MORNING))

        process.send_signal(signal.SIGSTOP)
        time.sleep(STANDS_S)
        process.send_signal(signal.SIGCONT)

        goal = min(whole_until(journal, symbol) for symbol in ("AAPL", "KO")) + 1.5 * STANDS_S * SPEED
        until(lambda: min(whole_until(journal, symbol) for symbol in ("AAPL", "KO")) > goal)
        assert live.error is None
        assert live.status().unfilled == []
        assert_history(journal, port, goal)
        last = goal // 60 * 60
        due = len([start for start in live_filled(journal) if start < last])
        until(lambda: marked(live, last)["filled"].sum() == due > 0)
        assert (marked(live, last)["received"] == 12).all()


def marked(live: LiveSession, end: float) -> pd.DataFrame:
    minutes = live.bars("AAPL", "1min")
    return minutes[minutes.index < pd.Timestamp(end, unit="s", tz="UTC")]


def live_filled(journal: LiveJournal) -> list[int]:
    return journal.from_history("AAPL", Interval(OPEN, datetime.fromtimestamp(at("2026-11-20T16:00:00"), UTC)))


def test_a_recorder_whose_symbols_another_took_meanwhile_leaves_them_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.ib.live.recorder._HOLD_AGAIN_S", 0.1)
    with market_at(MORNING, SPEED, tmp_path) as market:
        market.live.start(["AAPL", "KO"])
        until(lambda: len(market.journal.load("KO")) > 0)

        now = datetime.now(UTC)
        other = Holder("another one", "another machine", 1, "then")
        recorder = market.live._recorder
        assert recorder is not None
        with recorder._changing:  # it stands still: its hold runs out, and another one takes KO
            market.journal.release(recorder._holder)
            market.journal.hold(["KO"], other, now=now, until=now.replace(year=now.year + 1))

        until(lambda: market.live.status().streams.wanted == ("AAPL",))
        assert market.live.is_running
