from __future__ import annotations

import math
from datetime import datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tests.gateway.test_replay import save
from workbench.gateway.asof import AsOf, shown
from workbench.gateway.history import BAR_SIZES, bars_between, stamps
from workbench.gateway.hours import hours
from workbench.gateway.keepup import Kept, KeptUp
from workbench.gateway.replay import ReplayTape
from workbench.gateway.revise import RevisedTape
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import BarColumns, Instrument
from workbench.gateway.wire import FrameReader, fields

NEW_YORK = ZoneInfo("America/New_York")
EASTERN = ZoneInfo("US/Eastern")


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def instrument(symbol: str) -> Instrument:
    return next(it for it in tape().instruments if it.symbol == symbol)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def wish(symbol: str, bar_size: str, what_to_show: str = "TRADES", *, use_rth: bool = True) -> Kept:
    return Kept(instrument(symbol), BAR_SIZES[bar_size], what_to_show, use_rth, 1, EASTERN, lots=True, version=176)


def begun(kept: Kept, now: int) -> KeptUp:
    """Return what keeps bars up to date after an answer at `now`."""
    known = AsOf(tape(), hours(), now)
    bars = bars_between(known, kept.instrument.key, kept.size, now - 40 * 86_400, now, use_rth=kept.use_rth)
    up_to_date = KeptUp(tape(), 5)
    up_to_date.keep("client", 7, kept, int(bars.start[-1]), since=now)
    return up_to_date


def told(up_to_date: KeptUp, now: float) -> list[list[str]]:
    reader = FrameReader()
    reader.feed(bytes(up_to_date.tick(now)["client"].data))
    return [fields(payload) for payload in reader.frames()]


def by_history(kept: Kept, begin: int, end: int) -> dict[str, list[str]]:
    """Return the bars that history gives later, as the fields of message 90 by their stamps."""
    bars = bars_between(AsOf(tape(), hours(), end + 86_400), kept.instrument.key, kept.size, begin, end,
                        use_rth=kept.use_rth)  # fmt: skip
    bars = shown(bars, kept.what_to_show, 0.01)
    texts = stamps(bars.start, EASTERN, size=kept.size, format_date=1)
    columns = (bars.open, bars.close, bars.high, bars.low, bars.average, bars.volume)
    rows = zip(bars.count.tolist(), texts, *[column.tolist() for column in columns], strict=True)
    return {row[1]: [str(row[0]), row[1], *[repr(value) for value in row[2:7]], str(int(row[7]))] for row in rows}


@pytest.mark.parametrize("what_to_show", ["TRADES", "MIDPOINT", "BID", "ASK"])
@pytest.mark.parametrize(
    ("symbol", "bar_size"), [("AAPL", "5 secs"), ("AAPL", "1 min"), ("SEB", "30 secs"), ("SEB", "2 mins")]
)
def test_the_last_word_on_each_bar_is_what_history_says_later(symbol: str, bar_size: str, what_to_show: str) -> None:
    kept, begin = wish(symbol, bar_size, what_to_show), at("2026-11-20 12:00:02")
    up_to_date = begun(kept, begin)

    last_words = {texts[3]: texts[2:] for now in range(begin, begin + 600, 3) for texts in told(up_to_date, now)}

    complete = by_history(kept, at("2026-11-20 12:00"), begin + 590 - kept.size)
    assert len(complete) >= 600 // kept.size - 2
    assert {stamp: last_words[stamp] for stamp in complete} == complete


def test_a_bar_grows_and_is_told_once_more_when_it_ends() -> None:
    kept, begin = wish("AAPL", "1 min"), at("2026-11-20 12:00:02")
    up_to_date = begun(kept, begin)

    words = [texts for now in range(begin, begin + 63) for texts in told(up_to_date, now)]

    of_noon = [texts for texts in words if texts[3].startswith("20261120 12:00:00")]
    assert len(of_noon) == 12
    volumes = [int(texts[9]) for texts in of_noon]
    assert volumes == sorted(volumes)
    assert [texts[3] for texts in words[-2:]] == ["20261120 12:00:00 US/Eastern"] * 2


