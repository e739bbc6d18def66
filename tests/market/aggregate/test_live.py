from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from math import inf, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from workbench.errors import InvalidBars, UnknownTimeframe
from workbench.market.aggregate import LateBar, ProvisionalBar, RealtimeBarAggregator
from workbench.market.aggregate import batch as whole_columns
from workbench.market.aggregate.batch import aggregate_bars, aggregate_frames
from workbench.market.aggregate.levels import LEVELS
from workbench.market.bars import COLUMNS
from workbench.market.sessions import session_calendar
from workbench.market.timeframes import TIMEFRAMES

LONGER = ("1min", "5min", "15min", "1hour", "4hour", "1day")
FULL_DAY, HALF_DAY, AFTER_DST = datetime(2026, 11, 20), datetime(2026, 11, 27), datetime(2026, 3, 9)  # noqa: DTZ001
LATER = 10.0**10


def session(day: datetime, *, use_rth: bool = True) -> tuple[int, int]:
    """Return begin and end of a day's session in epoch seconds."""
    noon = day.replace(hour=17, tzinfo=UTC)
    one = session_calendar(use_rth=use_rth).during(noon, noon + timedelta(seconds=5), TIMEFRAMES["5sec"])[0]
    return int(one.begin.timestamp()), int(one.end.timestamp())


def five_seconds(
    day: datetime, *, seed: int = 1, quiet: float = 0.3, missing: float = 0.0, cut: int = 0
) -> pd.DataFrame:
    """Return a session of random five-second bars: some quiet, some missing, the last `cut` of them not yet there."""
    begin, end = session(day)
    random = np.random.default_rng(seed)
    stamps = np.arange(begin, end - 5 * cut, 5)
    close = np.round(100 + np.cumsum(random.normal(0, 0.02, len(stamps))), 2)
    open_ = np.round(close + random.normal(0, 0.02, len(stamps)), 2)
    high, low = np.maximum(open_, close) + 0.01, np.minimum(open_, close) - 0.01
    is_quiet = random.random(len(stamps)) < quiet
    carried = np.append(close[:1], close[:-1])
    open_, high, low, close = (np.where(is_quiet, carried, column) for column in (open_, high, low, close))
    volume = np.where(is_quiet, 0, random.integers(1, 500, len(stamps)))
    bars = pd.DataFrame(
        {"open": open_, "high": high, "low": low, "close": close, "volume": volume, "average": (high + low) / 2,
         "bar_count": np.where(is_quiet, 0, random.integers(1, 9, len(stamps)))},
        index=pd.DatetimeIndex(stamps.astype("datetime64[s]")).tz_localize("UTC").as_unit("us"),
    ).astype(float)  # fmt: skip
    return bars[random.random(len(bars)) >= missing]


def feed(aggregator: RealtimeBarAggregator, symbol: str, bars: pd.DataFrame) -> list[ProvisionalBar]:
    done: list[ProvisionalBar] = []
    for stamp, *values in zip(
        bars.index.as_unit("s").asi8.tolist(), *(bars[name].tolist() for name in COLUMNS), strict=True
    ):
        done += aggregator.add(symbol, stamp, *values)
    return done


def rows(symbol: str, bars: pd.DataFrame) -> list[tuple]:  # type: ignore[type-arg]
    stamps = bars.index.as_unit("s").asi8.tolist()
    return list(zip([symbol] * len(bars), stamps, *(bars[name].tolist() for name in COLUMNS), strict=True))


def minute(stamp: datetime, **changes: float) -> dict[str, object]:
    bar = {"open": 10.0, "high": 11.0, "low": 9.0, "close": 10.5, "volume": 100.0, "average": 10.2, "bar_count": 3}
    return {"timestamp": stamp, **bar, **changes}


def complete(aggregator: RealtimeBarAggregator, symbol: str, timeframe: str) -> pd.DataFrame:
    bars = aggregator.get_bars(symbol, timeframe)
    return bars[bars["complete"]].drop(columns="complete")


