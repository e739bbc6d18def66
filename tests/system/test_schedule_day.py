"""A whole day of the desk, from before six in the morning until five, with nobody at the keyboard.

The real command runs the real notebooks against a gateway whose clock goes fast while nothing runs, and slower while a
notebook does: a day takes a minute or two, and no job is late only because this machine is slow.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.live_process import OURS
from workbench.gateway.clock import GatewayClock
from workbench.gateway.control import GatewayControl
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal
from workbench.store.runs import JobRuns

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
FAST, SLOW = 600.0, 60.0
GATES_OPEN = "{ price = false, turnover = false, range = false }"
SECRET = "hunter22-of-the-hook"

SETTINGS = f"""
[pipeline]
record_live = true
record_symbols = ["SPY"]
notify = ["json://127.0.0.1:9/{SECRET}"]

[jobs.update-history]
parameters = {{ symbols = ["SPY", "KO", "AAPL", "MSFT"], fine_symbols = [], since = "2026-06-01", progress = false }}

[jobs.screen]
parameters = {{ update = true, history_days = 30, gates = {GATES_OPEN} }}
overlap = "wait"
late = "any"
"""


@contextmanager
def scheduler(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run `workbench schedule` as a user does; at the end it is killed, if it still runs."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    settings = {
        "WORKBENCH_IB__PORT": str(port),
        "WORKBENCH_IB__GATEWAY_SPEED": str(FAST),
        "WORKBENCH_DATA_DIR": str(folder / "data"),
        "WORKBENCH_NOTEBOOKS_DIR": str(NOTEBOOKS),
    }
    with (folder / "schedule.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", "schedule"],
            cwd=folder, env=inherited | settings, stdout=log, stderr=log, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def live_through(clock: GatewayClock, control: GatewayControl, runs: JobRuns, end: float) -> None:
    """Let the gateway's clock go on until a moment has passed and nothing runs."""
    while True:
        busy = any(run.is_running for run in runs.last().values())
        if clock.now() >= end and not busy:
            return
        wanted = SLOW if busy or clock.now() >= end else FAST
        if clock.speed != wanted:
            control.set_speed(wanted)
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_a_day_runs_every_job_once_and_leaves_what_it_should(tmp_path: Path) -> None:
    start = at("2026-11-20T05:57:00")
    (tmp_path / "workbench.toml").write_text(SETTINGS)
    tape, clock = SimulatedTape(1, start=int(start)), GatewayClock(start, FAST)
    with (
        running(tape, clock, control=True) as gateway,
        DatabaseManager(f"sqlite:///{tmp_path / 'data' / 'trading.db'}") as database,
        scheduler(tmp_path, gateway.port) as process,
    ):
        assert gateway.control is not None
        control, runs = GatewayControl(gateway.host, gateway.control.port, gateway.control.token), JobRuns(database)
        control.pause()
        while "jobs; Ctrl-C" not in (tmp_path / "schedule.log").read_text():
            assert process.poll() is None, (tmp_path / "schedule.log").read_text()
            time.sleep(0.1)
        control.resume()
        live_through(clock, control, runs, at("2026-11-20T16:45:00"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

        told = (tmp_path / "schedule.log").read_text()
        rows = runs.load().to_dict("records")[::-1]
        assert [(row["job"], row["outcome"]) for row in rows] == [
            ("update-history", "succeeded"),
            *[("screen", "succeeded")] * 7,
            ("save-session", "succeeded"),
        ], told
        assert_left_behind(tmp_path, rows)
        assert_stored(tmp_path, database)
        assert SECRET not in told + json.dumps(rows, default=str)
        assert SECRET not in "".join(path.read_text() for path in (tmp_path / "papermill_runs").rglob("*.*"))


def assert_left_behind(folder: Path, rows: list[dict[str, object]]) -> None:
    """Each run has its whole notebook and its page, under the session; and nothing half-written is there."""
    outputs = [folder / str(row["output_path"]) for row in rows]
    assert {path.parent.name for path in outputs} == {"2026-11-20"}
    for path in outputs:
        nbformat.validate(nbformat.read(path, as_version=4))
        assert path.with_suffix(".html").is_file()
    left = [path for path in (folder / "papermill_runs").rglob("*") if path.is_file()]
    assert len(left) == 2 * len(rows)


def assert_stored(folder: Path, database: DatabaseManager) -> None:
    """The session is stored whole and was compared; the journal is empty; the list is that of the last screen."""
    store = HistoricalDataManager(folder / "data" / "historical", database=database)
    opened, closed = (datetime.fromtimestamp(at(f"2026-11-20T{clock}"), UTC) for clock in ("09:30", "16:00"))
    followed = set(database.load_watchlist_history()["symbol"])
    assert followed
    saved = Closings(database).load()
    assert set(saved["session"]) == {date(2026, 11, 20)}
    assert set(saved["symbol"]) == followed | {"SPY"}
    for symbol in followed | {"SPY"}:
        bars = store.load_bars(symbol, "5sec", start=opened, end=closed)
        assert (len(bars), bars.index[0]) == (4680, pd.Timestamp(opened))
        assert len(store.load_bars(symbol, "15min", start=opened, end=closed)) == 26
    assert LiveJournal(database).symbols() == {}
