"""Every row of IB's limits, shown through the real ib_insync: the window just not reached, and just broken.

The windows run by a clock in the test's hand, so nothing waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from workbench.gateway import rules
from workbench.gateway.clock import GatewayClock
from workbench.gateway.pending import AT_ONCE, Latency
from workbench.gateway.rulebook import Rulebook, no_rules
from workbench.gateway.rules import GUARDS, RULES
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape

if TYPE_CHECKING:
    from ib_insync import IB, Contract

FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, 2, tzinfo=ZoneInfo("America/New_York"))
PACING = (162, "Historical Market Data Service error message:Historical data request pacing violation")
LINES = (101, "Max number of tickers has been reached.")
SIMULTANEOUS = (322, "Error processing request:Only 50 simultaneous API historical data requests")


@cache
def simulated() -> SimulatedTape:
    return SimulatedTape(seed=1)


class Hand:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


class Client:
    """The real ib_insync, the errors that reach it, and requests in the shape that these tests vary."""

    def __init__(self, ib: IB) -> None:
        self.ib = ib
        self.errors: list[tuple[int, str]] = []
        ib.errorEvent += lambda _, code, text, __: self.errors.append((code, text))

    async def bars(
        self, contract: Contract, end: datetime | str = "", *, size: str = "5 secs", what: str = "TRADES"
    ) -> bool:
        """Ask for half an hour of bars; return whether they came."""
        found = await self.ib.reqHistoricalDataAsync(contract, end, "1800 S", size, what, True, formatDate=2)
        return bool(found)

    async def next_error(self) -> None:
        """Return when an error comes."""
        await asyncio.wait_for(self.ib.errorEvent, 5)

    async def settled(self) -> None:
        """Return when all that was asked before has reached the gateway, and what is answered at once has come."""
        await asyncio.sleep(0)  # tasks that were just made ask first
        await self.ib.reqContractDetailsAsync(stock())

    def taken_errors(self) -> list[tuple[int, str]]:
        taken, self.errors = self.errors, []
        return taken


@asynccontextmanager
async def client(gateway: GatewayServer, client_id: int = 1) -> AsyncIterator[Client]:
    from ib_insync import IB  # where a loop runs: it looks for one when it is imported

    ib = IB()
    ib.RequestTimeout = 10
    await ib.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=5, readonly=True)
    ib.client.MaxRequests = 0  # its own throttle, which would keep the limit for us
    try:
        yield Client(ib)
    finally:
        ib.disconnect()
        await asyncio.sleep(0.01)


Conversation = Callable[[GatewayServer, Hand], Awaitable[None]]


def against(
    conversation: Conversation,
    *table: rules.Rule,
    latency: Latency = AT_ONCE,
    clock: GatewayClock | None = None,
    by_hand: bool = True,
) -> None:
    """Run a conversation against a gateway that enforces some rules, or all of IB's."""
    hand = Hand()
    clock = clock or GatewayClock(FRIDAY_NOON.timestamp())
    book = Rulebook(table or RULES)
    with running(simulated(), clock, rulebook=book, rules_clock=hand if by_hand else None, latency=latency) as gateway:
        asyncio.run(conversation(gateway, hand))


def stock(symbol: str = "AAPL") -> Contract:
    from ib_insync import Stock

    return Stock(symbol, "SMART", "USD")


@cache
def symbols() -> tuple[str, ...]:
    known = [it.symbol for it in simulated().instruments if it.sec_type == "STK"]
    return tuple(symbol for symbol in known if known.count(symbol) == 1)


def earlier(minutes: int) -> datetime:
    return FRIDAY_NOON.astimezone(UTC).replace(second=0) - timedelta(minutes=minutes)


def test_an_identical_request_is_refused_within_fifteen_seconds_whichever_client_asks() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway, 1) as first, client(gateway, 2) as second:
            assert await first.bars(stock(), earlier(0))
            hand.seconds += 14.9
            assert not await second.bars(stock(), earlier(0))
            assert second.taken_errors() == [PACING]
            assert await second.bars(stock(), earlier(1))
            hand.seconds += 0.1
            assert await second.bars(stock(), earlier(0))

    against(conversation, rules.IDENTICAL)


def test_the_sixth_request_for_one_contract_exchange_and_tick_type_in_two_seconds_is_refused() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            assert [await it.bars(stock(), earlier(minute)) for minute in range(6)] == [True] * 5 + [False]
            assert it.taken_errors() == [PACING]
            assert await it.bars(stock("MSFT"), earlier(0))
            assert await it.bars(stock(), earlier(6), what="MIDPOINT")
            hand.seconds += 2
            assert await it.bars(stock(), earlier(7))

    against(conversation, rules.SAME_TICKS)