def assert_same(live: pd.DataFrame, batch: pd.DataFrame) -> None:
    """Averages are sums of products in another order; all else is exact."""
    exact = [name for name in live.columns if name != "average"]
    assert_frame_equal(live[exact], batch[exact].astype(float), check_exact=True, check_freq=False)
    np.testing.assert_allclose(live["average"], batch["average"], rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(
    day=st.sampled_from([FULL_DAY, HALF_DAY, AFTER_DST]),
    seed=st.integers(0, 10_000),
    quiet=st.sampled_from([0.0, 0.3, 0.95, 1.0]),
    missing=st.sampled_from([0.0, 0.01, 0.5, 0.98]),
    unsaid=st.booleans(),
)
def test_one_at_a_time_equals_all_at_once(
    day: datetime, seed: int, quiet: float, missing: float, *, unsaid: bool
) -> None:
    bars = five_seconds(day, seed=seed, quiet=quiet, missing=missing)
    if unsaid:  # as IB has it of what it does not say
        bars.loc[bars["volume"] == 0, ["volume", "average"]] = -1.0, np.nan
        bars.loc[np.random.default_rng(seed).random(len(bars)) < 0.5, "bar_count"] = -1.0
        bars.loc[np.random.default_rng(seed + 1).random(len(bars)) < 0.1, "volume"] = 0.0
    aggregator = RealtimeBarAggregator(1000)

    done = feed(aggregator, "AAPL", bars) + aggregator.advance(LATER)

    for timeframe in LONGER:
        batch = aggregate_bars(bars, timeframe)
        assert_same(complete(aggregator, "AAPL", timeframe), batch)
        told = [bar.timestamp for bar in done if bar.timeframe == timeframe]
        assert told == batch.index.as_unit("s").asi8.tolist()


@settings(max_examples=25, deadline=None)
@given(
    day=st.sampled_from([FULL_DAY, HALF_DAY]),
    seed=st.integers(0, 10_000),
    quiet=st.sampled_from([0.0, 0.3, 0.95]),
    missing=st.sampled_from([0.0, 0.01, 0.5]),
    batch=st.integers(1, 40),
)
def test_a_batch_of_many_symbols_is_its_bars_one_by_one(
    day: datetime, seed: int, quiet: float, missing: float, batch: int
) -> None:
    symbols = {name: five_seconds(day, seed=seed + number, quiet=quiet, missing=missing).iloc[:900]
               for number, name in enumerate(("AAPL", "KO", "MSFT", "SPX", "SPY"))}  # fmt: skip
    symbols["SPX"] = symbols["SPX"].assign(volume=0.0, average=nan)
    symbols["SPY"] = symbols["SPY"].assign(volume=-1.0, bar_count=-1.0)
    ticks = sorted((row for name, bars in symbols.items() for row in rows(name, bars)), key=lambda row: row[1])
    ticks += ticks[-5:]  # repeated ones
    single, many = RealtimeBarAggregator(), RealtimeBarAggregator()

    one_by_one = [bar for row in ticks for bar in single.add(*row)]
    by_batches = []
    for at in range(0, len(ticks), batch):
        by_batches += many.add_all(ticks[at : at + batch])
        if not at % (100 * batch):
            for timeframe in LONGER:
                alone = [bar for name in symbols if (bar := many.forming(name, timeframe))]
                assert list(map(repr, many.forming_bars([*symbols, "JPM"], timeframe))) == list(map(repr, alone))

    assert list(map(repr, by_batches)) == list(map(repr, one_by_one))  # NaN is not equal to itself
    assert many.late == single.late
    for name in symbols:
        for timeframe in LONGER:
            assert_frame_equal(many.get_bars(name, timeframe), single.get_bars(name, timeframe), check_exact=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 4600), missing=st.sampled_from([0.0, 0.2]))
def test_the_forming_bar_is_what_has_come_so_far(seed: int, cut: int, missing: float) -> None:
    bars = five_seconds(FULL_DAY, seed=seed, missing=missing, cut=cut)
    aggregator = RealtimeBarAggregator(1000)
    feed(aggregator, "AAPL", bars)

    for timeframe in LONGER:
        last = aggregator.get_bars("AAPL", timeframe).drop(columns="complete").iloc[-1:]
        assert_same(last, aggregate_bars(bars, timeframe).iloc[-1:])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), late=st.integers(0, 3500))
