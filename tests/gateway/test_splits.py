"""The past is told in new shares from a split's ex-date on, and in old ones before."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workbench.errors import GatewayError
from workbench.gateway.asof import AsOf
from workbench.gateway.history import BAR_SIZES, bars_between
from workbench.gateway.hours import hours
from workbench.gateway.realtime import Feed, LiveBars
from workbench.gateway.replay import ReplayTape
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.splits import Split, SplitTape, read_splits
from workbench.gateway.tape import DAY, BarColumns, streamed
from workbench.gateway.windows import one_by_one
from workbench.gateway.wire import FrameReader
from workbench.gateway.wire import fields as texts_of

NEW_YORK = ZoneInfo("America/New_York")
SEVEN = Split("AAPL", date(2014, 6, 9), 7.0)
FOUR = Split("AAPL", date(2020, 8, 31), 4.0)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def label(text: str) -> int:
    return int(np.datetime64(text, "s").astype(np.int64))


@cache
def real(folder: Path) -> SplitTape:
    return SplitTape(ReplayTape(folder / "lean"), read_splits(folder / "splits.csv"))


@cache
def raw(folder: Path) -> ReplayTape:
    return ReplayTape(folder / "lean")


def rows(bars: BarColumns) -> list[tuple[float, ...]]:
    return list(zip(*[getattr(bars, it.name).tolist() for it in fields(BarColumns)], strict=True))


def days(folder: Path, now: str, begin: str, end: str) -> BarColumns:
    known = AsOf(real(folder), hours(), at(now))
    return known.bars("AAPL", DAY, label(begin), label(end), use_rth=True)


@pytest.mark.parametrize(
    ("split", "eve", "friday"), [(SEVEN, "2014-06-08 23:59", "2014-06-06"), (FOUR, "2020-08-30 23:59", "2020-08-28")]
)
def test_the_day_before_is_told_raw_until_the_ex_date_and_adjusted_from_then_on(
    real_bars: Path, split: Split, eve: str, friday: str
) -> None:
    later = raw(real_bars).bars("AAPL", DAY, label(friday), label(friday) + 1, use_rth=True)
    earlier_splits = SplitTape(raw(real_bars), [it for it in (SEVEN, FOUR) if it.ex_date < split.ex_date])

    before = days(real_bars, eve, friday, f"{split.ex_date}")
    after = days(real_bars, f"{split.ex_date} 00:00", friday, f"{split.ex_date}")

    assert rows(before) == rows(earlier_splits.bars("AAPL", DAY, label(friday), label(friday) + 1, use_rth=True))
    assert rows(before) == rows(later)
    assert after.close.tolist() == [round(later.close[0] / split.ratio, 4)]
    assert after.volume.tolist() == [later.volume[0] * split.ratio]
    assert after.count.tolist() == later.count.tolist()


@pytest.mark.parametrize(("split", "largest"), [(SEVEN, 0.02), (FOUR, 0.04)])
def test_the_jump_of_the_real_split_is_gone(real_bars: Path, split: Split, largest: float) -> None:
    around = (label(f"{split.ex_date}") - 5 * DAY, label(f"{split.ex_date}") + 5 * DAY)
    known = AsOf(real(real_bars), hours(), at(f"{split.ex_date} 20:00"))

    closes = known.bars("AAPL", DAY, *around, use_rth=True).close
    as_traded = raw(real_bars).bars("AAPL", DAY, *around, use_rth=True).close

    assert np.abs(np.diff(np.log(as_traded))).max() > 1.3
    assert np.abs(np.diff(np.log(closes))).max() < largest


def test_what_lies_before_two_splits_is_adjusted_by_both(real_bars: Path) -> None:
    raw_close = raw(real_bars).bars("AAPL", DAY, label("2014-06-05"), label("2014-06-06"), use_rth=True).close[0]

    assert days(real_bars, "2019-01-02 12:00", "2014-06-05", "2014-06-06").close[0] == round(raw_close / 7, 4)
    assert days(real_bars, "2021-01-04 12:00", "2014-06-05", "2014-06-06").close[0] == round(raw_close / 28, 4)


def test_adjusted_hours_aggregate_to_the_adjusted_days(real_bars: Path) -> None:
    known = AsOf(real(real_bars), hours(), at("2021-01-04 12:00"))
    session = hours()[hours().labelled(label("2014-06-06"), label("2014-06-07"))[0]]

    short = known.bars("AAPL", 3600, session.open, session.close, use_rth=True)
    day = known.bars("AAPL", DAY, session.label, session.label + 1, use_rth=True)

    assert len(short) == 7
    assert (day.open[0], day.close[0]) == (short.open[0], short.close[-1])
    assert (day.high[0], day.low[0]) == (max(short.high.tolist()), min(short.low.tolist()))
    assert day.volume[0] == sum(short.volume.tolist())


def test_weeks_and_months_over_the_split_are_made_of_adjusted_days(real_bars: Path) -> None:
    known = AsOf(real(real_bars), hours(), at("2014-07-15 12:00"))
    month = bars_between(known, "AAPL", BAR_SIZES["1M"], at("2014-05-31 00:00"), at("2014-07-01 00:00"), use_rth=True)
    june = days(real_bars, "2014-07-15 12:00", "2014-06-01", "2014-07-01")

    assert len(month) == 1
    assert (month.high[0], month.low[0]) == (max(june.high.tolist()), min(june.low.tolist()))
    assert month.volume[0] == sum(june.volume.tolist())
    assert month.high[0] / month.low[0] < 1.1


def test_a_reverse_split_keeps_the_trade_of_one_share() -> None:
    class OneShare(SimulatedTape):
        def bars(self, symbol, step, begin, end, *, use_rth):  # type: ignore[no-untyped-def]
            bars = super().bars(symbol, step, begin, end, use_rth=use_rth)
            return replace(bars, volume=np.minimum(bars.volume, 1))

    tape = SplitTape(OneShare(1), [Split("F", date(2026, 11, 20), 0.05)])

    bars = tape.bars("F", 60, at("2026-11-19 10:00"), at("2026-11-19 10:30"), use_rth=True)

    assert bars.volume.tolist() == pytest.approx([0.05] * 30, rel=2**-22)


def test_splits_of_symbols_that_the_tape_has_not_are_named() -> None:
    tape = SplitTape(SimulatedTape(1), [Split(it, date(2026, 11, 20), 4.0) for it in ("WHO", "AAPL", "APPL", "WHO")])

    assert tape.unknown == ["APPL", "WHO"]


def test_a_continuous_market_is_told_in_old_shares_until_the_split() -> None:
    inner = SimulatedTape(1)
    tape = SplitTape(inner, [Split("AAPL", date(2026, 11, 20), 4.0)], continuous=True)
    thursday = (label("2026-11-19"), label("2026-11-20"))
    plain = inner.bars("AAPL", DAY, *thursday, use_rth=True)

    before = AsOf(tape, hours(), at("2026-11-19 23:00")).bars("AAPL", DAY, *thursday, use_rth=True)
    after = AsOf(tape, hours(), at("2026-11-20 04:00")).bars("AAPL", DAY, *thursday, use_rth=True)

    assert before.close[0] == pytest.approx(plain.close[0] * 4, abs=1e-9)
    assert (before.volume[0], after.volume[0]) == (plain.volume[0], plain.volume[0] * 4)
    assert after.close[0] == plain.close[0]


@pytest.mark.parametrize("day", ["2026-11-19", "2026-11-20"])
def test_what_is_streamed_is_what_history_tells_on_that_day(day: str) -> None:
    tape = SplitTape(SimulatedTape(1), [Split("AAPL", date(2026, 11, 20), 4.0)], continuous=True)
    live, begin = LiveBars(tape), at(f"{day} 11:00")
    aapl = next(it for it in tape.instruments if it.symbol == "AAPL")
    live.subscribe("client", 1, Feed(aapl, "TRADES", use_rth=True, lots=False, version=176), begin)

    reader = FrameReader()
    reader.feed(bytes(live.tick(begin + 300)["client"].data))
    sent = [[float(text) for text in texts_of(payload)[3:]] for payload in reader.frames()]

    history = AsOf(tape, hours(), begin + 300).bars("AAPL", 5, begin, begin + 300, use_rth=True)
    assert [tuple(row) for row in sent] == rows(history)
    assert len(sent) == 60


@pytest.mark.parametrize("now", ["2026-11-19 12:00", "2026-11-20 12:00"])
@pytest.mark.parametrize("continuous", [True, False])
def test_many_symbols_in_one_pass_are_adjusted_as_each_alone(now: str, continuous: bool) -> None:
    splits = [Split("AAPL", date(2026, 11, 20), 4.0), Split("F", date(2026, 11, 20), 0.1)]
    tape = streamed(SplitTape(SimulatedTape(1), splits, continuous=continuous), at(now))
    symbols, begin = ["SPY", "F", "AAPL"], at("2026-11-19 11:00")

    together = tape.window(symbols, begin, begin + 60, use_rth=True)  # type: ignore[attr-defined]

    assert rows(together.bars) == rows(one_by_one(tape, symbols, begin, begin + 60, use_rth=True).bars)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("symbol,day,ratio\nAAPL,2014-06-09,7\n", "lacks the columns date"),
        ("symbol,date,ratio\nAAPL,2014-06-09,7\nAAPL,9 June,7\n", "line 3"),
        ("symbol,date,ratio\nAAPL,2014-06-09,0\n", "not above 0"),
        ("symbol,date,ratio\nAAPL,2014-06-09,many\n", "many"),
        ("symbol,date,ratio\nAAPL\n", "line 2"),
    ],
)
def test_a_file_of_splits_that_cannot_be_read_is_refused_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text)

    with pytest.raises(GatewayError, match=told):
        read_splits(path)


def test_a_missing_file_of_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="cannot be read"):
        read_splits(tmp_path / "nowhere.csv")
