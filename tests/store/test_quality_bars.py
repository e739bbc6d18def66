"""Checks of the bars themselves: missing, broken, and at odds with other timeframes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.store.made_up import (
    BEGIN,
    END,
    REGULAR,
    SESSIONS,
    check,
    kinds,
    longer,
    quarters,
    save,
    session_at,
    starts,
    without,
)
from workbench.errors import InvalidInput
from workbench.market.coverage import Interval
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.quiet import accept_quiet, without_bars
from workbench.store.verdict import judge

# -- missing


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path)


def test_a_session_without_bars_of_a_symbol_that_always_trades_is_missing(store: HistoricalDataManager) -> None:
    session = session_at("2026-03-10")
    save(store, without(quarters(), session.begin, session.end))

    (missing,) = check(store)

    assert (missing.kind, missing.interval) == ("missing", Interval(session.begin, session.end))
    assert "2026-03-10 lacks 26 of 26 bars (09:30, 09:45, 10:00, 10:15 and 22 more)" in missing.what


def test_two_quarters_that_lack_where_none_ever_did_are_one_finding(store: HistoricalDataManager) -> None:
    session = session_at("2026-03-10")
    bars = quarters().drop([session.begin + timedelta(hours=1), session.begin + timedelta(hours=3)])
    save(store, bars)

    (missing,) = check(store)

    assert "lacks 2 of 26 bars (10:30, 12:30)" in missing.what


def test_the_last_sessions_without_any_bar_are_missing_too(store: HistoricalDataManager) -> None:
    save(store, without(quarters(), SESSIONS[-2].begin, END))

    assert [one.begin for one in check(store)] == [SESSIONS[-2].begin, SESSIONS[-1].begin]


def test_quiet_bars_of_a_thin_symbol_are_no_defect_and_a_pause_far_beyond_them_is(
    store: HistoricalDataManager,
) -> None:
    bars = quarters()
    thin = bars[np.random.default_rng(3).random(len(bars)) < 0.6]
    save(store, thin)
    assert check(store) == ()

    session = session_at("2026-03-10")
    save(store, without(thin, session.begin + timedelta(minutes=15), session.end))
    (pause,) = check(store)
    assert (pause.kind, pause.begin.date()) == ("pause", session.label)


def minutes(day: str, sessions: int) -> pd.DataFrame:
    """Return the minutes of some sessions from that date on, all alike."""
    begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
    held = REGULAR.during(begin, begin + timedelta(days=2 * sessions), parse_timeframe("1min"))[:sessions]
    index = pd.DatetimeIndex(np.concatenate([starts(one, "1min") for one in held]), tz="UTC", name="timestamp")
    return pd.DataFrame({"open": 10.0, "high": 10.1, "low": 9.9, "close": 10.0, "volume": 100.0}, index=index)


@pytest.mark.parametrize(
    ("gone", "kind"),
    [("10:05 10:06 10:07 10:08 10:09", "pause"), ("10:05 10:06 10:07 10:08", "missing"),
     ("10:05 10:06 10:07 10:08 10:10 10:11", "missing")],
)  # fmt: skip
def test_a_piece_of_five_minutes_may_be_a_halt_and_less_is_missing(
    store: HistoricalDataManager, gone: str, kind: str
) -> None:
    bars = minutes("2026-03-02", 6)
    local = bars.index.tz_convert("America/New_York").strftime("%d %H:%M")
    lost = bars[~local.isin([f"04 {one}" for one in gone.split()])]
    save(store, lost, "1min", covers=Interval(bars.index[0], bars.index[-1] + timedelta(minutes=1)))

    (found,) = check(store, as_of=datetime(2026, 3, 9, 23, tzinfo=UTC))

    assert found.kind == kind
    if kind == "pause":
        assert found.what.startswith("2026-03-04 10:05 to 10:10: no bars, though the time is covered")


def test_a_halt_that_was_accepted_is_told_no_more_and_a_bar_that_comes_after_all_is_stored(
    store: HistoricalDataManager,
) -> None:
    bars, whole = minutes("2026-03-02", 6), "2026-03-09"
    begin = datetime(2026, 3, 4, 15, 5, tzinfo=UTC)
    covers = Interval(bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + timedelta(minutes=1))
    save(store, without(bars, begin, begin + timedelta(minutes=6)), "1min", covers=covers)
    (pause,) = check(store, as_of=datetime(2026, 3, 9, 23, tzinfo=UTC))
    assert pause.step.endswith("workbench review KO -t 1min --at 2026-03-04T15:05:00Z --accept")

    for _ in range(2):  # twice is once
        assert without_bars(store, "KO", "1min", [begin], what_to_show="TRADES") == [begin]
        assert accept_quiet(store, "KO", "1min", begin) == pause.interval

    assert check(store, as_of=datetime(2026, 3, 9, 23, tzinfo=UTC)) == ()
    assert len(store.review.of("KO", "1min", "TRADES")) == 6
    save(store, bars, "1min", covers=covers)
    assert len(store.load_bars("KO", "1min", end=whole)) == len(bars[bars.index < whole])


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (datetime(2026, 3, 4, 15, 5, tzinfo=UTC), "a bar of KO 1min starts at"),
        (datetime(2026, 3, 4, 15, 5, 30, tzinfo=UTC), "no bar of KO 1min can start at"),
        (datetime(2026, 3, 7, 15, 5, tzinfo=UTC), "no bar of KO 1min can start at"),
        (datetime(2026, 3, 11, 15, 5, tzinfo=UTC), "is not covered in KO 1min: backfill it first"),
    ],
)
def test_only_what_is_covered_and_has_no_bar_can_be_accepted_as_quiet(
    store: HistoricalDataManager, start: datetime, says: str
) -> None:
    bars = minutes("2026-03-02", 6)
    save(store, bars, "1min", covers=Interval(bars.index[0], bars.index[-1] + timedelta(minutes=1)))

    with pytest.raises(InvalidInput, match=says):
        accept_quiet(store, "KO", "1min", start)
    assert store.review.load().empty


def test_days_of_a_halt_are_accepted_up_to_the_next_bar(store: HistoricalDataManager) -> None:
    days = longer(quarters(), "1day")
    gone = days.index[4:8]  # over a weekend
    save(store, days.drop(gone), "1day", covers=Interval(BEGIN, END))
    (missing,) = check(store)

    accept_quiet(store, "KO", "1day", missing.begin)

    assert check(store) == ()


def test_in_a_market_wide_halt_nothing_is_expected_and_minutes_beside_it_are(store: HistoricalDataManager) -> None:
    bars = minutes("2020-03-05", 6)
    local = bars.index.tz_convert("America/New_York").strftime("%Y-%m-%d %H:%M")
    halted = (local >= "2020-03-09 09:35") & (local < "2020-03-09 09:49")
    save(store, bars[~halted], "1min", covers=Interval(bars.index[0], bars.index[-1] + timedelta(minutes=1)))
    as_of = datetime(2020, 3, 12, 23, tzinfo=UTC)
    assert check(store, as_of=as_of) == ()

    beside = local.isin(["2020-03-09 09:52", "2020-03-09 09:55"])
    save(store, bars[~(halted | beside)], "1min", covers=Interval(bars.index[0], bars.index[-1] + timedelta(minutes=1)))
    (found,) = check(store, as_of=as_of)
    assert (found.kind, "lacks 2 of 390 bars (09:52, 09:55)" in found.what) == ("missing", True)


def test_of_few_sessions_nothing_is_said(store: HistoricalDataManager) -> None:
    bars = quarters()
    few = bars[bars.index < SESSIONS[4].begin]
    save(store, few.drop(few.index[30:36]), covers=Interval(BEGIN, SESSIONS[3].end))

    assert check(store, as_of=SESSIONS[3].end) == ()


def test_days_without_a_bar_are_one_finding_when_they_are_neighbours(store: HistoricalDataManager) -> None:
    days = longer(quarters(), "1day")
    save(store, without(days, datetime(2026, 3, 5, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC)), "1day")

    (missing,) = check(store)

    assert missing.what == "3 sessions have no bar, 2026-03-05 to 2026-03-09"


# -- bars that another program wrote


def tamper(store: HistoricalDataManager, timeframe: str, change: object) -> None:
    """Rewrite the part with other bars under its own footer."""
    (path,) = store.data_dir.glob(f"*/KO/{timeframe}.parquet/*.parquet")
    table = pq.read_table(path, partitioning=None)
    pq.write_table(change(table), path)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda table: pa.concat_tables([table.slice(0, 50), table.slice(49)]), "duplicate"),
        (lambda table: _moved(table, 50, 420), "off grid"),
        (lambda table: _with(table, "high", 50, 1.0), "broken"),
        (lambda table: _with(table, "close", 50, float("nan")), "broken"),
    ],
    ids=["duplicate", "off grid", "high below low", "no number"],
)
def test_a_bar_that_breaks_a_rule_is_found(store: HistoricalDataManager, change: object, kind: str) -> None:
    save(store, quarters())
    tamper(store, "15min", change)

    assert kind in {one.kind for one in check(store)}


def _with(table: pa.Table, column: str, row: int, value: float) -> pa.Table:
    values = table.column(column).to_pylist()
    values[row] = value
    at = table.schema.get_field_index(column)
    return table.set_column(at, table.schema.field(at), pa.array(values, pa.float64()))


def _moved(table: pa.Table, row: int, seconds: int) -> pa.Table:
    stamps = table.column(0).to_pylist()
    stamps[row] += timedelta(seconds=seconds)
    return table.set_column(0, table.schema.field(0), pa.array(stamps, table.schema.field(0).type))


def test_a_part_that_cannot_be_read_is_a_finding_and_the_others_are_checked(store: HistoricalDataManager) -> None:
    save(store, quarters())
    days = longer(quarters(), "1day")
    save(store, days.drop(days.index[9]), "1day")
    (path,) = store.data_dir.glob("*/KO/15min.parquet/*.parquet")
    path.write_bytes(path.read_bytes()[:-20])

    assert kinds(check(store)) == [("15min", "unreadable"), ("1day", "missing")]


# -- timeframes against each other


def with_value(bars: pd.DataFrame, row: int, **values: float) -> pd.DataFrame:
    changed = bars.copy()
    for name, value in values.items():
        changed.iloc[row, changed.columns.get_loc(name)] = value
    return changed


@pytest.mark.parametrize("timeframe", ["1hour", "1day"])
def test_a_longer_bar_that_its_shorter_ones_tell_otherwise_is_found(
    store: HistoricalDataManager, timeframe: str
) -> None:
    bars = longer(quarters(), timeframe)
    save(store, quarters())
    save(store, with_value(bars, 9, high=bars["high"].iloc[9] * 1.03), timeframe)

    (found,) = check(store)

    assert (found.timeframe, found.kind, found.told_by) == (timeframe, "disagreement", "15min")
    assert found.begin == bars.index[9]


def test_a_closing_auction_and_late_reports_are_no_disagreement(store: HistoricalDataManager) -> None:
    days = longer(quarters(), "1day")
    auction = days.assign(close=(days["close"] + 0.05).clip(upper=days["high"]), volume=days["volume"] * 1.4)
    save(store, quarters())
    save(store, auction, "1day")

    assert check(store) == ()


def test_prices_of_another_basis_are_one_disagreement_however_long(store: HistoricalDataManager) -> None:
    save(store, quarters())
    save(store, longer(quarters(), "1day") / 2, "1day")

    (found,) = check(store)

    assert found.kind == "disagreement"
    assert found.what.endswith(f"so do {len(SESSIONS) - 1} bars after it")


def test_bars_that_lack_under_a_longer_bar_with_volume_are_found_in_a_thin_symbol_too(
    store: HistoricalDataManager,
) -> None:
    bars, hour = quarters(), session_at("2026-03-10").begin + timedelta(minutes=90)
    thin = bars[np.random.default_rng(3).random(len(bars)) < 0.6]
    save(store, without(thin, hour, hour + timedelta(hours=1)))
    save(store, longer(thin, "1hour"), "1hour")

    (found,) = check(store)

    assert (found.timeframe, found.kind, found.begin) == ("1hour", "disagreement", hour)
    assert "its 15min bars nothing" in found.what


def test_what_a_gap_explains_is_not_told_a_second_time(store: HistoricalDataManager) -> None:
    session = session_at("2026-03-10")
    save(store, without(quarters(), session.begin, session.end))
    save(store, longer(quarters(), "1hour"), "1hour")
    assert kinds(check(store)) == [("15min", "missing")]

    store.forget("KO", "15min", Interval(session.begin, session.end))
    assert kinds(check(store)) == [("15min", "gap")]


def test_a_bar_that_was_dropped_is_not_missed_and_a_sound_one_at_its_time_stays(store: HistoricalDataManager) -> None:
    days = longer(quarters(), "1day")
    save(store, days.drop(days.index[9]), "1day")
    for row in (9, 12):
        at = days.index[row].to_pydatetime()
        store.save_bars("KO", "1day", days.iloc[[row]].assign(high=999.0), covers=Interval(at, at + timedelta(days=1)))
    assert kinds(check(store)) == [("1day", "held back")] * 2

    assert judge(store, "KO", "1day", "dropped") == 2

    assert check(store) == ()
    pd.testing.assert_frame_equal(
        store.load_bars("KO", "1day", columns=list(days.columns)), days.drop(days.index[9]), check_freq=False
    )