def test_a_rebuilt_session_equals_one_whose_bars_came_in_order(seed: int, late: int) -> None:
    bars = five_seconds(FULL_DAY, seed=seed, missing=0.1, cut=600)
    in_order, out_of_order = RealtimeBarAggregator(1000), RealtimeBarAggregator(1000)
    feed(in_order, "AAPL", bars)
    feed(out_of_order, "AAPL", bars.drop(bars.index[late]))
    feed(out_of_order, "AAPL", bars.iloc[[late]])

    out_of_order.rebuild("AAPL", bars, bars.index[-1].timestamp() + 5)

    assert out_of_order.late.pop() == LateBar("AAPL", int(bars.index[late].timestamp()))
    for timeframe in LONGER:
        assert_frame_equal(in_order.get_bars("AAPL", timeframe), out_of_order.get_bars("AAPL", timeframe))


@settings(max_examples=15, deadline=None)
@given(
    day=st.sampled_from([FULL_DAY, HALF_DAY, AFTER_DST]),
    seed=st.integers(0, 10_000),
    cut=st.integers(1, 2500),
    missing=st.sampled_from([0.0, 0.1]),
)
def test_a_restored_state_carries_on_as_if_never_stopped(day: datetime, seed: int, cut: int, missing: float) -> None:
    bars = five_seconds(day, seed=seed, missing=missing)
    never_stopped, restored = RealtimeBarAggregator(1000), RealtimeBarAggregator(1000)
    never_stopped.add_all(rows("AAPL", bars))

    restored.rebuild("AAPL", bars.iloc[:cut], bars.index[min(cut, len(bars)) - 1].timestamp() + 5)
    restored.add_all(rows("AAPL", bars.iloc[cut:]))

    for timeframe in LONGER:
        assert_frame_equal(restored.get_bars("AAPL", timeframe), never_stopped.get_bars("AAPL", timeframe))


def test_volume_count_open_and_close_are_neither_created_nor_lost() -> None:
    bars = five_seconds(FULL_DAY)
    aggregator = RealtimeBarAggregator(1000)
    feed(aggregator, "AAPL", bars)

    traded = bars[bars["volume"] > 0]
    for timeframe in LONGER:
        made = complete(aggregator, "AAPL", timeframe)
        assert made["volume"].sum() == bars["volume"].sum()
        assert made["bar_count"].sum() == bars["bar_count"].sum()
        assert made["received"].sum() == made["expected"].sum() == 4680
        assert made["close"].iloc[-1] == traded["close"].iloc[-1]
        assert made["high"].max() == traded["high"].max()


def test_hours_are_cut_on_the_exchanges_clock_and_clipped_at_open_and_close() -> None:
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", five_seconds(HALF_DAY))

    starts = {
        timeframe: [f"{at:%H:%M}" for at in aggregator.get_bars("AAPL", timeframe).index.tz_convert("America/New_York")]
        for timeframe in ("1hour", "4hour")
    }
    assert starts == {"1hour": ["09:30", "10:00", "11:00", "12:00"], "4hour": ["09:30", "12:00"]}
    assert aggregator.get_bars("AAPL", "1day").index.tolist() == [pd.Timestamp("2026-11-27", tz="UTC")]


def test_a_bar_is_complete_with_its_last_five_seconds_not_with_the_next_bar() -> None:
    bars = five_seconds(FULL_DAY, quiet=0)
    aggregator = RealtimeBarAggregator()

    before = feed(aggregator, "AAPL", bars.iloc[:11])
    at_the_last = feed(aggregator, "AAPL", bars.iloc[11:12])

    assert before == []
    assert [(bar.timeframe, bar.received, bar.is_whole) for bar in at_the_last] == [("1min", 12, True)]


def test_the_last_bar_of_a_day_closes_all_timeframes() -> None:
    bars = five_seconds(FULL_DAY)
    aggregator = RealtimeBarAggregator()

    feed(aggregator, "AAPL", bars.iloc[:-1])
    done = feed(aggregator, "AAPL", bars.iloc[-1:])

    assert [bar.timeframe for bar in done] == list(LONGER)


