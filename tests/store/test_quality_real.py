"""What a check finds in real bars: the defects that are known of them, each once, and nothing else."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from workbench.market.coverage import Interval
from workbench.market.sessions import EXCHANGE_ZONE, session_calendar
from workbench.market.timeframes import parse_timeframe
from workbench.store.historical import HistoricalDataManager
from workbench.store.quality import QualityReport, check_store


def check(folder: Path, source: Path, *names: str, use_rth: bool = True) -> QualityReport:
    """Import series such as `AAPL/1min`, all of their time covered, and check them as of their end."""
    store, ends = HistoricalDataManager(folder), []
    for name in names:
        symbol, _, timeframe = name.partition("/")
        bars = pd.read_parquet(source / f"{name}.parquet").set_index("timestamp")
        covers = covered(bars, timeframe, use_rth=use_rth)
        store.save_bars(symbol, timeframe, bars, use_rth=use_rth, source="user", covers=covers)
        ends.append(covers.end)
    return check_store(store, as_of=max(ends))


def covered(bars: pd.DataFrame, timeframe: str, *, use_rth: bool) -> Interval:
    """Return the interval of all sessions that the bars reach into."""
    length = parse_timeframe(timeframe)
    begin, end = bars.index[0].to_pydatetime(), bars.index[-1].to_pydatetime() + timedelta(seconds=1)
    if length.is_daily:
        return Interval(begin, begin.replace(year=end.year, month=end.month, day=end.day) + timedelta(days=1))
    sessions = session_calendar(use_rth=use_rth).during(begin, end, length)
    return Interval(min(begin, sessions[0].begin), max(end, sessions[-1].end))


def told(report: QualityReport) -> list[tuple[str, str, str]]:
    """Return the timeframe, the kind and the begin, in New York or as a date, of each finding."""
    return sorted((one.timeframe, one.kind, when(one.begin, one.timeframe)) for one in report.findings)


def when(moment: object, timeframe: str) -> str:
    if timeframe == "1day":
        return f"{moment:%Y-%m-%d}"
    return f"{pd.Timestamp(moment).tz_convert(EXCHANGE_ZONE):%Y-%m-%d %H:%M}"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "series",
    [
        ["BK/1min"], ["GLD/1min", "GLD/15min"], ["JPM/1min", "JPM/15min"], ["SPY/1min", "SPY/15min"], ["VIX/1min"],
        ["PPLT/1min"],  # a thin one: 566 bars in five sessions
    ],
    ids=str,
)  # fmt: skip
def test_nothing_is_found_in_clean_minutes_of_2019(tmp_path: Path, real_bars: Path, series: list[str]) -> None:
    report = check(tmp_path, real_bars / "av2019", *series)

    assert (told(report), report.checked) == ([], len(series))


@pytest.mark.parametrize("symbol", ["AAPL", "MSFT", "QQQ"])
def test_the_two_missing_minutes_of_2019_02_14_are_found_as_one(tmp_path: Path, real_bars: Path, symbol: str) -> None:
    (finding,) = check(tmp_path, real_bars / "av2019", f"{symbol}/1min").findings

    assert (finding.symbol, finding.timeframe, finding.kind) == (symbol, "1min", "missing")
    assert "2019-02-14 lacks 2 of 390 bars (14:31, 14:36)" in finding.what
    assert (when(finding.begin, "1min"), when(finding.end, "1min")) == ("2019-02-14 14:31", "2019-02-14 14:37")


@pytest.mark.parametrize(
    "series",
    [
        ["lean", "BAC/1min"], ["lean", "BAC/5sec"], ["lean", "SPY/1min", "SPY/5sec"], ["lean", "TWX/1min"],
        ["nt2011", "SPY/1min"],
    ],
    ids=str,
)  # fmt: skip
def test_nothing_is_found_in_clean_bars_of_all_hours(tmp_path: Path, real_bars: Path, series: list[str]) -> None:
    source, *names = series
    report = check(tmp_path, real_bars / source, *names, use_rth=False)

    assert [one for one in told(report) if one[1] != "stale"] == []  # the series end on different days


@pytest.mark.parametrize(
    "series", [["lean", "FB/1day"], ["lean", "QQQ/1day"], ["si_spx", "SPX/1day"], ["cboe", "VIX/1day"]], ids=str
)
def test_nothing_is_found_in_clean_days_of_decades(tmp_path: Path, real_bars: Path, series: list[str]) -> None:
    source, *names = series

    assert told(check(tmp_path, real_bars / source, *names)) == []


def test_the_half_day_of_an_index_is_whole(tmp_path: Path, real_bars: Path) -> None:
    bars = pd.read_parquet(real_bars / "lean" / "SPX" / "1min.parquet").set_index("timestamp")["2023":]
    store, span = HistoricalDataManager(tmp_path), covered(bars, "1min", use_rth=True)
    store.save_bars("SPX", "1min", bars, covers=span)

    assert told(check_store(store, as_of=span.end)) == []


KNOWN = {
    "AAPL": [
        ("1day", "held back", "2009-09-21"),  # low 10.59
        ("1day", "held back", "2010-08-31"),  # low 25.30
        ("1day", "held back", "2011-01-03"),  # low 32.65
        ("1day", "jump", "2005-02-28"),  # splits: the source is not adjusted
        ("1day", "jump", "2014-06-09"),
        ("1day", "jump", "2020-08-31"),
        ("1hour", "held back", "2009-09-21 09:30"),
        ("1hour", "held back", "2010-08-31 14:00"),
        ("1hour", "held back", "2011-01-03 13:00"),
        ("1hour", "jump", "2005-02-28 09:30"),
        ("1hour", "jump", "2014-06-09 09:30"),
        ("1hour", "jump", "2020-08-31 09:30"),
        ("1hour", "pause", "2013-08-22 13:00"),  # NASDAQ halted for three hours
        ("1hour", "print", "2017-05-12 11:00"),  # low 139.91 between 155 and 156
    ],
    "BAC": [
        ("1day", "jump", "2004-08-30"),  # a split
        ("1day", "print", "2001-11-12"),  # low 40.00
        ("1hour", "held back", "2001-11-12 11:00"),
        ("1hour", "jump", "2004-08-30 09:30"),
        ("1hour", "pause", "2001-06-08 09:30"),  # the exchange opened late
        ("1hour", "pause", "2002-09-11 09:30"),  # a memorial: opened late
        ("1hour", "print", "2001-11-12 15:00"),  # open 50.00 after 63
        ("1hour", "print", "2003-12-31 11:00"),  # high 88.30 over 80
        ("1hour", "print", "2004-09-14 11:00"),  # high 51.10 over 44
    ],
    "SPY": [
        ("1day", "print", "2002-04-02"),  # high 144.12 over 114
        ("1day", "print", "2005-09-06"),  # low 105.68 under 123
        ("1hour", "held back", "2002-04-02 15:00"),
        ("1hour", "held back", "2005-09-06 15:00"),
        ("1hour", "pause", "2002-09-11 09:30"),
        ("1hour", "print", "2002-06-06 10:00"),  # high 124.67 over 105
        ("1hour", "print", "2003-09-05 15:00"),  # high 120.52 over 103
        ("1hour", "print", "2005-08-05 10:00"),  # high 132.30 over 123
        ("1hour", "print", "2005-12-13 14:00"),  # high 137.32 over 127
        ("1hour", "print", "2006-10-05 15:00"),  # low 125.35 under 135
    ],
}
"""All that is found in two decades of hours and days: bad prints, short days, splits. The rest agrees."""


@pytest.mark.parametrize("symbol", KNOWN)
def test_what_is_known_of_hours_and_days_since_1998_is_found_and_nothing_else(
    tmp_path: Path, real_bars: Path, symbol: str
) -> None:
    report = check(tmp_path, real_bars / "lean", f"{symbol}/1hour", f"{symbol}/1day", use_rth=False)

    assert told(report) == KNOWN[symbol]


def test_the_bad_print_of_iwm_is_found(tmp_path: Path, real_bars: Path) -> None:
    """Its high of 156.51 on 2008-09-19; and a split."""
    report = check(tmp_path, real_bars / "lean", "IWM/1day")

    assert told(report) == [("1day", "held back", "2008-09-19"), ("1day", "jump", "2005-06-09")]


def test_a_split_within_a_bar_is_found(tmp_path: Path, real_bars: Path) -> None:
    """The first minute of 2014-06-09 opens at 645.57 and closes at 92.42."""
    report = check(tmp_path, real_bars / "lean", "AAPL/1min", use_rth=False)

    assert told(report) == [("1min", "jump", "2014-06-09 04:00")]


def test_late_prints_after_early_closes_wait_for_a_decision_and_nothing_else_does(
    tmp_path: Path, real_bars: Path
) -> None:
    report = check(tmp_path, real_bars / "lean", "SPY/1hour")

    late = [one for one in report.findings if "outside of the session" in one.what]
    calendar = session_calendar(use_rth=True)
    assert len(late) == 23
    for one in late:
        label = one.begin.astimezone(EXCHANGE_ZONE).replace(hour=0, minute=0)
        (session,) = calendar.during(label, label + timedelta(days=1), parse_timeframe("1hour"))
        assert one.begin == session.end, "it begins where the early session ended"
        assert session.end.astimezone(EXCHANGE_ZONE).hour == 13
    assert sorted(set(told(report)) - {("1hour", "held back", when(one.begin, "1hour")) for one in late}) == [
        one for one in KNOWN["SPY"] if one[0] == "1hour"
    ]


OFFICIAL = {
    "LDOS": [("1day", "jump", "2013-09-30")],  # a reverse split with a spin-off
    "DUK": [("1day", "jump", "2007-01-03"), ("1day", "jump", "2012-07-03")],  # a spin-off, a reverse split
    "IRM": [
        ("1day", "held back", "2006-02-02"),  # a whole bar at two thirds of the price
        ("1day", "jump", "2002-01-02"), ("1day", "jump", "2004-07-01"), ("1day", "jump", "2007-01-03"),  # 3 to 2
    ],
    "ETR": [("1day", "held back", "2005-10-25")],  # low 20.19 under 69
    "HON": [("1day", "print", "2004-12-10")],  # low 25.33 under 35
    "JPM": [], "MDT": [], "VZ": [],  # the wild openings of 2015-08-24
    "MMM": [("1day", "jump", "2003-09-30")],  # a split; the crash of 2010-05-06 is none
    "FANG": [], "ENPH": [],  # half the price in a day in March 2020; small and wild
}  # fmt: skip


@pytest.mark.parametrize("symbol", OFFICIAL)
def test_official_days_are_clean_but_for_splits_and_bad_prints(tmp_path: Path, real_bars: Path, symbol: str) -> None:
    assert told(check(tmp_path, real_bars / "av_daily", f"{symbol}/1day")) == OFFICIAL[symbol]


MINUTES_AGAINST_HOURS = {
    "AAPL": [("1hour", "jump", "2014-06-09 09:30"), ("1min", "jump", "2014-06-09 09:30")],  # the split
    "BAC": [],
    "SPY": [  # late prints that only the minutes have: at 167.51 over 166.25, at 169.20 under 169.78
        ("1hour", "disagreement", "2013-10-08 15:00"),
        ("1hour", "disagreement", "2013-10-11 15:00"),
    ],
}


@pytest.mark.parametrize("symbol", MINUTES_AGAINST_HOURS)
def test_minutes_and_hours_that_differ_by_a_cent_do_not_disagree(tmp_path: Path, real_bars: Path, symbol: str) -> None:
    """A fifth of the real hours do so, and minutes leave out some late reports."""
    store, span = HistoricalDataManager(tmp_path), None
    minutes, hours = (
        pd.read_parquet(real_bars / "lean" / symbol / f"{timeframe}.parquet").set_index("timestamp")
        for timeframe in ("1min", "1hour")
    )
    for session in session_calendar(use_rth=True).during(
        minutes.index[0].to_pydatetime(), minutes.index[-1].to_pydatetime(), parse_timeframe("1min")
    ):
        span = Interval(session.begin, session.end)
        for timeframe, bars in (("1min", minutes), ("1hour", hours)):
            inside = bars[(bars.index >= span.begin) & (bars.index < span.end)]
            store.save_bars(symbol, timeframe, inside, covers=span)

    assert span is not None
    report = check_store(store, as_of=span.end)
    assert report.checked == 2
    assert told(report) == MINUTES_AGAINST_HOURS[symbol]
