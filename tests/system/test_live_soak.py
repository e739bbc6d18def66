"""Many symbols at once: none lost, memory flat, and in time.

Short forms by default; `WORKBENCH_SOAK` takes 100 symbols through a whole session (468 000 bars), and measures delays
and a core's share at the rate of a real session. The gateway is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from sqlalchemy import func, select

from tests.benchmarks.gateway import synthetic
from tests.ib.conftest import at
from tests.ib.live_market import until
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.ib.live import lines
from workbench.ib.live.recorder import Recorder
from workbench.ib.live.session import LiveSession
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveBar, LiveJournal
from workbench.store.tables import live_bars

SOAK = bool(os.environ.get("WORKBENCH_SOAK"))
SESSION = 4680
"""Five-second bars."""
PROMISES = [(100, 120.0, 0.25, 0.25), (1000, 120.0, 3.0, 0.25)] if SOAK else [(50, 10.0, 3.0, 1.0)]
"""Symbols, for how long, how late, and what share of a core; the short form says only that it works."""
FILE = Path(__file__)

SERVE = """
import sys
from tests.benchmarks.gateway import synthetic
from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import serve
from workbench.gateway.simulated import SimulatedTape

start, speed, count = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
tape = SimulatedTape(1, start=int(start), market=synthetic(count))
serve(tape, GatewayClock(start, speed), on_ready=lambda host, port: print(port, flush=True), until_stdin_closes=True)
"""


@contextmanager
def session_of(
    count: int, moment: str, speed: float, folder: Path
) -> Iterator[tuple[LiveSession, DatabaseManager, list[str]]]:
    """Record `count` symbols of a gateway in a process of its own, from `moment` on."""
    command = [sys.executable, "-c", SERVE, str(at(moment)), str(speed), str(count)]
    with subprocess.Popen(
        command, cwd=FILE.parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as gateway:
        assert gateway.stdout is not None
        port = int(gateway.stdout.readline())
        settings = {"timeout": 10.0, "paced": False, "reset_region": None, "gateway_speed": speed, "watchdog_s": 60.0}
        with (
            IBDataManager(IBConnectionConfig("127.0.0.1", port, **settings)) as ib,  # type: ignore[arg-type]
            DatabaseManager(f"sqlite:///{folder / 'trading.db'}") as database,
            LiveSession(lambda: ib, lambda: LiveJournal(database)) as live,
        ):
            symbols = list(synthetic(count))
            live.start(symbols)
            yield live, database, symbols
        gateway.kill()


def recorded(database: DatabaseManager) -> int:
    with database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(live_bars)).scalar_one())


@pytest.mark.timeout(900)
def test_many_symbols_lose_nothing_in_a_session_and_memory_stays_flat(tmp_path: Path) -> None:
    count, begin, bars = (100, "2026-11-20T09:29:00", SESSION) if SOAK else (8, "2026-11-20T15:55:00", 60)
    speed, own = 80.0 if SOAK else 60.0, psutil.Process()
    with session_of(count, begin, speed, tmp_path) as (live, database, symbols):
        until(lambda: received(live) > count * bars * 0.4, 600)
        early = own.memory_info().rss
        until(lambda: the_day_is_complete(live, symbols), 600)

        assert own.memory_info().rss - early < 60 << 20
        counts = live.status().counts
        assert counts is not None
        assert counts.received + counts.filled == count * SESSION == recorded(database)
        assert live.status().unfilled == []
        print(
            f"{counts.received} came live, {counts.filled} were filled; {(own.memory_info().rss - early) >> 10} KB more"
        )


def received(live: LiveSession) -> int:
    counts = live.status().counts
    return counts.received if counts else 0


def the_day_is_complete(live: LiveSession, symbols: list[str]) -> bool:
    return all(live.bars(symbol, "1day", 1)["received"].sum() == SESSION for symbol in symbols)


@pytest.mark.parametrize(("count", "seconds", "in_time_s", "of_a_core"), PROMISES)
def test_bars_are_committed_and_aggregated_in_time_and_leave_the_core_to_others(
    count: int, seconds: float, in_time_s: float, of_a_core: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measure from the message's arrival to the journal's commit and the longer bars, at the rate of a real session."""
    came: dict[tuple[str, int], float] = {}
    took: list[float] = []
    read, aggregate = lines.read_live_bar, Recorder._aggregate

    def arrives(symbol: str, fields: list[str]) -> LiveBar:
        bar = read(symbol, fields)
        came[symbol, bar.timestamp] = time.monotonic()
        return bar

    def is_done(self: Recorder, bars: list[LiveBar]) -> None:
        aggregate(self, bars)
        now = time.monotonic()
        took.extend(now - came.pop(bar[:2]) for bar in bars)

    monkeypatch.setattr(lines, "read_live_bar", arrives)
    monkeypatch.setattr(Recorder, "_aggregate", is_done)
    with session_of(count, "2026-11-20T09:29:00" if SOAK else "2026-11-20T09:29:52", 1.0, tmp_path) as (
        live,
        _,
        _symbols,
    ):
        until(lambda: received(live) >= count, 120)
        took.clear()
        begun, spent = time.monotonic(), cpu_s()
        until(lambda: time.monotonic() > begun + seconds, seconds + 10)

        share = (cpu_s() - spent) / (time.monotonic() - begun)
        p50, p99 = np.percentile(took, [50, 99])
        print(
            f"{count} symbols: {len(took)} bars, p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, {share:.0%} of a core"
        )
        assert len(took) >= count * (seconds // 5 - 1)
        assert p99 < in_time_s
        assert share < of_a_core


def cpu_s() -> float:
    used = psutil.Process().cpu_times()
    return float(used.user + used.system)
