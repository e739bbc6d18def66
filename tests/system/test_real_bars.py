"""Real bars, replayed by the gateway's own command, fetched by the real ib_insync, stored, and compared row by row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from workbench.ib.backfill import download_historical_universe
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.store.historical import HistoricalDataManager

BAD_PRINTS = {("AAPL", "1day"): 3, ("SPY", "1hour"): 2}
"""How many bars of the source stick out so far that they are held back."""
COLUMNS = ["open", "high", "low", "close", "volume"]


@dataclass(frozen=True)
class Desk:
    """A connection to the replay of one timeframe, and the two stores that are filled from it."""

    ib: IBDataManager
    timeframe: str
    regular: HistoricalDataManager
    extended: HistoricalDataManager
    source: Path

    def filled(self, symbol: str, since: str, until: str, *, use_rth: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the stored bars and the source's, after a backfill that left nothing out but bad prints."""
        store = self.regular if use_rth else self.extended
        report = download_historical_universe(
            self.ib, store, [symbol], [self.timeframe], since=since, until=until, use_rth=use_rth, progress=False
        )
        assert not report.failed
        held_back, source = store.review.of(symbol, self.timeframe, "TRADES"), self.bars(symbol, self.timeframe)
        assert len(held_back) == BAD_PRINTS.get((symbol, self.timeframe), 0)
        source = source[~source.index.isin(held_back["timestamp"])]
        return store.load_bars(symbol, self.timeframe, columns=COLUMNS), source

    def bars(self, symbol: str, timeframe: str) -> pd.DataFrame:
        """Return bars of the source."""
        source = pd.read_parquet(self.source / symbol / f"{timeframe}.parquet").set_index("timestamp")
        return source[COLUMNS].astype("float64")


def desk_of(timeframe: str, source: Path, folder: Path, *, start: str = "2026-11-20T17:00") -> Iterator[Desk]:
    """Replay the files of one timeframe alone: beside shorter ones they would be made of these."""
    for path in source.glob(f"*/{timeframe}.parquet"):
        (folder / "tape" / path.parent.name).mkdir(parents=True)
        (folder / "tape" / path.parent.name / path.name).symlink_to(path)
    command = [sys.executable, "-m", "workbench", "gateway", "--port", "0", "--tape", str(folder / "tape")]
    command += ["--start", start]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as gateway:
        assert gateway.stdout is not None
        port = int(gateway.stdout.readline().split("127.0.0.1:")[1].split()[0])
        try:
            with IBDataManager(IBConnectionConfig(port=port)) as ib:
                stores = (HistoricalDataManager(folder / name) for name in ("regular", "extended"))
                yield Desk(ib, timeframe, *stores, source)
        finally:
            gateway.terminate()
            assert gateway.wait(10) == 0


