"""Disks that are full, that fill up at any byte of a write, or that cannot be written; mounted for the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX limits and mounts: run it on Linux or macOS")

SAVER = """
import resource, signal, subprocess, sys
from pathlib import Path
import numpy as np
import pandas as pd
from workbench.errors import StoreError
from workbench.market.contracts import Contract
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

folder = Path(sys.argv[1])
store = HistoricalDataManager(folder / "data", universe=Universe([Contract("AAPL", kind="index")]))

def bars(price, days):
    index = pd.date_range("2025-12-29", periods=days * 288, freq="5min", tz="UTC", unit="us")
    noise = np.random.default_rng(int(price)).normal(0, 0.1, len(index))
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), price + noise), index=index)

def stored():
    return store.load_bars("AAPL", "1min")[["close"]]

def left_over():
    return [path.name for path in folder.rglob("*.tmp")] + [path.name for path in folder.rglob(".commit")]

def save(frame):
    try:
        store.save_bars("AAPL", "1min", frame)
    except StoreError as error:
        return str(error)
    return ""
"""

FILLING_UP_AT_ANY_BYTE = (
    SAVER
    + """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
old, new = bars(10.0, 6), bars(20.0, 6)
assert save(old) == ""
limit, outcomes = 0, []
while not outcomes or outcomes[-1]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    outcomes.append(save(new))
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert stored().equals((old if outcomes[-1] else new)[["close"]]), limit
    assert left_over() == [], left_over()
    assert not outcomes[-1] or "could not be written" in outcomes[-1], outcomes[-1]
    limit += 1009
print(len(outcomes))
"""
)

FILLING_UP = (
    SAVER
    + """
frame, days = bars(10.0, 40), 1
while not (said := save(frame[: days * 288])):
    days += 1
    assert days < 40, "the disk never was full"
print(said)
assert days > 2
assert stored().equals(frame[: (days - 1) * 288][["close"]])
assert left_over() == []
(folder / "ballast").unlink()
assert save(frame[: days * 288]) == ""
assert stored().equals(frame[: days * 288][["close"]])
"""
)

READ_ONLY = (
    SAVER
    + """
frame = bars(10.0, 6)
assert save(frame) == ""
subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
print(save(frame * 2))
assert stored().equals(frame[["close"]])
assert store.compact().problems
"""
)


def run(script: str, folder: Path, *before: str) -> str:
    """Run a script over a folder and return what it prints."""
    command = [*before, sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_small_disk(script: str, folder: Path, size_kib: int) -> str:
    """Run a script on a disk of that size, of its own, which goes with it."""
    mount = f'mount -t tmpfs -o size={size_kib}k none "$0" && '
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*unshare, mount + "true", str(folder)], capture_output=True).returncode
    ):
        pytest.skip("no disk can be mounted here: needs Linux and user namespaces (unshare --map-root-user --mount)")
    ballast = 'head -c 60000 /dev/zero > "$0/ballast" && exec "$@"'
    return run(script, folder, *unshare, mount + ballast, str(folder))


def test_a_disk_that_fills_up_at_any_byte_of_a_save_leaves_all_of_the_old(tmp_path: Path) -> None:
    """The save revises two parts; the limit grows until it fits."""
    assert int(run(FILLING_UP_AT_ANY_BYTE, tmp_path)) > 20


def test_a_full_disk_is_an_error_and_there_being_room_again_the_same_save_succeeds(tmp_path: Path) -> None:
    assert "No space left on device" in on_small_disk(FILLING_UP, tmp_path, 300)


def test_a_disk_that_cannot_be_written_is_an_error_and_its_bars_can_be_read(tmp_path: Path) -> None:
    assert "Read-only file system" in on_small_disk(READ_ONLY, tmp_path, 2000)
