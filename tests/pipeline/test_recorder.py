"""The recorder's process is there while the session is, and again when it dies."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workbench.market.sessions import EXCHANGE_ZONE
from workbench.pipeline import recorder
from workbench.pipeline.recorder import RecorderKeeper, is_wanted


def new_york(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=EXCHANGE_ZONE).astimezone(UTC)


OPEN = new_york("2026-11-23T12:00")
CLOSED = new_york("2026-11-23T20:00")

SCRIPT = """
import signal, sys, time
def end(*_):
    print("ended in good order", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("moment", "wanted"),
    [
        ("2026-11-23T09:24:59", False),
        ("2026-11-23T09:25:00", True),
        ("2026-11-23T16:01:59", True),
        ("2026-11-23T16:02:00", False),
        ("2026-11-27T13:01:00", True),  # a half day
        ("2026-11-27T13:02:00", False),
        ("2026-11-26T12:00:00", False),  # Thanksgiving
        ("2026-11-28T12:00:00", False),  # Saturday
    ],
)
def test_live_bars_are_recorded_from_before_the_open_until_after_the_close(moment: str, wanted: bool) -> None:
    assert is_wanted(new_york(moment), timedelta(minutes=5), timedelta(minutes=2)) is wanted


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[RecorderKeeper]:
    made = RecorderKeeper([sys.executable, "-c", SCRIPT], tmp_path / "logs" / "recorder.log")
    yield made
    made.stop()


def wait_for(log: Path, text: str, times: int = 1) -> None:
    while not log.is_file() or log.read_text().count(text) < times:
        time.sleep(0.02)


def test_it_is_started_at_the_open_and_ended_in_good_order_at_the_close(keeper: RecorderKeeper, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "recorder.log"
    keeper.look(CLOSED)
    assert not keeper.is_running

    keeper.look(OPEN)
    wait_for(log, "begun")
    assert keeper.is_running
    keeper.look(OPEN)
    keeper.look(CLOSED)

    assert not keeper.is_running
    assert log.read_text() == "begun\nended in good order\n"


def test_one_that_dies_is_told_and_started_again(keeper: RecorderKeeper, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "recorder.log"
    keeper.look(OPEN)
    wait_for(log, "begun")
    assert keeper._process is not None
    os.kill(keeper._process.pid, signal.SIGKILL)
    keeper._process.wait()

    told = keeper.look(OPEN)

    assert "was killed by SIGKILL" in told
    assert "begun" in told
    wait_for(log, "begun", times=2)
    assert keeper.is_running


def test_one_that_keeps_dying_is_started_with_ever_longer_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(recorder.time, "monotonic", lambda: clock[0])
    keeper = RecorderKeeper([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "recorder.log")
    deaths = []
    for second in range(120):
        clock[0] = 1000.0 + second
        if "exit code 3" in keeper.look(OPEN):
            deaths.append(second)
        if keeper._process is not None:
            keeper._process.wait()

    gaps = [after - before for before, after in itertools.pairwise(deaths)]
    assert gaps == sorted(gaps)
    assert gaps[-1] > 10
    assert 4 <= len(deaths) <= 12
