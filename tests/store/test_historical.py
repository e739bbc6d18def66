from __future__ import annotations

import logging
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from workbench.errors import (
    CorruptPart,
    InvalidBars,
    InvalidInput,
    InvalidInterval,
    InvalidSymbol,
    SourceMismatch,
    StoreError,
    UnknownTimeframe,
)
from workbench.market.contracts import Contract
from workbench.market.coverage import Coverage, Interval
from workbench.market.universe import Universe
from workbench.store.database import DatabaseManager
from workbench.store.historical import HistoricalDataManager

OWN_HOURS = Universe(
    [Contract("AAPL", kind="index"), Contract("CON", kind="index"), Contract("SPY", kind="index", folder="indices")]
)
"""The bars here keep no session's hours."""


def bars(start: str = "2025-12-31 20:30", count: int = 10, price: float = 10.0) -> pd.DataFrame:
    """Return bars of a quarter of an hour, without a pause, over New Year."""
    index = pd.date_range(start, periods=count, freq="6h", tz="UTC", unit="us")
    return pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), price), index=index)


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path / "data", universe=OWN_HOURS)


def test_bars_lie_where_the_specification_puts_them(store: HistoricalDataManager) -> None:
    store.save_bars("AAPL", "15min", bars())
    store.save_bars("SPY", "15min", bars())
    store.save_bars("AAPL", "15min", bars(), what_to_show="MIDPOINT")

    found = sorted(path.relative_to(store.data_dir).as_posix() for path in store.data_dir.glob("*/*/*.parquet"))
    assert found == ["indices/SPY/15min.parquet", "stocks/AAPL/15min-MIDPOINT.parquet", "stocks/AAPL/15min.parquet"]


def test_loading_takes_what_lies_in_the_interval_begin_included_end_not(store: HistoricalDataManager) -> None:
    frame = bars()
    store.save_bars("AAPL", "15min", frame)

    loaded = store.load_bars("AAPL", "15min", start=frame.index[2], end=frame.index[5])

    assert list(loaded.index) == list(frame.index[2:5])


def test_a_date_is_that_of_the_exchange_and_of_a_daily_bar_its_label(store: HistoricalDataManager) -> None:
    """The bar of 02:30 UTC starts at 21:30 in New York, on the evening before."""
    frame = bars()
    days = frame.iloc[:3].set_axis(pd.date_range("2026-01-06", periods=3, tz="UTC", unit="us"))
    store.save_bars("AAPL", "15min", frame)
    store.save_bars("AAPL", "1day", days)

    assert store.load_bars("AAPL", "15min", "2026-01-01", date(2026, 1, 2)).index.equals(frame.index[2:6])
    assert store.load_bars("AAPL", "1day", "2026-01-07", "2026-01-08").index.equals(days.index[1:2])


@pytest.mark.parametrize("columns", [[], ["close"], ["volume", "close", "open"], ["close", "close"]])
def test_loading_gives_the_columns_in_the_order_asked_for(store: HistoricalDataManager, columns: list[str]) -> None:
    store.save_bars("AAPL", "15min", bars())

    loaded = store.load_bars("AAPL", "15min", columns=columns)

    assert list(loaded.columns) == list(dict.fromkeys(columns))
    assert len(loaded) == 10


