from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import CorruptPart, StoreError
from workbench.market.bars import SCHEMA, to_frame, to_table
from workbench.market.coverage import Coverage, Interval
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.parts import (
    PartInfo,
    Provenance,
    part_name,
    period_of,
    read_info,
    read_part,
    to_micros,
    write_part,
)

NOVEMBER = Interval(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
INFO = PartInfo(Provenance("IB", "TRADES", use_rth=True), Coverage([NOVEMBER]), datetime(2026, 11, 22, 9, tzinfo=UTC))


def table(rows: int = 500) -> pa.Table:
    index = pd.date_range("2026-11-02 14:30", periods=rows, freq="1min", tz="UTC", unit="us")
    close = 100 + np.sin(np.arange(rows)).round(2)
    frame = pd.DataFrame({"open": close, "high": close + 1, "low": close - 1, "close": close, "volume": 7.0}, index)
    return to_table(frame.assign(average=close, bar_count=np.arange(rows) * 1.0))


def stored(tmp_path: Path, rows: int = 500) -> Path:
    path = tmp_path / "stocks" / "AAPL" / "1min.parquet" / "2026-11.parquet"
    write_part(path, table(rows), INFO)
    return path


@given(st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_every_moment_lies_in_the_period_of_its_part_and_periods_do_not_overlap(moment: datetime) -> None:
    for timeframe, length in ((TIMEFRAMES["1min"], 31), (TIMEFRAMES["15min"], 366)):
        period = period_of(timeframe, moment)

        assert period.begin <= moment < period.end
        assert period.end - period.begin <= timedelta(days=length)
        assert period_of(timeframe, period.end - timedelta(microseconds=1)) == period
        assert period_of(timeframe, period.end).begin == period.end


@given(st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31)).map(lambda moment: moment.replace(tzinfo=UTC)))  # noqa: DTZ001
def test_an_instant_is_counted_to_the_microsecond(moment: datetime) -> None:
    assert to_micros(moment) == np.datetime64(moment.replace(tzinfo=None), "us").astype(np.int64)


def test_fine_timeframes_have_a_part_a_month_and_others_one_a_year() -> None:
    names = [part_name(timeframe, period_of(timeframe, NOVEMBER.begin)) for timeframe in TIMEFRAMES.values()]

    assert names == ["2026-11.parquet"] * 2 + ["2026.parquet"] * 5


@pytest.mark.parametrize("rows", [0, 1, 500])
def test_a_part_gives_back_its_bars_and_what_its_footer_says(tmp_path: Path, rows: int) -> None:
    path = stored(tmp_path, rows)

    info = read_info(path)

    assert read_part(path).equals(table(rows))
    assert (info.provenance, info.coverage, info.fetched_at, info.rows) == (
        INFO.provenance,
        INFO.coverage,
        INFO.fetched_at,
        rows,
    )
    stamps = to_frame(table(rows)).index
    assert (info.first, info.last) == ((stamps[0], stamps[-1]) if rows else (None, None))


def test_columns_come_in_the_order_that_was_asked_for(tmp_path: Path) -> None:
    wanted = ["close", "timestamp", "open"]

    assert read_part(stored(tmp_path), wanted).equals(table().select(wanted))


def test_a_footer_is_read_anew_when_the_part_was_replaced(tmp_path: Path) -> None:
    path = stored(tmp_path, 500)
    read_info(path)

    write_part(path, table(400), INFO)

    assert read_info(path).rows == 400


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

    for read in (read_part, read_info):
        with pytest.raises(CorruptPart, match="move the file away") as caught:
            read(path)
        assert caught.value.path == path


def test_a_part_cut_off_anywhere_is_corrupt(tmp_path: Path) -> None:
    whole = stored(tmp_path, 50).read_bytes()
    path = tmp_path / "cut.parquet"

    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptPart):
            read_part(path)


def test_a_flipped_bit_among_the_bars_is_corrupt_never_another_price(tmp_path: Path) -> None:
    path = stored(tmp_path, 50)
    whole, (group,) = path.read_bytes(), [pq.read_metadata(path).row_group(0)]
    bars = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
    expected = read_part(path)

    for position in range(4, 4 + bars, 11):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 16]) + whole[position + 1 :])
        try:
            assert read_part(path).equals(expected)
        except CorruptPart:
            continue


def test_a_folder_in_the_place_of_a_part_is_corrupt(tmp_path: Path) -> None:
    with pytest.raises(CorruptPart, match="directory"):
        read_part(tmp_path)


def test_a_part_that_the_system_does_not_open_is_not_called_corrupt(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file") as caught:
        read_part(tmp_path / "2026-11.parquet")
    assert not isinstance(caught.value, CorruptPart)


def test_parquet_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "2026-11.parquet"
    pq.write_table(table(), path)
    with pytest.raises(CorruptPart, match="footer is not one of workbench"):
        read_info(path)

    pq.write_table(table().rename_columns(["date", *SCHEMA.names[1:]]), path)
    with pytest.raises(CorruptPart, match="its columns are"):
        read_part(path)

    pq.write_table(table().drop_columns(["average"]), path)
    with pytest.raises(CorruptPart, match="its columns are"):
        read_part(path)


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"coverage": [["2026-11-02", "2026-11-01"]]}, {"coverage": 7}, {"fetched_at": "soon"}, None],
)
def test_a_footer_of_another_version_or_malformed_is_refused(tmp_path: Path, change: dict[str, object] | None) -> None:
    path = stored(tmp_path)
    read = pq.read_table(path)
    footer = json.loads(read.schema.metadata[b"workbench"])
    text = "no json" if change is None else json.dumps(footer | change)
    pq.write_table(read.replace_schema_metadata({"workbench": text}), path)

    with pytest.raises(CorruptPart, match="its footer is malformed"):
        read_info(path)
