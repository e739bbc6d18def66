from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_a_paused_clock_stands_and_goes_on_from_there() -> None:
    hand = HandClock()
    clock = GatewayClock(1000.0, speed=10, real=hand)
    hand.seconds += 1
    clock.pause()
    hand.seconds += 100

    assert clock.paused
    assert clock.now() == 1010.0
    assert clock.real_seconds_until(1011.0) == math.inf
    assert clock.real_seconds_until(1010.0) == 0.0

    clock.resume()
    hand.seconds += 1

    assert clock.now() == 1020.0


def test_a_jump_leads_anywhere_and_the_speed_stays() -> None:
    hand = HandClock()
    clock = GatewayClock(1000.0, speed=10, real=hand)
    hand.seconds += 1
    clock.jump(500.0)
    hand.seconds += 1

    assert clock.now() == 510.0


def test_a_new_speed_holds_from_now_on_and_a_paused_clock_stays_paused() -> None:
    hand = HandClock()
    clock = GatewayClock(1000.0, speed=10, real=hand)
    hand.seconds += 1
    clock.set_speed(100)
    hand.seconds += 1

    assert clock.now() == 1110.0

    clock.pause()
    clock.set_speed(1)
    hand.seconds += 1

    assert clock.now() == 1110.0


def test_the_real_time_becomes_a_time_of_its_own_once_it_is_set() -> None:
    hand = HandClock()
    clock = GatewayClock(real=hand)
    clock.pause()
    at = clock.now()
    hand.seconds += 5
    clock.resume()
    hand.seconds += 2

    assert at == pytest.approx(time.time(), abs=5)
    assert clock.now() == at + 2


@pytest.mark.parametrize("instant", [-1.0, math.nan, math.inf, 1.8e12])
def test_an_impossible_jump_is_refused_and_changes_nothing(instant: float) -> None:
    clock = GatewayClock(1000.0, real=HandClock())

    with pytest.raises(GatewayError, match="jump"):
        clock.jump(instant)
    with pytest.raises(GatewayError, match="speed"):
        clock.set_speed(instant * 2)
    assert clock.now() == 1000.0


Move = tuple[str, float]
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(-5, 100)),  # the real clock may be set back
        st.tuples(st.sampled_from(["pause", "resume"]), st.just(0.0)),
        st.tuples(st.just("set_speed"), st.floats(0.1, 1000)),
        st.tuples(st.just("jump"), st.floats(0, 4e9)),
    ),
    max_size=30,
)


def make(move: Move, clock: GatewayClock, hand: HandClock) -> None:
    name, value = move
    if name == "wait":
        hand.seconds += value
    elif name in ("pause", "resume"):
        getattr(clock, name)()
    else:
        getattr(clock, name)(value)


@given(MOVES)
def test_only_a_jump_ever_sets_the_clock_back(moves: list[Move]) -> None:
    hand = HandClock()
    clock = GatewayClock(1_000_000.0, real=hand)
    for move in moves:
        before = clock.now()
        make(move, clock, hand)

        assert clock.now() >= before or move[0] == "jump"


@given(MOVES)
def test_setting_the_clock_moves_it_only_as_far_as_it_jumps(moves: list[Move]) -> None:
    """The twin: a sum over the pieces of time that passed, each at the speed that held then."""
    hand, speed, paused, expected = HandClock(), 1.0, False, 1_000_000.0
    clock = GatewayClock(expected, real=hand)
    for name, value in moves:
        step = max(value, 0.0) if name == "wait" else value
        make((name, step), clock, hand)
        if name == "wait":
            expected += 0.0 if paused else step * speed
        elif name == "jump":
            expected = step
        elif name == "set_speed":
            speed = step
        else:
            paused = name == "pause"

    assert clock.now() == pytest.approx(expected, rel=1e-9, abs=1e-3)