def test_the_clock_closes_what_the_stream_left_open_after_the_grace_and_says_what_is_missing() -> None:
    begin, _ = session(FULL_DAY)
    bars = five_seconds(FULL_DAY).iloc[:7]
    aggregator = RealtimeBarAggregator(grace_s=10)
    feed(aggregator, "AAPL", bars)

    too_early = aggregator.advance(begin + 69.9)
    done = aggregator.advance(begin + 70)
    late = feed(aggregator, "AAPL", five_seconds(FULL_DAY).iloc[8:9])

    assert too_early == []
    assert [(bar.timeframe, bar.received, bar.expected) for bar in done] == [("1min", 7, 12)]
    assert late == []
    assert aggregator.late.pop() == LateBar("AAPL", begin + 40)
    assert len(aggregator.get_bars("AAPL", "1min")) == 1


def test_a_bar_after_a_hole_closes_what_lies_before_the_hole() -> None:
    begin, _ = session(FULL_DAY)
    bars = five_seconds(FULL_DAY)
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", bars.iloc[:7])

    done = feed(aggregator, "AAPL", bars.iloc[12 * 20 : 12 * 20 + 1])

    assert [(bar.timeframe, bar.timestamp - begin) for bar in done] == [("1min", 0), ("5min", 0), ("15min", 0)]


def test_a_repeated_bar_counts_once() -> None:
    bars = five_seconds(FULL_DAY).iloc[:5]
    once, twice = RealtimeBarAggregator(), RealtimeBarAggregator()
    feed(once, "AAPL", bars)

    for number in range(5):
        feed(twice, "AAPL", bars.iloc[number : number + 1])
        feed(twice, "AAPL", bars.iloc[number : number + 1])

    assert_frame_equal(once.get_bars("AAPL", "1min"), twice.get_bars("AAPL", "1min"))
    assert len(twice.late) == 5


def test_quiet_bars_set_neither_open_nor_extremes_of_a_bar_that_trades() -> None:
    start = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    aggregator = RealtimeBarAggregator()
    quiet = {"volume": 0, "bar_count": 0, "open": 50.0, "high": 50.0, "low": 50.0, "close": 50.0, "average": 50.0}

    aggregator.add_bar("AAPL", minute(start, **quiet))
    aggregator.add_bar("AAPL", minute(start + timedelta(seconds=5)))
    aggregator.add_bar("AAPL", minute(start + timedelta(seconds=10), **quiet))

    bar = aggregator.get_bars("AAPL", "1min").iloc[0]
    assert bar[["open", "high", "low", "close", "volume", "average"]].tolist() == [10.0, 11.0, 9.0, 10.5, 100.0, 10.2]
    assert (bar["received"], bar["complete"]) == (3, False)


def test_yesterdays_open_bars_are_closed_in_yesterdays_session() -> None:
    aggregator = RealtimeBarAggregator()
    yesterday, today = five_seconds(datetime(2026, 11, 19)), five_seconds(FULL_DAY)  # noqa: DTZ001
    feed(aggregator, "AAPL", yesterday.iloc[:4000])
    feed(aggregator, "MSFT", today.iloc[:3])

    feed(aggregator, "AAPL", today.iloc[:3])

    assert_same(complete(aggregator, "AAPL", "1day"), aggregate_bars(yesterday.iloc[:4000], "1day"))
    assert_same(complete(aggregator, "AAPL", "1hour"), aggregate_bars(yesterday.iloc[:4000], "1hour"))


def test_bars_outside_the_sessions_hours_belong_to_no_bar() -> None:
    aggregator = RealtimeBarAggregator()

    for moment in (datetime(2026, 11, 20, 14, 29, 55, tzinfo=UTC), datetime(2026, 11, 21, 15, tzinfo=UTC)):
        assert aggregator.add_bar("AAPL", minute(moment)) == []

    assert aggregator.get_bars("AAPL", "1min").empty