def test_a_series_never_stored_is_empty_and_logged(
    store: HistoricalDataManager, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        loaded = store.load_bars("AAPL", "15min")

    assert loaded.empty
    assert list(loaded)[:5] == ["open", "high", "low", "close", "volume"]
    assert "nothing is stored of AAPL" in caplog.text
    assert store.catalog().empty


def test_bad_input_is_refused_and_nothing_is_written(store: HistoricalDataManager) -> None:
    good = bars()

    for wrong, error in [
        (lambda: store.save_bars("../evil", "15min", good), InvalidSymbol),
        (lambda: store.save_bars("AAPL", "15mins", good), UnknownTimeframe),
        (lambda: store.save_bars("AAPL", "1day", good), InvalidBars),
        (lambda: store.save_bars("AAPL", "15min", good[::-1]), InvalidBars),
        (lambda: store.save_bars("AAPL", "15min", good.tz_localize(None)), InvalidBars),
        (lambda: store.save_bars("AAPL", "15min", good, what_to_show="trades"), InvalidInput),
        (lambda: store.save_bars("AAPL", "15min", good, what_to_show="../X"), InvalidInput),
        (lambda: store.load_bars("AAPL", "15min", columns=["date"]), InvalidInput),
        (lambda: store.load_bars("AAPL", "15min", "2026-01-02", "2026-01-01"), InvalidInterval),
        (lambda: store.load_bars("AAPL", "15min", "2026-01-02", "2026-01-02"), InvalidInterval),
        (lambda: store.scan(["AAPL"], "15min"), StoreError),
        (lambda: store.update_historical_data("AAPL", "15min"), StoreError),
    ]:
        with pytest.raises(error):
            wrong()

    assert not store.data_dir.exists()


def test_a_universe_without_contracts_is_one(tmp_path: Path) -> None:
    assert len(HistoricalDataManager(tmp_path, universe=Universe([])).universe) == 0


def test_sources_do_not_mix(store: HistoricalDataManager) -> None:
    store.save_bars("AAPL", "15min", bars(), source="IB")

    with pytest.raises(SourceMismatch):
        store.save_bars("SPY", "15min", bars(), source="replay")
    with pytest.raises(SourceMismatch):
        store.save_bars("AAPL", "15min", bars(), use_rth=False)


def test_updating_asks_whoever_was_handed_in(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    store = HistoricalDataManager(tmp_path, update=lambda *key: asked.append(key))

    store.update_historical_data("AAPL", "15min")

    assert asked == [("AAPL", "15min")]


def test_any_tool_opens_a_series_while_it_is_being_written(store: HistoricalDataManager) -> None:
    store.save_bars("AAPL", "15min", bars(), covers=Interval(bars().index[0], datetime(2028, 1, 1, tzinfo=UTC)))
    folder = store.data_dir / "stocks" / "AAPL" / "15min.parquet"
    (folder.parent / ".15min.parquet-2026-abc.tmp").write_bytes(b"PAR1 half of a part")
    (folder.parent / ".15min.lock").touch()
    expected = store.load_bars("AAPL", "15min").reset_index()

    by_pandas = pd.read_parquet(folder)
    by_polars = pl.read_parquet(folder).to_pandas()
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        by_duckdb = pl.from_arrow(
            connection.sql(f"select * from '{folder}' order by timestamp").to_arrow_table()
        ).to_pandas()  # type: ignore[union-attr]

    assert len(list(folder.iterdir())) == 3  # two with bars, one without
    for frame in (by_pandas, by_polars, by_duckdb):
        assert list(frame["timestamp"]) == list(expected["timestamp"])
        pd.testing.assert_frame_equal(
            frame.drop(columns="timestamp"), expected.drop(columns="timestamp"), check_exact=True
        )


def test_a_scan_joins_symbols_and_leaves_out_what_is_not_stored(store: HistoricalDataManager) -> None:
    store.save_bars("AAPL", "15min", bars(price=10.0))
    store.save_bars(
        "SPY", "15min", bars(price=20.0), covers=Interval(bars().index[0], datetime(2028, 1, 1, tzinfo=UTC))
    )

    scanned = store.scan(["AAPL", "SPY", "XYZ"], "15min").collect()

    assert scanned.group_by("symbol", maintain_order=True).agg(pl.len(), pl.col("close").first()).rows() == [
        ("AAPL", 10, 10.0),
        ("SPY", 10, 20.0),
    ]


def test_the_catalog_tells_what_is_stored(store: HistoricalDataManager) -> None:
    store.save_bars("CON", "15min", bars(), source="IB")

    row = store.catalog().iloc[0]

    assert row[["symbol", "timeframe", "what_to_show", "bars", "source"]].tolist() == [
        "CON", "15min", "TRADES", 10, "IB",
    ]  # fmt: skip
    assert (row["first"], row["last"]) == (bars().index[0], bars().index[-1])


def test_what_is_saved_is_recorded_and_what_is_gone_is_not(tmp_path: Path) -> None:
    frame, everything = bars(), Interval(datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        store = HistoricalDataManager(tmp_path, universe=OWN_HOURS, database=database)

        store.save_bars("AAPL", "15min", frame)
        store.save_bars("AAPL", "15min", frame, what_to_show="BID")
        rows = database.load_series_metadata()
        assert rows[["symbol", "timeframe", "start_date", "end_date", "bar_count"]].to_numpy().tolist() == [
            ["AAPL", "15min", frame.index[0], frame.index[-1], 10]
        ]

        store.save_bars("AAPL", "15min", frame.iloc[:0], covers=everything)
        assert database.load_series_metadata().empty
        assert store.coverage("AAPL", "15min") == Coverage([everything])


def test_a_failing_database_says_that_the_bars_are_stored_and_the_next_save_records_them(tmp_path: Path) -> None:
    with DatabaseManager(f"sqlite:///{tmp_path / 'trading.db'}") as database:
        store = HistoricalDataManager(tmp_path, universe=OWN_HOURS, database=database)
        with database.transaction() as connection:
            connection.exec_driver_sql("alter table coverage rename to mislaid")
        with pytest.raises(StoreError, match="the bars are stored, but not recorded"):
            store.save_bars("AAPL", "15min", bars())

        assert len(store.load_bars("AAPL", "15min")) == 10
        with database.transaction() as connection:
            connection.exec_driver_sql("alter table mislaid rename to coverage")
        assert not store.save_bars("AAPL", "15min", bars()).changed
        assert database.load_series_metadata()["bar_count"].tolist() == [10]


def test_a_corrupt_part_is_named_wherever_it_is_needed_and_not_where_it_is_not(store: HistoricalDataManager) -> None:
    store.save_bars("AAPL", "15min", bars())
    part = store.data_dir / "stocks" / "AAPL" / "15min.parquet" / "2025.parquet"
    part.write_bytes(part.read_bytes()[:-20])

    with pytest.raises(CorruptPart, match=r"2025\.parquet"):
        store.load_bars("AAPL", "15min")
    with pytest.raises(CorruptPart):
        store.coverage("AAPL", "15min")
    assert len(store.load_bars("AAPL", "15min", start="2026-01-01T00:00Z")) == 9


@pytest.mark.parametrize(
    "name",
    ["lean/SPY/1min", "lean/BAC/1min", "lean/BAC/5sec", "lean/SPY/1hour", "lean/AAPL/1day", "lean/SPX/1min",
     "si_spx/SPX/1day", "cboe/VIX/1day", "av2019/PPLT/1min", "av2019/SPY/15min", "nt2011/SPY/1min"],
)  # fmt: skip
def test_real_bars_come_back_bit_for_bit_in_whatever_order_they_were_saved(
    store: HistoricalDataManager, real_bars: Path, name: str
) -> None:
    _, symbol, timeframe = name.split("/")
    frame = pd.read_parquet(real_bars / f"{name}.parquet").set_index("timestamp").astype("float64")
    cut = len(frame) // 3

    for piece in (frame.iloc[cut : 2 * cut + 5], frame.iloc[2 * cut :], frame.iloc[: cut + 7]):
        store.save_bars(symbol, timeframe, piece, use_rth=False)

    loaded = store.load_bars(symbol, timeframe)
    held_back = {"lean/SPY/1hour": 2, "lean/AAPL/1day": 3}.get(name, 0)  # bad prints
    frame = frame[~frame.index.isin(store.review.load()["timestamp"])]
    pd.testing.assert_frame_equal(loaded[list(frame.columns)], frame, check_exact=True)
    assert len(store.review.load()) == held_back
    assert store.catalog()["bars"].tolist() == [len(frame)]


def test_the_version_of_a_series_changes_when_its_bars_do_and_only_then(store: HistoricalDataManager) -> None:
    seen = [store.version("AAPL", "15min")]
    for change in (bars(), bars(price=11.0), bars(start="2026-02-01 20:30")):
        store.save_bars("AAPL", "15min", change)
        seen.append(store.version("AAPL", "15min"))

    store.save_bars("AAPL", "15min", bars(price=11.0))
    store.save_bars("SPY", "15min", bars())

    assert len(set(seen)) == len(seen)
    assert store.version("AAPL", "15min") == seen[-1] == HistoricalDataManager(store.data_dir).version("AAPL", "15min")


def test_what_is_dropped_is_gone_and_not_covered_and_the_rest_stays(store: HistoricalDataManager) -> None:
    frame = bars()
    span = Interval(datetime(2025, 12, 31, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC))
    store.save_bars("AAPL", "15min", frame, covers=span)

    dropped = store.drop_before("AAPL", "15min", frame.index[4].to_pydatetime())

    assert dropped == 4
    assert list(store.load_bars("AAPL", "15min").index) == list(frame.index[4:])
    assert store.coverage("AAPL", "15min") == Coverage([Interval(frame.index[4].to_pydatetime(), span.end)])
    assert store.drop_before("AAPL", "15min", datetime(2027, 1, 1, tzinfo=UTC)) == 6
    assert store.catalog().empty