def test_nothing_is_told_twice() -> None:
    up_to_date = begun(wish("AAPL", "1 min"), at("2026-11-20 12:00:02"))

    assert told(up_to_date, at("2026-11-20 12:00:07"))
    assert not told(up_to_date, at("2026-11-20 12:00:09"))


def test_a_bar_that_began_without_a_trade_has_no_volume_until_it_ends() -> None:
    kept = wish("SEB", "1 min")
    minutes = tape().bars("SEB", 60, at("2026-11-20 11:00"), at("2026-11-20 12:00"), use_rth=True)
    quiet = next(i for i in range(1, len(minutes)) if minutes.volume[i] == 0 and minutes.volume[i - 1] > 0)
    begin = int(minutes.start[quiet])
    up_to_date = begun(kept, begin - 30)

    *_, unfinished = told(up_to_date, begin + 30)
    finished, *_ = told(up_to_date, begin + 66)

    assert (unfinished[2], unfinished[8], unfinished[9]) == ("-1", "-1.0", "-1")
    assert finished[3] == unfinished[3]
    assert (finished[2], finished[9]) == ("0", "0")


def test_a_closed_market_is_silent_and_the_next_session_begins_a_new_bar() -> None:
    kept, friday = wish("AAPL", "1 hour"), at("2026-11-20 15:59:58")
    up_to_date = begun(kept, friday)

    assert [texts[3][:17] for texts in told(up_to_date, friday + 10)] == ["20261120 15:00:00"]
    assert told(up_to_date, at("2026-11-22 12:00")) == []
    assert [texts[3][:17] for texts in told(up_to_date, at("2026-11-23 09:30:05"))] == ["20261123 09:30:00"]


@pytest.mark.parametrize("bar_size", ["1 day", "1W", "1M"])
def test_days_and_longer_grow_as_well(bar_size: str) -> None:
    kept, begin = wish("AAPL", bar_size), at("2026-11-20 15:59:30")
    up_to_date = begun(kept, begin)

    (unfinished,) = told(up_to_date, begin)
    (finished,) = told(up_to_date, begin + 60)

    assert unfinished[3] == finished[3] == "20261120"
    assert int(unfinished[9]) < int(finished[9])


def test_updates_are_due_on_the_beat_while_somebody_wants_them() -> None:
    up_to_date, now = begun(wish("AAPL", "1 min"), at("2026-11-20 12:00:02")), at("2026-11-20 12:00:02")

    assert up_to_date.next_due(now) == math.ceil(now / 5) * 5
    up_to_date.cancel("client", 7)
    assert up_to_date.next_due(now) is None
    assert not up_to_date.holds("client", 7)


def test_nothing_is_told_before_the_first_answer_has_arrived() -> None:
    kept, now = wish("AAPL", "1 min"), at("2026-11-20 12:00:02")
    up_to_date = KeptUp(tape(), 5)
    up_to_date.keep("client", 7, kept, at("2026-11-20 12:00"), since=now + 10)

    assert not told(up_to_date, now + 9)
    assert told(up_to_date, now + 10)


def test_updates_are_what_was_streamed_even_where_history_is_revised() -> None:
    kept, now = wish("AAPL", "1 min"), at("2026-11-20 12:00:02")
    plain, revised = begun(kept, now), KeptUp(RevisedTape(tape(), 0.1), 5)
    revised.keep("client", 7, kept, at("2026-11-20 11:59"), since=now)

    assert told(revised, now + 90) == told(plain, now + 90)


class Watched:
    """A tape that counts how often it is read, how many bars it gives, and how long an interval is asked for."""

    account = "TEST"
    instruments = tape().instruments

    def __init__(self) -> None:
        self.reads = self.rows = self.longest = 0

    def head(self, symbol: str, *, use_rth: bool) -> int | None:
        return tape().head(symbol, use_rth=use_rth)

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        found = tape().bars(symbol, step, begin, end, use_rth=use_rth)
        self.reads, self.rows = self.reads + 1, self.rows + len(found)
        self.longest = max(self.longest, end - begin)
        return found