@pytest.mark.parametrize("block", [1, 10_000, 120_000])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_frames_of_many_symbols_are_aggregated_as_each_alone_and_left_as_they_are(
    missing: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_columns, "_BLOCK", block)
    quiets = (0, 0.3, 0.9, 1) * 2
    days = [five_seconds(FULL_DAY, seed=seed, quiet=quiet, missing=missing) for seed, quiet in enumerate(quiets)]
    evening = days[0].set_axis(days[0].index + pd.Timedelta(hours=12))
    frames = [evening.iloc[:9], *days, evening] if missing else days
    before = [frame.copy() for frame in frames]

    for timeframe, made in list(aggregate_frames(frames, list(LEVELS))):
        for number, frame in enumerate(frames):
            alone, mine = aggregate_bars(frame, timeframe.name), made.symbol == number
            for name in ("open", "high", "low", "close", "volume", "average", "received"):
                np.testing.assert_array_equal(getattr(made, name)[mine], alone[name])
            if timeframe.name == "1day":
                straight = next(bars for _, bars in aggregate_frames([frame], [timeframe]))
                np.testing.assert_array_equal(straight.close, made.close[mine])
    for frame, old in zip(frames, before, strict=True):
        assert_frame_equal(frame, old)


@pytest.mark.parametrize("block", [1, 120_000])
def test_frames_without_bars_in_the_session_give_none(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_columns, "_BLOCK", block)
    day = five_seconds(FULL_DAY)
    evening = day.set_axis(day.index + pd.Timedelta(hours=12))

    for frames in ([], [day.iloc[:0]], [evening], [day.iloc[:0], evening]):
        assert [len(bars) for _, bars in aggregate_frames(frames, list(LEVELS))] == [0] * len(LEVELS)


def test_frames_whose_bars_are_not_in_order_are_refused() -> None:
    day = five_seconds(FULL_DAY).iloc[:100]

    for bad in (day.iloc[::-1], day.iloc[[*range(50), 49, *range(50, 100)]]):
        with pytest.raises(InvalidBars, match="not in order"):
            aggregate_bars(bad, "1min")


def test_before_and_after_hours_have_bars_when_they_are_asked_for() -> None:
    aggregator = RealtimeBarAggregator(use_rth=False)
    begin, end = session(FULL_DAY, use_rth=False)
    for stamp in range(begin, end, 60):
        aggregator.add("AAPL", stamp, 10, 11, 9, 10, 5)
    aggregator.advance(LATER)

    starts = aggregator.get_bars("AAPL", "4hour").index.tz_convert("America/New_York")
    assert [f"{at:%H}" for at in starts] == ["04", "08", "12", "16"]


def test_history_lies_before_live_bars_and_no_bar_is_there_twice() -> None:
    yesterday, today = five_seconds(datetime(2026, 11, 19)), five_seconds(FULL_DAY)  # noqa: DTZ001
    history = aggregate_bars(pd.concat([yesterday, today]), "15min")[list(COLUMNS)]
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", today.iloc[: 12 * 20])

    aggregator.seed("AAPL", "15min", history)

    bars = aggregator.get_bars("AAPL", "15min", 4)
    assert bars.index.is_unique
    assert bars.index.is_monotonic_increasing
    assert bars["complete"].tolist() == [True, True, True, False]
    assert_frame_equal(bars[list(COLUMNS)].iloc[:2], history.iloc[24:26], check_exact=True)
    assert bars["received"].isna().tolist() == [True, True, False, False]


def test_only_the_newest_session_is_made_anew() -> None:
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", five_seconds(FULL_DAY).iloc[:20])

    with pytest.raises(InvalidBars, match="later session"):
        aggregator.rebuild("AAPL", five_seconds(datetime(2026, 11, 19)), LATER)  # noqa: DTZ001
    both = pd.concat([five_seconds(FULL_DAY), five_seconds(datetime(2026, 11, 23))])  # noqa: DTZ001
    with pytest.raises(InvalidBars, match="not of one session"):
        aggregator.rebuild("AAPL", both, LATER)


def test_a_session_is_not_made_anew_of_bars_that_are_not_in_order_or_cannot_be() -> None:
    bars = five_seconds(FULL_DAY).iloc[:20]
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", bars)
    before = aggregator.get_bars("AAPL", "1min")

    off_grid = bars.set_axis(bars.index + pd.Timedelta(seconds=1))
    unsorted, repeated = bars.iloc[::-1], bars.iloc[[0, 1, 1, 2]]
    for bad in (unsorted, repeated, off_grid, bars.assign(low=bars["high"] + 1), bars.assign(close=nan)):
        with pytest.raises(InvalidBars, match="not in order, or some of them cannot be"):
            aggregator.rebuild("AAPL", bad, LATER)

    assert_frame_equal(aggregator.get_bars("AAPL", "1min"), before)


