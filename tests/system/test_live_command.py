"""`workbench live` as its user has it: in a process of its own, ended politely or killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pandas as pd

from tests.ib.conftest import at
from tests.ib.live_market import until
from tests.ib.live_process import recording
from workbench.gateway.clock import GatewayClock
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.store.database import DatabaseManager
from workbench.store.journal import LiveJournal

MORNING = "2026-11-20T10:00:00"
SPEED = 20.0


def test_who_records_already_is_named_and_the_second_command_fails(tmp_path: Path) -> None:
    start = at(MORNING)
    with running(SimulatedTape(1, start=int(start)), GatewayClock(start, SPEED)) as gateway:  # noqa: SIM117
        with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
            journal = LiveJournal(database)
            with recording(tmp_path, gateway.port, "AAPL", "KO", speed=SPEED) as first:
                until(lambda: {"AAPL", "KO"} == journal.symbols().keys())

                with recording(tmp_path, gateway.port, "KO", "MSFT", speed=SPEED) as second:
                    _, errors = second.communicate(timeout=60)

                assert second.returncode == 1
                assert f"KO are recorded already, by process {first.pid}" in errors
                until(lambda: all(is_without_gaps(journal, symbol) for symbol in ("AAPL", "KO")))
                first.send_signal(signal.SIGINT)
                told, _ = first.communicate(timeout=30)
                assert first.returncode == 0
                assert "bars recorded, 0 gaps not filled" in told


def is_without_gaps(journal: LiveJournal, symbol: str) -> bool:
    index = journal.load(symbol).index
    opened = pd.Timestamp(at("2026-11-20T09:30:00"), unit="s", tz="UTC")
    return bool(index[0] == opened and (index[1:] - index[:-1] == pd.Timedelta(seconds=5)).all())


def test_a_recording_of_nothing_but_unknown_symbols_fails_and_names_them(tmp_path: Path) -> None:
    start = at(MORNING)
    with (
        running(SimulatedTape(1, start=int(start)), GatewayClock(start, SPEED)) as gateway,
        recording(tmp_path, gateway.port, "NOSUCH", speed=SPEED) as command,
    ):
        told, errors = command.communicate(timeout=60)
    assert command.returncode == 1
    assert "NOSUCH" in errors
    assert "workbench universe list" in errors
    assert "Traceback" not in told + errors
