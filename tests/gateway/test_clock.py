from __future__ import annotations

import math
import time

import pytest

from workbench.errors import GatewayError
from workbench.gateway.clock import GatewayClock


class HandClock:
    """Real time that moves when told."""

    def __init__(self) -> None:
        self.seconds = 500.0

    def __call__(self) -> float:
        return self.seconds


def test_without_a_start_it_is_the_real_time() -> None:
    before = time.time()
    now = GatewayClock().now()

    assert before <= now <= time.time()


def test_gateway_time_runs_from_the_start_at_the_speed() -> None:
    hand = HandClock()
    clock = GatewayClock(1_000_000.0, speed=60, real=hand)
    hand.seconds += 2

    assert clock.now() == 1_000_120.0


def test_a_speed_without_a_start_begins_now() -> None:
    hand = HandClock()
    clock = GatewayClock(speed=10, real=hand)
    begin = clock.now()
    hand.seconds += 1

    assert begin == pytest.approx(time.time(), abs=5)
    assert clock.now() - begin == pytest.approx(10)


def test_waiting_is_in_real_seconds_and_never_negative() -> None:
    clock = GatewayClock(1_000_000.0, speed=10, real=HandClock())

    assert clock.real_seconds_until(1_000_005.0) == 0.5
    assert clock.real_seconds_until(999_000.0) == 0.0


@pytest.mark.parametrize("speed", [0, -1, 1001, math.nan, math.inf])
def test_an_impossible_speed_is_refused(speed: float) -> None:
    with pytest.raises(GatewayError, match="speed"):
        GatewayClock(1.0, speed=speed)


@pytest.mark.parametrize("start", [-1.0, math.nan, math.inf])
def test_an_impossible_start_is_refused(start: float) -> None:
    with pytest.raises(GatewayError, match="start"):
        GatewayClock(start)
