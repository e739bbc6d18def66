"""`workbench live` as its user has it: in a process of its own, ended politely or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from tests.ib.conftest import at
from tests.ib.live_market import assert_same, until
from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveJournal

MORNING = "2026-11-20T10:00:00"
SPEED = 20.0
OURS = ("WORKBENCH_", "DATABASE_URL")


def record(folder: Path, port: int, *symbols: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    settings = {
        "WORKBENCH_IB__PORT": str(port),
        "WORKBENCH_IB__GATEWAY_SPEED": str(SPEED),
        "WORKBENCH_DATA_DIR": str(folder),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", "live", *symbols],
        cwd=folder,
        env=inherited | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_recorder_that_is_killed_loses_nothing_that_it_had_and_the_next_one_fills_the_rest(tmp_path: Path) -> None:
    start = at(MORNING)
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start, SPEED)) as gateway:
        database = DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}")
        journal = LiveJournal(database)
        first = record(tmp_path, gateway.port, "AAPL")
        until(lambda: len(live_part(journal)) > 5)
        first.kill()
        first.communicate()
        had, killed = live_part(journal), gateway.clock.now()
        assert had.index[-1].timestamp() > killed - 1.0 * SPEED - 10

        second = record(tmp_path, gateway.port, "AAPL")
        until(lambda: live_part(journal).index[-1].timestamp() > killed + 60)
        until(lambda: is_without_gaps(journal))
        second.send_signal(signal.SIGTERM)
        told, errors = second.communicate(timeout=30)

        assert second.returncode == 0, errors
        assert "bars recorded" in told
        recorded = journal.load("AAPL")
        assert recorded.loc[had.index].equals(had)
        with IBDataManager(IBConnectionConfig(gateway.host, gateway.port, paced=False, reset_region=None)) as ib:
            history = ib.fetch_historical_bars("AAPL", "5sec", "1 D")
        assert_same(recorded, history[history.index <= recorded.index[-1]])
        database.close()


def test_who_records_already_is_named_and_the_second_command_fails(tmp_path: Path) -> None:
    start = at(MORNING)
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start, SPEED)) as gateway:  # noqa: SIM117
        with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
            first = record(tmp_path, gateway.port, "AAPL", "KO")
            until(lambda: len(LiveJournal(database).load("AAPL")) > 0)

            second = record(tmp_path, gateway.port, "KO", "MSFT")
            _, errors = second.communicate(timeout=60)

            assert second.returncode == 1
            assert f"KO are recorded already, by process {first.pid}" in errors
            first.send_signal(signal.SIGINT)
            first.communicate(timeout=30)
            assert first.returncode == 0


def live_part(journal: LiveJournal) -> pd.DataFrame:
    bars = journal.load("AAPL")
    return bars[bars.index >= pd.Timestamp(at(MORNING), unit="s", tz="UTC")]


def is_without_gaps(journal: LiveJournal) -> bool:
    index = journal.load("AAPL").index
    opened = pd.Timestamp(at("2026-11-20T09:30:00"), unit="s", tz="UTC")
    time.sleep(0.05)
    return bool(index[0] == opened and (index[1:] - index[:-1] == pd.Timedelta(seconds=5)).all())
