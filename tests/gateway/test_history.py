from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway.aggregate import select
from workbench.gateway.asof import AsOf
from workbench.gateway.history import (
    BAR_SIZES,
    History,
    Schedule,
    answer,
    bars_between,
    begin_of_bar,
    head,
    schedule,
)
from workbench.gateway.hours import hours
from workbench.gateway.refusals import Refused
from workbench.gateway.replay import ReplayTape
from workbench.gateway.requests import ContractQuery, HeadTimestampRequest, HistoricalRequest
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import DAY, STEPS, BarColumns, Instrument

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY_AFTERNOON = "2026-11-20 14:02:03"
LATE = "2026-11-22 12:00"  # a Sunday


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def instrument(symbol: str = "AAPL") -> Instrument:
    return next(it for it in tape().instruments if it.symbol == symbol)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def ask(
    duration: str,
    bar_size: str,
    *,
    end: str = "",
    now: str = LATE,
    use_rth: bool = True,
    what_to_show: str = "TRADES",
    format_date: int = 1,
    keep_up_to_date: bool = False,
) -> History:
    contract = ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
    request = HistoricalRequest(
        1, contract, False, end, bar_size, duration, use_rth, what_to_show, format_date, keep_up_to_date
    )
    return answer(request, instrument(), tape(), at(now))


def refusal(*args: str, **options: object) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        ask(*args, **options)
    return refused.value.notice.code, refused.value.notice.text


def same(left: BarColumns, right: BarColumns) -> bool:
    return all(np.array_equal(getattr(left, it.name), getattr(right, it.name)) for it in fields(BarColumns))


# The interval


@pytest.mark.parametrize(
    ("duration", "bar_size", "count", "first", "last"),
    [
        ("1 D", "5 secs", 4680, "20261120 09:30:00 US/Eastern", "20261120 15:59:55 US/Eastern"),
        ("5 D", "1 min", 1950, "20261116 09:30:00 US/Eastern", "20261120 15:59:00 US/Eastern"),
        ("2 D", "5 mins", 156, "20261119 09:30:00 US/Eastern", "20261120 15:55:00 US/Eastern"),
        ("2 D", "15 mins", 52, "20261119 09:30:00 US/Eastern", "20261120 15:45:00 US/Eastern"),
        ("1 D", "1 hour", 7, "20261120 09:30:00 US/Eastern", "20261120 15:00:00 US/Eastern"),
        ("1 W", "4 hours", 10, "20261116 09:30:00 US/Eastern", "20261120 12:00:00 US/Eastern"),
        ("5 D", "1 day", 5, "20261116", "20261120"),
        ("1 D", "10 secs", 2340, "20261120 09:30:00 US/Eastern", "20261120 15:59:50 US/Eastern"),
        ("1 D", "2 mins", 195, "20261120 09:30:00 US/Eastern", "20261120 15:58:00 US/Eastern"),
        ("1 D", "30 mins", 13, "20261120 09:30:00 US/Eastern", "20261120 15:30:00 US/Eastern"),
        ("1 W", "2 hours", 20, "20261116 09:30:00 US/Eastern", "20261120 14:00:00 US/Eastern"),
        ("1 M", "8 hours", 21, "20261023 09:30:00 US/Eastern", "20261120 09:30:00 US/Eastern"),
        ("1 M", "1 week", 5, "20261023", "20261120"),
        ("1 Y", "1M", 13, "20251128", "20261120"),
        ("1800 S", "1 min", 30, "20261120 15:30:00 US/Eastern", "20261120 15:59:00 US/Eastern"),
    ],
)
def test_a_duration_before_now_gives_its_bars(duration: str, bar_size: str, count: int, first: str, last: str) -> None:
    stamps = ask(duration, bar_size).stamps

    assert (len(stamps), stamps[0], stamps[-1]) == (count, first, last)


def test_a_month_on_a_saturday_is_what_a_real_gateway_gave() -> None:
    """Seen on a real gateway: `1 M` asked on Saturday 2026-04-11 gave 2026-03-12 to 04-10, 21 sessions."""
    stamps = ask("1 M", "1 day", now="2026-04-11 10:00").stamps

    assert (len(stamps), stamps[0], stamps[-1]) == (21, "20260312", "20260410")


