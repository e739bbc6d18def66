"""`workbench save-session` as its user has it: after `workbench live`, in processes of its own, killed or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ib.closing.evening import FRIDAY, NAMES, live_bars
from tests.ib.conftest import at
from tests.ib.live_market import assert_same, until
from workbench.gateway.clock import GatewayClock
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.store.closings import Closings
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager
from workbench.store.journal import LiveJournal

SPEED = 60.0
KILLS = int(os.environ.get("WORKBENCH_KILLS", "2"))


def begin(folder: Path, gateway: GatewayServer, *arguments: str) -> subprocess.Popen[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WORKBENCH_", "DATABASE_"))}
    settings = {
        "WORKBENCH_IB__PORT": str(gateway.port),
        "WORKBENCH_IB__GATEWAY_SPEED": str(gateway.clock.speed),
        "WORKBENCH_DATA_DIR": str(folder),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "workbench", *arguments],
        cwd=folder, env=inherited | settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run(folder: Path, gateway: GatewayServer, *arguments: str) -> tuple[int, str, str]:
    process = begin(folder, gateway, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


@contextmanager
def market(moment: str, speed: float) -> Iterator[GatewayServer]:
    start = at(moment)
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start, speed)) as gateway:
        yield gateway


def assert_stored(folder: Path, gateway: GatewayServer, *symbols: str) -> None:
    """Compare what is stored of the session with IB's history; the journal must be empty."""
    store = HistoricalDataManager(folder / "historical")
    with IBDataManager(IBConnectionConfig(gateway.host, gateway.port, paced=False, reset_region=None)) as ib:
        for symbol in symbols:
            for name in NAMES:
                stored = store.load_bars(symbol, name)
                stored = stored[stored.index >= "2026-11-20"]
                told = ib.fetch_historical_bars(symbol, name, "1 W" if name == "4hour" else "1 D")
                assert_same(stored, told[told.index >= "2026-11-20"])
    with DatabaseManager(f"sqlite:///{folder / 'trading.db'}") as database:
        assert not LiveJournal(database).read().bars
        assert len(Closings(database).load([FRIDAY])) == 7 * len(symbols)


def test_what_was_recorded_until_ctrl_c_is_saved_after_the_close_and_the_check_is_clean(tmp_path: Path) -> None:
    with market("2026-11-20T12:00:00", SPEED) as gateway:
        recorder = begin(tmp_path, gateway, "live", "AAPL", "SPX")
        database = DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}")
        until(lambda: all(len(LiveJournal(database).load(name)) > 2000 for name in ("AAPL", "SPX")), 120)
        recorder.send_signal(signal.SIGINT)
        _, errors = recorder.communicate(timeout=60)
        assert recorder.returncode == 0, errors
        database.close()

        gateway.clock.jump(at("2026-11-20T16:20:00"))
        code, told, errors = run(tmp_path, gateway, "save-session", "--session", "2026-11-20")
        checked = run(tmp_path, gateway, "check")

        assert code == 0, errors
        assert "2 symbols saved" in told
        assert checked[0] == 0, checked[1]
        assert_stored(tmp_path, gateway, "AAPL", "SPX")


def kill_at_work(process: subprocess.Popen[str], sign: Path, after_s: float) -> None:
    until(lambda: sign.exists() or process.poll() is not None)
    time.sleep(after_s)
    process.kill()
    process.communicate()


def test_it_may_be_killed_at_any_moment_and_goes_on_from_there(tmp_path: Path) -> None:
    with market("2026-11-20T16:30:00", 1.0) as gateway:
        with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
            LiveJournal(database).append([*live_bars("AAPL", FRIDAY), *live_bars("KO", FRIDAY)])
        for number in range(KILLS):
            kill_at_work(begin(tmp_path, gateway, "save-session"), tmp_path / "historical", 0.05 * (number % 10))

        code, _, errors = run(tmp_path, gateway, "save-session")

        assert code == 0, errors
        assert_stored(tmp_path, gateway, "AAPL", "KO")