def test_the_sixty_first_request_for_small_bars_in_ten_minutes_is_refused() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            for number in range(60):
                assert await it.bars(stock(symbols()[number % 40]), earlier(number))
                hand.seconds += 9.99
            hand.seconds = 1599.9
            assert not await it.bars(stock(), earlier(60))
            assert it.taken_errors() == [PACING]
            assert await it.bars(stock(), earlier(60), size="1 min")
            hand.seconds = 1600
            assert await it.bars(stock(), earlier(60))

    against(conversation, rules.TEN_MINUTES)


def test_a_request_for_both_quotes_counts_twice() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            both = [await it.bars(stock(), earlier(minute), what="BID_ASK") for minute in range(3)]
            assert both == [True, True, False]
            hand.seconds += 2
            for number in range(28):
                assert await it.bars(stock(symbols()[number]), earlier(10), what="BID_ASK")
            assert it.taken_errors() == [PACING]
            assert not await it.bars(stock("MSFT"), earlier(11), what="BID_ASK")

    against(conversation)


def test_head_timestamps_are_paced_as_small_bars_and_hold_a_slot_until_they_are_cancelled() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            assert await it.ib.reqHeadTimeStampAsync(
                stock(), "TRADES", True, 2
            )  # ib_insync cancels it when it has come
            assert await it.ib.reqHeadTimeStampAsync(stock(), "TRADES", True, 2) == []
            assert it.taken_errors() == [PACING]
            hand.seconds += 600
            for number in range(50):  # these nobody cancels
                it.ib.client.reqHeadTimeStamp(9000 + number, stock(symbols()[number]), "TRADES", True, 2)
            assert not await it.bars(stock(), earlier(0), size="1 min")
            assert it.taken_errors() == [SIMULTANEOUS]
            it.ib.client.cancelHeadTimeStamp(9007)
            assert await it.bars(stock(), earlier(0), size="1 min")

    against(conversation, rules.IDENTICAL, rules.SAME_TICKS, rules.TEN_MINUTES, rules.SIMULTANEOUS)


def test_the_fifty_first_simultaneous_historical_request_is_refused_and_each_client_has_its_own() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway, 1) as first, client(gateway, 2) as second:
            asked = [first.bars(stock(symbols()[number]), size="1 min") for number in range(51)]
            waiting = [asyncio.create_task(it) for it in asked]
            assert not await waiting.pop()
            assert first.taken_errors() == [SIMULTANEOUS]
            there = asyncio.create_task(second.bars(stock(), size="1 min"))
            await second.settled()
            await asyncio.to_thread(drive(gateway, 60))
            assert all(await asyncio.gather(*waiting, there))
            assert first.errors == second.errors == []

    against(conversation, rules.SIMULTANEOUS, latency=Latency(30), clock=stopped())


def test_bars_kept_up_to_date_hold_their_slot_until_they_are_cancelled() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            kept = await it.ib.reqHistoricalDataAsync(
                stock(), "", "1800 S", "1 min", "TRADES", True, formatDate=2, keepUpToDate=True
            )
            assert kept
            assert not await it.bars(stock("MSFT"), size="1 min")
            assert it.taken_errors()[0][0] == 322
            it.ib.cancelHistoricalData(kept)
            assert await it.bars(stock("MSFT"), size="1 min")
            assert [code for code, _ in it.taken_errors()] == [162]  # the cancelled one

    against(conversation, replace(rules.SIMULTANEOUS, limit=1))


def test_the_sixty_first_new_real_time_bars_in_ten_minutes_are_refused() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            for number in range(60):
                it.ib.cancelRealTimeBars(it.ib.reqRealTimeBars(stock(symbols()[number % 30]), 5, "TRADES", True))
            await it.settled()
            hand.seconds = 1599.9
            assert it.errors == []
            it.ib.reqRealTimeBars(stock(), 5, "TRADES", True)
            await it.settled()
            assert it.taken_errors() == [(420, "Invalid Real-time Query:Historical data request pacing violation")]
            hand.seconds = 1600
            it.ib.reqRealTimeBars(stock(), 5, "TRADES", True)
            await it.settled()
            assert it.errors == []

    against(conversation, rules.NEW_LIVE_BARS)


def test_real_time_bars_and_market_data_share_the_lines_of_the_account() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway, 1) as first, client(gateway, 2) as second:
            live = [first.ib.reqRealTimeBars(stock(symbol), 5, "TRADES", True) for symbol in symbols()[:50]]
            await first.settled()
            for symbol in symbols()[:50]:
                second.ib.reqMktData(stock(symbol))
            await second.settled()
            assert first.errors == second.errors == []

            second.ib.reqRealTimeBars(stock("MSFT"), 5, "TRADES", True)
            await second.settled()
            assert second.taken_errors() == [LINES]
            first.ib.cancelRealTimeBars(live[0])
            await first.settled()
            second.ib.reqMktData(stock("MSFT"))
            await second.settled()
            assert second.errors == []

    against(conversation, rules.LINES)


