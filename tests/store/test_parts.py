from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import CorruptPart, StoreError
from workbench.market.bars import COLUMNS, SCHEMA, to_frame, to_table
from workbench.market.coverage import Coverage, Interval
from workbench.store.footer import PartInfo, Provenance
from workbench.store.layout import parse_part_name
from workbench.store.parts import (
    ALWAYS,
    Part,
    PartChanged,
    find_part,
    opened,
    read_bars,
    read_info,
    read_whole,
    recall,
    to_micros,
    write_part,
)

NOVEMBER = Interval(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
INFO = PartInfo(Provenance("IB", "TRADES", True), Coverage([NOVEMBER]), datetime(2026, 11, 22, 9, tzinfo=UTC), "10.37")


def table(rows: int = 500) -> pa.Table:
    index = pd.date_range("2026-11-02 14:30", periods=rows, freq="1min", tz="UTC", unit="us")
    close = 100 + np.sin(np.arange(rows)).round(2)
    frame = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 7.0}, index)
    return to_table(frame.assign(average=close, bar_count=np.arange(rows) * 1.0))


def part_at(path: Path) -> Part:
    return find_part(path, parse_part_name(path.name) or NOVEMBER, path)


def write(path: Path, bars: pa.Table, info: PartInfo = INFO) -> None:
    write_part(path, bars, info).replace(path)


def stored(tmp_path: Path, rows: int = 500) -> Path:
    path = tmp_path / "stocks" / "AAPL" / "1min.parquet" / "2026-11.parquet"
    write(path, table(rows))
    return path


@given(st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_an_instant_is_counted_to_the_microsecond(moment: datetime) -> None:
    assert to_micros(moment) == np.datetime64(moment.replace(tzinfo=None), "us").astype(np.int64)


@pytest.mark.parametrize("rows", [0, 1, 500, 70_000])
def test_a_part_gives_back_its_bars_and_what_its_footer_says(tmp_path: Path, rows: int) -> None:
    part = part_at(stored(tmp_path, rows))

    info = read_info(part)

    assert read_whole(part).equals(table(rows))
    assert (info.provenance, info.coverage, info.fetched_at, info.gateway_version, info.rows) == (
        INFO.provenance,
        INFO.coverage,
        INFO.fetched_at,
        INFO.gateway_version,
        rows,
    )
    stamps = to_frame(table(rows)).index
    assert (info.first, info.last) == ((stamps[0], stamps[-1]) if rows else (None, None))


def test_columns_come_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    part = part_at(stored(tmp_path))

    with opened(part) as file:
        assert read_bars(part, file, ["close", "open"], *ALWAYS).equals(table().select(["timestamp", "close", "open"]))


@settings(deadline=None, max_examples=20)
@given(st.tuples(st.integers(-10, 70_010), st.integers(-10, 70_010)))
def test_reading_an_interval_takes_its_bars_and_no_other_whatever_the_row_groups(
    tmp_path_factory: pytest.TempPathFactory, bounds: tuple[int, int]
) -> None:
    begin, end = min(bounds), max(bounds)
    whole = table(70_000)
    path = tmp_path_factory.getbasetemp() / "long" / "1min.parquet" / "2026.parquet"
    if not path.exists():
        write(path, whole)
    part, opening = part_at(path), datetime(2026, 11, 2, 14, 30, tzinfo=UTC)

    with opened(part) as file:
        minutes = [opening + timedelta(minutes=minute) for minute in (begin, end)]
        read = read_bars(part, file, COLUMNS, *minutes)

    assert pq.read_metadata(path).num_row_groups == 3
    assert read.equals(whole.slice(max(begin, 0), max(0, min(end, 70_000) - max(begin, 0))))


def test_a_part_that_was_replaced_is_read_anew_and_the_old_one_not_taken_for_it(tmp_path: Path) -> None:
    path = stored(tmp_path, 500)
    old = part_at(path)
    read_info(old)

    with opened(old) as file:
        write(path, table(400))
        assert read_bars(old, file, COLUMNS, *ALWAYS).num_rows == 500  # what was opened stays readable

    assert read_info(part_at(path)).rows == 400
    with pytest.raises(PartChanged), opened(old):
        pass
    path.unlink()
    with pytest.raises(PartChanged), opened(old):
        pass


def test_nothing_but_the_part_lies_in_the_folder(tmp_path: Path) -> None:
    path = stored(tmp_path)

    assert [entry.name for entry in path.parent.iterdir()] == ["2026-11.parquet"]
    assert [entry.name for entry in path.parent.parent.iterdir()] == ["1min.parquet"]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"no parquet", b"PAR1" + b"\0" * 100 + b"PAR1"], ids=["empty", "magic", "text", "zeros"]
)
def test_a_file_that_is_no_parquet_is_corrupt_not_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "2026-11.parquet"
    path.write_bytes(content)

    for read in (read_whole, read_info):
        with pytest.raises(CorruptPart, match="To repair, fetch its period again") as caught:
            read(part_at(path))
        assert caught.value.path == path


