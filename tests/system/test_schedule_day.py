"""Whole days of the desk, from before six in the morning until five, with nobody at the keyboard.

The first test is the real thing: the command, the desk's own notebooks, the recorder of live bars, and a gateway whose
clock goes fast while nothing runs, and slower while a notebook does, so that no job is late only because this machine
is slow. Its short form screens every third hour; `WORKBENCH_SOAK` every hour, on a half day and over a change of the
clocks, too. Which moments a half day or such a change brings is also shown with notebooks that do nothing.
"""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.ib.conftest import at
from tests.pipeline.scheduling import Day, day, scheduler, toml, wait_for, whole_notebooks, write_notebook
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SOAK = bool(os.environ.get("WORKBENCH_SOAK"))
FAST, SLOW = 600.0, 60.0
GATES_OPEN = "{ price = false, turnover = false, range = false }"
HOURS = range(9, 16) if SOAK else range(9, 16, 3)

SETTINGS = f"""
[pipeline]
record_live = true
record_symbols = ["SPY"]

[jobs.update-history]
parameters = {{ symbols = ["SPY", "KO", "AAPL", "MSFT"], fine_symbols = [], since = "2026-06-01", progress = false }}

[jobs.screen]
at = "{", ".join(f"{hour:02d}:00" for hour in HOURS)}"
parameters = {{ update = true, history_days = 30, gates = {GATES_OPEN} }}
overlap = "wait"
late = "any"

[jobs.save-session]
at = "close+30m"
"""
ORDINARY, HALF, BEFORE_THE_CHANGE, AFTER_IT = "2026-11-20", "2026-11-27", "2026-10-30", "2026-11-02"


def live_through(market: Day, *moments: str) -> None:
    """Let the gateway's clock go on until what was due at these moments has ended: fast, but where something is due."""
    for due in map(at, moments):
        market.control.set_speed(FAST)
        market.control.resume()
        while market.clock.now() < due:
            time.sleep(0.05)
        market.control.set_speed(SLOW)
        wait_for(lambda due=due: market.is_done(datetime.fromtimestamp(due, UTC)))


def kill_recorder(scheduler_pid: int) -> None:
    """Kill the process that records live bars; the scheduler shall start another."""
    [recorder] = [one for one in psutil.Process(scheduler_pid).children() if "live" in one.cmdline()]
    recorder.kill()


