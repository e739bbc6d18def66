"""IB's limits, counted here by going through every window one by one."""

from __future__ import annotations

import math
from itertools import cycle, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workbench.ib.pacing import COOL_DOWN_S, LIVE, MARGIN_S, PLACES, SMALL_BAR_LIMITS, Ask, Pacer, limits_for

Sent = list[tuple[float, Ask]]


def ask(contract: str = "AAPL", rest: str = "", *, what: str = "TRADES", seconds: int = 5, messages: int = 1) -> Ask:
    return Ask(contract, "SMART", what, seconds, rest, messages)


ASKS = st.builds(
    ask,
    st.sampled_from(["AAPL", "MSFT"]),
    st.sampled_from("abc"),
    what=st.sampled_from(["TRADES", "BID_ASK"]),
    seconds=st.sampled_from([5, 30, 60]),
    messages=st.sampled_from([1, 2]),
)
STEPS = st.lists(st.tuples(st.lists(ASKS, max_size=8), st.floats(0, 30)), max_size=40)


def sent_all(pacer: Pacer, steps: list[tuple[list[Ask], float]]) -> Sent:
    """Let all that is asked wait until it may go; each keeps its place for a second."""
    sent: Sent = []
    waiting: list[Ask] = []
    now, ends = 0.0, dict[str, float]()
    arrivals = [*steps, ([], math.inf)]
    for asked, pause in arrivals:
        waiting += asked
        until = now + pause
        while True:
            done = [token for token, end in ends.items() if end <= now]
            pacer.release(done)
            ends = {token: end for token, end in ends.items() if end > now}
            granted = pacer.grant(waiting, now)
            for booking in granted.bookings.values():
                sent.append((now, booking.ask))
                ends[booking.token] = now + 1.0
            waiting = [one for position, one in enumerate(waiting) if position not in granted.bookings]
            following = min([granted.again, *ends.values()], default=math.inf)
            if not waiting or following > until:
                break
            now = following
        now = until
    assert not waiting
    return sent


def most(sent: Sent, window: float) -> int:
    """Return the largest weight that any window of this length holds; each begins with a request."""
    return max((sum(a.weight for t, a in sent if start <= t < start + window) for start, _ in sent), default=0)


def keeps_ibs_limits(sent: Sent) -> None:
    small = [(t, a) for t, a in sent if a.bar_seconds <= 30]
    assert most(small, 600) <= 60
    for key in {(a.contract, a.what_to_show) for _, a in small}:
        assert most([(t, a) for t, a in small if (a.contract, a.what_to_show) == key], 2) < 6
    for one in {a for _, a in small}:
        assert all(later - earlier >= 15 for earlier, later in pairwise(t for t, a in small if a == one))
    for start, _ in sent:
        assert sum(a.messages for t, a in sent if start <= t < start + 1) <= 50


@given(STEPS)
def test_no_window_holds_more_than_the_limit(steps: list[tuple[list[Ask], float]]) -> None:
    keeps_ibs_limits(sent_all(Pacer(), steps))


LATENESS = st.lists(st.sampled_from([0.0, 0.25]) | st.floats(0, 0.25), min_size=1, max_size=90)


@given(STEPS, LATENESS)
@example([([ask(rest=str(n), seconds=900) for n in range(200)], 0.0)], [0.25] * 45 + [0.0] * 45)
@example([([ask(f"S{n}") for n in range(130)], 0.0)], [0.25, 0.0])
def test_however_late_each_message_arrives_up_to_a_quarter_second_no_rule_is_broken(
    steps: list[tuple[list[Ask], float]], lateness: list[float]
) -> None:
    sent = sent_all(Pacer(), steps)

    arrived = [(moment + late, asked) for (moment, asked), late in zip(sent, cycle(lateness), strict=False)]
    keeps_ibs_limits(sorted(arrived, key=lambda it: it[0]))


@given(STEPS)
def test_all_that_is_asked_is_let_go_once(steps: list[tuple[list[Ask], float]]) -> None:
    sent = sent_all(Pacer(), steps)

    key = str
    assert sorted((a for _, a in sent), key=key) == sorted((a for asked, _ in steps for a in asked), key=key)


@given(STEPS)
def test_a_pacer_made_anew_of_its_bookings_goes_on_as_if_never_stopped(steps: list[tuple[list[Ask], float]]) -> None:
    """So several processes may take turns."""
    one, booked, now = Pacer(), [], 0.0
    for asked, pause in steps:
        now += pause
        other = Pacer(booked=booked)
        granted, again = one.grant(asked, now), other.grant(asked, now)
        assert (set(granted.bookings), granted.again) == (set(again.bookings), again.again)
        booked += granted.bookings.values()


def test_nothing_waits_that_need_not() -> None:
    pacer = Pacer(SMALL_BAR_LIMITS, places=100)

    granted = pacer.grant([ask(f"S{n}") for n in range(61)], 0.0)

    assert set(granted.bookings) == set(range(60))
    assert granted.again == 600 + MARGIN_S


