"""Faults of messages, as the real ib_insync meets them over TCP."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from tests.faults.desk import (
    FIRST_ANSWER,
    FIRST_REQUEST,
    FOR_EVER,
    HMDS,
    Desk,
    is_silent,
    meet,
    moments,
    one_hangs,
    same_bars,
)
from workbench.gateway.faults import (
    Corrupt,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Refuse,
    Reorder,
    When,
)
from workbench.gateway.faults.connectivity import REASONS
from workbench.gateway.faults.script import parse_faults

HARMLESS: dict[str, Fault] = {
    "an answer delayed": Fault(FIRST_ANSWER, Delay(10)),
    "a request delayed": Fault(FIRST_REQUEST, Delay(10)),
    "an answer twice": Fault(FIRST_ANSWER, Duplicate()),
    "a request that nothing follows": Fault(FIRST_REQUEST, Reorder(within=5)),
    "another client's": Fault(When("historicalData", client=7), Drop()),
    "another symbol's": Fault(When("historicalData", symbol="MSFT"), Drop()),
    "another size's": Fault(When("reqHistoricalData", containing="1 min"), Drop()),
    "the third": Fault(When("historicalData", nth=3), Drop()),
    "tomorrow's": Fault(When("historicalData", after=86_400), Drop()),
}


@pytest.mark.parametrize("fault", HARMLESS.values(), ids=HARMLESS)
def test_the_bars_are_the_same_under(fault: Fault) -> None:
    meet(same_bars, faults=[fault])


HANGING: dict[str, Fault] = {
    "an answer lost": Fault(FIRST_ANSWER, Drop()),
    "a request lost": Fault(FIRST_REQUEST, Drop()),
    "a price that is none": Fault(FIRST_ANSWER, Corrupt(6, "12.x")),
    "an empty price": Fault(FIRST_ANSWER, Corrupt(6)),
    "more bars promised than sent": Fault(FIRST_ANSWER, Corrupt(4, "8")),
}


@pytest.mark.parametrize("fault", HANGING.values(), ids=HANGING)
def test_one_request_hangs_and_the_next_is_answered_after(fault: Fault) -> None:
    meet(one_hangs, faults=[fault])


def test_a_corrupt_request_is_refused_as_what_it_has_become() -> None:
    async def conversation(desk: Desk) -> None:
        assert not await desk.history()
        assert desk.codes == [321]

    meet(conversation, faults=[Fault(FIRST_REQUEST, Corrupt(16, "1 mins"))])


def test_two_requests_are_answered_in_the_other_order() -> None:
    async def conversation(desk: Desk) -> None:
        answered: list[str] = []

        async def ask(symbol: str) -> None:
            await desk.history(symbol)
            answered.append(symbol)

        await asyncio.gather(ask("AAPL"), ask("MSFT"))
        assert answered == ["MSFT", "AAPL"]

    meet(conversation, faults=[Fault(FIRST_REQUEST, Reorder(within=FOR_EVER))])


MORE = "Requested market data requires additional subscription for API. See link in 'Market Data Connections' dialog "
REFUSALS: dict[str, tuple[int, str]] = {
    "pacing": (162, f"{HMDS}Historical data request pacing violation"),
    "timed-out": (162, f"{HMDS}Request Timed Out"),
    "no-data": (162, f"{HMDS}HMDS query returned no data: AAPL@SMART Trades"),
    "other-address": (162, f"{HMDS}Trading TWS session is connected from a different IP address"),
    "no-permission": (162, f"{HMDS}No market data permissions for AAPL. {MORE}for more details."),
    "unknown": (200, "No security definition has been found for the request"),
    "ambiguous": (200, "The contract description specified for AAPL is ambiguous."),
    "simultaneous": (322, "Error processing request:Only 50 simultaneous API historical data requests"),
    "not-subscribed": (354, "Requested market data is not subscribed."),
    "real-time-pacing": (420, "Invalid Real-time Query:Historical data request pacing violation"),
    "real-time-permission": (
        420,
        f"Invalid Real-time Query:No market data permissions for AAPL. {MORE}for more details.",
    ),
    "no-subscription": (10089, f"{MORE}for more details."),
    "competing": (10197, "No market data during competing live session"),
}
"""Each reason's code and text, as real gateways were seen to send them."""


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_request_is_told_in_the_words_of_ib(reason: str) -> None:
    async def conversation(desk: Desk) -> None:
        assert not await desk.history()
        assert [(code, text) for _, code, text in desk.errors] == [REFUSALS[reason]]
        assert len(await desk.history("MSFT")) == 7
        assert len(await desk.history()) == 7

    meet(conversation, faults=[Fault(FIRST_REQUEST, Refuse(reason))])


REFUSED = """
[[fault]]
when = { message = "reqRealTimeBars", symbol = "AAPL" }
action = { do = "refuse", code = 354, text = "Requested market data is not subscribed." }

[[fault]]
when = { message = "reqHistoricalData" }
action = { do = "refuse", code = 10999, text = "Nobody knows {symbol}." }
"""


def test_any_request_is_refused_with_any_code_and_text() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: bool(desk.errors))
        assert desk.errors == [(bars.reqId, 354, "Requested market data is not subscribed.")]
        assert await is_silent(bars)
        assert not await desk.history()
        assert [it[1:] for it in desk.errors[1:]] == [(10999, "Nobody knows AAPL.")]

    meet(conversation, faults=parse_faults(REFUSED))


def test_a_fault_that_is_always_there_befalls_every_request() -> None:
    async def conversation(desk: Desk) -> None:
        for _ in range(3):
            assert not await desk.history()
        assert desk.codes == [162, 162, 162]

    meet(conversation, faults=[Fault(When("reqHistoricalData", times=0), Refuse("timed-out"))])


# Live bars: what ib_insync makes of them


def test_a_live_bar_that_comes_twice_is_appended_twice() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 5)
        assert [b - a for a, b in pairwise(moments(bars[:5]))] == [5, 0, 5, 5]

    meet(conversation, faults=[Fault(When("realtimeBar", nth=2), Duplicate())])


def test_live_bars_out_of_order_are_appended_as_they_come() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 5)
        assert [b - a for a, b in pairwise(moments(bars[:5]))] == [10, -5, 10, 5]

    meet(conversation, faults=[Fault(When("realtimeBar", nth=2), Reorder(within=FOR_EVER))])


def test_a_lost_live_bar_is_a_gap() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 4)
        assert [b - a for a, b in pairwise(moments(bars[:4]))] == [5, 15, 5]

    meet(conversation, faults=[Fault(When("realtimeBar", symbol="AAPL", nth=3, times=2), Drop())])


def test_an_empty_field_of_a_live_bar_is_read_as_zero() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        assert bars[0].open_ > 0
        assert bars[1].open_ == 0

    meet(conversation, faults=[Fault(When("realtimeBar", nth=2), Corrupt(4))])
