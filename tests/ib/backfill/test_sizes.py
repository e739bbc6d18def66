"""Sizes adapt: half after a time-out, double while fast, and are remembered."""

from __future__ import annotations

from workbench.ib.backfill.sizes import FEWEST_BARS, RequestSizes
from workbench.ib.budget import MemoryLedger
from workbench.ib.pacing import Pacer
from workbench.ib.plan import MOST_BARS, HistoryRequest
from workbench.market.timeframes import TIMEFRAMES

MINUTE = TIMEFRAMES["1min"]


def asked(bars: int) -> HistoryRequest:
    return HistoryRequest(MINUTE, "", bars=bars)


def test_many_time_outs_at_once_halve_the_size_once() -> None:
    sizes = RequestSizes(MemoryLedger(Pacer()))

    assert [sizes.timed_out(asked(4680)) for _ in range(50)] == [True] + [False] * 49
    assert sizes.of(MINUTE) == 2340


def test_no_size_falls_below_the_least() -> None:
    sizes = RequestSizes(MemoryLedger(Pacer()))

    for _ in range(20):
        sizes.timed_out(asked(sizes.of(MINUTE)))

    assert sizes.of(MINUTE) == FEWEST_BARS


def test_fast_answers_let_it_grow_again_up_to_the_most() -> None:
    sizes = RequestSizes(MemoryLedger(Pacer()))
    sizes.timed_out(asked(2000))

    sizes.answered(asked(1000), seconds=20.0, timeout_s=60.0)
    assert sizes.of(MINUTE) == 1000
    sizes.answered(asked(1000), seconds=10.0, timeout_s=60.0)
    assert sizes.of(MINUTE) == 2000
    for _ in range(9):
        sizes.answered(asked(sizes.of(MINUTE)), seconds=1.0, timeout_s=60.0)
    assert sizes.of(MINUTE) == MOST_BARS


def test_a_short_request_that_was_fast_says_nothing_about_long_ones() -> None:
    sizes = RequestSizes(MemoryLedger(Pacer()))
    sizes.timed_out(asked(4000))

    assert not sizes.answered(asked(300), seconds=0.1, timeout_s=60.0)
    assert sizes.of(MINUTE) == 2000


def test_the_next_backfill_remembers() -> None:
    ledger = MemoryLedger(Pacer())
    RequestSizes(ledger).timed_out(asked(4000))

    assert RequestSizes(ledger).of(MINUTE) == 2000
    assert RequestSizes(ledger).of(TIMEFRAMES["5min"]) == MOST_BARS