@pytest.mark.parametrize(
    "changes",
    [{"open": nan}, {"high": 9.5}, {"low": 0.0}, {"close": inf, "high": inf}, {"volume": inf}, {"close": 12.0},
     {"open": "x"}, {"timestamp": None}, {"timestamp": datetime(2026, 11, 20, 14, 30)},  # noqa: DTZ001
     {"timestamp": datetime(2026, 11, 20, 14, 30, 2, tzinfo=UTC)}],
)  # fmt: skip
def test_a_bar_that_cannot_be_is_refused_and_changes_nothing(changes: dict[str, float]) -> None:
    start = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
    aggregator = RealtimeBarAggregator()

    with pytest.raises((InvalidBars, ValueError)):
        aggregator.add_bar("AAPL", minute(start) | changes)

    assert aggregator.get_bars("AAPL", "1min").empty
    aggregator.add_bar("AAPL", minute(start))
    assert len(aggregator.get_bars("AAPL", "1min")) == 1


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, nan), (3, 9.5), (3, inf), (4, 0.0), (4, -1.0), (4, nan), (5, 12.0), (5, nan), (6, inf), (1, 2)],
)
def test_a_bar_that_cannot_be_is_refused_within_a_batch_too(place: int, value: float) -> None:
    begin, _ = session(FULL_DAY)
    good = [("AAPL", begin + 5 * number, 10.0, 11.0, 9.0, 10.0, 5.0, 10.0, 3.0) for number in range(4)]
    bad = list(good[2])
    bad[place] = begin + 12 if place == 1 else value
    aggregator, expected = RealtimeBarAggregator(), RealtimeBarAggregator()
    expected.add_all(good[:2])

    with pytest.raises(InvalidBars):
        aggregator.add_all([*good[:2], tuple(bad)])

    assert_frame_equal(aggregator.get_bars("AAPL", "1min"), expected.get_bars("AAPL", "1min"))


def test_quotes_have_neither_volume_nor_count() -> None:
    aggregator = RealtimeBarAggregator()
    begin, _ = session(FULL_DAY)
    for stamp in range(begin, begin + 60, 5):
        aggregator.add("AAPL", stamp, 10, 11, 9, 10, -1, nan, -1)

    bar = aggregator.get_bars("AAPL", "1min").iloc[0]
    assert bar["volume"] == 0
    assert np.isnan(bar["bar_count"])
    assert np.isnan(bar["average"])


def test_memory_does_not_grow_with_time() -> None:
    aggregator = RealtimeBarAggregator(50)
    begin, end = session(FULL_DAY)
    for day in range(3):
        for stamp in range(begin, end, 5):
            aggregator.add("AAPL", stamp + day * 86_400, 10, 11, 9, 10, 5)

    assert len(aggregator.get_bars("AAPL", "1min")) == 50
    arrays = [ring._numbers for ring in aggregator._rings] + [parts._values for parts in aggregator._forming]
    assert sum(array.nbytes for array in arrays) < 8 * (6 * 50 * 10 + 12 * 7 + 22 * 11 + 1)


