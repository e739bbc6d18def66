"""Bars of every legal size agree with the five-second bars beneath them, as the protocol serves both.

What aggregates here is a slow loop of its own; sessions are literals.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.gateway.effects import Send
from workbench.gateway.history import BAR_SIZES
from workbench.gateway.protocol import GatewayConnection
from workbench.gateway.replay import ReplayTape
from workbench.gateway.revise import RevisedTape
from workbench.gateway.shared import Gateway
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.splits import Split, SplitTape
from workbench.gateway.tape import Tape
from workbench.gateway.wire import GREETING, FrameReader, encode, fields, frame

NEW_YORK = ZoneInfo("America/New_York")
STOCKS = {"SPY", "SEB", "BAC"}
INTRADAY = [size for size, length in BAR_SIZES.items() if 5 < length < 86_400]
CLOSES = {date(2026, 11, 20): "16:00", date(2026, 11, 27): "13:00", date(2026, 11, 2): "16:00",
          date(2026, 3, 9): "16:00", date(2013, 10, 9): "16:00"}  # fmt: skip
NORMAL, HALF, WINTER, SUMMER, REAL = CLOSES
"""A normal session, a half day, the first sessions after the clocks went back and forward, one of real bars."""


class Bar(NamedTuple):
    start: int | str
    open: float
    high: float
    low: float
    close: float
    volume: float
    average: float
    count: int


class Client:
    """The least client that asks for history: bytes in, bars out."""

    def __init__(self, tape: Tape, now: float) -> None:
        self.now = now
        self._connection = GatewayConnection(Gateway(tape))
        self._connection.receive(GREETING + frame(b"v157..176") + encode(71, 2, 1, None), now)

    def history(self, symbol: str, size: str, duration: str, *, end: str = "", use_rth: bool = True) -> list[Bar]:
        kind, exchange = ("STK", "SMART") if symbol in STOCKS else ("IND", "CBOE")
        contract = (0, symbol, kind, "", 0.0, "", "", exchange, "", "USD", "", "")
        asked = encode(20, 1, *contract, 0, end, size, duration, use_rth, "TRADES", 2, 0, None)
        (answer,) = self._messages(asked)
        assert answer[:2] == ["17", "1"], answer
        cells = answer[5:]
        assert len(cells) == 8 * int(answer[4])
        return [_bar(cells[i : i + 8], dated=BAR_SIZES[size] >= 86_400) for i in range(0, len(cells), 8)]

    def _messages(self, data: bytes) -> list[list[str]]:
        reader = FrameReader()
        for effect in self._connection.receive(data, self.now):
            assert isinstance(effect, Send)
            reader.feed(effect.data)
        return [fields(payload) for payload in reader.frames()]


def _bar(cells: Sequence[str], *, dated: bool) -> Bar:
    return Bar(cells[0] if dated else int(cells[0]), *map(float, cells[1:7]), int(cells[7]))  # type: ignore[arg-type]


def at(day: date, clock: str) -> int:
    return int(datetime.fromisoformat(f"{day} {clock}").replace(tzinfo=NEW_YORK).timestamp())


def close_of(day: date, *, use_rth: bool) -> int:
    return at(day, CLOSES[day]) + (0 if use_rth else 4 * 3600)


def text(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant, UTC):%Y%m%d-%H:%M:%S}"


def aggregated(short: Iterable[Bar], labels: Iterable[int | str]) -> list[Bar]:
    """Return one bar for each label: quiet bars set a price only where nothing else is there."""
    groups: dict[int | str, list[Bar]] = {}
    for bar, label in zip(short, labels, strict=True):
        groups.setdefault(label, []).append(bar)
    longer = []
    for label, inside in groups.items():
        told = [bar for bar in inside if bar.volume or bar.count] or inside
        volume = sum(bar.volume for bar in inside)
        turnover = sum(bar.volume * bar.average for bar in inside)
        longer.append(
            Bar(
                label,
                told[0].open,
                max(bar.high for bar in told),
                min(bar.low for bar in told),
                told[-1].close,
                volume,
                turnover / volume if volume else sum(bar.average for bar in told) / len(told),
                sum(bar.count for bar in inside),
            )
        )
    return longer


def clock_labels(short: Sequence[Bar], size: str, day: date, *, use_rth: bool, symbol: str) -> list[int]:
    """Return the start of each bar's longer bar: on the wall clock, the first cut at the open."""
    midnight, length = at(day, "00:00"), BAR_SIZES[size]
    begin = at(day, "09:30" if use_rth or symbol not in STOCKS else "04:00")
    return [max(begin, midnight + (int(bar.start) - midnight) // length * length) for bar in short]


def assert_same(expected: Sequence[Bar], actual: Sequence[Bar], *, tick: float = 0.0) -> None:
    """Averages may differ by a tick where a tape keeps them within prices that it tells otherwise."""
    assert [bar[:6] for bar in expected] == [bar[:6] for bar in actual]
    assert [bar.count for bar in expected] == [bar.count for bar in actual]
    for wanted, got in zip(expected, actual, strict=True):
        assert wanted.average == pytest.approx(got.average, rel=1e-9, abs=tick)
        assert not got.average or got.low * (1 - 1e-12) <= got.average <= got.high * (1 + 1e-12)


@cache
def market() -> SimulatedTape:
    return SimulatedTape(seed=1)


@cache
def revised() -> RevisedTape:
    return RevisedTape(market(), 0.01)


LATER = at(date(2026, 12, 2), "12:00")


def duration_for(size: str) -> str:
    """Return a duration that IB allows for a bar size and that holds a day."""
    length = BAR_SIZES[size]
    return "1 D" if length <= 3600 else "1 W" if length <= 14_400 else "1 M"


def served(client: Client, symbol: str, size: str, day: date, *, use_rth: bool) -> list[Bar]:
    end = close_of(day, use_rth=use_rth)
    bars = client.history(symbol, size, duration_for(size), end=text(end), use_rth=use_rth)
    return [bar for bar in bars if at(day, "00:00") <= int(bar.start) < end]


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize("day", [NORMAL, HALF, WINTER, SUMMER], ids=str)
@pytest.mark.parametrize("symbol", ["SPY", "SEB", "VIX"])
def test_every_size_aggregates_from_the_five_seconds(symbol: str, day: date, use_rth: bool) -> None:
    client = Client(market(), LATER)
    short = served(client, symbol, "5 secs", day, use_rth=use_rth)

    for size in INTRADAY:
        expected = aggregated(short, clock_labels(short, size, day, use_rth=use_rth, symbol=symbol))
        assert_same(expected, served(client, symbol, size, day, use_rth=use_rth))
    (whole,) = client.history(symbol, "1 day", "1 D", end=text(close_of(day, use_rth=use_rth)), use_rth=use_rth)
    assert_same(aggregated(short, [f"{day:%Y%m%d}"] * len(short)), [whole])


def test_the_symbol_with_quiet_minutes_has_some_and_the_index_no_volume() -> None:
    client = Client(market(), LATER)

    minutes, index = [served(client, it, "1 min", NORMAL, use_rth=True) for it in ("SEB", "VIX")]

    assert any(bar.count == 0 for bar in minutes)
    assert not any(bar.volume or bar.average for bar in index)


@pytest.mark.parametrize("symbol", ["SPY", "SEB", "VIX"])
def test_a_week_with_a_half_day_aggregates_from_its_five_seconds(symbol: str) -> None:
    client = Client(market(), LATER)
    days = [date(2026, 11, 23), date(2026, 11, 24), date(2026, 11, 25), date(2026, 11, 27)]
    short = [
        bar
        for day in days
        for bar in client.history(symbol, "5 secs", "1 D", end=text(at(day, "23:00")))
        if int(bar.start) >= at(day, "00:00")
    ]

    weeks = client.history(symbol, "1W", "2 W", end="20261128-12:00:00")

    assert len(short) == 3 * 4680 + 2520
    assert_same(aggregated(short, ["20261127"] * len(short)), weeks[-1:])


def test_a_month_aggregates_from_its_five_seconds() -> None:
    client = Client(market(), LATER)
    days = [date(2026, 11, 2) + timedelta(days=it) for it in range(29)]
    trading = [day for day in days if day.weekday() < 5 and day != date(2026, 11, 26)]
    short = [
        bar for day in trading for bar in client.history("SEB", "5 secs", "1 D", end=text(at(day, "23:00")))
    ]  # fmt: skip

    months = client.history("SEB", "1M", "2 M", end="20261201-12:00:00")

    assert len(short) == 19 * 4680 + 2520
    assert_same(aggregated(short, ["20261130"] * len(short)), [bar for bar in months if bar.start == "20261130"])


def test_five_seconds_aggregate_from_single_seconds() -> None:
    client = Client(market(), LATER)
    for symbol in ("SPY", "SEB", "VIX"):
        end = text(at(HALF, "13:00"))
        single = client.history(symbol, "1 secs", "1800 S", end=end)

        fives = client.history(symbol, "5 secs", "1800 S", end=end)

        assert_same(aggregated(single, [int(bar.start) // 5 * 5 for bar in single]), fives)


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from(["SPY", "SEB", "VIX"]),
    size=st.sampled_from([*INTRADAY, "1 day"]),
    day=st.sampled_from([NORMAL, HALF, WINTER]),
    second=st.integers(6, 3 * 3600 + 1800),
    is_revised=st.booleans(),
)
def test_at_any_moment_the_forming_bar_is_made_of_the_five_seconds_so_far(
    symbol: str, size: str, day: date, second: int, is_revised: bool
) -> None:
    client = Client(revised() if is_revised else market(), at(day, "09:30") + second)
    short = client.history(symbol, "5 secs", "1 D")
    complete = [bar for bar in short if int(bar.start) + 5 <= client.now]

    bars = client.history(symbol, size, "1 W" if size == "1 day" else duration_for(size))

    tick = 0.01 if is_revised else 0.0
    if size == "1 day":
        assert_same(aggregated(complete, [f"{day:%Y%m%d}"] * len(complete)), bars[-1:], tick=tick)
        return
    labels = clock_labels(complete, size, day, use_rth=True, symbol=symbol)
    told = [bar for bar in bars if int(bar.start) >= at(day, "00:00")]
    assert_same(aggregated(complete, labels), told, tick=tick)


@lru_cache(maxsize=8)
def split(ratio: float, *, continuous: bool) -> Client:
    """Return a client who knows of a split, or, where the market is continuous, one who does not know of it yet."""
    ex_date = date(2026, 12, 3) if continuous else date(2026, 12, 1)
    splits = [Split(symbol, ex_date, ratio) for symbol in ("SPY", "SEB", "VIX")]
    return Client(SplitTape(market(), splits, continuous=continuous), LATER)


@lru_cache(maxsize=8)
def split_fives(client: Client, symbol: str, day: date) -> list[Bar]:
    return served(client, symbol, "5 secs", day, use_rth=True)


RATIOS = st.sampled_from([1 / 3, 1.2650, 0.05, 2 / 3, 1 / 7, 3.0, 20.0]) | st.fractions(0, 50).map(float)


@settings(max_examples=60, deadline=None)
@given(
    symbol=st.sampled_from(["SPY", "SEB", "VIX"]),
    size=st.sampled_from([*INTRADAY, "1 day", "1W"]),
    day=st.sampled_from([NORMAL, HALF]),
    ratio=RATIOS.filter(lambda it: it > 0.01),
    continuous=st.booleans(),
)
def test_every_size_aggregates_from_the_five_seconds_after_a_split_of_any_ratio(
    symbol: str, size: str, day: date, ratio: float, *, continuous: bool
) -> None:
    client = split(ratio, continuous=continuous)
    if size == "1W":
        days = client.history(symbol, "1 day", "4 D", end="20261128-12:00:00")
        weeks = client.history(symbol, "1W", "2 W", end="20261128-12:00:00")
        assert_same(aggregated(days, ["20261127"] * len(days)), weeks[-1:], tick=1e-4)
        return
    short = split_fives(client, symbol, day)
    if size == "1 day":
        labels: Sequence[int | str] = [f"{day:%Y%m%d}"] * len(short)
        longer = client.history(symbol, size, "1 D", end=text(close_of(day, use_rth=True)))
    else:
        labels = clock_labels(short, size, day, use_rth=True, symbol=symbol)
        longer = served(client, symbol, size, day, use_rth=True)
    assert_same(aggregated(short, labels), longer, tick=1e-4)


@pytest.mark.parametrize("symbol", ["SPY", "BAC"])
def test_real_five_seconds_aggregate_to_every_size(real_bars: Path, tmp_path: Path, symbol: str) -> None:
    """The folder holds five-second bars alone: LEAN's minutes have auction prints that its seconds lack."""
    (tmp_path / symbol).mkdir()
    source = real_bars / "lean" / symbol / "5sec.parquet"
    shutil.copy(source, tmp_path / symbol)
    client = Client(ReplayTape(tmp_path), at(date(2013, 10, 12), "12:00"))

    for use_rth in (True, False):
        short = served(client, symbol, "5 secs", REAL, use_rth=use_rth)
        for size in [*INTRADAY]:
            expected = aggregated(short, clock_labels(short, size, REAL, use_rth=use_rth, symbol=symbol))
            assert_same(expected, served(client, symbol, size, REAL, use_rth=use_rth))
    table = pq.read_table(source).to_pandas()
    (begin, end) = (datetime.fromtimestamp(at(REAL, it), UTC) for it in ("04:00", "20:00"))
    rows = table[(table.timestamp >= begin) & (table.timestamp < end)]
    stored = {
        int(row[0].timestamp()): row[1:]
        for row in rows[["timestamp", "open", "high", "low", "close", "volume"]].itertuples(index=False, name=None)
    }
    assert {bar.start: bar[1:6] for bar in short if bar.start in stored} == stored
    quiet = [bar for bar in short if bar.start not in stored]
    assert not any(bar.volume or bar.count or bar.low < bar.high for bar in quiet)


@pytest.mark.parametrize("tape", [market, revised])
def test_history_asked_twice_is_the_same(tape) -> None:  # type: ignore[no-untyped-def]
    for size in ("5 secs", "1 min", "3 hours", "1 day"):
        first, again = (
            Client(tape(), LATER + later).history("SEB", size, duration_for(size), end="20261120-21:00:00")
            for later in (0, 86_400)
        )
        assert first == again
