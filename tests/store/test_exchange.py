"""What a file says is understood, or an error that names the file and the row; what is exported comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pandas as pd
import polars as pl
import pytest

from workbench.errors import InvalidBars, InvalidInput, SourceMismatch, StoreError
from workbench.market.timeframes import TIMEFRAMES
from workbench.store.exchange import Layout, export, find_files, save, understand
from workbench.store.historical import HistoricalDataManager

MINUTE, DAY = TIMEFRAMES["1min"], TIMEFRAMES["1day"]
NEW_YORK = "America/New_York"


def written(folder: Path, text: str, name: str = "aapl.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def minutes(*stamps: str, volume: str = "100") -> str:
    return "timestamp,open,high,low,close,volume\n" + "".join(f"{one},10,11,9,10.5,{volume}\n" for one in stamps)


@pytest.mark.parametrize(
    ("stamps", "zone", "marks", "first"),
    [
        (("2026-11-20 09:31", "2026-11-20 09:32"), NEW_YORK, "end", "2026-11-20T14:30:00+00:00"),
        (("2026-11-20 09:30", "2026-11-20 09:31"), NEW_YORK, "start", "2026-11-20T14:30:00+00:00"),
        (("2026-07-20 09:30", "2026-07-20 09:31"), NEW_YORK, "start", "2026-07-20T13:30:00+00:00"),
        (("2026-11-20T14:30:00Z", "2026-11-20T14:31:00Z"), NEW_YORK, "start", "2026-11-20T14:30:00+00:00"),
        (("2026-11-20 14:31", "2026-11-20 14:30"), "UTC", "start", "2026-11-20T14:30:00+00:00"),  # newest first
    ],
)
def test_times_are_the_starts_of_bars_in_utc(
    tmp_path: Path, stamps: tuple[str, ...], zone: str, marks: Literal["start", "end"], first: str
) -> None:
    (found,) = understand(written(tmp_path, minutes(*stamps)), Layout(MINUTE, zone, marks))

    assert found.symbol == "AAPL"
    assert found.bars.index[0].isoformat() == first
    assert (found.bars.index[1] - found.bars.index[0]).total_seconds() == 60


def test_a_daily_bar_is_its_date_whatever_the_zone(tmp_path: Path) -> None:
    text = "Date,Open,High,Low,Close,Vol\n2026-11-19,10,11,9,10.5,100\n2026-11-20,10,11,9,10.5,100\n"

    (found,) = understand(written(tmp_path, text), Layout(DAY, NEW_YORK, columns={"volume": "Vol"}))

    assert [stamp.isoformat() for stamp in found.bars.index] == [f"2026-11-{n}T00:00:00+00:00" for n in (19, 20)]


def test_the_symbol_comes_from_a_column_the_folder_the_file_or_the_caller(tmp_path: Path) -> None:
    day = "date,open,high,low,close,volume"
    by_column = written(tmp_path, f"{day},ticker\n2026-11-20,1,1,1,1,5,KO\n2026-11-20,2,2,2,2,5,PEP\n", "all.csv")
    by_folder = written(tmp_path, f"{day}\n2026-11-20,1,1,1,1,5\n", "MSFT/1day.csv")

    assert [(one.symbol, one.bars["close"].tolist()) for one in understand(by_column, Layout(DAY))] == [
        ("KO", [1.0]),
        ("PEP", [2.0]),
    ]
    assert understand(by_folder, Layout(DAY))[0].symbol == "MSFT"
    assert understand(by_folder, Layout(DAY, symbol="IBM"))[0].symbol == "IBM"
    assert find_files(tmp_path) == [by_folder, by_column]


@pytest.mark.parametrize(
    ("text", "zone", "says"),
    [
        (minutes("2026-11-20 09:30"), "", "no time zone"),
        (minutes("2026-11-01 01:30"), NEW_YORK, "does not exist once"),
        (minutes("2026-11-20 14:30", "soon"), "UTC", "cannot be read"),
        (minutes("2026-11-20 14:30", volume="many"), "UTC", "row 0: 'many' under volume"),
        (minutes("2026-11-20 14:30", "2026-11-20 14:30"), "UTC", "row 1 .*same timestamp"),
        (minutes("2026-11-20 14:30:10"), "UTC", "row 0 .*is not where a 1min bar starts"),
        ("time,price\n2026-11-20 14:30,1\n", "UTC", "not found: open, high, low, close, volume"),
        (minutes("2026-11-20 14:30", volume=""), "UTC", "row 0 .*volume"),
    ],
)
def test_what_cannot_be_understood_names_the_file_and_the_row(tmp_path: Path, text: str, zone: str, says: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(InvalidInput, match=says) as raised:
        understand(path, Layout(MINUTE, zone))

    assert str(path) in str(raised.value)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_what_is_exported_is_imported_bit_for_bit(tmp_path: Path, kind: Literal["csv", "parquet"]) -> None:
    store = HistoricalDataManager(tmp_path / "one")
    index = pd.DatetimeIndex(["2026-11-19 14:30Z", "2026-11-20 14:30Z"]).as_unit("us")
    frame = pd.DataFrame(
        {"open": 0.1 + 0.2, "high": 1 / 3 + 1, "low": 0.1, "close": 0.7, "volume": 1e9 / 3}, index=index
    )
    store.save_bars("AAPL", "1min", frame, source="IB")

    ((path, count),) = export(store, ["AAPL"], "1min", tmp_path / "out", kind=kind, start="2026-11-20")
    (found,) = understand(path, Layout(MINUTE))
    again = HistoricalDataManager(tmp_path / "two")
    save(again, found, MINUTE)

    assert (found.symbol, count, again.source) == ("AAPL", 1, "import")
    pd.testing.assert_frame_equal(
        again.load_bars("AAPL", "1min"), store.load_bars("AAPL", "1min", start="2026-11-20"), check_exact=True
    )


def test_trades_and_midpoints_of_a_symbol_are_exported_into_files_of_their_own_and_come_back_apart(
    tmp_path: Path,
) -> None:
    store, again = HistoricalDataManager(tmp_path / "one"), HistoricalDataManager(tmp_path / "two")
    (found,) = understand(written(tmp_path, minutes("2026-11-20 14:30")), Layout(MINUTE, "UTC"))
    store.save_bars("AAPL", "1min", found.bars, source="IB")
    store.save_bars("AAPL", "1min", found.bars - 0.25, source="IB", what_to_show="MIDPOINT")
    out = tmp_path / "out"

    for price in ("TRADES", "MIDPOINT"):
        list(export(store, ["AAPL"], "1min", out, what_to_show=price))
    for path in find_files(out):
        (one,) = understand(path, Layout(MINUTE))
        save(again, one, MINUTE)

    assert [path.name for path in find_files(out)] == ["AAPL_1min-MIDPOINT.parquet", "AAPL_1min.parquet"]
    for price in ("TRADES", "MIDPOINT"):
        loaded = [one.load_bars("AAPL", "1min", what_to_show=price) for one in (store, again)]
        pd.testing.assert_frame_equal(*loaded, check_exact=True)


def test_a_file_of_midpoints_is_not_taken_for_trades(tmp_path: Path) -> None:
    path = written(tmp_path, minutes("2026-11-20 14:30"), "AAPL_1min-MIDPOINT.csv")

    with pytest.raises(InvalidInput, match="holds MIDPOINT, as its name tells, not TRADES"):
        understand(path, Layout(MINUTE, "UTC", what_to_show="TRADES"))


def test_imported_bars_never_mix_with_those_of_another_source(tmp_path: Path) -> None:
    store = HistoricalDataManager(tmp_path / "one")
    (found,) = understand(written(tmp_path, minutes("2026-11-20 14:30")), Layout(MINUTE, "UTC"))
    store.save_bars("MSFT", "1min", found.bars, source="IB")

    with pytest.raises(SourceMismatch):
        save(store, found, MINUTE)

    assert store.load_bars("AAPL", "1min").empty


@pytest.mark.parametrize("where", ["", "stocks/KO/1min.parquet", "stocks/KO/1min.parquet/2026-11.parquet"])
def test_a_part_of_a_store_is_not_taken_for_the_bars_of_a_symbol_called_2026(tmp_path: Path, where: str) -> None:
    found = understand(written(tmp_path, minutes("2026-11-20 14:30"), "KO.csv"), Layout(TIMEFRAMES["1min"], "UTC"))
    save(HistoricalDataManager(tmp_path / "store"), found[0], TIMEFRAMES["1min"])
    with pytest.raises(InvalidInput, match=r"2026-11.parquet is part of a store of the workbench"):
        find_files(tmp_path / "store" / where)


def test_an_export_of_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing is stored of AAPL"):
        list(export(HistoricalDataManager(tmp_path / "one"), ["AAPL"], "1min", tmp_path / "out"))


def test_the_row_that_is_named_is_the_one_that_is_wrong(tmp_path: Path) -> None:
    text = (
        minutes("2026-11-20 14:30", "2026-11-20 14:31") + "2026-11-20 14:32,10,11,9,ten,1\n2026-11-20 14:33,1,1,1,x,1\n"
    )

    with pytest.raises(InvalidBars, match="row 2: 'ten' under close"):
        understand(written(tmp_path, text), Layout(MINUTE, "UTC"))


def test_offsets_that_change_with_the_clocks_are_one_time_line(tmp_path: Path) -> None:
    text = minutes("2026-03-06 09:30:00-05:00", "2026-03-09 09:30:00-04:00")

    (found,) = understand(written(tmp_path, text), Layout(MINUTE))

    assert [one.isoformat() for one in found.bars.index] == ["2026-03-06T14:30:00+00:00", "2026-03-09T13:30:00+00:00"]


def test_the_date_of_a_daily_bar_is_the_one_that_is_written_before_its_zone(tmp_path: Path) -> None:
    text = minutes("2026-03-06T00:00:00+09:00", "2026-03-09T00:00:00+0900", "2026-03-10 00:00:00Z", "2026-03-11")

    (found,) = understand(written(tmp_path, text), Layout(DAY))

    assert [f"{one:%m-%d %H:%M}" for one in found.bars.index] == [f"03-{day} 00:00" for day in ("06", "09", "10", "11")]


def test_times_with_and_without_a_zone_are_not_mixed(tmp_path: Path) -> None:
    text = minutes("2026-11-20 09:30:00", "2026-11-20 09:31:00-05:00")

    with pytest.raises(InvalidBars, match="some of its times have a time zone and some have none"):
        understand(written(tmp_path, text), Layout(MINUTE, NEW_YORK))


@pytest.mark.parametrize("mark", [";", "\t"])
def test_columns_may_be_parted_by_other_marks_and_a_byte_order_mark_is_none_of_them(tmp_path: Path, mark: str) -> None:
    text = "\ufeff" + minutes("2026-11-20T14:30Z").replace(",", mark)

    (found,) = understand(written(tmp_path, text), Layout(MINUTE))

    assert found.bars.iloc[0].tolist()[:5] == [10, 11, 9, 10.5, 100]


def test_a_decimal_comma_is_never_taken_for_a_number(tmp_path: Path) -> None:
    text = minutes("2026-11-20T14:30Z").replace(",", ";").replace("10.5", "10,5")

    with pytest.raises(InvalidBars, match="row 0: '10,5' under close is no number"):
        understand(written(tmp_path, text), Layout(MINUTE))


def test_dates_and_times_of_day_in_two_columns_are_one_time(tmp_path: Path) -> None:
    for header, day in (("Date,Time", "2026-11-20"), ("<DATE>,<TIME>", "20261120")):
        text = f"{header},open,high,low,close,volume\n{day},09:30,10,11,9,10.5,100\n{day},09:31:00,10,11,9,10.5,100\n"

        (found,) = understand(written(tmp_path, text), Layout(MINUTE, NEW_YORK))

        assert [f"{stamp:%H:%M}" for stamp in found.bars.index] == ["14:30", "14:31"]


@pytest.mark.parametrize("time", ["2024", "2024-11", "1700000000", "09:30:00", "20/11/2026"])
def test_what_is_not_a_whole_date_is_refused_with_its_row(tmp_path: Path, time: str) -> None:
    with pytest.raises(InvalidBars, match=f"'{time}' in row 1 does not begin with a date"):
        understand(written(tmp_path, minutes("2026-11-20", time)), Layout(DAY))


def test_numbers_are_no_times(tmp_path: Path) -> None:
    path = tmp_path / "AAPL.parquet"
    prices = {name: [1.0] for name in ("open", "high", "low", "close", "volume")}
    pl.DataFrame({"timestamp": [1_700_000_000], **prices}).write_parquet(path)

    with pytest.raises(InvalidBars, match="does not begin with a date"):
        understand(path, Layout(MINUTE, "UTC"))


def test_the_end_of_a_daily_bar_is_refused() -> None:
    with pytest.raises(InvalidInput, match="leave --stamps end out"):
        Layout(DAY, stamps="end")


def test_a_price_that_cannot_be_is_refused_with_its_row(tmp_path: Path) -> None:
    text = minutes("2026-11-20 09:30").replace("10,11,9,10.5", "10,1e308,9,10.5")

    with pytest.raises(InvalidBars, match=r"row 0 .* has a price above 1,000,000,000"):
        understand(written(tmp_path, text), Layout(MINUTE, NEW_YORK))
