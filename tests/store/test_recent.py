from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.test_parts import INFO, part_at, stored, table, write
from workbench.errors import CorruptPart
from workbench.market.bars import to_table
from workbench.market.coverage import Coverage, Interval
from workbench.store import parts
from workbench.store.historical import HistoricalDataManager
from workbench.store.parts import ALWAYS, opened, read_bars, read_info, read_whole, recall
from workbench.store.recent import SMALL, Decoded, Recent

ANOTHER_PROCESS = """
import sys, pandas as pd
from workbench.store.historical import HistoricalDataManager
store, minute, close = HistoricalDataManager(sys.argv[1]), pd.Timestamp(sys.argv[2]), float(sys.argv[3])
bar = dict(open=close, high=close, low=close, close=close, volume=7.0)
store.save_bars("AAPL", "1min", pd.DataFrame(bar, index=pd.DatetimeIndex([minute]).as_unit("us")))
"""
PARQUET = parts.pq.ParquetFile
MINUTES = pd.date_range("2026-11-02 14:30", periods=60, freq="1min", tz="UTC", unit="us")


def bars(close: float, first: int, last: int) -> pd.DataFrame:
    prices = dict.fromkeys(["open", "high", "low", "close"], close)
    return pd.DataFrame({**prices, "volume": 7.0}, index=MINUTES[first:last])


@given(
    rows=st.integers(0, 30),
    missing=st.booleans(),
    fetched=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),  # noqa: DTZ001
)
@settings(max_examples=40, deadline=None)
def test_what_is_remembered_is_what_the_file_gives(
    tmp_path_factory: pytest.TempPathFactory, rows: int, missing: bool, fetched: datetime
) -> None:
    path = tmp_path_factory.mktemp("one") / "AAPL" / "1min.parquet" / "2026-11.parquet"
    some = table(30).slice(0, rows)
    if missing:
        nothing = pa.nulls(rows, pa.float64())
        some = some.set_column(6, some.schema.field("average"), nothing)
    write(path, some, replace(INFO, fetched_at=fetched.replace(tzinfo=UTC)))
    part = part_at(path)
    remembered = recall(part), read_info(part)
    parts._recent = Recent()
    parts._read_info.cache_clear()
    assert (recall(part), read_info(part)) == remembered == (read_whole(part), read_info(part))


def test_bars_that_another_process_saved_are_not_lost_by_a_save_that_remembers(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path)
    store.save_bars("AAPL", "1min", bars(100.0, 0, 20))
    for minute, close in ((5, "100.01"), (30, "100.02")):
        command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), str(MINUTES[minute]), close]
        subprocess.run(command, check=True)
    store.save_bars("AAPL", "1min", bars(101.0, 40, 60))
    closes = store.load_bars("AAPL", "1min")["close"]
    assert len(closes) == 20 + 1 + 20
    assert (closes[MINUTES[5]], closes[MINUTES[30]], closes[MINUTES[40]]) == (100.01, 100.02, 101.0)


def test_a_part_of_the_same_size_and_time_is_not_taken_for_the_one_that_was_written(tmp_path: Path) -> None:
    path = stored(tmp_path)
    before, content = part_at(path), bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.modified_ns, before.modified_ns))
    assert part_at(path) == before
    with pytest.raises(CorruptPart):
        recall(before)


def test_changing_the_frame_that_was_saved_changes_nothing_that_is_remembered(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path)
    numbers = np.full((20, 5), 100.0, order="F")
    mine = pd.DataFrame(numbers, index=MINUTES[:20], columns=["open", "high", "low", "close", "volume"], copy=False)
    handed_over = to_table(mine)
    store.save_bars("AAPL", "1min", mine)
    numbers[:] = 55.0
    assert handed_over["close"].to_pylist() == [100.0] * 20
    store.save_bars("AAPL", "1min", bars(101.0, 30, 31))
    assert store.load_bars("AAPL", "1min")["close"].to_list() == [100.0] * 20 + [101.0]