@pytest.mark.parametrize(("bar_size", "begin"), [("1W", "2026-11-16"), ("1M", "2026-11-02")])
@pytest.mark.parametrize("duration", ["1 D", "2 D", "1 W"])
def test_a_week_or_month_that_began_before_is_given_whole(bar_size: str, begin: str, duration: str) -> None:
    bars, days = ask(duration, bar_size, now=FRIDAY_AFTERNOON).bars, ask("1 M", "1 day", now=FRIDAY_AFTERNOON).bars

    inside = select(days, days.start >= int(np.datetime64(begin, "s").astype(np.int64)))
    assert len(bars) == 1
    assert (bars.open[0], bars.close[0]) == (inside.open[0], inside.close[-1])
    assert bars.volume[0] == inside.volume.sum()


def test_a_half_day_ends_at_one() -> None:
    assert len(ask("1 D", "1 min", end="20251128 23:00:00 UTC").bars) == 210
    assert ask("1 D", "1 hour", end="20251128 23:00:00 UTC").stamps[-1] == "20251128 12:00:00 US/Eastern"


@pytest.mark.parametrize(("date", "utc_open"), [("20260306", 14.5), ("20260309", 13.5), ("20261030", 13.5)])
def test_the_open_follows_summer_time(date: str, utc_open: float) -> None:
    epoch = int(ask("1 D", "1 hour", end=f"{date} 23:00:00 US/Eastern", format_date=2).stamps[0])

    midnight = datetime.strptime(date, "%Y%m%d").replace(tzinfo=UTC).timestamp()
    assert (epoch - midnight) / 3600 == utc_open


def test_extended_hours_begin_at_four() -> None:
    stamps = ask("1 D", "1 hour", use_rth=False).stamps

    assert stamps[0] == "20261120 04:00:00 US/Eastern"
    assert len(stamps) > len(ask("1 D", "1 hour").stamps)


def test_the_end_is_exclusive_and_a_bar_that_reaches_beyond_it_is_whole() -> None:
    day = ask("1 D", "1 hour")
    morning = ask("1 D", "1 hour", end="20261120 11:00:01 US/Eastern")
    exact = ask("1 D", "1 hour", end="20261120 11:00:00 US/Eastern")

    assert len(morning.bars) == 3
    assert same(morning.bars, select(day.bars, slice(3)))
    assert len(exact.bars) == 2


def test_consecutive_requests_neither_overlap_nor_leave_a_gap() -> None:
    whole = ask("2 D", "1 min").bars
    early = ask("2 D", "1 min", end="20261120 12:00:00 US/Eastern").bars
    late = ask("14400 S", "1 min", end="20261120 16:00:00 US/Eastern").bars

    assert np.array_equal(np.concatenate([early.start, late.start]), whole.start)


# The present


def rows_of(symbol: str, step: int, begin: int, end: int, now: float, *, use_rth: bool) -> BarColumns:
    return bars_between(AsOf(tape(), hours(), now), symbol, step, begin, end, use_rth=use_rth)


MOMENTS = st.integers(at("2026-11-16 00:00"), at("2026-11-28 00:00"))
SIZES = st.sampled_from([size for size in BAR_SIZES.values() if size > 1])


@settings(max_examples=60, deadline=None)
@given(now=MOMENTS, later=st.integers(0, 5 * DAY), size=SIZES, use_rth=st.booleans())
def test_what_was_complete_does_not_change_when_time_passes(now: int, later: int, size: int, use_rth: bool) -> None:
    begin = now - 3 * DAY
    early = rows_of("AAPL", size, begin, now, now, use_rth=use_rth)
    late = rows_of("AAPL", size, begin, now, now + later, use_rth=use_rth)

    ended = max(0, len(early) - 1)  # the last may be forming; weeks and months are stamped by their last day so far
    assert same(select(early, slice(ended)), select(late, slice(ended)))


@settings(max_examples=60, deadline=None)
@given(now=MOMENTS, size=SIZES.filter(lambda size: size < DAY), use_rth=st.booleans())
def test_a_forming_bar_is_exactly_its_complete_five_second_bars(now: int, size: int, use_rth: bool) -> None:
    begin = now - DAY
    bars = rows_of("AAPL", size, begin, now, now, use_rth=use_rth)
    if not len(bars):
        return
    last = int(bars.start[-1])
    fine = tape().bars("AAPL", 5, last, min(now - 4, last + size), use_rth=use_rth)
    traded = select(fine, fine.volume > 0) if fine.volume.any() else fine

    assert last < now
    assert bars.close[-1] == traded.close[-1]
    assert (bars.high[-1], bars.low[-1]) == (traded.high.max(), traded.low.min())
    assert bars.volume[-1] == fine.volume.sum()