@pytest.mark.timeout(1800 if SOAK else 600)
@pytest.mark.parametrize(
    ("session", "closes"),
    [(ORDINARY, "16:00"), *([(HALF, "13:00"), (BEFORE_THE_CHANGE, "16:00"), (AFTER_IT, "16:00")] if SOAK else [])],
)
def test_a_day_runs_every_job_once_and_leaves_what_it_should(tmp_path: Path, session: str, closes: str) -> None:
    (tmp_path / "workbench.toml").write_text(SETTINGS)
    settings = {"WORKBENCH_IB__GATEWAY_SPEED": FAST, "WORKBENCH_NOTEBOOKS_DIR": NOTEBOOKS}
    with (
        day(f"{session}T05:57:00", f"sqlite:///{tmp_path / 'data' / 'trading.db'}") as market,
        scheduler(tmp_path, market.port, **settings) as process,
    ):
        saved = {"13:00": "13:30", "16:00": "16:30"}[closes]
        early, *later = sorted({"06:00", saved, *(f"{hour:02d}:00" for hour in HOURS)})
        live_through(market, *(f"{session}T{clock}" for clock in (early, *later[:2])))
        kill_recorder(process.pid)
        live_through(market, *(f"{session}T{clock}" for clock in later[2:]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

        shown = session[5:]
        assert sorted(market.rows("due", "job", "outcome")) == sorted(
            [
                (f"{shown} 06:00", "update-history", "succeeded"),
                *((f"{shown} {hour:02d}:00", "screen", "succeeded") for hour in HOURS),
                (f"{shown} {saved}", "save-session", "succeeded"),
            ]
        )
        rows = market.runs.load()
        assert (rows["started"] >= rows["due"]).all()
        assert set(rows["session"]) == {date.fromisoformat(session)}
        kept = [Path(path).name for path in rows["output_path"]]
        assert sorted(kept) == whole_notebooks(tmp_path / "papermill_runs" / session)
        assert [path.name for path in (tmp_path / "papermill_runs").iterdir()] == [session]
        assert "the recorder was killed by SIGKILL and is started again" in (tmp_path / "schedule.log").read_text()
        assert_stored(tmp_path, market.runs._database, session, closes)


def assert_stored(folder: Path, database: DatabaseManager, session: str, closes: str) -> None:
    """The session is stored whole and was compared; the journal is empty; the list is that of the last screen."""
    store = HistoricalDataManager(folder / "data" / "historical", database=database)
    opened, closed = (datetime.fromtimestamp(at(f"{session}T{clock}"), UTC) for clock in ("09:30", closes))
    followed = set(database.load_watchlist_history()["symbol"])
    assert followed
    saved = Closings(database).load()
    assert set(saved["session"]) == {date.fromisoformat(session)}
    assert set(saved["symbol"]) == followed | {"SPY"}
    for symbol in followed | {"SPY"}:
        bars = store.load_bars(symbol, "5sec", start=opened, end=closed)
        assert (len(bars), bars.index[0]) == ((closed - opened).total_seconds() / 5, pd.Timestamp(opened))
        assert len(store.load_bars(symbol, "15min", start=opened, end=closed)) == len(bars) // 180
    assert LiveJournal(database).symbols() == {}


@pytest.mark.timeout(300)
def test_over_a_change_of_the_clocks_and_on_a_half_day_every_job_runs_once_at_its_time(tmp_path: Path) -> None:
    """Friday to Monday, between which New York's clocks go back; then the half day after Thanksgiving, and no more."""
    write_notebook(tmp_path / "notebooks", "01-nothing", "1")
    triggers = {
        "early": "06:00",
        "opening": "open-30m",
        "noon": "12:00",
        "closing": "close+30m",
        "nightly": "cron 30 1 * * sun",
    }
    jobs = [f'[jobs.{name}]\nnotebook = "01"\nat = "{trigger}"\nlate = "30m"\n' for name, trigger in triggers.items()]
    (tmp_path / "workbench.toml").write_text(toml(jobs))
    with (
        day(f"{BEFORE_THE_CHANGE}T05:58:00", f"sqlite:///{tmp_path / 'data' / 'trading.db'}") as market,
        scheduler(tmp_path, market.port) as process,
    ):
        market.pass_by(*(f"{BEFORE_THE_CHANGE}T{clock}" for clock in ("06:00", "09:00", "12:00", "16:30")))
        market.pass_by("2026-11-01T01:30", *(f"{AFTER_IT}T{clock}" for clock in ("06:00", "09:00", "12:00", "16:30")))
        market.control.jump(at("2026-11-26T20:00"))
        told = market.runs.load
        wait_for(lambda: len(told(outcomes=["missed"])) and "running" not in set(told()["outcome"]))
        market.pass_by(*(f"{HALF}T{clock}" for clock in ("06:00", "09:00", "12:00", "13:30")))
        market.control.jump(at(f"{HALF}T23:00"))
        process.terminate()
        assert process.wait(60) == 0

        ran = told(outcomes=["succeeded"], since=None)
        assert sorted(zip(ran["job"], ran["due"].dt.strftime("%m-%d %H:%M"), strict=True), key=lambda one: one[1]) == [
            ("early", "10-30 10:00"),  # UTC, four hours ahead
            ("opening", "10-30 13:00"),
            ("noon", "10-30 16:00"),
            ("closing", "10-30 20:30"),
            ("nightly", "11-01 05:30"),  # the first 01:30 of two
            ("early", "11-02 11:00"),  # five hours ahead
            ("opening", "11-02 14:00"),
            ("noon", "11-02 17:00"),
            ("closing", "11-02 21:30"),
            ("early", "11-27 11:00"),
            ("opening", "11-27 14:00"),
            ("noon", "11-27 17:00"),
            ("closing", "11-27 18:30"),  # half an hour after one o'clock
        ]
        assert set(told()["outcome"]) == {"succeeded", "missed"}
        missed = told(outcomes=["missed"])
        assert missed["due"].max() < pd.Timestamp(f"{HALF}T00:00-05:00")
        assert pd.Timestamp("2026-11-26").date() not in {due.date() for due in missed["due"]}, "Thanksgiving"
        late = (ran["started"] - ran["due"]).dt.total_seconds()
        assert (late >= 0).all()
        assert (late <= 1800).all(), "what is later is not run"
        assert len(list((tmp_path / "papermill_runs").rglob("*.ipynb"))) == len(ran) == 13
