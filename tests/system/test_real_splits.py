"""Real splits, served back-adjusted by the gateway over TCP, are found and the symbol is rebuilt as one step."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from workbench.errors import BasisMismatch
from workbench.gateway.clock import GatewayClock
from workbench.gateway.replay import ReplayTape
from workbench.gateway.serving import running
from workbench.gateway.splits import SplitTape, read_splits
from workbench.ib.backfill import BackfillReport, download_historical_universe
from workbench.ib.connection import IBDataManager
from workbench.ib.dial import IBConnectionConfig
from workbench.store.historical import HistoricalDataManager
from workbench.store.rebuild import load_events

NEW_YORK = ZoneInfo("America/New_York")
LENGTHS = ("1hour", "1day")


@contextmanager
def ib_at(tape: SplitTape | ReplayTape, text: str) -> Iterator[IBDataManager]:
    """Connect to a gateway that plays a tape from an instant on, in exchange time."""
    clock = GatewayClock(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())
    with running(tape, clock) as gateway, IBDataManager(IBConnectionConfig(gateway.host, gateway.port)) as ib:
        yield ib


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path / "historical")


@pytest.fixture
def aapl(real_bars: Path) -> SplitTape:
    return SplitTape(ReplayTape(real_bars / "lean"), read_splits(real_bars / "splits.csv"))


def fill(
    tape: SplitTape | ReplayTape, store: HistoricalDataManager, symbol: str, at: str, since: str,
    lengths: tuple[str, ...] = LENGTHS,
) -> BackfillReport:  # fmt: skip
    with ib_at(tape, at) as ib:
        return download_historical_universe(ib, store, [symbol], lengths, since=since, progress=False)


def whole(tape: SplitTape, folder: Path, at: str, since: str) -> HistoricalDataManager:
    """Return a store that was filled in one go, at one instant."""
    fresh = HistoricalDataManager(folder)
    assert not fill(tape, fresh, "AAPL", at, since).failed
    return fresh


@pytest.mark.parametrize(
    ("ratio", "since", "before", "after", "later"),
    [
        ("7:1", "2014-04-01", "2014-06-06 20:00", "2014-06-09 20:00", "2014-06-12 20:00"),
        ("4:1", "2020-07-01", "2020-08-28 20:00", "2020-08-31 20:00", "2020-09-03 20:00"),
    ],
)
def test_a_real_split_triggers_exactly_one_rebuild_of_all_timeframes(
    aapl: SplitTape, store: HistoricalDataManager, tmp_path: Path, ratio: str, since: str, before: str, after: str,
    later: str,
) -> None:  # fmt: skip
    assert fill(aapl, store, "AAPL", before, since).notes == ()
    raw = store.load_bars("AAPL", "1day")

    report = fill(aapl, store, "AAPL", after, since, ("1day",))  # one timeframe finds it for all
    again = [fill(aapl, store, "AAPL", at, since) for at in (after, later)]

    assert not report.failed
    assert [ratio in note and "2 series" in note for note in report.notes] == [True]
    assert [one.notes for one in again] == [(), ()]
    assert [(event.ratio, event.series) for event in load_events(store, "AAPL")] == [(ratio, ("1hour", "1day"))]
    at_once = whole(aapl, tmp_path / "whole", later, since)
    for length in LENGTHS:
        assert store.coverage("AAPL", length) == at_once.coverage("AAPL", length)
        pd.testing.assert_frame_equal(
            store.load_bars("AAPL", length), at_once.load_bars("AAPL", length), check_exact=True
        )
    factor = raw["close"] / store.load_bars("AAPL", "1day").loc[raw.index, "close"]
    assert np.allclose(factor, float(ratio.split(":")[0]), rtol=1e-4)


def test_a_series_that_slept_through_both_splits_is_rebuilt_once(aapl: SplitTape, store: HistoricalDataManager) -> None:
    fill(aapl, store, "AAPL", "2014-06-06 20:00", "2014-05-01")

    report = fill(aapl, store, "AAPL", "2020-09-03 20:00", "2014-05-01", ("1day",))

    assert not report.failed
    assert [event.ratio for event in load_events(store, "AAPL")] == ["28:1"]
    closes = store.load_bars("AAPL", "1day")["close"]
    assert np.abs(np.diff(np.log(closes))).max() < 0.15


def test_a_rebuild_that_fails_changes_nothing_and_goes_on_the_next_time(
    aapl: SplitTape, store: HistoricalDataManager
) -> None:
    fill(aapl, store, "AAPL", "2020-08-28 20:00", "2020-07-01")
    before = {length: store.load_bars("AAPL", length) for length in LENGTHS}
    with ib_at(aapl, "2020-08-31 20:00") as ib:
        whole_fetch = ib.fetch_async

        async def no_hours(symbol: str, request: object, **options: object) -> pd.DataFrame:
            if request.timeframe.name == "1hour":  # type: ignore[attr-defined]
                raise BasisMismatch("stands for any failure")
            return await whole_fetch(symbol, request, **options)  # type: ignore[arg-type]

        ib.fetch_async = no_hours  # type: ignore[method-assign, assignment]
        failed = download_historical_universe(ib, store, ["AAPL"], ["1day"], since="2020-07-01", progress=False)

    assert [type(one.error) for one in failed.failed] == [BasisMismatch]
    for length in LENGTHS:
        pd.testing.assert_frame_equal(store.load_bars("AAPL", length), before[length], check_exact=True)
    assert not fill(aapl, store, "AAPL", "2020-08-31 21:00", "2020-07-01").failed
    assert [event.ratio for event in load_events(store, "AAPL")] == ["4:1"]


def ldos(real_bars: Path, folder: Path) -> ReplayTape:
    (folder / "LDOS").mkdir(parents=True)
    shutil.copy(real_bars / "av_daily" / "LDOS" / "1day.parquet", folder / "LDOS")
    return ReplayTape(folder)


def test_a_split_with_a_spin_off_is_reported_and_nothing_is_added(
    real_bars: Path, store: HistoricalDataManager, tmp_path: Path
) -> None:
    """LDOS 2013-09-30: 1:4 with a spin-off moved the price by 0.366; who adjusts for both tells that factor."""
    (tmp_path / "splits.csv").write_text("symbol,date,ratio\nLDOS,2013-09-30,0.366\n")
    tape = SplitTape(ldos(real_bars, tmp_path / "tape"), read_splits(tmp_path / "splits.csv"))
    fill(tape, store, "LDOS", "2013-09-27 20:00", "2013-06-01", ("1day",))
    before, version = store.load_bars("LDOS", "1day"), store.version("LDOS", "1day")

    report = fill(tape, store, "LDOS", "2013-10-02 20:00", "2013-06-01", ("1day",))

    assert [type(one.error) for one in report.failed] == [BasisMismatch]
    assert "0.366" in str(report)
    assert "workbench rebuild" in str(report)
    assert load_events(store, "LDOS") == []
    assert store.version("LDOS", "1day") == version
    pd.testing.assert_frame_equal(store.load_bars("LDOS", "1day"), before, check_exact=True)


def test_bad_prints_in_the_store_are_reported_and_are_no_split(real_bars: Path, store: HistoricalDataManager) -> None:
    """The source's low of AAPL on 2010-08-31 is a bad print; here IB has put it right since."""
    tape = ReplayTape(real_bars / "lean")
    fill(tape, store, "AAPL", "2010-09-03 20:00", "2010-08-02", ("1day",))
    stored = store.load_bars("AAPL", "1day")
    good = stored.copy()
    bad = pd.Timestamp("2010-08-31", tz="UTC")
    if bad not in stored.index:  # the door held it back; it was accepted by hand
        row = pd.read_parquet(real_bars / "lean" / "AAPL" / "1day.parquet").set_index("timestamp").loc[[bad]]
        good = row.astype("float64")
    good.loc[bad, "low"] = good.loc[bad, ["open", "close"]].min()
    store.save_bars("AAPL", "1day", good.loc[[bad]])
    stored = store.load_bars("AAPL", "1day")

    report = fill(tape, store, "AAPL", "2010-09-08 20:00", "2010-08-02", ("1day",))

    assert not report.failed
    assert ["2010-08-31" in note and "1 of" in note for note in report.notes] == [True]
    assert load_events(store, "AAPL") == []
    pd.testing.assert_frame_equal(
        store.load_bars("AAPL", "1day", end="2010-09-03"), stored.loc[:"2010-09-02"], check_exact=True
    )
