from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.aggregate import aggregate, grid, nothing, to_grid
from workbench.gateway.hours import hours
from workbench.gateway.tape import DAY, BarColumns

NEW_YORK = ZoneInfo("America/New_York")


def bars(rows: Sequence[tuple[float, ...]]) -> BarColumns:
    """Return bars from rows of start, open, high, low, close, volume, average, count."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 8)
    prices = [table[:, index] for index in range(1, 7)]
    return BarColumns(table[:, 0].astype(np.int64), *prices, table[:, 7].astype(np.int64))


def rows(columns: BarColumns) -> list[tuple[float, ...]]:
    names = ("start", "open", "high", "low", "close", "volume", "average", "count")
    return list(zip(*[getattr(columns, name).tolist() for name in names], strict=True))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp())


def test_a_longer_bar_has_first_open_extremes_last_close_and_sums() -> None:
    short = bars([(0, 10, 12, 9, 11, 100, 10.5, 4), (5, 11, 15, 11, 14, 300, 12.5, 6)])

    assert rows(aggregate(short, np.array([0, 0]))) == [(0, 10, 15, 9, 14, 400, 12.0, 10)]


def test_a_bar_without_trades_sets_no_price_where_others_traded() -> None:
    short = bars([(0, 99, 99, 99, 99, 0, 99, 0), (5, 10, 12, 9, 11, 100, 10.5, 4), (10, 1, 1, 1, 1, 0, 1, 0)])

    assert rows(aggregate(short, np.array([0, 0, 0]))) == [(0, 10, 12, 9, 11, 100, 10.5, 4)]


def test_the_updates_of_an_index_are_its_trades() -> None:
    short = bars([(0, 99, 99, 99, 99, 0, 0, 0), (5, 10, 12, 9, 11, 0, 0, 3), (10, 1, 1, 1, 1, 0, 0, 0)])

    assert rows(aggregate(short, np.array([0, 0, 0]))) == [(0, 10, 12, 9, 11, 0, 0, 3)]


def test_where_nobody_traded_all_bars_count() -> None:
    short = bars([(0, 10, 12, 9, 11, 0, 10, 0), (5, 11, 15, 8, 14, 0, 14, 0)])

    assert rows(aggregate(short, np.array([0, 0]))) == [(0, 10, 15, 8, 14, 0, 12, 0)]


def test_nothing_aggregates_to_nothing() -> None:
    assert len(aggregate(nothing(), np.empty(0, dtype=np.int64))) == 0
    assert len(to_grid(nothing(), hours(), range(100, 102), 60, use_rth=True)) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 50), st.integers(0, 20), st.integers(0, 9)),
        min_size=1,
        max_size=60,
    )
)
def test_nothing_is_created_or_lost(ticks: list[tuple[int, int, int, int]]) -> None:
    labels = np.array(sorted(label for label, *_ in ticks))
    table = [(i, p, p + r, p - r, p, v, p, v) for i, (_, p, r, v) in enumerate(ticks)]

    longer = rows(aggregate(bars(table), labels))

    assert [row[0] for row in longer] == sorted(set(labels.tolist()))
    for start, opened, high, low, close, volume, average, count in longer:
        inside = [row for row, label in zip(table, labels, strict=True) if label == start]
        counting = [row for row in inside if row[5] or row[7]] or inside
        assert (opened, close) == (counting[0][1], counting[-1][4])
        assert (high, low) == (max(row[2] for row in counting), min(row[3] for row in counting))
        assert (volume, count) == (sum(row[5] for row in inside), sum(row[7] for row in inside))
        assert low <= average <= high


@pytest.mark.parametrize(
    ("step", "date", "expected"),
    [
        (3600, "2026-11-20", ["09:30", "10:00", "11:00", "12:00", "13:00", "14:00", "15:00"]),
        (14_400, "2026-11-20", ["09:30", "12:00"]),
        (3600, "2026-11-27", ["09:30", "10:00", "11:00", "12:00"]),  # closes at 13:00
        (28_800, "2026-11-20", ["09:30"]),
    ],
)
def test_bars_sit_on_new_yorks_clock(step: int, date: str, expected: list[str]) -> None:
    label = int(np.datetime64(date, "s").astype(np.int64))
    sessions = hours().labelled(label, label + DAY)

    starts = grid(hours(), sessions, step, use_rth=True)

    assert [f"{datetime.fromtimestamp(start, NEW_YORK):%H:%M}" for start in starts.tolist()] == expected


def test_what_lies_outside_trading_hours_belongs_to_no_bar() -> None:
    minutes = [at("2026-11-20 09:29"), at("2026-11-20 09:30"), at("2026-11-20 15:59"), at("2026-11-20 16:00")]
    short = bars([(start, 10, 10, 10, 10, 1, 10, 1) for start in minutes])
    session = hours().touching(minutes[0], minutes[-1], use_rth=True)

    day = to_grid(short, hours(), session, DAY, use_rth=True)

    assert rows(day) == [(int(np.datetime64("2026-11-20", "s").astype(int)), 10, 10, 10, 10, 2, 10, 2)]
