from __future__ import annotations

from datetime import timedelta, timezone
from decimal import Decimal
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import InvalidBars
from workbench.market.bars import COLUMNS, INDEX_DTYPE, SCHEMA, broken_rules, empty_bars, to_frame, to_table
from workbench.market.timeframes import parse_timeframe

STARTS = pd.DatetimeIndex(
    [f"2026-11-20 {start}" for start in ("14:30", "14:45", "15:00", "15:15")], tz="UTC", dtype="datetime64[us, UTC]"
)


def bars() -> pd.DataFrame:
    """Return four good bars."""
    return pd.DataFrame(
        {
            "open": [10.0, 11.0, 12.0, 11.5],
            "high": [11.0, 12.5, 12.0, 11.5],
            "low": [9.5, 11.0, 11.0, 11.5],
            "close": [11.0, 12.0, 11.5, 11.5],
            "volume": [100.0, 250.5, 0.0, 7.0],
        },
        index=STARTS,
    )


def with_value(column: str, row: int, value: object) -> pd.DataFrame:
    frame = bars().astype({column: object})
    frame.iloc[row, list(frame.columns).index(column)] = value
    return frame


def test_a_table_has_the_stores_schema_and_gives_the_bars_back() -> None:
    table = to_table(bars())

    assert table.schema == SCHEMA
    pd.testing.assert_frame_equal(to_frame(table)[list(bars().columns)], bars().rename_axis("timestamp"))
    assert to_frame(table)[["average", "bar_count"]].isna().all(axis=None)


def test_no_bars_have_every_column_and_pass() -> None:
    assert list(empty_bars().columns) == list(COLUMNS)
    assert empty_bars().index.dtype == INDEX_DTYPE
    assert to_table(empty_bars()).num_rows == 0
    assert to_table(bars().astype(object).iloc[:0]).num_rows == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.astype({"volume": "int64"}),
        lambda frame: frame.astype("Float64"),
        lambda frame: frame.astype(object),
        lambda frame: frame.map(lambda value: Decimal(str(value))),
        lambda frame: frame[["volume", "close", "low", "high", "open"]],
        lambda frame: frame.rename_axis("date"),
        lambda frame: frame.tz_convert("America/New_York"),
        lambda frame: frame.tz_convert(timezone(timedelta(hours=-5))),
        lambda frame: frame.set_axis(frame.index.as_unit("ns")),
        lambda frame: frame.set_axis(frame.index.as_unit("s")),
    ],
    ids=["int", "nullable", "object", "Decimal", "order", "index name", "zone", "offset", "ns", "s"],
)
def test_the_same_bars_in_another_dress_are_the_same_table(change: object) -> None:
    frame = bars().assign(volume=[100.0, 250.0, 0.0, 7.0])

    assert to_table(change(frame)).equals(to_table(frame))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("open", None, "no finite number"),
        ("open", pd.NA, "no finite number"),
        ("close", np.nan, "no finite number"),
        ("high", np.inf, "no finite number"),
        ("low", -np.inf, "no finite number"),
        ("low", 0.0, "not positive"),
        ("low", -1.0, "not positive"),
        ("low", 11.75, "low above"),
        ("high", 11.75, "high below"),
        ("volume", -1.0, "negative volume"),
        ("volume", np.nan, "volume that is no finite number"),
        ("volume", np.inf, "volume that is no finite number"),
    ],
)
def test_a_broken_bar_is_refused_with_its_row(column: str, value: object, message: str) -> None:
    with pytest.raises(InvalidBars, match=rf"row 1 \(2026-11-20 14:45:00\+00:00\).*{message}.*Nothing was stored"):
        to_table(with_value(column, 1, value))


@pytest.mark.parametrize("column", ["open", "volume"])
@pytest.mark.parametrize("value", ["10.0", "ten", b"1", True, 1j, pd.Timestamp("2026-01-01"), [1.0]])
def test_what_is_no_number_is_refused_not_guessed(column: str, value: object) -> None:
    with pytest.raises(InvalidBars, match=f"the column {column} holds something that is no number"):
        to_table(bars().assign(**{column: pd.Series([value] * 4, index=STARTS)}))


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(InvalidBars, match="the column volume"):
        to_table(with_value("volume", 0, 10**400))


@pytest.mark.parametrize(("name", "value"), [("average", np.inf), ("average", -1.0), ("bar_count", -1.0)])
def test_an_optional_number_is_missing_or_sound(name: str, value: float) -> None:
    column = pd.Series([1.0, np.nan, 2.0, value], index=STARTS)

    with pytest.raises(InvalidBars, match=f"row 3 .*{name}"):
        to_table(bars().assign(**{name: column}))
    assert to_table(bars().assign(**{name: column.where(column == column.abs(), np.nan).replace(np.inf, 3.0)}))


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (STARTS[[0, 1, 1, 2]], "row 2 .*same timestamp as the row before"),
        (STARTS[[0, 2, 1, 3]], "row 2 .*must be sorted"),
        (STARTS[::-1], "row 1 .*2 more rows like it"),
        (pd.DatetimeIndex([STARTS[0], pd.NaT, *STARTS[2:]]), "row 1 .*has no timestamp"),
        (STARTS.as_unit("ns") + pd.to_timedelta([0, 1, 0, 0], "ns"), "row 1 .*finer than a microsecond"),
        (STARTS + pd.Timedelta(days=90_000), "row 0 .*outside of the years"),
        (STARTS.tz_localize(None), r"no time zone.*tz_localize\('America/New_York'\)"),
        (pd.RangeIndex(4), "the index holds int64"),
        (pd.Index(["2026-11-20T14:30Z"] * 4), "the index holds"),
    ],
)
def test_a_broken_index_is_refused(index: pd.Index, message: str) -> None:
    with pytest.raises(InvalidBars, match=message):
        to_table(bars().set_axis(index))