def test_only_so_many_parts_are_remembered_and_no_large_ones(tmp_path: Path) -> None:
    recent, some = Recent(), table(10)
    path = stored(tmp_path)
    content = pa.py_buffer(path.read_bytes())
    places = [tmp_path / f"{number}" for number in range(40)]
    for place in places:
        recent.note(place, Decoded(content, some, INFO))
    recent.note(path, Decoded(content, pa.concat_tables([table(500)] * 200).combine_chunks(), INFO))
    with opened(part_at(path)) as file:
        found = [place for place in places if recent.find(place, file)]
        assert recent.find(path, file) is None
        assert recent.find(places[-16], file)
        recent.note(places[0], Decoded(content, some, INFO))
        assert recent.find(places[-16], file), "what was looked at last goes last"
        assert recent.find(places[-15], file) is None
    assert found == places[-16:]


def test_a_small_part_is_decoded_once_and_read_anew_when_its_bytes_are_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HistoricalDataManager(tmp_path)
    store.save_bars("AAPL", "1min", bars(100.0, 0, 20))
    monkeypatch.setattr(parts, "_recent", Recent())  # as in a process that has written nothing
    decoded: list[object] = []
    monkeypatch.setattr(parts.pq, "ParquetFile", lambda source, **how: decoded.append(source) or PARQUET(source, **how))
    first = store.load_bars("AAPL", "1min")
    some = store.load_bars("AAPL", "1min", MINUTES[5], MINUTES[9], ["volume", "open"])
    assert len(decoded) == 1
    pd.testing.assert_frame_equal(some, first.iloc[5:9][["volume", "open"]])
    subprocess.run([sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path), str(MINUTES[5]), "100.01"], check=True)
    assert store.load_bars("AAPL", "1min")["close"].iloc[5] == 100.01
    assert len(decoded) == 2


def test_bars_that_are_lost_are_refused_from_memory_too(tmp_path: Path) -> None:
    path = tmp_path / "AAPL" / "1min.parquet" / "2026-11.parquet"
    lost = Interval(MINUTES[10].to_pydatetime(), MINUTES[20].to_pydatetime())
    write(path, table(30).slice(0, 5), replace(INFO, lost=Coverage([lost])))
    part = part_at(path)
    for _ in range(2):
        with opened(part) as file, pytest.raises(CorruptPart, match="were set aside"):
            read_bars(part, file, ["close"], lost.begin, lost.end, again=True)
    with opened(part) as file:
        read = read_bars(part, file, ["close"], lost.end, ALWAYS[1], again=True)
    assert read.column_names == ["timestamp", "close"]


def test_a_part_that_is_known_and_cannot_be_read_is_named_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_at(stored(tmp_path))
    recall(part)
    parts._read_info.cache_clear()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk does not answer")

    monkeypatch.setattr(Recent, "find", fail)
    for read in (recall, read_info):
        with pytest.raises(CorruptPart, match="does not answer"):
            read(part)


def test_of_a_long_series_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, recent = HistoricalDataManager(tmp_path), Recent()
    days = pd.date_range("2015-06-01", "2023-07-01", freq="WOM-1TUE", tz="UTC", unit="us")
    days = days[days.month == 6]
    prices = dict.fromkeys(["open", "high", "low", "close"], 100.0)
    store.save_bars("AAPL", "1day", pd.DataFrame({**prices, "volume": 7.0}, index=days))
    monkeypatch.setattr(parts, "_recent", recent)
    assert (len(store.load_bars("AAPL", "1day")), len(recent._parts)) == (9, 0)
    assert (len(store.load_bars("AAPL", "1day", "2022-01-01")), len(recent._parts)) == (2, 2)


def test_of_a_part_with_many_bars_only_what_is_asked_for_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "AAPL" / "1min.parquet" / "2026.parquet"
    some = table(500)
    stamps = pa.array(np.arange(40_000) * 60_000_000 + 1_767_312_000_000_000).view(some.schema.field(0).type)
    many = pa.concat_tables([some] * 80).set_column(0, some.schema.field(0), stamps)
    write(path, many, INFO)
    part, decoded = part_at(path), []
    rows = parts._rows
    monkeypatch.setattr(parts, "_rows", lambda *asked: decoded.append(asked[1:]) or rows(*asked))
    assert part.bytes < SMALL
    begin = stamps[-10].as_py()
    with opened(part) as file:
        assert read_bars(part, file, ["close"], begin, ALWAYS[1], again=True).num_rows == 10
    assert decoded == [(["close"], begin, ALWAYS[1])]
    assert recall(part).num_rows == 40_000
