from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway import rules
from workbench.gateway.layouts import parse
from workbench.gateway.refusals import Refused
from workbench.gateway.requests import (
    ContractQuery,
    CurrentTimeRequest,
    HeadTimestampRequest,
    HistoricalRequest,
    RealTimeBarsRequest,
    Request,
)
from workbench.gateway.rulebook import MANY_GROUPS, Rulebook, no_rules
from workbench.gateway.rules import RULES, Asked, Counted, Scope

AAPL = ContractQuery(symbol="AAPL", exchange="SMART")


def bars(end: str = "", *, size: str = "5 secs", what: str = "TRADES", req_id: int = 1) -> HistoricalRequest:
    return HistoricalRequest(req_id, AAPL, False, end, size, "1800 S", True, what, 2)


def head(req_id: int = 1) -> HeadTimestampRequest:
    return HeadTimestampRequest(req_id, AAPL, False, True, "TRADES", 2)


def admitted(book: Rulebook, asked: Asked, at: float) -> bool:
    try:
        book.admit(asked, at)
    except Refused:
        return False
    return True


def test_the_table_has_a_row_a_rule_each_with_its_source() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) == 7
    assert all(rule.source.startswith("A1") for rule in RULES)
    assert {rule.counted for rule in RULES} == set(Counted)


def test_half_as_many_messages_a_second_as_lines_are_admitted() -> None:
    limits = {rule.name: rule.limit for rule in rules.rules_for(240)}

    assert (limits["market data lines"], limits["messages per second"]) == (240, 120)
    assert rules.rules_for() == RULES


def test_without_rules_only_what_no_client_can_mean_is_refused() -> None:
    book = no_rules()

    assert all(admitted(book, Asked("a", bars(req_id=n)), 0.0) for n in range(200))
    assert not admitted(book, Asked("a", bars(req_id=200)), 0.0)
    assert admitted(book, Asked("b", bars(req_id=200)), 0.0)


def test_without_rules_nothing_is_paced() -> None:
    book = no_rules()

    assert all(admitted(book, Asked("a", bars()), 0.0) for _ in range(200))


@pytest.mark.parametrize(("size", "small"), [("1 secs", True), ("30 secs", True), ("1 min", False), ("1 day", False)])
def test_bars_of_thirty_seconds_and_less_are_small(size: str, small: bool) -> None:
    assert rules.is_small(bars(size=size)) is small
    assert (Rulebook().oldest_kept(bars(size=size), 2e9) == 2e9 - 183 * 86_400) is small
    assert no_rules().oldest_kept(bars(size=size), 2e9) == -math.inf


def test_an_identical_request_waits_fifteen_seconds_whoever_asks_and_however_it_names_the_contract() -> None:
    book = Rulebook([rules.IDENTICAL])
    by_id = replace(bars(req_id=9), contract=ContractQuery(con_id=7, exchange="SMART"))

    assert admitted(book, Asked("a", bars(), con_id=7), 0.0)
    assert not admitted(book, Asked("b", by_id, con_id=7), 14.999)
    assert admitted(book, Asked("b", bars("20261120-20:00:00"), con_id=7), 14.999)
    assert admitted(book, Asked("b", bars(), con_id=8), 14.999)
    assert admitted(book, Asked("b", by_id, con_id=7), 15.0)


def test_a_refused_request_counts_for_no_rule() -> None:
    book = Rulebook([rules.IDENTICAL, replace(rules.TEN_MINUTES, limit=2)])

    assert admitted(book, Asked("a", bars()), 0.0)
    assert not any(admitted(book, Asked("a", bars()), 1.0 + tries) for tries in range(5))
    assert admitted(book, Asked("a", bars("20261120-20:00:00")), 10.0)
    assert not admitted(book, Asked("a", bars("20261120-21:00:00")), 10.0)


def test_bid_ask_counts_twice() -> None:
    book = Rulebook([rules.SAME_TICKS, rules.TEN_MINUTES])

    assert [admitted(book, Asked("a", bars(what="BID_ASK")), 0.0) for _ in range(3)] == [True, True, False]
    assert [admitted(book, Asked("a", bars(what="BID_ASK")), 10.0 * n) for n in range(1, 30)] == [True] * 28 + [False]


def test_head_timestamps_are_small_bars_and_hold_a_slot_until_they_are_released() -> None:
    book = Rulebook([rules.SAME_TICKS, rules.SIMULTANEOUS])
    for n in range(50):
        book.admit(Asked("a", head(n)), n)

    assert not admitted(book, Asked("a", head(50)), 1000.0)
    assert admitted(book, Asked("b", head(50)), 1000.0)
    book.release("a", 3, Counted.HISTORICAL)
    assert admitted(book, Asked("a", head(50)), 1000.0)
    assert not admitted(book, Asked("a", head(51)), 2000.0)
    book.forget("a")
    assert admitted(book, Asked("a", head(51)), 2000.0)


def test_a_line_of_an_id_is_not_released_by_a_query_of_the_same_id() -> None:
    book = Rulebook([replace(rules.LINES, limit=1), rules.SIMULTANEOUS])
    book.admit(Asked("a", parse(["1", "11", "1"])), 0.0)  # market data, of which only the id matters here
    book.admit(Asked("a", bars()), 0.0)
    live = Asked("b", RealTimeBarsRequest(1, AAPL, 5, "TRADES", True))

    book.release("a", 1, Counted.HISTORICAL)
    assert not admitted(book, live, 0.0)
    book.release("b", 1, Counted.LINES)
    assert not admitted(book, live, 0.0)
    book.release("a", 1, Counted.LINES)
    assert admitted(book, live, 0.0)