def test_the_forming_day_holds_nothing_of_the_future() -> None:
    day = ask("1 D", "1 day", now=FRIDAY_AFTERNOON).bars
    so_far = tape().bars("AAPL", 5, at("2026-11-20 09:30"), at("2026-11-20 14:01:56"), use_rth=True)

    assert day.volume[-1] == so_far.volume.sum()
    assert day.close[-1] == so_far.close[-1]
    assert day.volume[-1] < ask("1 D", "1 day").bars.volume[-1]


def test_a_session_that_has_not_begun_has_no_daily_bar() -> None:
    assert ask("2 D", "1 day", now="2026-11-20 09:29:59").stamps == ["20261118", "20261119"]
    assert ask("1 D", "1 day", now="2026-11-19 19:30").stamps == ["20261119"]  # already the 20th in UTC


def test_a_day_belongs_to_a_past_end_when_its_session_began_before_it() -> None:
    assert ask("2 D", "1 day", end="20261119 09:30:00 US/Eastern").stamps == ["20261117", "20261118"]
    assert ask("2 D", "1 day", end="20261119 09:30:01 US/Eastern").stamps == ["20261118", "20261119"]


def test_a_bar_that_is_cut_at_the_close_is_complete_at_the_close(tmp_path: Path) -> None:
    starts = pa.array([at("2026-11-27 12:00") * 1000], pa.timestamp("ms", tz="UTC"))
    (tmp_path / "AAPL").mkdir()
    columns = {name: [10.0] for name in ("open", "high", "low", "close", "volume")}
    pq.write_table(pa.table({"timestamp": starts, **columns}), tmp_path / "AAPL" / "4hour.parquet")
    only = ReplayTape(tmp_path)  # nothing finer to compose it from
    begin = at("2026-11-27 09:30")

    during, after = [
        bars_between(AsOf(only, hours(), at(now)), "AAPL", 14_400, begin, begin + DAY, use_rth=True)
        for now in ("2026-11-27 12:59:59", "2026-11-27 13:00")
    ]

    assert (len(during), len(after)) == (0, 1)


def test_an_unfinished_five_second_bar_does_not_exist() -> None:
    assert ask("1 D", "5 secs", now=FRIDAY_AFTERNOON).stamps[-1] == "20261120 14:01:55 US/Eastern"


def test_an_end_in_the_future_is_the_present() -> None:
    future = ask("1 D", "1 min", end="20270101-00:00:00", now=FRIDAY_AFTERNOON)

    assert future.stamps == ask("1 D", "1 min", now=FRIDAY_AFTERNOON).stamps


# What it says


def test_both_date_formats_mean_the_same_instants() -> None:
    texts = ask("2 D", "1 hour").stamps
    epochs = ask("2 D", "1 hour", format_date=2).stamps

    read = [datetime.strptime(text, "%Y%m%d %H:%M:%S US/Eastern").replace(tzinfo=NEW_YORK) for text in texts]
    assert [str(int(it.timestamp())) for it in read] == epochs


def test_days_are_dates_in_both_formats() -> None:
    assert ask("2 D", "1 day").stamps == ask("2 D", "1 day", format_date=2).stamps == ["20261119", "20261120"]


def test_the_period_is_begin_and_end_in_the_exchanges_zone() -> None:
    assert ask("1 W", "1 hour", end="20261120 16:00:00 US/Eastern").period == (
        "20261113 16:00:00 US/Eastern",
        "20261120 16:00:00 US/Eastern",
    )


def test_an_end_without_a_zone_is_served_with_a_warning() -> None:
    found = ask("1 D", "1 hour", end="20261120 16:00:00")

    assert found.warning is not None
    assert found.warning.code == 2174
    assert found.stamps == ask("1 D", "1 hour").stamps


@pytest.mark.parametrize(("what_to_show", "ticks"), [("BID", -0.5), ("MIDPOINT", 0.0), ("ASK", 0.5)])
def test_quotes_lie_half_a_tick_beside_the_trades_and_have_no_volume(what_to_show: str, ticks: float) -> None:
    trades, quotes = ask("1 D", "1 hour").bars, ask("1 D", "1 hour", what_to_show=what_to_show).bars

    assert quotes.close - trades.close == pytest.approx(ticks * 0.01)
    assert {*quotes.volume, *quotes.average, *quotes.count} == {-1}


# Refusals


def test_no_bars_are_162() -> None:
    assert refusal("1 D", "1 day", end="19900101-00:00:00") == (
        162,
        "Historical Market Data Service error message:HMDS query returned no data: AAPL@SMART Trades",
    )


class Ancient(SimulatedTape):
    """A tape of which nobody knows where it begins, as that of a folder with bars from before the calendar."""

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        return 0


