from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from workbench.gateway.asof import AsOf, shown
from workbench.gateway.hours import hours
from workbench.gateway.revise import RevisedTape
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import DAY, BarColumns, Instrument
from workbench.gateway.ticks import (
    DELAYED,
    DELAYED_FROZEN,
    FROZEN,
    LIVE,
    Layout,
    LiveTicks,
    Quotes,
    Tick,
    day_at,
    kind_told,
    path,
    shares_of,
)
from workbench.gateway.wire import FrameReader, fields

NEW_YORK = ZoneInfo("America/New_York")


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


def instrument(symbol: str) -> Instrument:
    return next(it for it in tape().instruments if it.symbol == symbol)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def quotes(symbol: str, begin: str) -> Quotes:
    return Quotes(AsOf(tape(), hours(), at(begin)), instrument(symbol))


def of(name: str, ticks: Sequence[Tick]) -> list[float]:
    return [tick.value for tick in ticks if tick.name == name]


def messages(data: bytes) -> list[list[str]]:
    reader = FrameReader()
    reader.feed(data)
    return [fields(payload) for payload in reader.frames()]


@pytest.mark.parametrize("symbol", ["AAPL", "SEB", "SPX"])  # lively, quiet, without volume
def test_a_bar_made_of_the_ticks_of_five_seconds_is_the_bar_of_the_tape(symbol: str) -> None:
    stream, begin = quotes(symbol, "2026-11-20 10:00"), at("2026-11-20 10:00")
    traded = 0

    for start in range(begin, begin + 600, 5):
        last = [tick for tick in stream.until(start + 5) if tick.name == "last"]
        bar = tape().bars(symbol, 5, start, start + 5, use_rth=True)
        if bar.volume[0] == bar.count[0] == 0:
            assert not last
            continue
        traded += 1
        prices = [tick.value for tick in last]
        assert (prices[0], max(prices), min(prices), prices[-1]) == (bar.open, bar.high, bar.low, bar.close)
        assert sum(tick.size for tick in last) == bar.volume[0]

    assert traded


def test_ticks_of_many_bars_at_once_are_those_of_one_after_the_other() -> None:
    slow, fast, begin = quotes("AAPL", "2026-11-20 15:58"), quotes("AAPL", "2026-11-20 15:58"), at("2026-11-20 15:58")

    one_by_one = [tick for moment in range(begin, begin + 300, 2) for tick in slow.until(moment)]

    assert fast.until(begin + 299) == one_by_one


