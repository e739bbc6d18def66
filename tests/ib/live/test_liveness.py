from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from math import inf

import pytest

from workbench.ib.live.liveness import LAG_S, SILENCE_S, Liveness, TimeKeeper
from workbench.market.sessions import session_calendar

OPEN = datetime(2026, 11, 20, 14, 30, tzinfo=UTC).timestamp()
CLOSE = datetime(2026, 11, 20, 21, tzinfo=UTC).timestamp()


def watch(liveness: Liveness, begin: float, end: float) -> dict[str, list[float]]:
    """Look every second; return when each symbol was found silent, in seconds from `begin`."""
    found: dict[str, list[float]] = {}
    for second in range(int(end - begin)):
        for symbol in liveness.silent(begin + second):
            found.setdefault(symbol, []).append(second)
    return found


def asked(at: float, *symbols: str) -> Liveness:
    liveness = Liveness(session_calendar())
    for symbol in symbols:
        liveness.asked(symbol, at)
    return liveness


def test_a_stream_that_brings_bars_is_alive_and_one_that_does_not_is_silent() -> None:
    liveness, noon = asked(OPEN + 3600, "AAPL", "KO"), OPEN + 3600
    found = []
    for second in range(60):
        if second % 5 == 0 and second:
            liveness.heard("AAPL", int(noon) + second - 5, noon + second)
        found += [(second, symbol) for symbol in liveness.silent(noon + second)]

    assert found == [(16, "KO"), (47, "KO")]


def test_who_stays_silent_is_found_less_and_less_often_but_never_given_up() -> None:
    found = watch(asked(OPEN, "AAPL"), OPEN, OPEN + 3600)["AAPL"]

    steps = [b - a for a, b in pairwise(found)]
    assert steps[:3] == [31, 61, 121]
    assert max(steps) == 301
    assert len(found) > 10


@pytest.mark.parametrize(("every_s", "most"), [(10, 0), (25, 2), (100, 3)])
def test_a_gateway_that_falls_behind_is_asked_less_and_less_often(every_s: int, most: int) -> None:
    """To request its streams anew would be more work for it still: what comes late has come."""
    liveness, noon = asked(OPEN + 3600, "AAPL"), int(OPEN) + 3600
    found: list[str] = []
    for second in range(1, 1200):
        if second % every_s == 0:
            liveness.heard("AAPL", noon + second // every_s * 5, noon + second)
        found += liveness.silent(noon + second)

    assert liveness.age("AAPL", noon + 1200) > 500
    assert len(found) == most


@pytest.mark.parametrize("speed", [1.0, 250.0])
def test_a_gateway_that_brings_nothing_is_asked_no_more_often_the_faster_its_clock_is(speed: float) -> None:
    """It is busy in real seconds: who asks it for all streams twice a second keeps it from ever bringing a bar."""
    liveness, found = Liveness(session_calendar(), lag_s=LAG_S * speed), 0
    liveness.asked("AAPL", OPEN)
    for look in range(4 * 60):  # four times in a real second, for a minute of it
        found += len(liveness.silent(OPEN + look * speed / 4))

    assert 1 <= found <= 10


def test_a_bar_that_is_repeated_is_no_sign_of_life() -> None:
    liveness, noon = asked(OPEN + 3600, "AAPL"), int(OPEN) + 3600
    found: list[str] = []
    for second in range(20):
        liveness.heard("AAPL", noon - 5, noon + second)
        found += liveness.silent(noon + second)

    assert found == ["AAPL"]


def test_outside_of_sessions_nothing_is_due() -> None:
    assert watch(asked(CLOSE, "AAPL"), CLOSE, CLOSE + 600) == {}


def test_silence_counts_from_the_open_on() -> None:
    assert watch(asked(OPEN - 3600, "AAPL"), OPEN - 10, OPEN + 20) == {"AAPL": [10 + SILENCE_S + 1]}


def test_who_was_asleep_does_not_take_unheard_bars_for_silence() -> None:
    liveness, noon = asked(OPEN, "AAPL"), int(OPEN) + 3600
    liveness.heard("AAPL", noon - 5, noon)
    assert liveness.silent(noon) == []

    assert liveness.silent(noon + 600) == []
    assert liveness.silent(noon + 600 + SILENCE_S) == []
    assert liveness.silent(noon + 600 + SILENCE_S + 1) == ["AAPL"]


def test_age_counts_the_time_of_the_session_only() -> None:
    liveness = asked(OPEN, "AAPL", "KO")
    liveness.heard("AAPL", int(CLOSE) - 35, CLOSE - 30)

    assert liveness.age("AAPL", CLOSE - 10) == 20
    assert liveness.age("AAPL", CLOSE + 7200) == 30
    assert liveness.age("KO", CLOSE) == inf
    liveness.forget("AAPL")
    assert liveness.age("AAPL", CLOSE) == inf


@pytest.mark.parametrize("speed", [1.0, 100.0])
def test_of_what_was_told_late_the_latest_is_nearest_to_the_truth(speed: float) -> None:
    keeper = TimeKeeper(speed)
    assert not keeper.is_set
    for late in (0.5, 0.0, 0.9):
        keeper.tell(1000.0 - late * speed, at=50.0)

    assert keeper.now(at=51.0) == 1000.0 + speed