def test_where_no_sessions_are_known_no_answer_is_made_up() -> None:
    contract = ContractQuery(symbol="AAPL", sec_type="STK", exchange="SMART", currency="USD")
    asked = HistoricalRequest(1, contract, False, "19850101-00:00:00", "1 day", "1 D", True, "TRADES", 1)

    for refused_by in (
        lambda: answer(asked, instrument(), Ancient(1), at(LATE)),
        lambda: schedule(asked, instrument(), at(LATE)),
        lambda: answer(replace(asked, end=""), instrument(), tape(), at("2050-01-03 12:00")),
    ):
        with pytest.raises(Refused, match=r"162: .*sessions are known from 1990-01-02 to 2049-12-31"):
            refused_by()


@pytest.mark.parametrize("what_to_show", ["BID", "ASK", "MIDPOINT", "BID_ASK"])
def test_an_index_has_no_head_of_what_it_has_no_bars_of(what_to_show: str) -> None:
    request = HeadTimestampRequest(1, ContractQuery(symbol="VIX"), False, True, "TRADES", 2)

    assert int(head(request, instrument("VIX"), tape(), at(LATE))) == tape().head("VIX", use_rth=True)
    with pytest.raises(Refused, match=r"162: .*No head time stamp"):
        head(replace(request, what_to_show=what_to_show), instrument("VIX"), tape(), at(LATE))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bar_size": "1 sec"}, "Legal ones are: 1 secs, 5 secs, 10 secs"),
        ({"bar_size": "1 mins"}, "bar size setting is invalid"),
        ({"what_to_show": "trades"}, "What to show field is missing or incorrect."),
        ({"what_to_show": ""}, "What to show field is missing or incorrect."),
        ({"format_date": 0}, "Date formatting selection of 0 rejected"),
        ({"duration": "366 D"}, "longer than 365 days must be made in years"),
        ({"keep_up_to_date": True, "end": "20261120-21:00:00"}, "End date not supported with keepUpToDate"),
        ({"keep_up_to_date": True, "bar_size": "1 secs", "duration": "60 S"}, "less than 5 secs"),
        ({"keep_up_to_date": True, "what_to_show": "ADJUSTED_LAST"}, "What to show field"),
        ({"keep_up_to_date": True, "what_to_show": "SCHEDULE"}, "What to show field"),
        ({"what_to_show": "ADJUSTED_LAST", "end": "20261120-21:00:00"}, "End date not supported"),
    ],
)
def test_what_fails_validation_is_321(options: dict[str, object], words: str) -> None:
    code, text = refusal(**({"duration": "1 D", "bar_size": "1 min"} | options))

    assert code == 321
    assert text.startswith("Error validating request.-'")
    assert words in text


@pytest.mark.parametrize(
    ("duration", "bar_size"),
    [("1 Y", "30 secs"), ("1 M", "5 secs"), ("1 W", "5 secs"), ("1 D", "4 hours"), ("60 S", "5 mins")],
)
def test_a_step_that_does_not_go_with_the_unit_is_refused(duration: str, bar_size: str) -> None:
    code, text = refusal(duration, bar_size)

    assert code == 162
    assert "invalid step" in text


def test_an_answer_that_would_keep_all_others_waiting_is_refused() -> None:
    code, text = refusal("365 D", "5 secs")

    assert (code, text.rpartition(":")[2]) == (162, "Time length exceed max.")
    assert len(ask("20 D", "5 secs").bars) == 93_600
    assert refusal("25 D", "5 secs", use_rth=False)[0] == 162
    assert len(ask("365 D", "5 mins").bars) < 100_000


def test_bars_of_one_second_are_served_for_two_thousand_seconds_at_most() -> None:
    assert len(ask("2000 S", "1 secs").bars) == 2000
    assert refusal("2001 S", "1 secs")[1].endswith("Time length exceed max.")


@pytest.mark.parametrize("end", ["20261120 16:00:00 GMT", "tomorrow"])
def test_an_unreadable_end_is_10314(end: str) -> None:
    assert refusal("1 D", "1 min", end=end)[0] == 10314


def test_the_head_timestamp_is_the_first_instant_of_the_tape() -> None:
    request = HeadTimestampRequest(1, ContractQuery(symbol="AAPL"), False, True, "TRADES", 2)
    epoch = int(head(request, instrument(), tape(), at(LATE)))

    assert epoch == tape().head("AAPL", use_rth=True)
    with pytest.raises(Refused, match="162"):
        head(request, instrument(), tape(), epoch - 1)


