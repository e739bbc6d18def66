"""Checks on made-up bars: gaps, stale series, the arguments, and the map."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.store.made_up import BEGIN, END, SESSIONS, check, kinds, longer, quarters, save, session_at, without
from workbench.errors import InvalidInput, InvalidSymbol
from workbench.market.coverage import Interval
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import NOT_COVERED, check_store, known_until, map_coverage


@pytest.fixture
def store(tmp_path: Path) -> HistoricalDataManager:
    return HistoricalDataManager(tmp_path)


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


def test_simulated_bars_are_stale_by_their_own_time_and_others_by_the_clock(tmp_path: Path) -> None:
    for source, expected in (("built-in gateway (DU1)", []), ("IB", [("15min", "stale")])):
        told = HistoricalDataManager(tmp_path / source)
        told.save_bars("KO", "15min", quarters(), covers=Interval(BEGIN, END), source=source)

        assert kinds(check_store(told, as_of=known_until(told)).findings) == expected
        later = known_until(told, "2026-06-01")
        assert kinds(check_store(told, as_of=later).findings) == [("15min", "stale")]


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