def test_a_client_that_leaves_frees_what_it_held_but_not_the_accounts_windows() -> None:
    book = Rulebook([replace(rules.NEW_LIVE_BARS, limit=1), replace(rules.LINES, limit=1)])
    live = RealTimeBarsRequest(1, AAPL, 5, "TRADES", True)
    book.admit(Asked("a", live), 0.0)
    book.forget("a")

    with pytest.raises(Refused, match="420: Invalid Real-time Query"):
        book.admit(Asked("b", live), 1.0)
    assert admitted(book, Asked("b", live), 600.0)


def test_the_third_message_over_the_rate_ends_the_session_of_that_client() -> None:
    book = Rulebook()
    for _ in range(50):
        book.message("a", CurrentTimeRequest(), 0.0)
    for struck_out in (False, False, True):
        with pytest.raises(Refused, match="100: Max rate of messages"):
            book.message("a", CurrentTimeRequest(), 0.5)
        assert book.has_struck_out("a") is struck_out
    book.message("b", CurrentTimeRequest(), 0.5)

    assert not book.has_struck_out("b")
    book.forget("a")
    assert not book.has_struck_out("a")


def test_what_lies_ahead_of_a_time_set_back_is_forgotten() -> None:
    book = Rulebook([rules.IDENTICAL])
    book.admit(Asked("a", bars()), 1000.0)

    assert admitted(book, Asked("a", bars()), 500.0)
    assert not admitted(book, Asked("a", bars()), 501.0)


def test_groups_whose_window_has_passed_are_dropped() -> None:
    book = Rulebook([rules.IDENTICAL])
    for n in range(5000):
        book.admit(Asked("a", bars(), con_id=n), 20.0 * n)

    assert len(book._meters[0]._admitted) <= MANY_GROUPS


# Laws, each counted naively: every window is looked through again from all that was admitted

TIMED = [rule for rule in RULES if rule.window_s != rules.HELD]
CONTRACTS, CLIENTS = st.integers(1, 3), st.sampled_from("abc")
KINDS: list[Callable[[int], Request]] = [
    lambda n: bars(req_id=n),
    lambda n: bars("20261120-20:00:00", req_id=n),
    lambda n: bars(what="BID_ASK", req_id=n),
    lambda n: bars(size="1 min", req_id=n),
    head,
    lambda n: RealTimeBarsRequest(n, AAPL, 5, "TRADES", True),
]
STEPS = st.lists(
    st.tuples(st.floats(0, 8), CLIENTS, CONTRACTS, st.sampled_from(KINDS), st.integers(1, 20)), min_size=1, max_size=80
)


def limited(rule: rules.Rule) -> rules.Rule:
    """Return the rule with a limit that random requests reach."""
    return replace(rule, limit=max(2, min(rule.limit, 6)))


@given(STEPS, st.sampled_from(TIMED))
def test_no_window_ever_admits_more_than_the_limit(
    steps: list[tuple[float, str, int, Callable[[int], Request], int]], rule: rules.Rule
) -> None:
    rule, at, kept = limited(rule), 0.0, []
    book = Rulebook([rule])
    for wait, client, con_id, kind, burst in steps:
        at += wait
        for n in range(burst):
            asked = Asked(client, kind(n), con_id)
            if rule.counted in rules.counted(asked.request) and admitted(book, asked, at):
                kept.append((at, asked))

    for begin, first in kept:
        window = [it for t, it in kept if begin <= t < begin + rule.window_s and rule.group(it) == rule.group(first)]
        twice = sum(rule.bid_ask_twice and getattr(it.request, "what_to_show", "") == "BID_ASK" for it in window)
        assert len(window) + twice <= rule.limit


@given(STEPS, st.sampled_from(TIMED))
def test_what_has_its_window_to_itself_is_admitted(
    steps: list[tuple[float, str, int, Callable[[int], Request], int]], rule: rules.Rule
) -> None:
    book, at = Rulebook([limited(rule)]), 0.0
    for wait, client, con_id, kind, _ in steps:
        at += rule.window_s + wait

        book.admit(Asked(client, kind(1), con_id), at)


@given(STEPS)
def test_what_is_refused_would_have_broken_a_limit(
    steps: list[tuple[float, str, int, Callable[[int], Request], int]],
) -> None:
    """The twin of the whole book of pacing rules: a list of all that was admitted, looked through for each request."""
    table = [limited(rule) for rule in TIMED if rule.scope is Scope.ACCOUNT]
    book, at = Rulebook(table), 0.0
    kept: list[tuple[float, Asked]] = []
    for wait, client, con_id, kind, burst in steps:
        at += wait
        for n in range(burst):
            asked = Asked(client, kind(n), con_id)
            broken = False
            for rule in table:
                if rule.counted in rules.counted(asked.request):
                    alike = [
                        it
                        for t, it in kept
                        if at - t < rule.window_s
                        and rule.counted in rules.counted(it.request)
                        and rule.group(it) == rule.group(asked)
                    ]
                    weights = [
                        2 if rule.bid_ask_twice and getattr(it.request, "what_to_show", "") == "BID_ASK" else 1
                        for it in [*alike, asked]
                    ]
                    broken |= sum(weights) > rule.limit
            assert admitted(book, asked, at) is not broken
            if not broken:
                kept.append((at, asked))