def test_every_legal_bar_size_is_served_or_refused_for_every_unit() -> None:
    for bar_size in BAR_SIZES:
        for unit in ("60 S", "1 D", "1 W", "1 M", "1 Y"):
            try:
                found = ask(unit, bar_size)
            except Refused as refused:
                assert refused.notice.code == 162  # noqa: PT017
            else:
                assert (np.diff(found.bars.start) > 0).all()


def test_the_steps_of_a_tape_are_bar_sizes_of_ib() -> None:
    assert set(STEPS) <= set(BAR_SIZES.values())


# Other things to show


def test_adjusted_bars_are_the_trades_of_a_tape_without_dividends() -> None:
    assert same(ask("5 D", "1 hour", what_to_show="ADJUSTED_LAST").bars, ask("5 D", "1 hour").bars)


def test_a_bar_of_both_quotes_reaches_from_the_lowest_bid_to_the_highest_ask() -> None:
    both, bid, ask_ = (ask("1 D", "1 min", what_to_show=it).bars for it in ("BID_ASK", "BID", "ASK"))

    assert both.low.tolist() == bid.low.tolist()
    assert both.high.tolist() == ask_.high.tolist()
    assert (both.open < both.close).all()  # the mean bid and the mean ask
    assert set(both.volume) == set(both.count) == {-1}


def test_an_index_has_no_quotes() -> None:
    request = HistoricalRequest(
        1, ContractQuery(symbol="SPX", exchange="CBOE"), False, "", "1 min", "1 D", True, "MIDPOINT", 1
    )

    with pytest.raises(Refused, match=r"162: .*No historical market data for SPX/IND@CBOE MidPoint 60"):
        answer(request, instrument("SPX"), tape(), at(LATE))


def sessions(
    duration: str, end: str, *, bar_size: str = "1 day", use_rth: bool = True, symbol: str = "AAPL"
) -> Schedule:
    contract = ContractQuery(symbol=symbol, exchange="SMART")
    request = HistoricalRequest(1, contract, False, end, bar_size, duration, use_rth, "SCHEDULE", 1)
    return schedule(request, instrument(symbol), at("2026-12-01 12:00"))


def test_a_schedule_tells_half_days_and_leaves_holidays_out() -> None:
    found = sessions("3 D", "20261128 00:00:00 US/Eastern")

    assert found.zone == "US/Eastern"
    assert found.sessions == [
        ("20261124-09:30:00", "20261124-16:00:00", "20261124"),
        ("20261125-09:30:00", "20261125-16:00:00", "20261125"),
        ("20261127-09:30:00", "20261127-13:00:00", "20261127"),
    ]
    assert found.period == ("20261124-09:30:00", "20261128-00:00:00")


def test_a_schedule_is_in_the_zone_of_its_contract_and_of_the_hours_asked_for() -> None:
    assert sessions("1 D", "20261125 00:00:00 US/Eastern", symbol="SPX").sessions[0][0] == "20261124-08:30:00"
    assert sessions("1 D", "20261125 00:00:00 US/Eastern", use_rth=False).sessions[0][0] == "20261124-04:00:00"


def test_a_schedule_is_of_days() -> None:
    with pytest.raises(Refused, match="bar size of 1 day"):
        sessions("1 D", "", bar_size="1 hour")


def test_texts_are_in_the_zone_that_the_gateway_is_set_to() -> None:
    request = HistoricalRequest(1, ContractQuery(symbol="AAPL", exchange="SMART"), False, "", "1 hour", "1 D", True,
                                "TRADES", 1)  # fmt: skip

    assert answer(request, instrument(), tape(), at(LATE), ZoneInfo("UTC")).stamps[0] == "20261120 14:30:00 UTC"


@pytest.mark.parametrize("bar_size", [it for it in BAR_SIZES if it != "1 secs"])
@pytest.mark.parametrize("use_rth", [True, False])
def test_a_bar_is_found_again_from_where_it_begins(bar_size: str, use_rth: bool) -> None:
    size, known = BAR_SIZES[bar_size], AsOf(tape(), hours(), at("2026-11-30 12:00"))
    bars = bars_between(known, "AAPL", size, at("2026-10-25 00:00"), at("2026-11-30 12:00"), use_rth=use_rth)
    last = int(bars.start[-1])

    begin = begin_of_bar(hours(), last, size, use_rth=use_rth)

    again = bars_between(known, "AAPL", size, begin, at("2026-11-30 12:00"), use_rth=use_rth)
    assert again.start[0] == last