def test_a_part_cut_off_anywhere_is_corrupt(tmp_path: Path) -> None:
    whole = stored(tmp_path, 50).read_bytes()
    path = tmp_path / "cut.parquet"

    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptPart):
            read_whole(part_at(path))


def test_a_flipped_bit_among_the_bars_is_corrupt_never_another_price(tmp_path: Path) -> None:
    path = stored(tmp_path, 50)
    whole, (group,) = path.read_bytes(), [pq.read_metadata(path).row_group(0)]
    bars = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
    expected = read_whole(part_at(path))

    for position in range(4, 4 + bars, 11):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        try:
            assert read_whole(part_at(path)).equals(expected)
        except CorruptPart:
            continue


def test_a_folder_in_the_place_of_a_part_is_a_part_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CorruptPart, match="it is a folder"):
        read_whole(part_at(tmp_path))


def test_parquet_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "2026-11.parquet"
    pq.write_table(table(), path)
    with pytest.raises(CorruptPart, match="footer is not one of workbench"):
        read_info(part_at(path))

    pq.write_table(table().rename_columns(["date", *SCHEMA.names[1:]]), path)
    with pytest.raises(CorruptPart, match="its columns are"):
        read_whole(part_at(path))

    pq.write_table(table().drop_columns(["average"]), path)
    with pytest.raises(CorruptPart, match="its columns are"):
        read_whole(part_at(path))


def with_footer(path: Path, change: dict[str, object] | str, *, without: Sequence[str] = ()) -> Part:
    read = pq.read_table(path)
    footer = {k: v for k, v in json.loads(read.schema.metadata[b"workbench"]).items() if k not in without}
    text = change if isinstance(change, str) else json.dumps(footer | change)
    pq.write_table(read.replace_schema_metadata({"workbench": text}), path)
    return part_at(path)


@pytest.mark.parametrize(
    "change",
    [{"schema": "2"}, {"coverage": [["2026-11-02", "2026-11-01"]]}, {"coverage": 7}, {"fetched_at": "soon"}, "no json"],
)
def test_a_malformed_footer_is_corrupt(tmp_path: Path, change: dict[str, object] | str) -> None:
    with pytest.raises(CorruptPart, match="its footer is malformed"):
        read_info(with_footer(stored(tmp_path), change))


def test_a_footer_of_a_newer_version_is_refused_but_not_called_corrupt(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="newer workbench") as caught:
        read_info(with_footer(stored(tmp_path), {"schema": 3}))
    assert not isinstance(caught.value, CorruptPart)


def test_a_footer_of_the_first_version_is_read_its_volume_was_in_shares(tmp_path: Path) -> None:
    path = stored(tmp_path)

    part = with_footer(path, {"schema": 1}, without=["volume_unit", "gateway_version", "lost"])

    assert read_info(part) == replace(INFO, gateway_version="", rows=500, first=part_first(part), last=part_last(part))
    assert read_info(part).provenance.volume_unit == "shares"


def part_first(part: Part) -> datetime:
    return to_frame(read_whole(part)).index[0].to_pydatetime()


def part_last(part: Part) -> datetime:
    return to_frame(read_whole(part)).index[-1].to_pydatetime()


def test_a_bit_of_a_footer_that_turns_never_hides_bars(tmp_path: Path) -> None:
    path = tmp_path / "AAPL" / "1min.parquet" / "2026-11.parquet"
    write(path, table(300), INFO)
    whole = path.read_bytes()
    counts = [found.start() for found in re.finditer(b"\xd8\x04", whole)]  # 300, as the footer writes numbers
    assert len(counts) > len(COLUMNS)
    refused = 0
    for at in counts:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :])
        part = part_at(path)
        for read in (read_whole, recall):
            try:
                assert read(part).num_rows == 300
            except CorruptPart:
                refused += 1
    assert refused >= len(COLUMNS)
