"""IB's limits, counted here by going through every window one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.ib.pacing import COOL_DOWN_S, MARGIN_S, Ask, Pacer


def ask(contract: str = "AAPL", rest: str = "", *, what: str = "TRADES", seconds: int = 5) -> Ask:
    return Ask(contract, "SMART", what, seconds, rest)


ASKS = st.builds(
    ask, st.sampled_from(["AAPL", "MSFT"]), st.sampled_from("abc"), what=st.sampled_from(["TRADES", "BID_ASK"])
)
STEPS = st.lists(st.tuples(ASKS, st.floats(0, 30)), max_size=150)


def booked(steps: list[tuple[Ask, float]]) -> list[tuple[float, Ask]]:
    pacer, now, sent = Pacer(), 0.0, []
    for one, pause in steps:
        now += pause
        when = pacer.book(one, now)
        assert when >= now
        sent.append((when, one))
    return sorted(sent, key=lambda pair: pair[0])


def most(sent: list[tuple[float, Ask]], window: float) -> int:
    """Return the largest weight that any window of this length holds; each begins with a request."""
    return max((sum(a.weight for t, a in sent if start <= t < start + window) for start, _ in sent), default=0)


@given(STEPS)
def test_no_window_holds_more_than_the_limit(steps: list[tuple[Ask, float]]) -> None:
    sent = booked(steps)

    assert most(sent, 600) <= 60
    for contract in ("AAPL", "MSFT"):
        for what in ("TRADES", "BID_ASK"):
            assert most([(t, a) for t, a in sent if (a.contract, a.what_to_show) == (contract, what)], 2) < 6
    for one in {a for _, a in sent}:
        times = [t for t, a in sent if a == one]
        assert all(later - earlier >= 15 for earlier, later in zip(times, times[1:], strict=False))  # noqa: RUF007


def test_nothing_waits_that_need_not() -> None:
    pacer = Pacer()

    assert [pacer.book(ask(f"S{n}"), 0.0) for n in range(60)] == [0.0] * 60
    assert pacer.book(ask("ONE MORE"), 0.0) == 600 + MARGIN_S


def test_five_requests_of_a_contract_may_go_at_once() -> None:
    pacer = Pacer()

    assert [pacer.book(ask(rest=str(n)), 0.0) for n in range(6)] == [0.0] * 5 + [2 + MARGIN_S]


def test_both_quotes_count_twice() -> None:
    pacer = Pacer()

    times = [pacer.book(ask(f"S{n}", what="BID_ASK"), 0.0) for n in range(31)]

    assert times == [0.0] * 30 + [600 + MARGIN_S]


@pytest.mark.parametrize("seconds", [60, 900, 86_400])
def test_longer_bars_are_not_limited(seconds: int) -> None:
    pacer = Pacer()

    assert {pacer.book(ask(seconds=seconds), 0.0) for _ in range(200)} == {0.0}


def test_after_a_violation_everything_waits() -> None:
    pacer = Pacer()
    pacer.cool_down(10.0)

    assert pacer.book(ask(), 11.0) == 10.0 + COOL_DOWN_S
    assert pacer.book(ask(seconds=900), 11.0) == 10.0 + COOL_DOWN_S


def test_a_window_that_has_passed_is_forgotten() -> None:
    pacer = Pacer()
    for n in range(2000):
        pacer.book(ask(rest=str(n)), n * 20.0)

    assert len(pacer._booked) <= 31
