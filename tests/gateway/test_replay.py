from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.errors import GatewayError
from workbench.gateway.bar_files import read_bars
from workbench.gateway.hours import hours
from workbench.gateway.replay import ReplayTape
from workbench.gateway.tape import DAY, STEPS, BarColumns

NEW_YORK = ZoneInfo("America/New_York")
MONDAY = "2026-11-16"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def save(path: Path, starts: Sequence[int], **columns: Sequence[float]) -> Path:
    """Write bars of price 10 and volume 100 but for what `columns` says."""
    count = len(starts)
    prices = {name: [10.0] * count for name in ("open", "high", "low", "close")}
    path.parent.mkdir(parents=True, exist_ok=True)
    stamps = pa.array([start * 1_000_000 for start in starts], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"timestamp": stamps, **prices, "volume": [100.0] * count, **columns}), path)
    return path


def minutes(first: str, count: int) -> list[int]:
    return [at(first) + 60 * index for index in range(count)]


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_bars_is_refused_by_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty" / "SPY").mkdir(parents=True)
    (tmp_path / "empty" / "SPY" / "tick.parquet").touch()

    with pytest.raises(GatewayError, match=name):
        ReplayTape(tmp_path / name)


def test_folders_of_one_name_are_not_one_market(tmp_path: Path) -> None:
    for parent in ("one", "other"):
        save(tmp_path / parent / "tape" / "AAPL" / "1min.parquet", minutes(f"{MONDAY} 09:30", 1))

    assert ReplayTape(tmp_path / "one" / "tape").account != ReplayTape(tmp_path / "other" / "tape").account
    assert ReplayTape(tmp_path / "one" / "tape").account == ReplayTape(tmp_path / "one" / ".." / "one" / "tape").account


def test_instruments_and_account_come_from_the_names_of_folders(tmp_path: Path) -> None:
    folder = tmp_path / "my bars.2019"
    for symbol in ("VIX", "AAPL", "SPY", "BRK B"):
        save(folder / symbol / "1min.parquet", minutes(f"{MONDAY} 09:30", 1))

    tape = ReplayTape(folder)

    kinds = {it.symbol: (it.sec_type, it.primary_exchange, it.stock_type) for it in tape.instruments}
    assert re.fullmatch(r"REPLAY-MY-BARS-2019-[0-9A-F]{8}", tape.account)
    assert kinds == {
        "AAPL": ("STK", "NASDAQ", "COMMON"),
        "BRK B": ("STK", "NASDAQ", "COMMON"),
        "SPY": ("STK", "ARCA", "ETF"),
        "VIX": ("IND", "CBOE", ""),
    }
    assert {it.symbol: it.con_id for it in tape.instruments} == {
        it.symbol: it.con_id for it in ReplayTape(folder).instruments
    }
    assert all(0 < it.con_id < 1 << 31 for it in tape.instruments)


def test_bars_in_the_folder_are_served_bit_for_bit(tmp_path: Path) -> None:
    prices = [0.1 + 0.2, 1e-9, 123456.789012345]
    save(tmp_path / "AAPL" / "1min.parquet", minutes(f"{MONDAY} 09:30", 3), open=prices, volume=[1.5, 0, 3e9])

    bars = ReplayTape(tmp_path).bars("AAPL", 60, 0, at(f"{MONDAY} 23:00"), use_rth=False)

    assert bars.open.tolist() == prices
    assert bars.volume.tolist() == [1.5, 0, 3e9]


def test_an_interval_has_its_begin_and_not_its_end(tmp_path: Path) -> None:
    starts = minutes(f"{MONDAY} 09:30", 5)
    save(tmp_path / "AAPL" / "1min.parquet", starts)

    bars = ReplayTape(tmp_path).bars("AAPL", 60, starts[1], starts[3], use_rth=True)

    assert bars.start.tolist() == starts[1:3]


def test_regular_hours_are_from_the_open_to_the_close(tmp_path: Path) -> None:
    wall = ["09:29", "09:30", "15:59", "16:00"]
    save(tmp_path / "AAPL" / "1min.parquet", [at(f"{MONDAY} {it}") for it in wall])
    tape, day = ReplayTape(tmp_path), (at(f"{MONDAY} 00:00"), at("2026-11-17 00:00"))

    assert len(tape.bars("AAPL", 60, *day, use_rth=False)) == 4
    assert tape.bars("AAPL", 60, *day, use_rth=True).start.tolist() == [at(f"{MONDAY} {it}") for it in wall[1:3]]


