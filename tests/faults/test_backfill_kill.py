"""A backfill is killed at any moment, or has company: the store is in the end the same, and nothing was fetched twice.

Real processes against a gateway that enforces IB's rules and counts. `WORKBENCH_KILLS` says how many moments there are:
5 usually, 50 in `make soak`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from tests.ib.conftest import at
from tests.ib.strict import Account, strict_gateway
from workbench.gateway.pending import Latency
from workbench.gateway.server import GatewayServer
from workbench.gateway.simulated import SimulatedTape
from workbench.store.historical import HistoricalDataManager

KILLS = int(os.environ.get("WORKBENCH_KILLS", "5"))
UNDER_WAY = 50
SPEED = 60.0
START = at("2026-11-20T17:00")
SYMBOLS = ("AAPL", "MSFT", "KO")
SPANS = ("-t", "15min", "-t", "1day", "-t", "1min", "--since", "2026-03-02", "--until", "2026-11-20")

Contents = dict[tuple[str, str], tuple[str, bytes]]


@contextmanager
def gateway() -> Iterator[tuple[GatewayServer, Account]]:
    """Run a gateway that is slow enough to be killed over: 1000 bars take a quarter of a second of ours."""
    tape = SimulatedTape(1, start=int(START))
    with strict_gateway(tape, START, speed=SPEED, latency=Latency(per_1000_bars_s=15.0)) as served:
        yield served


def start_backfill(
    server: GatewayServer, folder: Path, *symbols: str, spans: tuple[str, ...] = SPANS
) -> subprocess.Popen[str]:
    """Start the command as a user does."""
    command = [sys.executable, "-m", "workbench", "backfill", *symbols, *spans]
    environment = os.environ | {
        "WORKBENCH_DATA_DIR": str(folder),
        "WORKBENCH_IB__GATEWAY_SPEED": str(SPEED),
    }
    return subprocess.Popen(
        [*command, "--gateway", f"{server.host}:{server.port}"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def await_nobody(server: GatewayServer) -> None:
    """Return when the gateway has handled whatever a killed client had sent."""
    deadline = time.monotonic() + 30
    while server.status().clients:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run_backfill(server: GatewayServer, folder: Path, *symbols: str, spans: tuple[str, ...] = SPANS) -> str:
    process = start_backfill(server, folder, *symbols, spans=spans)
    said, complained = process.communicate(timeout=120)
    assert process.returncode == 0, said + complained
    return said


def contents(folder: Path) -> Contents:
    """Return what is stored, to the byte: coverage and bars of every series."""
    store = HistoricalDataManager(folder / "historical")
    found: Contents = {}
    for one in store.series():
        bars = store.load_bars(one.symbol, one.timeframe)
        values = pd.util.hash_pandas_object(bars, index=True).to_numpy().tobytes()
        found[one.symbol, one.timeframe] = (repr(one.coverage), values + bars.to_numpy().tobytes())
    return found


def bars_in(folder: Path) -> int:
    """Return how many bars can be read, of whatever a killed writer left."""
    return sum(one.bars for one in HistoricalDataManager(folder / "historical").series())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Contents, Account, float]:
    """The store and the account of a backfill that nobody disturbed, and how long it took."""
    folder = tmp_path_factory.mktemp("whole")
    with gateway() as (server, account):
        begin = time.monotonic()
        run_backfill(server, folder, *SYMBOLS)
        return contents(folder), account, time.monotonic() - begin


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
@pytest.mark.timeout(60 + 30 * KILLS)
def test_a_backfill_that_is_killed_at_any_moment_goes_on_where_it_was(
    whole: tuple[Contents, Account, float], tmp_path: Path
) -> None:
    """In pairs of a kill and a resume; every resumed one ends with the same store."""
    expected, undisturbed, seconds = whole
    needed, dice = len(undisturbed.history), random.Random(4)
    assert not undisturbed.refusals
    for number in range(KILLS):
        folder = tmp_path / str(number)
        with gateway() as (server, account):
            child = start_backfill(server, folder, *SYMBOLS)
            time.sleep(dice.uniform(0.2, 1.0) * seconds)
            child.send_signal(signal.SIGKILL)
            child.communicate()
            await_nobody(server)
            sent_before, stored = len(account.history), bars_in(folder) if folder.exists() else 0
            said = run_backfill(server, folder, *SYMBOLS)

        assert contents(folder) == expected, f"moment {number}: {said}"
        assert not account.refusals
        assert stored > 0 or sent_before <= UNDER_WAY
        assert len(account.history) <= needed + min(sent_before, UNDER_WAY)


def test_two_processes_with_overlapping_universes_keep_ibs_limits_together(tmp_path: Path) -> None:
    """Five-second bars, of which IB gives 60 requests in ten minutes to both together."""
    spans = ("-t", "5sec", "-t", "1hour", "--since", "2026-10-29", "--until", "2026-11-20")
    with gateway() as (server, account):
        both = [
            start_backfill(server, tmp_path / "both", *symbols, spans=spans)
            for symbols in (("AAPL", "MSFT", "SPY"), ("KO", "SPY", "MSFT"))
        ]
        said = [process.communicate(timeout=200) for process in both]
        assert [process.returncode for process in both] == [0, 0], said
    with gateway() as (server, alone):
        run_backfill(server, tmp_path / "one", "AAPL", "MSFT", "SPY", "KO", spans=spans)

    assert account.refusals == []
    assert contents(tmp_path / "both") == contents(tmp_path / "one")
    assert len(alone.history) <= len(account.history) <= 1.5 * len(alone.history)
