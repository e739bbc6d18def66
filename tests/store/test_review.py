"""The door and the review: what is held back is neither stored nor lost, and what is decided holds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InvalidBars, InvalidInput, StoreError
from workbench.market.coverage import Coverage, Interval
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import check_store
from workbench.store.verdict import judge

BEGIN, END = datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 28, tzinfo=UTC)
MARCH = Interval(BEGIN, END)
BAD = 12
NOON = datetime(2026, 3, 18, tzinfo=UTC)
SLOT = Interval(NOON, NOON + timedelta(days=1))
"""The thirteenth session."""


def days(bad: float | None = None) -> pd.DataFrame:
    """Return twenty daily bars at 100 that range by a dollar; `bad` is the low of one of them."""
    index = pd.bdate_range("2026-03-02", periods=20, tz="UTC", unit="us", name="timestamp")
    frame = pd.DataFrame({"open": 100.0, "high": 100.5, "low": 99.5, "close": 100.0, "volume": 1e6}, index=index)
    if bad is not None:
        frame.iloc[BAD, 2] = bad
    return frame


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path / "historical")


def waiting(store: HistoricalDataManager) -> list[datetime]:
    rows = store.review.load()
    return [stamp.to_pydatetime() for stamp in rows.loc[rows["judgement"] == "held back", "timestamp"]]


def test_a_bad_print_is_held_back_the_rest_stored_and_its_time_not_covered(store: HistoricalDataManager) -> None:
    report = store.save_bars("KO", "1day", days(bad=10.59), source="IB", covers=MARCH)

    assert (report.added, report.held_back) == (19, 1)
    assert NOON not in store.load_bars("KO", "1day").index
    assert store.coverage("KO", "1day") == Coverage([Interval(BEGIN, SLOT.begin), Interval(SLOT.end, END)])
    row = store.review.load().iloc[0]
    assert (row["symbol"], row["timeframe"], row["low"], row["source"]) == ("KO", "1day", 10.59, "IB")
    assert "sticks out of the bars beside it" in row["reason"]


def test_a_good_bar_that_is_stored_is_not_replaced_by_one_that_is_held_back(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(), covers=MARCH)

    store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)

    assert store.load_bars("KO", "1day").loc[NOON, "low"] == 99.5


def test_the_bar_alone_is_held_back_again_by_what_is_stored_around_it(store: HistoricalDataManager) -> None:
    """The next backfill asks for just that day, and is told the same."""
    bars = days(bad=10.59)
    store.save_bars("KO", "1day", bars, covers=MARCH)

    report = store.save_bars("KO", "1day", bars.iloc[[BAD]], covers=SLOT)

    assert (report.held_back, report.changed, waiting(store)) == (1, False, [NOON])
    assert store.coverage("KO", "1day").missing(MARCH) == Coverage([SLOT])


@pytest.mark.parametrize("answer", [days().iloc[[BAD]], days().iloc[:0]], ids=["another bar", "no bar"])
def test_another_answer_settles_it(store: HistoricalDataManager, answer: pd.DataFrame) -> None:
    store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)

    store.save_bars("KO", "1day", answer, covers=SLOT)

    assert waiting(store) == []
    assert store.coverage("KO", "1day") == Coverage([MARCH])
    assert len(store.load_bars("KO", "1day")) == 19 + len(answer)


def test_the_newest_bar_after_a_gap_waits_for_its_successor_and_is_then_stored(store: HistoricalDataManager) -> None:
    bars = days()
    bars.iloc[18:, :4] /= 2
    until = bars.index[18] + timedelta(days=1)
    store.save_bars("KO", "1day", bars.iloc[:19], covers=Interval(BEGIN, until))
    assert waiting(store) == [bars.index[18]]

    store.save_bars("KO", "1day", bars.iloc[18:], covers=Interval(bars.index[18], END))

    assert waiting(store) == []
    assert len(store.load_bars("KO", "1day")) == 20


def test_an_accepted_bar_is_stored_covered_and_no_finding(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)
    assert [one.kind for one in check_store(store, as_of=END).findings] == ["held back"]

    assert judge(store, "KO", "1day", "accepted") == 1

    assert store.load_bars("KO", "1day").loc[NOON, "low"] == 10.59
    assert store.coverage("KO", "1day") == Coverage([MARCH])
    assert check_store(store, as_of=END).is_clean


def test_what_was_accepted_passes_again_and_another_bar_of_that_time_does_not(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)
    judge(store, "KO", "1day", "accepted")

    assert store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH).held_back == 0
    assert store.save_bars("KO", "1day", days(bad=10.60), covers=MARCH).held_back == 1


def test_a_dropped_bar_is_left_out_for_good_and_its_time_covered(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)

    judge(store, "KO", "1day", "dropped")
    report = store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)

    assert (report.held_back, waiting(store)) == (0, [])
    assert NOON not in store.load_bars("KO", "1day").index
    assert store.coverage("KO", "1day") == Coverage([MARCH])


def test_a_stored_bar_may_be_judged_too(store: HistoricalDataManager) -> None:
    """One that a check found suspicious, and the door had let in."""
    store.save_bars("KO", "1day", days(bad=83.0), covers=MARCH)
    (found,) = check_store(store, as_of=END).findings
    assert (found.kind, found.begin) == ("print", NOON)

    judge(store, "KO", "1day", "accepted", starts=[NOON])
    assert check_store(store, as_of=END).is_clean

    judge(store, "KO", "1day", "dropped", starts=[NOON])
    assert NOON not in store.load_bars("KO", "1day").index


def test_a_late_print_is_held_back_leaves_no_gap_and_may_be_accepted(store: HistoricalDataManager) -> None:
    """A half day: the session ends at 13:00, 18:00 UTC."""
    index = pd.date_range("2026-11-27 14:30", periods=15, freq="15min", tz="UTC", unit="us")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 50.0), index=index)
    covers = Interval(datetime(2026, 11, 27, 14, 30, tzinfo=UTC), datetime(2026, 11, 28, tzinfo=UTC))

    report = store.save_bars("KO", "15min", bars, covers=covers)

    assert (report.added, report.held_back) == (14, 1)
    assert store.coverage("KO", "15min") == Coverage([covers])
    judge(store, "KO", "15min", "accepted")
    assert store.save_bars("KO", "15min", bars, covers=covers).held_back == 0
    assert len(store.load_bars("KO", "15min")) == 15
    assert check_store(store, as_of=covers.end).is_clean


def test_an_index_keeps_hours_of_its_own(store: HistoricalDataManager) -> None:
    index = pd.date_range("2026-11-20 20:00", periods=5, freq="15min", tz="UTC", unit="us")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 20.0), index=index)

    assert store.save_bars("VIX", "15min", bars).held_back == 0
    assert store.save_bars("KO", "15min", bars).held_back == 1


def test_bars_of_other_hours_are_refused_before_anything_is_written(store: HistoricalDataManager) -> None:
    index = pd.date_range("2026-11-20 21:00", periods=60, freq="1min", tz="UTC", unit="us")
    bars = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 50.0), index=index)

    with pytest.raises(InvalidBars, match="use_rth=False"):
        store.save_bars("KO", "1min", bars)

    assert not store.data_dir.exists()


def test_a_review_that_cannot_be_read_stops_what_needs_it_and_says_what_to_do(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(), covers=MARCH)
    (store.data_dir / "review.parquet").write_bytes(b"somebody's notes")

    with pytest.raises(StoreError, match=r"review\.parquet.*Move it away"):
        store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)

    assert len(store.load_bars("KO", "1day")) == 20


def test_judging_what_is_not_there_is_refused(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(), covers=MARCH)

    with pytest.raises(InvalidInput, match="no bars of KO 1day are held back"):
        judge(store, "KO", "1day", "accepted")
    with pytest.raises(InvalidInput, match="no bar of KO 1day starts at 2026-03-07"):
        judge(store, "KO", "1day", "dropped", starts=[datetime(2026, 3, 7, tzinfo=UTC)])


@settings(max_examples=25, deadline=None)
@given(bad=st.dictionaries(st.integers(0, 19), st.sampled_from([1.0, 40.0, 250.0]), max_size=5), cut=st.integers(1, 19))
def test_every_bar_is_stored_or_held_back_and_none_is_both(
    tmp_path_factory: pytest.TempPathFactory, bad: dict[int, float], cut: int
) -> None:
    store, bars = HistoricalDataManager(tmp_path_factory.mktemp("store")), days()
    for row, price in bad.items():
        bars.iloc[row, :4] = price
    edge = bars.index[cut].to_pydatetime()

    for piece, covers in ((bars.iloc[cut:], Interval(edge, END)), (bars.iloc[:cut], Interval(BEGIN, edge))):
        store.save_bars("KO", "1day", piece, covers=covers)

    stored, held = set(store.load_bars("KO", "1day").index), set(waiting(store))
    assert stored | held == set(bars.index)
    assert not stored & held
    gaps = store.coverage("KO", "1day").missing(MARCH)
    assert {gap.begin + timedelta(days=day) for gap in gaps for day in range((gap.end - gap.begin).days)} == held


def test_writers_of_many_series_at_once_lose_nothing_that_was_held_back(store: HistoricalDataManager) -> None:
    symbols = ["AAPL", "KO", "MSFT", "JPM", "XOM", "SPY"]

    with ThreadPoolExecutor(len(symbols)) as pool:
        list(pool.map(lambda symbol: store.save_bars(symbol, "1day", days(bad=10.59), source="IB"), symbols))

    assert sorted(store.review.load()["symbol"]) == sorted(symbols)
    assert [path.name for path in store.data_dir.iterdir() if path.suffix == ".tmp"] == []


def test_a_bar_held_back_in_one_series_is_none_of_another(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "1day", days(bad=10.59), covers=MARCH)
    judge(store, "KO", "1day", "accepted")

    assert store.save_bars("XOM", "1day", days(bad=10.59), covers=MARCH).held_back == 1
    assert store.save_bars("KO", "1day", days(bad=10.59), what_to_show="BID", covers=MARCH).held_back == 1
