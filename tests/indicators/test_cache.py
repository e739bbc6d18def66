from __future__ import annotations

import threading
from pathlib import Path

import pandas as pd
import pytest

from tests.indicators.bars import make_bars, walk
from workbench.indicators.cache import IndicatorCache

FRAME = make_bars(walk(50))
KEY = ("AAPL", "15min", "the suite")


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "disk", "disk alone"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> IndicatorCache:
    folder = None if request.param == "memory" else tmp_path / "cache"
    return IndicatorCache(
        60, folder=folder, memory_bytes=0 if request.param == "disk alone" else 1 << 20, clock=Clock()
    )


def tick(cache: IndicatorCache, seconds: float) -> None:
    cache._clock.now += seconds  # type: ignore[attr-defined]


def test_what_was_kept_comes_back_as_it_was(cache: IndicatorCache) -> None:
    cache.set(KEY, FRAME, "v1")

    pd.testing.assert_frame_equal(cache.get(KEY, "v1"), FRAME, check_exact=True, check_freq=False)


def test_another_version_is_not_there_however_young(cache: IndicatorCache) -> None:
    cache.set(KEY, FRAME, ("part", 1))

    assert cache.get(KEY, ("part", 2)) is None
    assert cache.get(("MSFT", *KEY[1:]), ("part", 1)) is None
    assert cache.get(KEY, ("part", 1)) is not None


def test_it_lives_for_its_time(cache: IndicatorCache) -> None:
    cache.set(KEY, FRAME)
    tick(cache, 59)
    still = cache.get(KEY)
    tick(cache, 1)

    assert still is not None
    assert cache.get(KEY) is None


def test_changing_what_it_gave_or_got_changes_nothing(cache: IndicatorCache) -> None:
    given = FRAME.copy()
    cache.set(KEY, given, "v1")
    given.iloc[:, :] = 0.0
    taken = cache.get(KEY, "v1")
    assert taken is not None
    taken.iloc[:, :] = 0.0
    taken["new"] = 1.0

    pd.testing.assert_frame_equal(cache.get(KEY, "v1"), FRAME, check_exact=True, check_freq=False)


def test_clear_drops_all(cache: IndicatorCache) -> None:
    cache.set(KEY, FRAME)
    cache.clear()

    assert cache.get(KEY) is None


def test_another_process_finds_it_on_disk(tmp_path: Path) -> None:
    IndicatorCache(folder=tmp_path).set(KEY, FRAME, "v1")

    pd.testing.assert_frame_equal(IndicatorCache(folder=tmp_path).get(KEY, "v1"), FRAME, check_freq=False)
    assert IndicatorCache(folder=tmp_path).get(KEY, "v2") is None


@pytest.mark.parametrize("kept", [0, 3, 4, 5, 0.5, 0.999])
def test_a_file_that_is_cut_off_counts_as_absent(tmp_path: Path, kept: float) -> None:
    IndicatorCache(folder=tmp_path).set(KEY, FRAME, "v1")
    path = next(tmp_path.glob("*.arrow"))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])

    assert IndicatorCache(folder=tmp_path).get(KEY, "v1") is None
    assert not path.exists()


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    IndicatorCache(folder=tmp_path).set(KEY, FRAME.iloc[:5], "v1")
    path = next(tmp_path.glob("*.arrow"))
    content = path.read_bytes()

    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        assert IndicatorCache(folder=tmp_path).get(KEY, "v1") is None


def test_memory_and_disk_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    cache = IndicatorCache(folder=tmp_path, memory_bytes=10_000, disk_bytes=40_000)
    for number in range(40):
        cache.set((number,), FRAME, "v1")

    assert sum(entry.bytes for entry in cache._entries.values()) <= 10_000
    assert 0 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 40_000
    assert cache.get((39,), "v1") is not None
    assert cache.get((0,), "v1") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = IndicatorCache(folder=tmp_path / "file" / "cache")

    cache.set(KEY, FRAME, "v1")

    assert cache.get(KEY, "v1") is not None
    assert "are not kept" in caplog.text


def test_threads_may_share_it(tmp_path: Path) -> None:
    cache, wrong = IndicatorCache(folder=tmp_path, memory_bytes=20_000), list[object]()

    def work(number: int) -> None:
        for turn in range(30):
            key, version = ((number + turn) % 3,), turn % 2
            cache.set(key, FRAME.assign(close=float(version)), version)
            found = cache.get(key, version)
            if found is not None and found["close"].iloc[0] != version:
                wrong.append((key, version))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert not list(tmp_path.glob(".*.tmp"))
