"""Checks on made-up bars: one defect at a time, and what is none."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.errors import InvalidInput, InvalidSymbol
from workbench.market.coverage import Interval
from workbench.market.sessions import EXCHANGE_ZONE, Session, session_calendar
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import NOT_COVERED, Finding, check_store, map_coverage

REGULAR = session_calendar(use_rth=True)
BEGIN, END = datetime(2026, 2, 17, tzinfo=UTC), datetime(2026, 4, 7, tzinfo=UTC)
"""Sessions from the day after a holiday, over a change of the clocks and Good Friday."""
SESSIONS = REGULAR.during(BEGIN, END, parse_timeframe("15min"))


def starts(session: Session, timeframe: str) -> pd.DatetimeIndex:
    """Return where the bars of a session start."""
    if timeframe == "1day":
        return pd.DatetimeIndex([session.label_utc])
    step = parse_timeframe(timeframe).length
    midnight = session.begin.astimezone(EXCHANGE_ZONE).replace(hour=0, minute=0).astimezone(UTC)
    clock = pd.date_range(midnight, session.end, freq=step, inclusive="left")
    clock = clock[clock + step > session.begin]
    first = clock.where(clock >= session.begin, pd.Timestamp(session.begin))
    return first.unique().as_unit("us")


def quarters(seed: int = 1) -> pd.DataFrame:
    """Return fifteen-minute bars of all sessions: a walk around 100."""
    index = starts(SESSIONS[0], "15min").append([starts(session, "15min") for session in SESSIONS[1:]])
    walk = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.002, len(index) + 1)))
    opens, closes = walk[:-1].round(2), walk[1:].round(2)
    frame = pd.DataFrame({"open": opens, "close": closes}, index=index.rename("timestamp"))
    return frame.assign(high=frame.max(axis=1) + 0.05, low=frame.min(axis=1) - 0.05, volume=1000.0)[
        ["open", "high", "low", "close", "volume"]
    ]


def longer(bars: pd.DataFrame, timeframe: str) -> pd.DataFrame:
    """Return bars aggregated: by the exchange's clock, which the open cuts, or by sessions."""
    edges = pd.DatetimeIndex(np.concatenate([starts(session, timeframe) for session in SESSIONS]), tz="UTC")
    begins = pd.DatetimeIndex([session.begin for session in SESSIONS]) if timeframe == "1day" else edges
    at = begins.searchsorted(bars.index, side="right") - 1
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    told = bars.groupby(at).agg(how)
    return told.set_axis(edges[told.index].rename("timestamp"))


def session_at(day: str) -> Session:
    (session,) = [one for one in SESSIONS if one.label == date.fromisoformat(day)]
    return session


def without(bars: pd.DataFrame, begin: datetime, end: datetime) -> pd.DataFrame:
    return bars[(bars.index < begin) | (bars.index >= end)]


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path)


def save(
    store: HistoricalDataManager, bars: pd.DataFrame, timeframe: str = "15min", covers: Interval | None = None
) -> None:
    store.save_bars("KO", timeframe, bars, covers=covers or Interval(BEGIN, END))


def check(store: HistoricalDataManager, as_of: datetime = END) -> Sequence[Finding]:
    return check_store(store, as_of=as_of).findings


def kinds(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(one.timeframe, one.kind) for one in findings]


def test_bars_of_all_timeframes_that_agree_are_clean_over_dst_and_holidays(store: HistoricalDataManager) -> None:
    for timeframe in ("15min", "1hour", "4hour", "1day"):
        save(store, quarters() if timeframe == "15min" else longer(quarters(), timeframe), timeframe)

    report = check_store(store, as_of=END)

    assert (report.is_clean, report.checked, str(report)) == (True, 4, "4 series checked, nothing found")


def test_a_check_changes_nothing(store: HistoricalDataManager) -> None:
    save(store, quarters())
    before = {path: path.stat().st_mtime_ns for path in store.data_dir.rglob("*")}

    check(store)

    assert {path: path.stat().st_mtime_ns for path in store.data_dir.rglob("*")} == before


# -- gaps


def test_sessions_that_are_not_covered_are_one_gap_however_many(store: HistoricalDataManager) -> None:
    first, last = session_at("2026-03-05"), session_at("2026-03-11")  # over a weekend and a change of the clocks
    save(store, quarters())
    store.forget("KO", "15min", Interval(first.begin, last.end))

    (gap,) = check(store)

    assert (gap.kind, gap.interval) == ("gap", Interval(first.begin, last.end))
    assert gap.what == "5 sessions are not covered, 2026-03-05 09:30 to 2026-03-11 16:00"


def test_nights_weekends_and_holidays_are_no_gaps(store: HistoricalDataManager) -> None:
    bars = quarters()
    for session in SESSIONS:
        inside = bars[(bars.index >= session.begin) & (bars.index < session.end)]
        save(store, inside, covers=Interval(session.begin, session.end))

    assert check(store) == ()


def test_part_of_a_session_is_a_gap_of_that_part(store: HistoricalDataManager) -> None:
    noon = session_at("2026-03-10").begin + timedelta(hours=2)
    save(store, quarters())
    store.forget("KO", "15min", Interval(noon, noon + timedelta(hours=1)))

    (gap,) = check(store)

    assert gap.interval == Interval(noon, noon + timedelta(hours=1))
    assert gap.what == "1 session is not covered in full, 2026-03-10 11:30 to 2026-03-10 12:30"


