from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from workbench.errors import CorruptPart, StoreError
from workbench.market.bars import COLUMNS, to_table
from workbench.market.coverage import Interval
from workbench.store import many
from workbench.store.footer import Provenance
from workbench.store.parts import ALWAYS
from workbench.store.series import Series

IB = Provenance("IB", "TRADES", use_rth=True)
BEGIN, END = datetime(2025, 12, 30, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)


def bars(price: float, days: int = 60) -> pd.DataFrame:
    index = pd.date_range("2025-12-01", periods=days, tz="UTC", unit="us")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), index=index)
    return frame.assign(volume=np.arange(days) * 1.0)


@pytest.fixture
def series(tmp_path: Path) -> dict[str, Series]:
    found = {name: Series.at(tmp_path / name / "1min.parquet") for name in ("SPY", "AAPL", "KO")}
    for price, name in enumerate(("AAPL", "SPY"), 1):
        save(found[name], bars(float(price)))
    return found


def save(series: Series, frame: pd.DataFrame) -> None:
    with series.lock():
        series.save(to_table(frame), IB, None)


def one_by_one(series: dict[str, Series], begin: datetime, end: datetime) -> list[tuple[object, ...]]:
    loaded = [(name, row) for name, one in series.items() for row in one.load(begin, end, COLUMNS).to_pylist()]
    return [(name, *row.values()) for name, row in loaded]


def test_many_series_are_what_each_is_by_itself_in_the_order_asked_for(series: dict[str, Series]) -> None:
    frame = many.load(series, BEGIN, END, COLUMNS)

    assert frame.columns == ["symbol", "timestamp", *COLUMNS]
    assert frame.rows() == one_by_one(series, BEGIN, END)
    assert frame["symbol"].to_list() == ["SPY"] * 4 + ["AAPL"] * 4
    assert many.load(series, *ALWAYS, ["close"]).height == 120
    assert many.load(series, BEGIN, END, ["volume", "close"]).columns == ["symbol", "timestamp", "volume", "close"]


@pytest.mark.parametrize("names", [[], ["KO"]])
def test_nothing_stored_is_a_frame_without_rows_that_has_the_columns(
    series: dict[str, Series], names: list[str]
) -> None:
    frame = many.load({name: series[name] for name in names}, BEGIN, END, ["close"])

    assert frame.schema == many.load(series, BEGIN, END, ["close"]).schema
    assert frame.height == 0
    assert many.scan({name: series[name] for name in names}) is None


def test_a_scan_has_all_bars_and_takes_filters(series: dict[str, Series]) -> None:
    scanned = many.scan(series)

    assert scanned is not None
    assert scanned.filter(pl.col("timestamp") >= END).select(pl.len()).collect().item() == 2 * 27
    assert scanned.filter(pl.col("symbol") == "SPY").select("close").collect()["close"].unique().to_list() == [2.0]


def test_a_save_in_the_midst_of_reading_is_not_seen_in_half(
    series: dict[str, Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save comes after polars has read the files, then before: it is read one by one, and all of it is there."""
    read = many._read

    def interrupted(*arguments: object) -> pl.DataFrame:
        frame = read(*arguments)  # type: ignore[arg-type]
        if not done:
            done.append(True)
            save(series["SPY"], bars(9.0))
        return frame

    done: list[bool] = []
    monkeypatch.setattr(many, "_read", interrupted)

    frame = many.load(series, BEGIN, END, ["close"])

    assert frame.filter(pl.col("symbol") == "SPY")["close"].to_list() == [9.0] * 4
    assert frame.rows() == [(*row[:2], row[5]) for row in one_by_one(series, BEGIN, END)]


def test_parts_that_are_folded_in_the_midst_of_reading_are_read_once(
    series: dict[str, Series], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, scan = many.load(series, *ALWAYS, ["close"]), many._files

    def interrupted(*arguments: object) -> pl.LazyFrame:
        scanned = scan(*arguments)  # type: ignore[arg-type]
        with series["SPY"].lock():
            series["SPY"].fold()
        return scanned

    monkeypatch.setattr(many, "_files", interrupted)

    assert many.load(series, *ALWAYS, ["close"]).equals(expected)
    assert [part.path.name for part in series["SPY"].parts()] == ["2025.parquet", "2026-01.parquet"]


@pytest.mark.parametrize("keep", [-4, 40])
def test_a_part_that_cannot_be_read_is_named(series: dict[str, Series], keep: int) -> None:
    path = series["SPY"].parts()[0].path
    data = path.read_bytes()
    path.write_bytes(data[:keep] if keep < 0 else data[:4] + b"\xff" * keep + data[4 + keep :])

    with pytest.raises(CorruptPart, match=r"SPY/1min.parquet/2025-12\.parquet"):
        many.load(series, BEGIN, END, ["close"])
    assert many.load(series, END, ALWAYS[1], ["close"]).height == 2 * 27


def test_lost_bars_are_an_error_where_they_are_asked_for(series: dict[str, Series]) -> None:
    path = series["SPY"].parts()[0].path
    path.write_bytes(path.read_bytes()[:-4])
    with series["SPY"].lock():
        series["SPY"].save(to_table(bars(2.0).iloc[:0]), IB, Interval(END, END + timedelta(days=1)))

    with pytest.raises(CorruptPart, match="were set aside"):
        many.load(series, BEGIN, END, ["close"])
    with pytest.raises(StoreError, match="were set aside"):
        many.scan(series)
    assert many.load(series, END, ALWAYS[1], ["close"]).height == 2 * 27 - 1


def test_a_flipped_bit_is_an_error_that_names_the_file_never_another_price(series: dict[str, Series]) -> None:
    expected, path = many.load(series, *ALWAYS, COLUMNS), series["SPY"].parts()[0].path
    whole, errors = path.read_bytes(), 0

    for number, at in enumerate(range(4, len(whole), len(whole) // 60)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        os.utime(path, ns=(number, number))  # the clock of the file system may not tell such quick writes apart
        for read in (lambda: many.load(series, *ALWAYS, COLUMNS), lambda: many.scan(series)):
            try:
                frame = read().lazy().select(expected.columns).collect()  # type: ignore[union-attr]
                assert frame.sort("symbol", "timestamp").equals(expected.sort("symbol", "timestamp")), at
            except CorruptPart as error:
                errors += "2025-12.parquet" in str(error) and "workbench check 'SPY' -t 1min --fix" in str(error)
            except pl.exceptions.PolarsError:  # of a scan: polars is stricter about footers
                assert at > len(whole) // 4

    assert errors > 60
