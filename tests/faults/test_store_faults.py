"""The store under killed writers, full disks, folders that cannot be written, and several writers at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from workbench.errors import StoreError
from workbench.market.contracts import Contract
from workbench.market.universe import Universe
from workbench.store import files
from workbench.store.historical import HistoricalDataManager

OWN_HOURS = Universe([Contract("AAPL", kind="index")])
"""The bars here keep no session's hours."""

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals and limits: run it on Linux or macOS")

SAVER = """
import sys
import pandas as pd
from workbench.market.contracts import Contract
from workbench.market.universe import Universe
from workbench.store.historical import HistoricalDataManager

OWN_HOURS = Universe([Contract("AAPL", kind="index")])  # the bars here keep no session's hours

def bars(number):
    index = pd.date_range(f"2026-{1 + number % 12:02}-02", periods=500, freq="1min", tz="UTC", unit="us")
    index += pd.Timedelta(minutes=number // 12 * 500)
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0 + number), index=index)

"""

WRITE_FOREVER = (
    SAVER
    + """
store = HistoricalDataManager(sys.argv[1], universe=OWN_HOURS)
print("ready", flush=True)
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.save_bars("AAPL", "1min", bars(number))
    print(number, flush=True)
"""
)

WRITE_WITH_A_LIMIT = (
    SAVER
    + """
import resource
from workbench.errors import StoreError
from workbench.store import parts
store = HistoricalDataManager(sys.argv[1], universe=OWN_HOURS)
store.save_bars("AAPL", "1min", bars(0))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    store.save_bars("AAPL", "1min", bars(12))
except StoreError as error:
    print(error)
    sys.exit(7)
"""
)


def bars(price: float = 10.0) -> pd.DataFrame:
    index = pd.date_range("2026-11-20 14:30", periods=30, freq="1min", tz="UTC", unit="us")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), price), index=index)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the parts below a folder; locks hold nothing."""
    return {
        path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size
    }


@posix
def test_killed_writers_leave_whole_files_and_every_save_that_they_confirmed(tmp_path: Path) -> None:
    chance, confirmed, begun = random.Random(2), set[int](), 0

    for _ in range(8):
        with start(WRITE_FOREVER, tmp_path, begun, begun + 200) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.12))
            writer.send_signal(signal.SIGKILL)
            done = [int(line) for line in writer.stdout.read().split()]
        confirmed |= set(done)
        begun = max([begun - 1, *done]) + 1

        stored = HistoricalDataManager(tmp_path, universe=OWN_HOURS).load_bars("AAPL", "1min")["close"].value_counts()
        assert set(stored) <= {500}, "a save is there as a whole or not at all"
        assert {1.0 + number for number in confirmed} <= set(stored.index)
        assert len(set(stored.index) - {1.0 + number for number in confirmed}) <= 1

    assert confirmed
    HistoricalDataManager(tmp_path, universe=OWN_HOURS).save_bars("AAPL", "1min", bars())
    assert [path.name for path in (tmp_path / "stocks" / "AAPL").iterdir() if path.suffix == ".tmp"] == []


def test_processes_that_save_into_one_series_at_once_lose_nothing(tmp_path: Path) -> None:
    writers = [start(WRITE_FOREVER, tmp_path, first, first + 24) for first in (0, 24)]
    codes = [(writer.communicate(), writer.returncode)[1] for writer in writers]

    stored = HistoricalDataManager(tmp_path, universe=OWN_HOURS).load_bars("AAPL", "1min")["close"].value_counts()

    assert codes == [0, 0]
    assert stored.to_dict() == {1.0 + number: 500 for number in range(48)}


@posix
@pytest.mark.parametrize("limit", [0, 1, 1000])
def test_a_full_disk_is_an_error_and_leaves_the_old_part_whole(tmp_path: Path, limit: int) -> None:
    with start(WRITE_WITH_A_LIMIT, tmp_path, limit) as writer:
        said, _ = writer.communicate()

    assert writer.returncode == 7
    assert "2026-01.parquet could not be written" in said
    assert len(HistoricalDataManager(tmp_path, universe=OWN_HOURS).load_bars("AAPL", "1min")) == 500
    assert not list(tmp_path.rglob("*.tmp"))


def _fail_at(calls: list[str], stop: int, name: str, function: Callable[..., object]) -> Callable[..., object]:
    """Return the function, failing when it is the `stop`th step of the whole write."""

    def step(*arguments: object, **options: object) -> object:
        if name == "open" and "xb" not in arguments:
            return function(*arguments, **options)  # reads only
        calls.append(name)
        if len(calls) == stop:
            raise OSError(5, "Input/output error")
        return function(*arguments, **options)

    return step


@pytest.mark.parametrize("stop", range(1, 5))
def test_a_write_that_fails_at_any_step_leaves_old_or_new_whole_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    store, calls = HistoricalDataManager(tmp_path, universe=OWN_HOURS), list[str]()
    store.save_bars("AAPL", "1min", bars(10.0))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", _fail_at(calls, stop, "open", Path.open))
        patch.setattr(Path, "replace", _fail_at(calls, stop, "replace", Path.replace))
        for name in ("fsync", "fdatasync"):
            patch.setattr(files.os, name, _fail_at(calls, stop, "fsync", getattr(os, name, os.fsync)), raising=False)
        with pytest.raises(StoreError, match="could not be written"):
            store.save_bars("AAPL", "1min", bars(20.0))

    closes = store.load_bars("AAPL", "1min")["close"]
    assert calls == ["open", "fsync", "replace", "fsync"][:stop]
    assert closes.tolist() == [20.0 if stop == 4 else 10.0] * 30
    assert not list(tmp_path.rglob("*.tmp"))
    store.save_bars("AAPL", "1min", bars(20.0))
    assert store.load_bars("AAPL", "1min")["close"].tolist() == [20.0] * 30


@pytest.mark.parametrize("place", ["", "stocks", "stocks/AAPL", "stocks/AAPL/1min.parquet"])
def test_a_file_where_a_folder_is_wanted_is_an_error_and_stays(tmp_path: Path, place: str) -> None:
    blocked = tmp_path / "data" / place
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_bytes(b"somebody's notes")

    with pytest.raises(StoreError, match=r"cannot be (written|read)"):
        HistoricalDataManager(tmp_path / "data", universe=OWN_HOURS).save_bars("AAPL", "1min", bars())

    assert blocked.read_bytes() == b"somebody's notes"


READ_ONLY = (
    SAVER
    + """
import os
from workbench.errors import StoreError
store = HistoricalDataManager(sys.argv[1], universe=OWN_HOURS)
frame = store.load_bars("AAPL", "1min")
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
try:
    store.save_bars("AAPL", "1min", frame * 2)
except StoreError as error:
    print(error)
    sys.exit(7)
"""
)


@posix
def test_a_folder_that_belongs_to_another_is_an_error_and_stays_as_it_was(tmp_path: Path) -> None:
    HistoricalDataManager(tmp_path, universe=OWN_HOURS).save_bars("AAPL", "1min", bars())
    before = content_of(tmp_path)
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)

    try:
        with start(READ_ONLY, tmp_path) as writer:
            said, _ = writer.communicate()
    finally:
        for folder in folders:
            folder.chmod(0o755)

    assert writer.returncode == 7, said
    assert "cannot be written" in said or "could not be written" in said
    assert content_of(tmp_path) == before