def test_five_requests_of_a_contract_may_go_at_once() -> None:
    granted = Pacer().grant([ask(rest=str(n)) for n in range(6)], 0.0)

    assert set(granted.bookings) == set(range(5))
    assert granted.again == 2 + MARGIN_S


def test_a_request_that_must_wait_does_not_hold_up_the_others() -> None:
    granted = Pacer().grant([*[ask(rest=str(n)) for n in range(6)], ask("MSFT")], 0.0)

    assert set(granted.bookings) == {0, 1, 2, 3, 4, 6}


def test_both_quotes_count_twice() -> None:
    pacer = Pacer(SMALL_BAR_LIMITS, places=100)

    granted = pacer.grant([ask(f"S{n}", what="BID_ASK") for n in range(31)], 0.0)

    assert len(granted.bookings) == 30


@pytest.mark.parametrize("seconds", [60, 900, 86_400])
def test_longer_bars_are_limited_by_nothing_but_messages_and_places(seconds: int) -> None:
    pacer, asked = Pacer(places=100), [ask(seconds=seconds)] * 120

    first = pacer.grant(asked, 0.0)
    pacer.release([booking.token for booking in first.bookings.values()])
    second = pacer.grant(asked, first.again)

    assert len(first.bookings) == len(second.bookings) == 8
    assert first.again == pytest.approx(0.22)


@pytest.mark.parametrize(("lines", "a_second"), [(2, 2), (20, 9), (100, 45), (400, 180)])
@pytest.mark.parametrize("messages", [1, 2])
def test_the_message_rate_is_half_the_market_data_lines_but_for_a_tenth(
    lines: int, a_second: int, messages: int
) -> None:
    asked = [ask(seconds=60, rest=str(n), messages=messages) for n in range(1000)]

    sent = sent_all(Pacer(limits_for(lines), places=999), [(asked[: 4 * a_second], 0.0)])

    assert most(sent, 1.25) * messages in (a_second - 1, a_second)


def test_messages_go_in_small_bunches() -> None:
    sent = sent_all(Pacer(), [([ask(seconds=60, rest=str(n)) for n in range(200)], 0.0)])

    assert most(sent, 0.2) == 8


def test_no_more_than_fifty_are_under_way() -> None:
    pacer, asked = Pacer(()), [ask(seconds=900)] * 60

    first = pacer.grant(asked, 0.0)
    assert len(first.bookings) == PLACES
    assert first.crowded
    assert not pacer.grant(asked, 1.0).bookings

    pacer.release([first.bookings[0].token, first.bookings[1].token])
    assert len(pacer.grant(asked, 2.0).bookings) == 2


def test_a_live_stream_waits_for_no_place_of_those_that_history_has() -> None:
    """The places of a recorder that was killed in the midst of its requests stay taken for a minute."""
    pacer = Pacer((), places=2, hold_s=90.0)
    pacer.grant([ask("AAPL"), ask("MSFT")], 0.0)

    granted = pacer.grant([ask("KO"), ask("KO", LIVE), ask("TLT", LIVE)], 1.0)

    assert set(granted.bookings) == {1, 2}
    assert set(pacer.grant([ask("KO")], 90.0).bookings) == {0}


def test_the_places_of_a_process_that_died_come_back() -> None:
    pacer, asked = Pacer((), hold_s=75.0), [ask(seconds=900)] * 60
    pacer.grant(asked, 0.0)

    assert pacer.grant(asked, 1.0).again == 75.0
    assert len(pacer.grant(asked, 75.0).bookings) == PLACES


def test_margins_stretch_with_the_clock_of_the_limits() -> None:
    """A request takes as long on its way, whatever the gateway's clock does meanwhile."""
    pacer = Pacer(stretch=60.0)
    pacer.grant([ask()], 0.0)

    assert pacer.grant([ask()], 1.0).again == 15.0 + 60 * MARGIN_S


def test_after_a_violation_everything_waits() -> None:
    pacer = Pacer()
    pacer.cool_down(10.0)

    for one in (ask(), ask(seconds=900)):
        assert not pacer.grant([one], 11.0).bookings
        assert pacer.grant([one], 11.0).again == 10.0 + COOL_DOWN_S
        assert len(pacer.grant([one], 10.0 + COOL_DOWN_S).bookings) == 1


def test_a_clock_that_goes_back_never_lets_more_go() -> None:
    pacer = Pacer(SMALL_BAR_LIMITS, places=100)
    pacer.grant([ask(f"S{n}") for n in range(60)], 1000.0)

    assert not pacer.grant([ask("ONE MORE")], 990.0).bookings


def test_a_window_that_has_passed_is_forgotten() -> None:
    pacer = Pacer()
    for n in range(5000):
        pacer.release([booking.token for booking in pacer.grant([ask(rest=str(n))], n * 20.0).bookings.values()])

    assert len(pacer._sent) <= 1003
    assert len(pacer._held) == 0