def test_longer_bars_are_made_of_minutes_where_these_hold_the_session(tmp_path: Path) -> None:
    tuesday = minutes("2026-11-17 09:30", 390)
    starts = minutes(f"{MONDAY} 09:30", 390)
    save(tmp_path / "AAPL" / "1min.parquet", starts, high=np.linspace(10, 20, 390))
    save(tmp_path / "AAPL" / "15min.parquet", starts[::15] + tuesday[::15], high=[99.0] * 52)
    tape = ReplayTape(tmp_path)

    five = tape.bars("AAPL", 300, starts[0], tuesday[-1], use_rth=True)
    quarter = tape.bars("AAPL", 900, starts[0], tuesday[-1], use_rth=True)
    hour = tape.bars("AAPL", 3600, starts[0], tuesday[-1], use_rth=True)
    day = tape.bars("AAPL", DAY, at(f"{MONDAY} 00:00") - DAY, at("2026-11-17 23:00"), use_rth=True)

    assert (len(five), five.volume[0], five.high[77]) == (78, 500, 20)
    assert (len(quarter), quarter.high[25]) == (52, 20)
    assert quarter.high[26:].tolist() == [99.0] * 26
    assert hour.volume.tolist() == [3000, 6000, 6000, 6000, 6000, 6000, 6000, 200, 400, 400, 400, 400, 400, 400]
    assert (hour.high[6], hour.high[7]) == (20, 99)
    assert day.volume.tolist() == [39_000, 2600]


def fives(first: str, count: int) -> list[int]:
    return [at(first) + 5 * index for index in range(count)]


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize("step", [60, 300, 3600, 14_400, DAY])
def test_five_second_bars_are_the_truth_of_the_sessions_that_they_hold(
    tmp_path: Path, step: int, use_rth: bool, caplog: pytest.LogCaptureFixture
) -> None:
    label = int(np.datetime64(MONDAY, "s").astype(int))
    save(tmp_path / "AAPL" / "5sec.parquet", fives(f"{MONDAY} 09:30", 4680))
    save(tmp_path / "AAPL" / "1min.parquet", minutes(f"{MONDAY} 09:30", 390), volume=[1300.0] * 390)
    save(tmp_path / "AAPL" / "1day.parquet", [label], high=[12.0])
    tape = ReplayTape(tmp_path)

    tape.examine()
    bars = tape.bars("AAPL", step, label, label + 2 * DAY, use_rth=use_rth)

    assert bars.volume.sum() == 468_000
    assert bars.high.max() == 10
    assert [record.getMessage() for record in caplog.records] == [
        "AAPL: 390 of 390 bars of 1min differ from those made of shorter ones (first 2026-11-16 09:30:00); the latter "
        "are served",
        "AAPL: 1 of 1 bars of 1day differ from those made of shorter ones (first 2026-11-16); the latter are served",
    ]


@pytest.mark.parametrize(("first", "count"), [(f"{MONDAY} 11:00", 3600), (f"{MONDAY} 09:30", 3600)])
def test_a_recording_of_part_of_a_session_does_not_hold_it(
    tmp_path: Path, first: str, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "AAPL" / "5sec.parquet", fives(first, count))
    save(tmp_path / "AAPL" / "1min.parquet", minutes(f"{MONDAY} 09:30", 390))
    tape = ReplayTape(tmp_path)

    tape.examine()
    bars = tape.bars("AAPL", 3600, at(f"{MONDAY} 00:00"), at(f"{MONDAY} 23:00"), use_rth=True)

    assert bars.volume.tolist() == [3000, 6000, 6000, 6000, 6000, 6000, 6000]
    assert [record.getMessage() for record in caplog.records] == [
        "AAPL: 5sec has only part of 1 sessions (first 2026-11-16): there 1min is served, with which a stream may not "
        "agree"
    ]


def test_files_that_agree_are_passed_over_in_silence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "AAPL" / "5sec.parquet", fives(f"{MONDAY} 09:30", 4680))
    save(tmp_path / "AAPL" / "1min.parquet", minutes(f"{MONDAY} 09:30", 390), volume=[1200.0] * 390)

    ReplayTape(tmp_path).examine()

    assert not caplog.records