def test_a_daily_gap_is_told_by_its_date(store: HistoricalDataManager) -> None:
    save(store, longer(quarters(), "1day"), "1day")
    store.forget("KO", "1day", Interval(datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)))

    (gap,) = check(store)

    assert (gap.kind, gap.begin) == ("gap", datetime(2026, 3, 6, tzinfo=UTC))
    assert "1 session is not covered" in gap.what


def test_bars_saved_without_a_claim_to_be_all_are_one_gap(store: HistoricalDataManager) -> None:
    store.save_bars("KO", "15min", quarters())

    assert kinds(check(store)) == [("15min", "gap")]


def test_time_before_the_first_bar_is_no_defect_when_it_was_asked_for(store: HistoricalDataManager) -> None:
    """The listing: IB confirmed that there was nothing before."""
    listed = session_at("2026-03-02").begin
    for timeframe in ("15min", "1day"):
        bars = quarters() if timeframe == "15min" else longer(quarters(), "1day")
        save(store, bars[bars.index >= listed.replace(hour=0, minute=0)], timeframe)

    assert check(store) == ()


# -- stale


@pytest.mark.parametrize(("behind", "stale"), [(1, False), (2, True), (5, True)])
def test_a_series_is_stale_when_two_complete_sessions_are_not_in_it(
    store: HistoricalDataManager, behind: int, stale: bool
) -> None:
    until = SESSIONS[-behind - 1].end
    bars = quarters()
    save(store, bars[bars.index < until], covers=Interval(BEGIN, until))

    found = check(store, as_of=SESSIONS[-1].end + timedelta(minutes=1))

    assert kinds(found) == ([("15min", "stale")] if stale else [])
    assert all(one.what.startswith(f"{behind} sessions are complete since it was covered last") for one in found)


def test_a_session_that_is_still_open_makes_nothing_stale(store: HistoricalDataManager) -> None:
    until = SESSIONS[-3].end
    bars = quarters()
    save(store, bars[bars.index < until], covers=Interval(BEGIN, until))

    assert check(store, as_of=SESSIONS[-2].end - timedelta(minutes=1)) == ()


def test_the_newest_bars_that_are_not_yet_final_are_neither_a_gap_nor_stale(store: HistoricalDataManager) -> None:
    """A backfill during a session stores them, and asks for them again the next time."""
    bars, now = quarters(), SESSIONS[-1].begin + timedelta(hours=2)
    final = now - timedelta(minutes=30)
    save(store, bars[bars.index < final], covers=Interval(BEGIN, final))
    store.save_bars("KO", "15min", bars[(bars.index >= final) & (bars.index < now)])

    assert check(store, as_of=now) == ()


# -- missing


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
    (missing,) = check(store)
    assert (missing.kind, missing.begin.date()) == ("missing", session.label)


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


# -- arguments, and the map


def test_since_leaves_out_what_is_before(store: HistoricalDataManager) -> None:
    session = session_at("2026-03-10")
    save(store, without(quarters(), session.begin, session.end))

    assert check_store(store, as_of=END, since="2026-03-11").is_clean
    assert not check_store(store, as_of=END, since="2026-03-10").is_clean


def test_symbols_and_timeframes_choose_and_are_checked(store: HistoricalDataManager) -> None:
    save(store, quarters())
    save(store, longer(quarters(), "1day"), "1day")

    assert check_store(store, ["KO"], ["1day"], as_of=END).checked == 1
    with pytest.raises(InvalidInput, match="nothing is stored of XYZ"):
        check_store(store, ["XYZ"], as_of=END)
    with pytest.raises(InvalidSymbol):
        check_store(store, ["../x"], as_of=END)


def test_progress_is_told_series_by_series(store: HistoricalDataManager) -> None:
    save(store, quarters())
    save(store, longer(quarters(), "1day"), "1day")
    told: list[tuple[int, int]] = []

    check_store(store, as_of=END, on_series=lambda done, total: told.append((done, total)))

    assert told == [(1, 2), (2, 2)]


def test_an_empty_store_is_clean(store: HistoricalDataManager) -> None:
    assert check_store(store, as_of=END).is_clean


def test_the_map_tells_full_quiet_open_and_not_yet_begun_sessions(store: HistoricalDataManager) -> None:
    gap, quiet = session_at("2026-04-01"), session_at("2026-04-02")
    bars = quarters()
    bars = bars[bars.index >= session_at("2026-03-31").begin]
    save(store, bars.drop(bars.index[52:65]), covers=Interval(session_at("2026-03-31").begin, END))
    store.forget("KO", "15min", Interval(gap.begin, gap.begin + timedelta(hours=1)))

    shares = map_coverage(store, "15min", as_of=END, sessions=5)

    assert list(shares.columns) == [date(2026, 3, 30), date(2026, 3, 31), gap.label, quiet.label, date(2026, 4, 6)]
    np.testing.assert_array_equal(shares.loc["KO"], [np.nan, 1.0, NOT_COVERED, 0.5, 1.0])


def test_the_map_of_days_has_one_bar_a_session(store: HistoricalDataManager) -> None:
    days = longer(quarters(), "1day")
    save(store, days.drop(days.index[-2]), "1day")

    assert map_coverage(store, "1day", as_of=END, sessions=3).loc["KO"].tolist() == [1.0, 0.0, 1.0]