def test_the_lines_of_a_client_that_left_are_free() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway, 1) as first:
            first.ib.reqRealTimeBars(stock(), 5, "TRADES", True)
            await first.settled()
        async with client(gateway, 1) as again:
            again.ib.reqRealTimeBars(stock(), 5, "TRADES", True)
            await again.settled()
            assert again.errors == []

    against(conversation, replace(rules.LINES, limit=1))


def test_the_fifty_first_message_of_a_second_is_refused_and_the_third_break_ends_the_session() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        rate = (100, "Max rate of messages per second has been exceeded.")
        async with client(gateway, 1) as fast, client(gateway, 2) as other:
            gone = asyncio.Event()
            fast.ib.disconnectedEvent += gone.set
            hand.seconds += 1  # connecting sends messages too
            for _ in range(51):
                fast.ib.client.reqIds(1)
            await fast.next_error()
            hand.seconds += 1
            assert fast.taken_errors() == [rate]
            assert await fast.bars(stock(), earlier(0))
            for _ in range(51):
                fast.ib.client.reqIds(1)
            await asyncio.wait_for(gone.wait(), 5)
            assert fast.taken_errors()[:2] == [rate, rate]
            assert await other.bars(stock(), earlier(1))

    against(conversation, rules.MESSAGES)


@pytest.mark.parametrize(("guard", "told"), list(zip(GUARDS, (LINES, SIMULTANEOUS), strict=True)))
def test_what_one_client_holds_is_bounded_where_no_limits_are_in_force_and_the_others_hold_theirs(
    guard: rules.Rule, told: tuple[int, str]
) -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway, 1) as first, client(gateway, 2) as second:
            for it, count in ((first, 3), (second, 2)):
                for number, symbol in enumerate(symbols()[:count]):
                    if guard.counted is rules.Counted.LINES:
                        it.ib.reqRealTimeBars(stock(symbol), 5, "TRADES", True)
                    else:
                        it.ib.client.reqHeadTimeStamp(9000 + number, stock(symbol), "TRADES", True, 2)
                await it.settled()
            assert (first.errors, second.errors) == ([told], [])

    assert guard in no_rules().rules
    against(conversation, replace(guard, limit=2))


def test_small_bars_older_than_six_months_are_no_data_and_longer_bars_of_that_time_are_there() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            kept = FRIDAY_NOON.astimezone(UTC) - timedelta(days=183)
            assert await it.bars(stock(), kept + timedelta(days=3))
            assert not await it.bars(stock(), kept - timedelta(days=3))
            text = "Historical Market Data Service error message:HMDS query returned no data: AAPL@SMART Trades"
            assert it.taken_errors() == [(162, text)]
            assert await it.bars(stock(), kept - timedelta(days=3), size="1 min")
            found = await it.ib.reqHistoricalDataAsync(
                stock(), kept + timedelta(days=3), "5 D", "30 secs", "TRADES", True, formatDate=2
            )
            assert min(bar.date for bar in found) >= kept

    against(conversation)


# Answers that take time


def stopped() -> GatewayClock:
    """Return a clock that stands at noon."""
    clock = GatewayClock(FRIDAY_NOON.timestamp())
    clock.pause()
    return clock


def drive(gateway: GatewayServer, seconds: float) -> Callable[[], None]:
    """Return what lets the gateway's clock go ahead, on the gateway's own thread."""

    def jump() -> None:
        assert gateway._loop is not None
        gateway._loop.call_soon_threadsafe(gateway.jump, gateway.clock.now() + seconds)

    return jump


def test_an_answer_comes_when_its_time_has_passed_and_longer_ones_later() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            longer = asyncio.create_task(it.bars(stock(), size="5 secs"))  # 360 bars: 36 s
            shorter = asyncio.create_task(it.bars(stock(), size="1 min"))  # 30 bars: 3 s
            await it.settled()
            assert not longer.done()
            assert not shorter.done()
            await asyncio.to_thread(drive(gateway, 4))
            assert await shorter
            await it.settled()
            assert not longer.done()
            await asyncio.to_thread(drive(gateway, 40))
            assert await longer

    against(conversation, rules.SIMULTANEOUS, latency=Latency(per_1000_bars_s=100), clock=stopped())