@pytest.mark.parametrize("moment", ["09:29:58", "09:30:05", "12:34:56", "15:59:59", "16:30:00", "23:00:00"])
def test_the_days_values_are_those_of_its_daily_bar_so_far(moment: str) -> None:
    stream = quotes("AAPL", "2026-11-19 15:59:00")
    label = int(np.datetime64("2026-11-20", "s").astype(np.int64))
    now = at(f"2026-11-20 {moment}")

    ticks = stream.until(now)

    known = AsOf(tape(), hours(), now // 5 * 5).bars("AAPL", DAY, label, label + 1, use_rth=True)
    opened = at("2026-11-20 09:30:05") <= now
    assert len(known) == opened
    if opened:
        assert day_at(AsOf(tape(), hours(), now // 5 * 5), instrument("AAPL")) == stream._day
        newest = {tick.name: tick.value for tick in ticks}
        assert newest["volume"] == known.volume[0]
        assert (newest["open"], newest["high"], newest["low"]) == (known.open[0], known.high[0], known.low[0])
    assert of("close", ticks)[-1:] == tape().bars("AAPL", DAY, label - DAY, label, use_rth=True).close.tolist()


def test_quotes_are_where_history_shows_them() -> None:
    stream, begin = quotes("AAPL", "2026-11-20 10:00"), at("2026-11-20 10:00")

    ticks = stream.until(begin + 5)

    bar = tape().bars("AAPL", 5, begin, begin + 5, use_rth=True)
    assert of("bid", ticks)[-1] == shown(bar, "BID", 0.01).close[0]
    assert of("ask", ticks)[-1] == shown(bar, "ASK", 0.01).close[0]


def test_an_index_has_neither_quotes_nor_volume() -> None:
    stream = quotes("SPX", "2026-11-20 10:00")

    names = {tick.name for tick in [*stream.first(), *stream.until(at("2026-11-20 10:05"))]}

    assert names == {"last", "last_time", "open", "high", "low", "close"}


def test_a_closed_market_shows_its_last_prices_and_sends_no_more() -> None:
    stream = quotes("AAPL", "2026-11-22 12:00")  # a Sunday
    first = stream.first()

    friday, thursday = (at(f"2026-11-{day} 00:00") // DAY * DAY for day in (20, 19))
    assert of("last", first) and of("volume", first)  # noqa: PT018  both are there
    assert of("volume", first) == tape().bars("AAPL", DAY, friday, friday + 1, use_rth=True).volume.tolist()
    assert of("close", first) == tape().bars("AAPL", DAY, thursday, thursday + 1, use_rth=True).close.tolist()
    assert stream.until(at("2026-11-22 18:00")) == []


def test_a_clock_turned_back_goes_on_from_there() -> None:
    stream = quotes("AAPL", "2026-11-20 12:00")
    stream.until(at("2026-11-20 12:05"))

    assert stream.until(at("2026-11-20 11:00")) == []
    assert stream.until(at("2026-11-20 11:01")) == quotes("AAPL", "2026-11-20 11:00").until(at("2026-11-20 11:01"))


def test_a_path_touches_open_extremes_and_close_and_repeats_nothing() -> None:
    assert path(10.0, 12.0, 9.0, 11.0) == [10.0, 9.0, 12.0, 11.0]
    assert path(11.0, 12.0, 9.0, 10.0) == [11.0, 12.0, 9.0, 10.0]
    assert path(10.0, 10.0, 10.0, 10.0) == [10.0]


@pytest.mark.parametrize(("volume", "count"), [(0.0, 1), (7.0, 4), (100.0, 3), (2.5, 2)])
def test_shares_add_up(volume: float, count: int) -> None:
    assert sum(shares_of(volume, count)) == volume
    assert len(shares_of(volume, count)) == count


@pytest.mark.parametrize("version", [157, 163, 176])
@pytest.mark.parametrize("delayed", [False, True])
def test_live_and_delayed_ticks_have_their_own_types(version: int, delayed: bool) -> None:
    ticks = LiveTicks(tape(), 900)
    layout, now = Layout(instrument("AAPL"), version, delayed), at("2026-11-20 12:00")

    sent = messages(ticks.begin(1, 7, layout, now, kind=3 if delayed else 1))

    assert sent[0] == ["81", "7", "0.01", "9c0001", "3"]
    assert sent[1] == ["58", "1", "7", "3" if delayed else "1"]
    kinds = [int(texts[3]) for texts in sent[2:]]
    assert kinds == ([66, 67, 68, 88, 74, 72, 73, 76, 75] if delayed else [1, 2, 4, 45, 8, 6, 7, 14, 9])
    day = day_at(AsOf(tape(), hours(), now - (900 if delayed else 0)), instrument("AAPL"))
    shares = float(next(texts[4] for texts in sent if texts[3] in ("8", "74")))
    assert shares == (day.volume if version >= 175 else round(day.volume / 100) if version < 163 else day.volume / 100)
    assert all(len(texts) == 7 for texts in sent if texts[0] == "1")


def test_delayed_ticks_are_the_live_ones_a_quarter_of_an_hour_later() -> None:
    now = at("2026-11-20 12:00")

    def news(delayed: bool, begin: int) -> list[list[str]]:
        ticks = LiveTicks(tape(), 900)
        ticks.begin(1, 7, Layout(instrument("AAPL"), 176, delayed), begin)
        return messages(bytes(ticks.tick(begin + 30)[1].data))

    live, delayed = news(False, now), news(True, now + 900)
    assert [texts[4:] for texts in live] == [texts[4:] for texts in delayed]
    assert len(live) > 6


def test_a_snapshot_ends_and_subscribes_nothing() -> None:
    ticks = LiveTicks(tape(), 900)

    data = ticks.begin(1, 7, Layout(instrument("AAPL"), 176), at("2026-11-20 12:00"), snapshot=True)

    assert messages(data)[-1] == ["57", "1", "7"]
    assert not ticks.holds(1, 7)
    assert ticks.next_due(0.0) is None


def test_a_subscription_ends_when_it_is_cancelled_or_its_client_goes() -> None:
    ticks, now = LiveTicks(tape(), 900), at("2026-11-20 12:00")
    for client, req_id in ((1, 7), (1, 8), (2, 7)):
        ticks.begin(client, req_id, Layout(instrument("AAPL"), 176), now)

    ticks.cancel(1, 7)
    ticks.forget(2)

    assert ticks.next_due(now) == now + 5
    assert {
        client: {texts[2] for texts in messages(bytes(due.data))} for client, due in ticks.tick(now + 60).items()
    } == {1: {"8"}}


@pytest.mark.parametrize(
    ("wanted", "moment", "subscribed", "told"),
    [
        (LIVE, "2026-11-20 12:00", True, LIVE),
        (DELAYED, "2026-11-20 12:00", True, LIVE),  # who has paid gets live data
        (FROZEN, "2026-11-20 12:00", True, LIVE),
        (FROZEN, "2026-11-22 12:00", True, FROZEN),
        (DELAYED, "2026-11-20 12:00", False, DELAYED),
        (DELAYED_FROZEN, "2026-11-22 12:00", False, DELAYED_FROZEN),
    ],
)
def test_the_type_that_is_told_is_what_the_client_gets(wanted: int, moment: str, subscribed: bool, told: int) -> None:
    assert kind_told(wanted, at(moment), subscribed=subscribed) == told


def test_ticks_are_what_was_streamed_even_where_history_is_revised() -> None:
    begin, revised = at("2026-11-20 10:00"), RevisedTape(tape(), 0.1)

    plain, of_revised = (Quotes(AsOf(it, hours(), begin), instrument("AAPL")) for it in (tape(), revised))

    assert of_revised.first() == plain.first()
    assert of_revised.until(begin + 60) == plain.until(begin + 60)


def test_whoever_begins_in_the_same_five_seconds_shares_one_look_up() -> None:
    begin, counted = at("2026-11-20 12:00"), Counted()
    ticks = LiveTicks(counted, 900)
    for number, moment in enumerate((begin, begin + 1, begin + 2)):
        ticks.begin(number, 7, Layout(instrument("AAPL"), 176), moment)
    before = counted.asked

    due = ticks.tick(begin + 10)

    assert counted.asked == before + 1
    assert bytes(due[0].data) == bytes(due[1].data) == bytes(due[2].data) != b""


@pytest.mark.parametrize("moment", ["2026-11-20 12:00:03", "2026-11-20 03:59:58", "2026-11-20 09:29:58"])
def test_a_late_subscriber_gets_what_it_would_get_alone(moment: str) -> None:
    begin, layout = at(moment), Layout(instrument("AAPL"), 176)
    together, alone = LiveTicks(tape(), 900), LiveTicks(tape(), 900)
    together.begin(1, 7, layout, begin - 3600)
    together.tick(begin)

    assert together.begin(2, 7, layout, begin + 6) == alone.begin(2, 7, layout, begin + 6)
    for later in range(7, 600, 13):
        assert together.tick(begin + later)[2].data == alone.tick(begin + later)[2].data


class Counted:
    """The tape, which counts how often it is asked."""

    account = "TEST"

    def __init__(self) -> None:
        self.asked = 0
        self.instruments = tape().instruments
        self.head = tape().head

    def bars(self, symbol: str, step: int, begin: int, end: int, *, use_rth: bool) -> BarColumns:
        self.asked += 1
        return tape().bars(symbol, step, begin, end, use_rth=use_rth)