def work_of_a_tick(wishes: list[Kept], now: int) -> tuple[int, int]:
    """Return the reads and the bars of the third tick after some subscriptions, which brings news of trades."""
    watched = Watched()
    up_to_date = KeptUp(watched, 5)
    for number, kept in enumerate(wishes):
        known = AsOf(tape(), hours(), now)
        bars = bars_between(known, kept.instrument.key, kept.size, now - 40 * 86_400, now, use_rth=kept.use_rth)
        up_to_date.keep(f"client {number % 7}", number, kept, int(bars.start[-1]), since=now)
    for moment in (now, now + 5):
        up_to_date.tick(now=moment)
    before = watched.reads, watched.rows
    due = up_to_date.tick(now + 10)
    reader = FrameReader()
    reader.feed(b"".join(bytes(it.data) for it in due.values()))
    trades = {number for number, kept in enumerate(wishes) if kept.what_to_show == "TRADES"}
    assert {int(fields(payload)[1]) for payload in reader.frames()} >= trades
    return watched.reads - before[0], watched.rows - before[1]


@pytest.mark.parametrize("bar_size", ["1 min", "30 mins", "1 day", "1W"])
def test_a_tick_reads_the_tape_once_for_a_series_however_many_want_it(bar_size: str) -> None:
    kinds = [wish("AAPL", bar_size, it) for it in ("TRADES", "MIDPOINT", "BID", "ASK")]
    now = at("2026-11-20 12:34:31")

    assert work_of_a_tick(kinds * 50, now) == work_of_a_tick(kinds[:1], now)


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize("bar_size", ["1 min", "1 hour", "8 hours", "1 day", "1M"])
def test_a_tick_reads_no_more_of_the_tape_late_in_the_day(bar_size: str, use_rth: bool) -> None:
    kept = wish("AAPL", bar_size, use_rth=use_rth)

    for clock in ("09:31:02", "11:59:31", "12:34:31", "15:59:44"):
        reads, rows = work_of_a_tick([kept], at(f"2026-11-20 {clock}"))

        assert reads <= 8
        assert rows <= 60


@pytest.mark.parametrize("bar_size", ["5 secs", "1 min", "1 hour"])
def test_in_a_closed_market_a_tick_reads_no_more_than_a_bar(bar_size: str) -> None:
    watched, kept, friday = Watched(), wish("AAPL", bar_size), at("2026-11-20 15:59:58")
    up_to_date = KeptUp(watched, 5)
    up_to_date.keep("client", 7, kept, friday // kept.size * kept.size, since=friday)
    assert told(up_to_date, friday + 2)
    assert not told(up_to_date, at("2026-11-20 20:00"))
    watched.longest = 0

    for moment in range(at("2026-11-20 20:00:05"), at("2026-11-20 20:10"), 5):
        assert not told(up_to_date, moment)

    assert watched.longest <= kept.size + 5
    assert told(up_to_date, at("2026-11-23 09:30:05"))


def test_a_bar_whose_first_trade_comes_late_is_told(tmp_path: Path) -> None:
    """Before the open a bar is there only once somebody has traded in it."""
    early, late = at("2026-11-20 08:00:00"), at("2026-11-20 08:01:40")
    save(tmp_path / "AAPL" / "5sec.parquet", [early, late])
    up_to_date, kept = KeptUp(ReplayTape(tmp_path), 5), wish("AAPL", "1 min", use_rth=False)
    up_to_date.keep("client", 7, kept, early, since=early + 10)

    words = [texts for moment in range(early + 10, early + 130, 5) for texts in told(up_to_date, moment)]

    assert [texts[3][9:17] for texts in words] == ["08:00:00", "08:01:00"]
