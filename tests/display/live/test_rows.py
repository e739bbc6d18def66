"""Where the bars of a live chart stand, and what is sent of them."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isnan, nan
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.display.live.rows import BAR, add_row, encode, rows_frame, slots, study_rows, wall_clock
from workbench.market.timeframes import TIMEFRAMES

NEW_YORK = ZoneInfo("America/New_York")
QUARTER, HOUR, DAY = (TIMEFRAMES[name] for name in ("15min", "1hour", "1day"))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def clock(stamps: list[int]) -> list[str]:
    return [datetime.fromtimestamp(stamp, NEW_YORK).strftime("%d %H:%M") for stamp in stamps]


def row(stamp: int, close: float = 100.0) -> tuple[float, ...]:
    return (stamp, close, close, close, close, 10.0, 0.0, 0.0)


def frame(*texts: str) -> pd.DataFrame:
    index = pd.DatetimeIndex([pd.Timestamp(at(text), unit="s", tz="UTC") for text in texts]).as_unit("us")
    return pd.DataFrame({name: 100.0 + np.arange(len(texts)) for name in BAR[:5]}, index=index)


def test_a_session_without_bars_leaves_its_room_and_so_do_its_ends() -> None:
    between = list(slots(at("2026-11-18 14:45"), at("2026-11-20 10:00"), QUARTER))

    assert clock(between[:6]) == ["18 15:00", "18 15:15", "18 15:30", "18 15:45", "19 09:30", "19 09:45"]
    assert len(between) == 4 + 26 + 2


def test_hours_are_cut_at_the_open_and_half_days_end_early() -> None:
    between = list(slots(at("2026-11-27 09:30"), at("2026-11-30 10:00"), HOUR))

    assert clock(between) == ["27 10:00", "27 11:00", "27 12:00", "30 09:30"]


def test_days_are_those_of_sessions() -> None:
    first, last = (int(datetime(2026, 11, day, tzinfo=UTC).timestamp()) for day in (25, 30))

    labels = [datetime.fromtimestamp(stamp, UTC).day for stamp in slots(first, last, DAY)]

    assert labels == [27]  # the 26th is Thanksgiving


def test_missing_bars_of_a_study_are_rows_without_values() -> None:
    rows = study_rows(frame("2026-11-19 15:30", "2026-11-20 09:45"), [*BAR, "rsi"], QUARTER, most=100)

    assert clock([int(row[0]) for row in rows]) == ["19 15:30", "19 15:45", "20 09:30", "20 09:45"]
    assert [isnan(row[4]) for row in rows] == [False, True, True, False]
    assert rows[0][1:6] == (100.0,) * 5
    assert rows[0][6:8] == (0.0, 0.0)
    assert isnan(rows[0][8])


def test_no_more_slots_than_asked_for_are_shown_and_they_are_the_newest() -> None:
    rows = study_rows(frame("2026-11-18 15:30", "2026-11-20 09:45"), BAR, QUARTER, most=5)

    assert clock([int(row[0]) for row in rows])[-1] == "20 09:45"
    assert len(rows) == 5


def test_a_row_takes_the_place_of_the_last_one_or_comes_behind_it_and_an_older_one_is_not_added() -> None:
    rows = [row(at("2026-11-20 10:00"))]

    added = [
        add_row(rows, row(at("2026-11-20 10:00"), 101.0), QUARTER),
        add_row(rows, row(at("2026-11-20 10:15")), QUARTER),
        add_row(rows, row(at("2026-11-20 11:00")), QUARTER),
        add_row(rows, row(at("2026-11-20 10:30")), QUARTER),
    ]

    assert added == [1, 1, 3, 0]
    assert [row[4] for row in rows if not isnan(row[4])] == [101.0, 100.0, 100.0]


@settings(deadline=None)
@given(st.lists(st.integers(0, 200), min_size=1, max_size=30))
def test_bars_that_come_one_by_one_stand_where_a_whole_study_puts_them(places: list[int]) -> None:
    begin = at("2026-11-18 09:30")
    sessions = [begin, *slots(begin, at("2026-12-02 16:00"), QUARTER)]
    stamps = sorted({sessions[place % len(sessions)] for place in places})
    one_by_one: list[tuple[float, ...]] = []

    for stamp in stamps:
        add_row(one_by_one, row(stamp), QUARTER)

    index = pd.DatetimeIndex(np.array(stamps).astype("datetime64[s]"), tz="UTC")
    whole = pd.DataFrame([row(stamp)[1:] for stamp in stamps], index=index, columns=list(BAR))
    np.testing.assert_array_equal(one_by_one, study_rows(whole, BAR, QUARTER, most=1000))
    assert rows_frame(one_by_one, BAR).index.astype("int64").tolist() == [stamp * 10**6 for stamp in stamps]


def test_what_is_sent_are_readings_of_the_exchange_s_clock_and_the_values_as_they_are() -> None:
    sent = encode([row(at("2026-07-01 10:00"), 0.1 + 0.2), (at("2026-07-01 10:15"), *[nan] * 7)], QUARTER, NEW_YORK)

    table = np.frombuffer(sent).reshape(-1, 8)
    assert pd.to_datetime(table[:, 0], unit="s").strftime("%H:%M").tolist() == ["10:00", "10:15"]
    assert table[0, 4] == 0.1 + 0.2
    assert np.isnan(table[1, 1:]).all()


def test_a_day_keeps_its_date() -> None:
    label = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp())

    assert np.frombuffer(encode([row(label)], DAY, NEW_YORK))[0] == label


def test_the_hour_that_comes_twice_stays_in_order() -> None:
    hours = np.arange(6) * 3600.0 + datetime(2026, 11, 1, 4, tzinfo=UTC).timestamp()

    walls = wall_clock(hours, NEW_YORK)

    assert (np.diff(walls) > 0).all()
    assert (walls % 86_400 // 3600).tolist() == [0, 1, 1, 2, 3, 4]