def test_symbols_that_cannot_be_streamed_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save(tmp_path / "AAPL" / "1sec.parquet", fives(f"{MONDAY} 09:30", 2))
    for symbol in ("SPY", "MSFT"):
        save(tmp_path / symbol / "1min.parquet", minutes(f"{MONDAY} 09:30", 2))
    tape = ReplayTape(tmp_path)

    tape.examine()

    assert [record.getMessage() for record in caplog.records] == [
        "no 5sec bars of MSFT, SPY: their real-time bars and ticks are refused"
    ]
    assert {it.symbol: it.streams for it in tape.instruments} == {"AAPL": True, "MSFT": False, "SPY": False}


def test_bars_that_begin_beside_the_clock_are_left_out_by_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bar of 13:30 to 16:00 would be taken for one that is over at 16:00, and one of 09:30 for over at 12:00."""
    save(tmp_path / "AAPL" / "4hour.parquet", [at(f"{MONDAY} 09:30"), at(f"{MONDAY} 13:30")])
    save(tmp_path / "AAPL" / "1hour.parquet", [at(f"{MONDAY} {it}") for it in ("09:30", "10:00", "12:00")])
    tape = ReplayTape(tmp_path)

    bars = tape.bars("AAPL", 14_400, at(f"{MONDAY} 00:00"), at(f"{MONDAY} 23:00"), use_rth=True)

    assert bars.start.tolist() == [at(f"{MONDAY} 09:30"), at(f"{MONDAY} 12:00")]
    assert "4hour has bars that do not begin on New York's clock" in caplog.text
    assert "2026-11-16 13:30:00" in caplog.text


def test_a_window_without_trades_repeats_the_last_price_of_its_session(tmp_path: Path) -> None:
    friday = at("2026-11-13 15:59:55")
    rows = {friday: 9.0, at(f"{MONDAY} 08:00"): 10.0, at(f"{MONDAY} 09:30:10"): 11.0, at(f"{MONDAY} 15:59:50"): 12.0}
    prices = list(rows.values())
    save(tmp_path / "AAPL" / "5sec.parquet", list(rows), open=prices, high=prices, low=prices, close=prices)
    tape, begin = ReplayTape(tmp_path), at(f"{MONDAY} 09:30")

    bars = tape.bars("AAPL", 5, begin, at(f"{MONDAY} 20:00"), use_rth=False)
    minute = tape.bars("AAPL", 60, begin, begin + 120, use_rth=True)

    assert bars.start.tolist() == list(range(begin, at(f"{MONDAY} 16:00"), 5))
    assert bars.close[[0, 1, 2, 3, -2, -1]].tolist() == [10.0, 10.0, 11.0, 11.0, 12.0, 12.0]
    assert bars.volume.sum() == 200
    assert (minute.open.tolist(), minute.volume.tolist()) == ([11.0, 11.0], [100, 0])
    assert tape.bars("AAPL", 5, friday - 5, friday + 60, use_rth=False).start.tolist() == [friday]


def test_a_session_begins_with_its_own_first_price(tmp_path: Path) -> None:
    """The price of another session may be one before a split; a session of which nothing is known has no bars."""
    save(tmp_path / "AAPL" / "5sec.parquet", [at("2026-11-13 15:59:55"), at("2026-11-17 09:31")])

    bars = ReplayTape(tmp_path).bars("AAPL", 5, at(f"{MONDAY} 00:00"), at("2026-11-17 10:00"), use_rth=True)

    assert bars.start.tolist() == list(range(at("2026-11-17 09:31"), at("2026-11-17 10:00"), 5))


def test_a_finer_timeframe_than_the_folder_has_is_nothing(tmp_path: Path) -> None:
    save(tmp_path / "AAPL" / "15min.parquet", [at(f"{MONDAY} 09:30")])

    assert len(ReplayTape(tmp_path).bars("AAPL", 60, 0, at("2026-11-17 00:00"), use_rth=True)) == 0


def test_columns_that_are_missing_get_the_stated_values(tmp_path: Path) -> None:
    starts = minutes(f"{MONDAY} 09:30", 1)
    save(tmp_path / "OLD" / "1min.parquet", starts, high=[12.0], low=[9.0], close=[12.0])
    save(tmp_path / "NEW" / "1min.parquet", starts, average=[10.7], bar_count=[3])
    nulls = {"average": pa.array([None], pa.float64()), "bar_count": pa.array([None], pa.int64())}
    save(tmp_path / "NULL" / "1min.parquet", starts, high=[12.0], low=[9.0], close=[12.0], **nulls)
    tape = ReplayTape(tmp_path)

    old, new, empty = (tape.bars(symbol, 60, 0, starts[0] + 1, use_rth=True) for symbol in ("OLD", "NEW", "NULL"))

    assert (old.average.tolist(), old.count.tolist()) == (empty.average.tolist(), empty.count.tolist()) == ([11.0], [0])
    assert (new.average.tolist(), new.count.tolist()) == ([10.7], [3])


def test_a_folder_of_parts_is_read_in_the_order_of_time(tmp_path: Path) -> None:
    starts = minutes(f"{MONDAY} 09:30", 4)
    save(tmp_path / "AAPL" / "1min.parquet" / "a-later.parquet", starts[2:])
    save(tmp_path / "AAPL" / "1min.parquet" / "b-earlier.parquet", starts[:2])

    bars = ReplayTape(tmp_path).bars("AAPL", 60, 0, starts[-1] + 1, use_rth=True)

    assert bars.start.tolist() == starts


def test_the_head_is_the_earliest_bar_and_a_days_head_is_its_open(tmp_path: Path) -> None:
    label = int(np.datetime64("2026-11-13", "s").astype(int))
    save(tmp_path / "AAPL" / "1min.parquet", minutes(f"{MONDAY} 08:00", 120))
    save(tmp_path / "SPY" / "1day.parquet", [label])
    save(tmp_path / "SPY" / "1min.parquet", minutes(f"{MONDAY} 08:00", 1))
    tape = ReplayTape(tmp_path)

    assert tape.head("AAPL", use_rth=False) == at(f"{MONDAY} 08:00")
    assert tape.head("AAPL", use_rth=True) == at(f"{MONDAY} 09:30")
    assert tape.head("SPY", use_rth=True) == at("2026-11-13 09:30")


def naive(path: Path) -> None:
    pq.write_table(pq.read_table(path).set_column(0, "timestamp", pa.array([0], pa.timestamp("us"))), path)


def without_close(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["close"]), path)


def with_words(path: Path) -> None:
    save(path, [0], volume=["many"])


def without_time(path: Path) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(0, "timestamp", pa.array([None], pa.timestamp("us", tz="UTC"))), path)


def with_nan(path: Path) -> None:
    save(path, [0], high=[float("nan")])


def twice(path: Path) -> None:
    save(path, [0, 0])


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (naive, "time zone"),
        (without_close, "lacks the columns close"),
        (with_nan, "high"),
        (with_words, "no numbers"),
        (without_time, "timestamp has empty values"),
        (twice, "two bars"),
        (truncated, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_played_is_named_with_its_fault(tmp_path: Path, spoil: object, words: str) -> None:
    path = save(tmp_path / "AAPL" / "1min.parquet", [0])
    spoil(path)

    with pytest.raises(GatewayError, match=words) as error:
        read_bars(path)
    assert str(path) in str(error.value)


def test_a_folder_may_have_bars_of_one_second(tmp_path: Path) -> None:
    starts = [at(f"{MONDAY} 09:30") + index for index in (0, 1, 7)]
    save(tmp_path / "AAPL" / "1sec.parquet", starts)
    tape = ReplayTape(tmp_path)

    assert tape.bars("AAPL", 1, 0, starts[-1] + 1, use_rth=True).start.tolist() == starts
    assert tape.bars("AAPL", 5, 0, starts[-1] + 1, use_rth=True).volume.tolist() == [200, 100]


# Real bars


def columns_of(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    starts = table["timestamp"].cast(pa.timestamp("s", tz="UTC")).cast(pa.int64()).to_numpy()
    prices = {name: table[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return {"start": starts, **prices}


@pytest.mark.parametrize(
    ("file", "symbol", "step"),
    [("SPY/1min", "SPY", 60), ("BAC/1sec", "BAC", 1), ("SPY/1hour", "SPY", 3600), ("AAPL/1day", "AAPL", DAY)],
)
def test_real_bars_are_served_as_they_are(real_bars: Path, tmp_path: Path, file: str, symbol: str, step: int) -> None:
    (tmp_path / symbol).mkdir()
    (tmp_path / f"{file}.parquet").symlink_to(real_bars / "lean" / f"{file}.parquet")
    tape = ReplayTape(tmp_path)

    bars = tape.bars(symbol, step, 0, 1 << 40, use_rth=False)

    for name, expected in columns_of(real_bars / "lean" / f"{file}.parquet").items():
        assert np.array_equal(getattr(bars, name), expected), name


def test_real_days_are_what_the_real_hours_make(real_bars: Path, tmp_path: Path) -> None:
    """The source states that its daily bars equal the aggregation of its hourly bars exactly.

    On 23 half days until 2008 its hours go on after the close; that is no regular trading, so those days differ.
    """
    (tmp_path / "SPY").mkdir()
    (tmp_path / "SPY" / "1hour.parquet").symlink_to(real_bars / "lean" / "SPY" / "1hour.parquet")
    expected = columns_of(real_bars / "lean" / "SPY" / "1day.parquet")

    days = ReplayTape(tmp_path).bars("SPY", DAY, 0, 1 << 40, use_rth=True)

    starts = columns_of(tmp_path / "SPY" / "1hour.parquet")["start"]
    late = starts[starts >= hours().closes[np.searchsorted(hours().opens, starts, side="right") - 1]]
    regular = ~np.isin(expected["start"], late // DAY * DAY)
    assert len(expected["start"]) - regular.sum() == 23
    assert np.array_equal(days.start, expected["start"])
    for name in ("open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(days, name)[regular], expected[name][regular]), name


def test_real_quarters_are_what_the_real_minutes_make(real_bars: Path, tmp_path: Path) -> None:
    """The source's own 15-minute bars of these symbols equal its one-minute bars in all fields."""
    (tmp_path / "JPM").mkdir()
    (tmp_path / "JPM" / "1min.parquet").symlink_to(real_bars / "av2019" / "JPM" / "1min.parquet")
    minutes_of = columns_of(real_bars / "av2019" / "JPM" / "1min.parquet")
    begin, end = int(minutes_of["start"][0]), int(minutes_of["start"][-1]) + 1
    quarters = ReplayTape(real_bars / "av2019").bars("JPM", 900, begin, end, use_rth=True)

    made = ReplayTape(tmp_path).bars("JPM", 900, begin, end, use_rth=True)

    for name in ("start", "open", "high", "low", "close", "volume"):
        assert np.array_equal(getattr(made, name), getattr(quarters, name)), name


