"""The recorder is killed at any moment of a session: what it had stays, and the day ends whole.

Real processes against a gateway whose clock runs fast, on both databases. `WORKBENCH_KILLS` says how many moments there
are: 2 within some minutes of a session usually; 50 over a whole one in `make soak`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.live_market import assert_same, until
from tests.ib.live_process import recording
from workbench.gateway.clock import GatewayClock
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.market.coverage import Interval
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveJournal

KILLS = int(os.environ.get("WORKBENCH_KILLS", "2"))
IS_LONG = KILLS > 2
BEGIN = at("2026-11-20T09:30:00") if IS_LONG else at("2026-11-20T09:50:00")
SPEED = 24.0
SYMBOLS = ("AAPL", "KO", "SPX")
LATE_S = 1.0
NAP_S = 0.01


@pytest.mark.timeout(3600 if IS_LONG else 300)
def test_a_recorder_that_is_killed_loses_nothing_that_it_had_and_ends_whole(database_url: str, tmp_path: Path) -> None:
    noon = pd.Timestamp("2026-11-20T17:00Z").to_pydatetime()
    [session] = session_calendar().during(noon, noon + TIMEFRAMES["5sec"].length, TIMEFRAMES["5sec"])
    moments, dice = GatewayClock(BEGIN, SPEED), random.Random(1)
    with running(SimulatedTape(1, start=int(BEGIN)), moments) as gateway, DatabaseManager(database_url) as database:
        journal = LiveJournal(database)
        pauses = [dice.uniform(0, (700.0 if IS_LONG else 6.0) / KILLS) for _ in range(KILLS)]
        for pause in pauses:
            begun = gateway.clock.now()
            with recording(tmp_path, gateway.port, *SYMBOLS, speed=SPEED, database=database_url) as process:
                until(lambda begun=begun, process=process: lives(process) and newest(journal) > begun)  # type: ignore[misc]
                first = newest(journal)
                with machine_stands_still() as stood_still:
                    process_is_alive_for(process, pause)
                    process.kill()
                    killed = gateway.clock.now()
            assert_nothing_is_missing(journal, first, killed - (LATE_S + stood_still.pop()) * SPEED)

        with recording(tmp_path, gateway.port, *SYMBOLS, speed=SPEED, database=database_url) as process:
            end = session.end if IS_LONG else moment_of(gateway.clock.now() // 60 * 60 + 120)
            span = Interval(session.begin, end)
            until(lambda: is_whole(journal, span), 60.0 + gateway.clock.real_seconds_until(end.timestamp()))
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=60)

        assert process.returncode in (0, 1), errors  # 1 when a gap is not filled yet when it is told to end
        assert_it_is_history(journal, span, gateway)


def moment_of(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def newest(journal: LiveJournal) -> float:
    """Return the end of the newest bar of the symbol that is furthest behind."""
    spans = journal.symbols()
    return min((spans[symbol].end.timestamp() if symbol in spans else 0.0) for symbol in SYMBOLS)


def lives(process: subprocess.Popen[str]) -> bool:
    """Say why a recorder has ended, rather than wait for its bars."""
    assert process.poll() is None, process.communicate()
    return True


def process_is_alive_for(process: subprocess.Popen[str], seconds: float) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(seconds)


@contextmanager
def machine_stands_still() -> Iterator[list[float]]:
    """Give, at the end, for how long the machine let nobody run who had to: that is not the recorder's delay."""
    stood_still, ended = [0.0], threading.Event()

    def nap() -> None:
        while not ended.is_set():
            begun = time.monotonic()
            time.sleep(NAP_S)
            stood_still[0] = max(stood_still[0], time.monotonic() - begun - NAP_S)

    thread = threading.Thread(target=nap)
    thread.start()
    try:
        yield stood_still
    finally:
        ended.set()
        thread.join()


def assert_nothing_is_missing(journal: LiveJournal, begin: float, end: float) -> None:
    """Between the first bar that came live and what was due when it was killed all bars are there."""
    for symbol in SYMBOLS:
        starts = {int(start.timestamp()) for start in journal.load(symbol).index}
        due = set(range(int(begin), int(end) - 5, 5))
        assert due <= starts, f"{symbol} lacks {sorted(due - starts)}"


def is_whole(journal: LiveJournal, span: Interval) -> bool:
    due = (span.end - span.begin) // TIMEFRAMES["5sec"].length
    return all(len(journal.load(symbol, span)) == due for symbol in SYMBOLS)


def assert_it_is_history(journal: LiveJournal, span: Interval, gateway: GatewayServer) -> None:
    config = IBConnectionConfig(gateway.host, gateway.port, paced=False, reset_region=None)
    with IBDataManager(config) as ib:
        for symbol in SYMBOLS:
            history = ib.fetch_historical_bars(symbol, "5sec", "1 D", end=span.end)
            assert_same(journal.load(symbol, span), history[history.index >= span.begin])