def test_a_request_that_is_cancelled_while_it_waits_ends_with_162_and_frees_its_slot() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            waiting = asyncio.create_task(it.bars(stock(), size="1 min"))
            await it.settled()
            (req_id,) = it.ib.wrapper._futures
            it.ib.client.cancelHistoricalData(req_id)
            assert not await waiting
            text = f"Historical Market Data Service error message:API historical data query cancelled: {req_id}"
            assert it.taken_errors() == [(162, text)]
            after = asyncio.create_task(it.bars(stock(), size="1 min"))
            await it.settled()
            await asyncio.to_thread(drive(gateway, 60))
            assert await after

    against(conversation, replace(rules.SIMULTANEOUS, limit=1), latency=Latency(30), clock=stopped())


def test_an_id_whose_answer_waits_may_not_be_used_again() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            for _ in range(2):
                it.ib.client.reqHistoricalData(77, stock(), "", "1800 S", "1 min", "TRADES", True, 2, False, [])
            await it.next_error()
            assert it.errors[0][0] == 322
            assert it.errors[0][1].endswith("Duplicate ticker ID for API historical data query")

    against(conversation, latency=Latency(30), clock=stopped())


# Time


def test_windows_run_in_gateway_time_when_they_are_not_given_a_clock_of_their_own() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            assert await it.bars(stock(), earlier(0))
            assert not await it.bars(stock(), earlier(0))
            await asyncio.to_thread(drive(gateway, 15))
            assert await it.bars(stock(), earlier(0))

    against(conversation, rules.IDENTICAL, clock=stopped(), by_hand=False)


def test_a_jump_ahead_skips_what_lies_between_and_a_jump_back_hangs_up_on_everybody() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        async with client(gateway) as it:
            gone = asyncio.Event()
            it.ib.disconnectedEvent += gone.set
            bars = it.ib.reqRealTimeBars(stock(), 5, "TRADES", True)
            kept = await it.ib.reqHistoricalDataAsync(stock(), "", "600 S", "5 secs", "TRADES", True, 2, True)
            ticks: list[object] = []
            it.ib.reqMktData(stock()).updateEvent += lambda ticker: ticks.extend(ticker.ticks)
            await it.settled()
            known = len(kept)
            await asyncio.to_thread(drive(gateway, 3600))
            await asyncio.sleep(0.2)
            assert not bars
            assert len(kept) <= known + 2  # of 720 that were skipped
            assert len(ticks) < 100  # of thousands
            await asyncio.to_thread(drive(gateway, -60))
            await asyncio.wait_for(gone.wait(), 5)
        async with client(gateway) as again:
            assert (await again.ib.reqCurrentTimeAsync()).timestamp() == int(FRIDAY_NOON.timestamp()) + 3540

    against(conversation, clock=stopped())


# What TWS refuses itself, with its words


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"barSizeSetting": "1 sec"}, 321, "Historical data bar size setting is invalid. Legal ones are: 1 secs, 5"),
        ({"whatToShow": "YIELD"}, 321, "What to show field is missing or incorrect."),
        ({"formatDate": 0}, 321, "Date formatting selection of 0 rejected"),
        ({"durationStr": "400 D"}, 321, "durations longer than 365 days must be made in years."),
        ({"durationStr": "1 D", "barSizeSetting": "1 secs"}, 162, "error message:invalid step: 1"),
        ({"durationStr": "99 Y", "barSizeSetting": "1 day"}, 162, "error message:Time length exceed max."),
        ({"endDateTime": "20261120 12:00:00 GMT"}, 10314, "End Date/Time: The date, time, or time-zone entered is inv"),
        ({"endDateTime": "20261119 16:00:00"}, 2174, "submitted request with date-time attributes without explicit"),
        ({"endDateTime": "19800101-00:00:00"}, 162, "HMDS query returned no data: AAPL@SMART Trades"),
    ],
)
def test_what_fails_validation_is_told_in_ibs_words_and_counts_for_no_rule(
    changes: dict[str, object], code: int, words: str
) -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        request: dict[str, object] = {
            "endDateTime": "", "durationStr": "1 D", "barSizeSetting": "1 min", "whatToShow": "TRADES", "useRTH": True,
            "formatDate": 2,
        }  # fmt: skip
        async with client(gateway) as it:
            for _ in range(2):
                found = await it.ib.reqHistoricalDataAsync(stock(), **(request | changes))
                assert bool(found) is (code == 2174)
        assert [found for found, _ in it.errors] == [code, code]
        assert words in it.errors[0][1]

    against(conversation, replace(rules.TEN_MINUTES, limit=2))


def test_a_contract_without_an_exchange_is_321_and_an_unknown_one_200() -> None:
    async def conversation(gateway: GatewayServer, hand: Hand) -> None:
        from ib_insync import Contract, Stock

        async with client(gateway) as it:
            assert not await it.bars(Contract(conId=265598))
            assert not await it.bars(Stock("NOPE", "SMART", "USD"))
            assert it.errors[0][1].endswith("cause - Please enter exchange")
            assert it.errors[1] == (200, "No security definition has been found for the request")

    against(conversation)