@pytest.fixture(scope="module")
def minutes(real_bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    yield from desk_of("1min", real_bars / "lean", tmp_path_factory.mktemp("minutes"))


@pytest.fixture(scope="module")
def fives(real_bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    # IB keeps bars so short for six months, and older ones are not asked for.
    folder = tmp_path_factory.mktemp("fives")
    yield from desk_of("5sec", real_bars / "lean", folder, start="2013-10-15T09:00")


@pytest.fixture(scope="module")
def hours(real_bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    yield from desk_of("1hour", real_bars / "lean", tmp_path_factory.mktemp("hours"))


@pytest.fixture(scope="module")
def days(real_bars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    yield from desk_of("1day", real_bars / "lean", tmp_path_factory.mktemp("days"))


def in_regular_hours(bars: pd.DataFrame, sessions: Path) -> pd.DataFrame:
    """Return the bars within the sessions that the data set's own list gives."""
    hours = pd.read_csv(sessions, parse_dates=["open_utc", "close_utc"])
    spans = pd.IntervalIndex.from_arrays(hours["open_utc"], hours["close_utc"], closed="left")
    return bars[spans.get_indexer(bars.index) >= 0]


@pytest.mark.parametrize("symbol", ["SPY", "BAC"])
def test_one_minute_bars_equal_the_source_row_by_row(minutes: Desk, symbol: str) -> None:
    stored, source = minutes.filled(symbol, "2013-10-01", "2013-10-15", use_rth=False)

    assert len(source) == {"SPY": 4839, "BAC": 3466}[symbol]
    pd.testing.assert_frame_equal(stored, source, check_exact=True)


@pytest.mark.parametrize("symbol", ["SPY", "BAC"])
def test_one_minute_bars_of_regular_hours_equal_the_source_row_by_row(
    minutes: Desk, real_bars: Path, symbol: str
) -> None:
    stored, source = minutes.filled(symbol, "2013-10-01", "2013-10-15", use_rth=True)

    pd.testing.assert_frame_equal(stored, in_regular_hours(source, real_bars / "sessions.csv"), check_exact=True)
    assert len(stored) == 6 * 390


@pytest.mark.parametrize("symbol", ["SPY", "BAC"])
def test_five_second_bars_equal_the_source_row_by_row(fives: Desk, symbol: str) -> None:
    """In regular hours those of the source that have no gaps, before and after them those that have."""
    stored, traded = fives.filled(symbol, "2013-10-07", "2013-10-12", use_rth=False)
    dense = fives.bars(symbol, "5sec_rth_dense")

    regular = stored.index.isin(dense.index)
    pd.testing.assert_frame_equal(stored[regular], dense, check_exact=True)
    pd.testing.assert_frame_equal(stored[~regular], traded[~traded.index.isin(dense.index)], check_exact=True)


@pytest.mark.parametrize("symbol", ["SPY", "AAPL"])
def test_daily_bars_since_1998_equal_the_source_row_by_row(days: Desk, symbol: str) -> None:
    stored, source = days.filled(symbol, "1998-01-01", "2021-04-01", use_rth=True)

    assert len(source) == 5849 - BAD_PRINTS.get((symbol, "1day"), 0)
    pd.testing.assert_frame_equal(stored, source, check_exact=True)


def test_hourly_bars_since_1998_equal_the_source_row_by_row(hours: Desk) -> None:
    """All hours: the source has late prints after early closes, which regular hours leave out."""
    stored, source = hours.filled("SPY", "1998-01-01", "2021-04-01", use_rth=False)

    assert len(source) == 40832 - 2
    pd.testing.assert_frame_equal(stored, source, check_exact=True)


def test_hourly_bars_of_regular_hours_keep_the_clock_over_dst_and_half_days(hours: Desk) -> None:
    stored, source = hours.filled("SPY", "1998-01-01", "2021-04-01", use_rth=True)
    wall = pd.Series(stored.index.tz_convert("America/New_York"), index=stored.index)
    starts, dates = wall.dt.strftime("%H:%M"), wall.dt.date
    full = ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]

    assert set(starts) == set(full)
    assert len(set(dates)) == 5849
    for label in ("2019-11-29", "2020-11-27", "1998-12-24", "2013-07-03"):  # half days
        assert list(starts[dates == pd.Timestamp(label).date()]) == full[:4]
    for label in ("2007-03-12", "2006-04-03", "2020-03-09", "2020-11-02"):  # the day after a DST switch
        assert list(starts[dates == pd.Timestamp(label).date()]) == full
    late_prints = source.index.difference(stored.index)
    assert len(late_prints) == 47
    assert set(late_prints.tz_convert("America/New_York").hour) == {13, 14, 15}
    pd.testing.assert_frame_equal(stored, source.loc[stored.index], check_exact=True)


def test_the_half_day_of_an_index_is_whole(minutes: Desk) -> None:
    stored, source = minutes.filled("SPX", "2023-07-01", "2023-07-05", use_rth=True)

    half_day = source[source.index >= "2023-07-03"]
    assert len(half_day) == 210  # 09:30 to 13:00
    pd.testing.assert_frame_equal(stored, half_day, check_exact=True)
