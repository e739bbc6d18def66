"""The forecast, against what IB's rules say by hand."""

from __future__ import annotations

import pytest

from workbench.ib.backfill.forecast import ANSWER_S, ANSWER_S_PER_1000_BARS, Planned, forecast, seconds_of
from workbench.ib.pacing import Ask, Pacer


def planned(count: int, timeframe: str = "15min", seconds: int = 900, bars: int = 5000) -> list[Planned]:
    return [Planned(timeframe, Ask(f"S{n}", "SMART", "TRADES", seconds, str(n)), bars) for n in range(count)]


def answer_s(bars: int) -> float:
    return ANSWER_S + ANSWER_S_PER_1000_BARS * bars / 1000


def test_nothing_takes_no_time() -> None:
    told = forecast([], Pacer())

    assert (told.requests, told.bars, told.seconds) == (0, 0, 0)
    assert str(told) == "nothing is missing"


def test_fifty_are_under_way_at_a_time() -> None:
    seconds = seconds_of(planned(500), Pacer())

    assert seconds == pytest.approx(10 * answer_s(5000), abs=2.0)


def test_of_small_bars_sixty_go_in_ten_minutes() -> None:
    seconds = seconds_of(planned(200, "5sec", 5, 4680), Pacer())

    assert 3 * 600 <= seconds <= 3 * 601 + 2 * answer_s(4680)


def test_small_bars_do_not_hold_up_longer_ones() -> None:
    both = seconds_of([*planned(100, "5sec", 5), *planned(400)], Pacer())

    assert both == pytest.approx(seconds_of(planned(100, "5sec", 5), Pacer()), rel=0.02)


def test_short_answers_are_bound_by_the_message_rate() -> None:
    assert seconds_of(planned(480, bars=0), Pacer()) == pytest.approx(10 * 1.25 + ANSWER_S, abs=1.25)


def test_it_is_told_by_timeframe() -> None:
    told = forecast([*planned(3), *planned(1, "1day", 86_400, 250)], Pacer())

    assert [(row.timeframe, row.series, row.requests, row.bars) for row in told.rows] == [
        ("15min", 3, 3, 15_000),
        ("1day", 1, 1, 250),
    ]
    assert str(told) == "to fetch: 4 requests, about 15,250 bars, less than a minute at IB's limits"
    assert "<table" in told._repr_html_()


def test_a_gateway_without_limits_has_no_forecast_of_time() -> None:
    assert str(forecast(planned(2), None)) == "to fetch: 2 requests, about 10,000 bars"