def test_a_frame_of_another_shape_is_refused() -> None:
    frame = bars()

    for wrong, message in [
        (frame.drop(columns=["low", "volume"]), "columns low, volume are missing"),
        (frame.assign(barCount=1), "no column barCount"),
        (pd.concat([frame, frame[["open"]]], axis=1), "a column occurs twice"),
        (pd.concat({"AAPL": frame}, axis=1).swaplevel(axis=1), "no column"),
        (frame.iloc[:0].tz_localize(None), "no time zone"),
        ([1, 2], "as a pandas DataFrame, not as list"),
    ]:
        with pytest.raises(InvalidBars, match=message):
            to_table(wrong)


@pytest.mark.parametrize(
    ("start", "timeframe", "fits"),
    [
        ("2026-11-20 14:30:05", "5sec", True),
        ("2026-11-20 14:30:03", "5sec", False),
        ("2026-11-20 14:31", "1min", True),
        ("2026-11-20 14:31", "5min", False),
        ("2026-11-20 14:30", "1hour", True),
        ("2026-11-20 15:00", "1hour", True),
        ("2026-11-20 15:30", "1hour", False),  # 10:30 in New York, half an hour off the clock
        ("2026-07-20 13:30", "1hour", True),
        ("2026-07-20 14:30", "1hour", False),
        ("2026-11-20 14:31", "4hour", False),
        ("2026-11-20 14:30", "4hour", True),
        ("2026-11-20 17:00", "4hour", True),  # by the clock
        ("2026-11-20 18:30", "4hour", True),  # from the open on
        ("2026-11-20 18:00", "4hour", False),
        ("2026-11-20 09:00", "4hour", True),  # before hours
        ("2026-11-20 14:37", "15min", False),
        ("2026-11-20", "1day", True),
        ("2026-11-20 05:00", "1day", False),
        ("1998-01-02", "1day", True),
        ("1962-01-02", "1day", True),
    ],
)
def test_bars_start_on_the_grid_of_their_timeframe(start: str, timeframe: str, fits: bool) -> None:
    frame = bars().iloc[:1].set_axis(pd.DatetimeIndex([start], tz="UTC"))

    if fits:
        assert to_table(frame, parse_timeframe(timeframe)).num_rows == 1
    else:
        with pytest.raises(InvalidBars, match=f"row 0 .*not where a {timeframe} bar starts"):
            to_table(frame, parse_timeframe(timeframe))


ODD = (np.nan, np.inf, -np.inf, -1.0, 0.0, 9.5, 11.0, 12.5, 1e9, 2e9, 1.8e308)
DAYS = ("1899-12-31", "2026-11-20", "2026-11-21", "2199-12-31", "2200-01-01", None)


def is_refused_if_broken(frame: pd.DataFrame) -> None:
    if broken_rules(frame, parse_timeframe("5sec")):
        with pytest.raises(InvalidBars):
            to_table(frame, parse_timeframe("5sec"))
    else:
        assert to_table(frame, parse_timeframe("5sec")).num_rows == len(frame)


@pytest.mark.parametrize("column", COLUMNS)
def test_bars_are_refused_when_some_rule_is_broken_and_only_then(column: str) -> None:
    for row, value in product(range(4), ODD):
        frame = bars().assign(average=11.0, bar_count=5.0)
        frame.iloc[row, list(frame.columns).index(column)] = value
        is_refused_if_broken(frame)
        whole = frame.assign(**dict.fromkeys(("open", "high", "low", "close"), value))  # all prices as odd
        is_refused_if_broken(whole)


def test_stamps_are_refused_when_some_rule_is_broken_and_only_then() -> None:
    for days in product(DAYS, repeat=3):
        is_refused_if_broken(bars().iloc[:3].set_axis(pd.DatetimeIndex(days, tz="UTC").as_unit("us")))


def test_bars_are_not_changed_by_being_checked() -> None:
    frame = bars().tz_convert("America/New_York")
    before = frame.copy(deep=True)

    to_table(frame)

    pd.testing.assert_frame_equal(frame, before)


def test_every_real_bar_passes_and_comes_back_bit_for_bit(real_bars: Path) -> None:
    files = sorted(
        path
        for path in real_bars.glob("*/*/*.parquet")
        if path.stem in {"5sec", "1min", "15min", "1hour", "1day"} and path.parts[-3] != "av_daily"
    )
    assert len(files) > 20

    for path in files:
        frame = pd.read_parquet(path).set_index("timestamp")
        back = to_frame(to_table(frame, parse_timeframe(path.stem)))
        pd.testing.assert_frame_equal(back[list(frame.columns)], frame.astype("float64"), check_exact=True)