def test_the_work_that_a_session_takes_does_not_grow_with_the_sessions_before_it() -> None:
    """Calls are counted, for time is the machine's; nothing is called with more than a bar."""
    aggregator, calls = RealtimeBarAggregator(50), [0]

    def count(_frame: object, event: str, _argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    taken = []
    for day in range(16, 21):
        bars = rows("AAPL", five_seconds(datetime(2026, 11, day), quiet=0))  # noqa: DTZ001
        calls[0] = 0
        sys.setprofile(count)
        try:
            for bar in bars:
                aggregator.add_all([bar])
        finally:
            sys.setprofile(None)
        taken.append(calls[0])

    assert len(aggregator.get_bars("AAPL", "1min")) == 50
    assert taken[0] > 4680
    assert max(taken[1:]) - min(taken[1:]) < 20  # when a buffer is cut


def test_an_unknown_symbol_has_no_bars_and_five_seconds_are_not_built() -> None:
    aggregator = RealtimeBarAggregator()

    assert aggregator.get_bars("AAPL", "1min", 10).empty
    assert list(aggregator.get_bars("AAPL", "1min")) == [*COLUMNS, "complete", "received", "expected"]
    with pytest.raises(UnknownTimeframe, match="not built here"):
        aggregator.get_bars("AAPL", "5sec")


@pytest.mark.parametrize("symbol", ["SPY", "BAC"])
def test_real_seconds_as_the_stream_tells_them_give_the_bars_of_the_trades(real_bars: Path, symbol: str) -> None:
    """The stream has a flat bar for each quiet window; of the trades only those windows are there that have some."""
    stream = pd.read_parquet(real_bars / "lean" / symbol / "5sec_rth_dense.parquet").set_index("timestamp")
    trades = pd.read_parquet(real_bars / "lean" / symbol / "5sec.parquet").set_index("timestamp")
    aggregator = RealtimeBarAggregator(3000)

    for stamp, *values in zip(
        stream.index.as_unit("s").asi8.tolist(), *(stream[name].tolist() for name in COLUMNS[:5]), strict=True
    ):
        aggregator.add(symbol, stamp, *values)

    for timeframe in LONGER:
        expected = aggregate_bars(trades, timeframe)
        live = complete(aggregator, symbol, timeframe)
        assert len(live) >= len(expected) > 0
        traded = live[live["volume"] > 0]
        assert_frame_equal(traded[list(COLUMNS[:5])], expected[list(COLUMNS[:5])], check_exact=True, check_freq=False)


def test_history_takes_the_place_of_earlier_sessions_that_were_built_and_leaves_the_newest() -> None:
    yesterday, today = five_seconds(datetime(2026, 11, 19)), five_seconds(FULL_DAY)  # noqa: DTZ001
    history = aggregate_bars(pd.concat([yesterday, today]), "15min")[list(COLUMNS)]
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", pd.concat([yesterday.iloc[1000:], today.iloc[: 12 * 40]]))
    built = aggregator.get_bars("AAPL", "15min")

    aggregator.seed("AAPL", "15min", history + 1.0)
    aggregator.seed("AAPL", "15min", history)

    bars = aggregator.get_bars("AAPL", "15min")
    assert_frame_equal(bars[list(COLUMNS)].iloc[:26], history.iloc[:26], check_exact=True)
    assert_frame_equal(bars.iloc[26:], built.iloc[-3:])


def test_history_that_ends_early_leaves_what_was_built_after_it() -> None:
    days = [five_seconds(datetime(2026, 11, day)) for day in (18, 19, 20)]  # noqa: DTZ001
    history = aggregate_bars(days[0], "1hour")[list(COLUMNS)]
    aggregator = RealtimeBarAggregator()
    feed(aggregator, "AAPL", pd.concat([days[1], days[2].iloc[:900]]))
    built = aggregator.get_bars("AAPL", "1hour")

    aggregator.seed("AAPL", "1hour", history)

    bars = aggregator.get_bars("AAPL", "1hour")
    assert_frame_equal(bars.iloc[7:], built)
    assert bars.index.is_unique
    assert bars.index.is_monotonic_increasing


def test_a_session_is_made_anew_whole_when_more_bars_are_there_than_are_kept() -> None:
    yesterday, today = five_seconds(datetime(2026, 11, 19)), five_seconds(FULL_DAY)  # noqa: DTZ001
    aggregator = RealtimeBarAggregator(100)
    aggregator.seed("AAPL", "1min", aggregate_bars(yesterday, "1min")[list(COLUMNS)])
    feed(aggregator, "AAPL", today.iloc[: 12 * 50])
    before = aggregator.get_bars("AAPL", "1min")

    aggregator.rebuild("AAPL", today.iloc[: 12 * 50], today.index[12 * 50].timestamp())

    assert_frame_equal(aggregator.get_bars("AAPL", "1min"), before)