def test_a_real_index_without_volume_aggregates_over_all_its_bars(real_bars: Path) -> None:
    tape = ReplayTape(real_bars / "av2019")
    bars: BarColumns = tape.bars("VIX", 3600, at("2019-02-11 00:00"), at("2019-02-12 00:00"), use_rth=True)
    minute = tape.bars("VIX", 60, at("2019-02-11 10:00"), at("2019-02-11 11:00"), use_rth=True)

    assert len(bars) == 7
    assert (bars.high[1], bars.low[1]) == (minute.high.max(), minute.low.min())
    assert bars.volume.tolist() == [0.0] * 7


def test_the_real_half_day_is_whole(real_bars: Path) -> None:
    bars = ReplayTape(real_bars / "lean").bars("SPX", 60, at("2023-07-03 00:00"), at("2023-07-04 00:00"), use_rth=True)

    assert bars.start.tolist() == minutes("2023-07-03 09:30", 210)


@pytest.mark.parametrize("symbol", ["SPY", "BAC"])
def test_real_five_second_bars_are_filled_as_others_have_filled_them(real_bars: Path, symbol: str) -> None:
    """The data set has them without gaps too, in regular hours, by the same rule but not by the same hand."""
    expected = columns_of(real_bars / "lean" / symbol / "5sec_rth_dense.parquet")

    bars = ReplayTape(real_bars / "lean").bars(symbol, 5, 0, 1 << 40, use_rth=True)

    for name, values in expected.items():
        assert np.array_equal(getattr(bars, name), values), name


def test_every_step_of_a_tape_is_served_from_real_seconds(real_bars: Path) -> None:
    tape = ReplayTape(real_bars / "lean")
    day = (at("2013-10-09 00:00"), at("2013-10-10 00:00"))

    assert all(len(tape.bars("BAC", step, *day, use_rth=True)) for step in STEPS if step < DAY)
