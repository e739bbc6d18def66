"""Every fault of the built-in gateway, as the real ib_insync meets it over TCP.

What ib_insync does under each is what it was seen to do; it is the reason why our own client does not rely on it.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from workbench.errors import GatewayError
from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import (
    Action,
    Bust,
    ClientIdStuck,
    Close,
    CompetingSession,
    ConnectivityLost,
    ConnectivityRestored,
    ContractsUnknown,
    Corrupt,
    Delay,
    Dribble,
    Drop,
    Duplicate,
    FarmBroken,
    FarmInactive,
    Fault,
    Garbage,
    LiveUpdatesFailed,
    NightlyReset,
    PortReset,
    Refuse,
    Reorder,
    Reset,
    Restart,
    ServerBroken,
    Silence,
    Split,
    Stall,
    Tell,
    Truncate,
    WeekendReset,
    When,
    WrongLength,
)
from workbench.gateway.faults.connectivity import REASONS, because
from workbench.gateway.faults.script import format_faults, parse_faults
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.wire import GREETING, encode, frame

if TYPE_CHECKING:
    from ib_insync import IB

NEW_YORK = ZoneInfo("America/New_York")
MORNING = datetime(2026, 11, 20, 9, 45, 2, tzinfo=NEW_YORK).timestamp()
NIGHT = datetime(2026, 11, 20, 0, 14, 55, tzinfo=NEW_YORK).timestamp()
SPEED = 200  # a live bar each 25 ms
SOON_S = 0.25  # how long something must not happen
LATE_S = 20  # how long something may take that must happen
FOR_EVER = float("inf")


@cache
def tape() -> SimulatedTape:
    return SimulatedTape(seed=1)


@dataclass
class Desk:
    """A gateway, a client of it, and what the client was told."""

    gateway: GatewayServer
    ib: IB
    errors: list[tuple[int, int, str]] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def codes(self) -> list[int]:
        return [code for _, code, _ in self.errors]

    def strike(self, action: Action, **when: Any) -> None:
        self.gateway.inject(Fault(When(**when), action))

    async def history(self, symbol: str = "AAPL", **changes: Any) -> list[Any]:
        from ib_insync import Stock

        asked = {"endDateTime": "20261120-03:00:00", "durationStr": "1 D", "barSizeSetting": "1 hour"}
        rest = {"whatToShow": "TRADES", "useRTH": True, "formatDate": 2, "timeout": 0}
        return await self.ib.reqHistoricalDataAsync(Stock(symbol, "SMART", "USD"), **(asked | rest | changes))

    async def details(self, symbol: str = "AAPL") -> list[Any]:
        from ib_insync import Stock

        return await self.ib.reqContractDetailsAsync(Stock(symbol, "SMART", "USD"))

    def stream(self, symbol: str = "AAPL") -> list[Any]:
        from ib_insync import Stock

        return self.ib.reqRealTimeBars(Stock(symbol, "SMART", "USD"), 5, "TRADES", True)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(LATE_S):
            while not holds():  # noqa: ASYNC110  what is awaited sets no event
                await asyncio.sleep(0.005)


async def hangs(request: Awaitable[Any]) -> bool:
    try:
        await asyncio.wait_for(request, SOON_S)
    except TimeoutError:
        return True
    return False


@asynccontextmanager
async def given_up(connecting: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Connect meanwhile; then, since it has not come to an end, give up."""
    task = asyncio.create_task(connecting)
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait([task])


async def is_silent(bars: list[Any]) -> bool:
    await asyncio.sleep(0.05)  # what was sent before is read
    count = len(bars)
    await asyncio.sleep(SOON_S)
    return len(bars) == count


def moments(bars: list[Any]) -> list[int]:
    return [int(bar.time.timestamp()) for bar in bars]


@asynccontextmanager
async def client(gateway: GatewayServer, client_id: int = 1) -> AsyncIterator[Desk]:
    from ib_insync import IB  # where a loop runs: it looks for one when it is imported

    desk = Desk(gateway, IB())
    desk.ib.errorEvent += lambda req_id, code, text, _: desk.errors.append((req_id, code, text))
    desk.ib.disconnectedEvent += desk.disconnected.set
    await desk.ib.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=5)
    desk.errors.clear()
    try:
        yield desk
    finally:
        desk.ib.disconnect()
        await asyncio.sleep(0.01)  # its transport closes in the next turn of the loop


Conversation = Callable[[Desk], Awaitable[None]]


def meet(
    conversation: Conversation, *, faults: Sequence[Fault] = (), start: float = MORNING, speed: float = SPEED
) -> None:
    """Let a client of a gateway with these faults converse."""

    async def converse(gateway: GatewayServer) -> None:
        async with client(gateway) as desk:
            await conversation(desk)

    with running(tape(), GatewayClock(start, speed), faults=faults) as gateway:
        asyncio.run(converse(gateway))


# Bytes and messages of history: the fault, and whether the first request is answered, hangs or fails


FIRST_ANSWER = When("historicalData")
FIRST_REQUEST = When("reqHistoricalData", symbol="AAPL")

HARMLESS: dict[str, Fault] = {
    "dribble": Fault(FIRST_ANSWER, Dribble()),
    "split": Fault(FIRST_ANSWER, Split(5)),
    "split in time": Fault(FIRST_ANSWER, Split(50, every=0.2)),
    "dribble, armed by the request": Fault(FIRST_REQUEST, Dribble()),
    "stall, then on": Fault(FIRST_REQUEST, Stall(seconds=10)),
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
    async def conversation(desk: Desk) -> None:
        under, after = await desk.history(), await desk.history()
        assert len(under) == 7
        assert list(under) == list(after)

    meet(conversation, faults=[fault])


HANGING: dict[str, Fault] = {
    "an answer cut short": Fault(FIRST_ANSWER, Truncate()),
    "an answer lost": Fault(FIRST_ANSWER, Drop()),
    "a request lost": Fault(FIRST_REQUEST, Drop()),
    "a price that is none": Fault(FIRST_ANSWER, Corrupt(6, "12.x")),
    "an empty price": Fault(FIRST_ANSWER, Corrupt(6)),
    "more bars promised than sent": Fault(FIRST_ANSWER, Corrupt(4, "8")),
}


@pytest.mark.parametrize("fault", HANGING.values(), ids=HANGING)
def test_one_request_hangs_and_the_next_is_answered_after(fault: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        assert await hangs(desk.history())
        assert desk.ib.isConnected()
        assert len(await desk.history()) == 7

    meet(conversation, faults=[fault])


DEAFENING: dict[str, Fault] = {
    "garbage": Fault(FIRST_ANSWER, Garbage(seed=1)),
    "a prefix that is too long": Fault(FIRST_ANSWER, WrongLength(by=1_000_000)),
    "an answer cut short of what its prefix says": Fault(FIRST_ANSWER, Truncate(keep=0, honest=False)),
    "a stall for ever": Fault(FIRST_REQUEST, Stall()),
}


@pytest.mark.parametrize("fault", DEAFENING.values(), ids=DEAFENING)
def test_the_connection_stays_and_hears_nothing_any_more_after(fault: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        assert await hangs(desk.history())
        assert await hangs(desk.details())
        assert desk.ib.isConnected()

    meet(conversation, faults=[fault])


ENDING: dict[str, Fault] = {
    "close at a request": Fault(FIRST_REQUEST, Close()),
    "close in an answer": Fault(FIRST_ANSWER, Close(keep=0.5)),
    "reset at a request": Fault(FIRST_REQUEST, Reset()),
    "reset in an answer": Fault(FIRST_ANSWER, Reset(keep=0.5)),
}


@pytest.mark.parametrize("fault", ENDING.values(), ids=ENDING)
def test_the_request_fails_and_the_client_knows_that_it_is_disconnected_after(fault: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        with pytest.raises(ConnectionError):
            await desk.history()
        assert desk.disconnected.is_set()
        assert not desk.ib.isConnected()
        async with client(desk.gateway) as again:  # the id is free once more
            assert len(await again.history()) == 7

    meet(conversation, faults=[fault])


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


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_request_is_told_in_the_words_of_ib(reason: str) -> None:
    async def conversation(desk: Desk) -> None:
        assert not await desk.history()
        assert [(code, text) for _, code, text in desk.errors] == [(notice.code, notice.text)]
        assert len(await desk.history("MSFT")) == 7
        assert len(await desk.history()) == 7

    notice = because(reason, "AAPL")
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


@pytest.mark.parametrize(
    "told",
    [
        Fault(When(message="reqContractDetails"), Tell(2110, "Connectivity is broken: 100 %, {symbol}.")),
        *parse_faults('[[fault]]\nwhen = { message = "reqContractDetails" }\naction = { do = "tell", code = 1102 }'),
    ],
)
def test_a_client_is_told_any_code_and_text_about_no_request_and_all_goes_on(told: Fault) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        assert len(await desk.details()) == 1
        assert isinstance(told.action, Tell)
        assert desk.errors == [(-1, told.action.code, told.action.text)]
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 2)

    meet(conversation, faults=[told])


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


# The session: notices, and what becomes of streams


@dataclass(frozen=True)
class Outage:
    """A fault, the codes that are told, and whether live bars go on afterwards."""

    action: Action
    codes: tuple[int, ...]
    flows: bool = True


OUTAGES: dict[str, Outage] = {
    "1100, 1102": Outage(ConnectivityLost(20), (1100, 1102)),
    "1100, 1102, dead streams": Outage(ConnectivityLost(20, streams="dead"), (1100, 1102), flows=False),
    "1100, 1101": Outage(ConnectivityLost(20, data="lost"), (1100, 1101, 2104, 2106, 2158), flows=False),
    "1100 for ever": Outage(ConnectivityLost(FOR_EVER), (1100,), flows=False),
    "1101": Outage(ConnectivityRestored(data="lost"), (1101, 2104, 2106, 2158), flows=False),
    "1102": Outage(ConnectivityRestored(), (1102,)),
    "1102, dead streams": Outage(ConnectivityRestored(streams="dead"), (1102,), flows=False),
    "2103, 2104": Outage(FarmBroken("market", 20), (2103, 2104)),
    "2103, 2104, dead streams": Outage(FarmBroken("market", 20, "dead"), (2103, 2104), flows=False),
    "2105, 2106": Outage(FarmBroken("historical", 20), (2105, 2106)),
    "2157, 2158": Outage(FarmBroken("secdef", 20), (2157, 2158)),
    "2107": Outage(FarmInactive("historical"), (2107,)),
    "2108": Outage(FarmInactive("market"), (2108,)),
    "2108, dead streams": Outage(FarmInactive("market", "dead"), (2108,), flows=False),
    "2110": Outage(ServerBroken(20), (2110, 2104, 2106, 2158)),
    "2110, dead streams": Outage(ServerBroken(20, "dead"), (2110, 2104, 2106, 2158), flows=False),
    "10197": Outage(CompetingSession(20), (10197,)),
    "10197 for ever": Outage(CompetingSession(FOR_EVER), (10197,), flows=False),
    "10225, re-requested": Outage(Bust(), (10225,)),
    "silence": Outage(Silence(), (), flows=False),
    "silence, then on": Outage(Silence(20), ()),
    "nightly reset": Outage(NightlyReset(20), (1100, 2103, 2105, 1102, 2104, 2106)),
    "weekend reset": Outage(WeekendReset(20), ()),
}


@pytest.mark.parametrize("outage", OUTAGES.values(), ids=OUTAGES)
def test_a_connected_client_is_told_and_its_bars_go_on_or_not(outage: Outage) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)

        desk.strike(outage.action)
        await desk.until(lambda: len(desk.errors) >= len(outage.codes))

        assert tuple(desk.codes) == outage.codes
        if outage.flows:
            count = len(bars)
            await desk.until(lambda: len(bars) >= count + 5)
        else:
            assert await is_silent(bars)
        assert desk.ib.isConnected()

    meet(conversation)


REVIVABLE = {name: it for name, it in OUTAGES.items() if "dead" in name or "1101" in name}


@pytest.mark.parametrize("outage", REVIVABLE.values(), ids=REVIVABLE)
def test_dead_streams_come_back_when_they_are_requested_again_after(outage: Outage) -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        desk.strike(outage.action)
        await desk.until(lambda: len(desk.errors) >= len(outage.codes))

        desk.ib.cancelRealTimeBars(bars)
        again = desk.stream()

        await desk.until(lambda: len(again) >= 3)

    meet(conversation)


def test_while_ib_is_lost_nothing_is_answered() -> None:
    async def conversation(desk: Desk) -> None:
        desk.strike(ConnectivityLost(FOR_EVER))
        assert await hangs(desk.history())
        assert await hangs(desk.details())

    meet(conversation)


def test_bars_of_an_outage_are_not_sent_later() -> None:
    async def conversation(desk: Desk) -> None:
        bars = desk.stream()
        await desk.until(lambda: len(bars) >= 2)
        desk.strike(ConnectivityLost(seconds=60))
        await desk.until(lambda: 1102 in desk.codes)
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 2)
        steps = [b - a for a, b in pairwise(moments(bars))]
        assert max(steps) >= 55
        assert sorted(steps)[:-1] == [5] * (len(steps) - 1)
        assert len(await desk.history()) == 7

    meet(conversation)


def test_some_symbols_fall_silent_and_others_do_not() -> None:
    async def conversation(desk: Desk) -> None:
        quiet, loud = desk.stream("AAPL"), desk.stream("MSFT")
        await desk.until(lambda: len(quiet) >= 2 and len(loud) >= 2)
        desk.strike(Silence(symbols=("AAPL",)))
        assert await is_silent(quiet)
        count = len(loud)
        await desk.until(lambda: len(loud) > count)

    meet(conversation)


def test_a_bust_befalls_one_symbol_and_ends_when_ib_insync_requests_it_again() -> None:
    async def conversation(desk: Desk) -> None:
        bars, other = desk.stream("AAPL"), desk.stream("MSFT")
        await desk.until(lambda: len(bars) >= 2 and len(other) >= 2)
        sent: list[str] = []
        send = desk.ib.client.send
        desk.ib.client.send = lambda *texts: (sent.append(str(texts[0])), send(*texts))  # type: ignore[method-assign]
        desk.strike(Bust(symbols=("AAPL",)))
        await desk.until(lambda: bool(desk.errors))
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 3)
        assert [(req_id, code) for req_id, code, _ in desk.errors] == [(bars.reqId, 10225)]
        assert sent == ["51", "50"]

    meet(conversation)


KEPT = {"endDateTime": "", "barSizeSetting": "5 secs", "durationStr": "600 S", "keepUpToDate": True}


def test_updates_of_history_end_with_10182_until_they_are_requested_again() -> None:
    async def conversation(desk: Desk) -> None:
        bars = await desk.history(**KEPT)
        count = len(bars)
        await desk.until(lambda: len(bars) >= count + 3)

        desk.strike(LiveUpdatesFailed())
        await desk.until(lambda: bool(desk.errors))

        assert [(req_id, code) for req_id, code, _ in desk.errors] == [(bars.reqId, 10182)]
        assert await is_silent(bars)
        desk.ib.cancelHistoricalData(bars)
        again = await desk.history(**KEPT)
        count = len(again)
        await desk.until(lambda: len(again) >= count + 3)

    meet(conversation)


def test_ticks_fall_silent_on_a_healthy_connection() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import Stock

        ticker = desk.ib.reqMktData(Stock("AAPL", "SMART", "USD"))
        seen: list[float] = []
        ticker.updateEvent += lambda it: seen.append(it.last)
        await desk.until(lambda: len(seen) >= 3)
        desk.strike(Silence(symbols=("AAPL",)))
        assert await is_silent(seen)
        assert len(await desk.history()) == 7

    meet(conversation)


def test_valid_contracts_are_unknown_in_a_reset_window() -> None:
    async def conversation(desk: Desk) -> None:
        desk.strike(ContractsUnknown(seconds=FOR_EVER, symbols=("AAPL",)))
        assert await desk.details() == []
        assert not await desk.history()
        assert desk.codes == [200, 200]
        assert len(await desk.details("MSFT")) == 1

    meet(conversation)


def test_the_nightly_reset_comes_at_its_exchange_time() -> None:
    async def conversation(desk: Desk) -> None:
        soon = datetime.fromtimestamp(desk.gateway.clock.now() + 200, NEW_YORK)
        desk.strike(NightlyReset(FOR_EVER), daily=f"{soon:%H:%M:%S}")
        await desk.until(lambda: len(desk.errors) == 3)
        assert desk.gateway.clock.now() >= int(soon.timestamp())
        assert desk.codes == [1100, 2103, 2105]
        assert await desk.details() == []
        assert not await desk.history()
        assert [text.rpartition(":")[2] for _, code, text in desk.errors if code == 162] == ["Request Timed Out"]

    meet(conversation, start=NIGHT)


def test_on_the_weekend_the_handshake_works_and_every_request_times_out() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import IB

        desk.strike(WeekendReset(FOR_EVER))
        assert await hangs(desk.history())
        assert await hangs(desk.details())
        assert desk.ib.isConnected()

        other, told = IB(), []
        other.client.apiStart += lambda: told.append(other.client.getAccounts())
        connecting = other.connectAsync(desk.gateway.host, desk.gateway.port, clientId=2, timeout=LATE_S)
        async with given_up(connecting):
            await desk.until(lambda: bool(told))
            assert told == [["SIMULATED-1-R1"]]
            await asyncio.sleep(SOON_S)

    meet(conversation)


# The gateway itself


def test_a_killed_clients_id_stays_in_use() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import IB

        desk.strike(ClientIdStuck(FOR_EVER), client=1)
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        again, codes = IB(), []
        again.errorEvent += lambda _, code, *__: codes.append(code)
        connecting = again.connectAsync(desk.gateway.host, desk.gateway.port, clientId=1, timeout=LATE_S)
        async with given_up(connecting):
            await desk.until(lambda: bool(codes))
            assert codes == [326]
        async with client(desk.gateway, 2) as other:
            assert await other.details()

    meet(conversation)


async def comes_back(gateway: GatewayServer, client_id: int = 1) -> None:
    """Wait until a client may connect again."""
    async with asyncio.timeout(LATE_S):
        while True:
            with suppress(OSError, TimeoutError):
                async with client(gateway, client_id) as again:
                    assert len(await again.history()) == 7
                    return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("action", [ClientIdStuck(20), Restart(20)])
def test_the_client_gets_its_id_back_after(action: Action) -> None:
    async def conversation(desk: Desk) -> None:
        desk.strike(action)
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        over = desk.gateway.clock.now() + 20
        await desk.until(lambda: desk.gateway.clock.now() > over)  # a connect that is refused waits 5 s
        await comes_back(desk.gateway)

    meet(conversation)


def test_a_script_goes_on_after_a_restart() -> None:
    async def conversation(desk: Desk) -> None:
        assert len(await desk.history()) == 7
        desk.strike(Restart(5))
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        await comes_back(desk.gateway)  # with a second answer
        async with client(desk.gateway) as again:
            assert await hangs(again.history())

    meet(conversation, faults=[Fault(When("historicalData", nth=3), Drop())])


def test_a_gateway_that_has_ended_says_so() -> None:
    with running(tape()) as gateway:
        pass

    with pytest.raises(GatewayError, match="has ended"):
        gateway.inject(Fault(When(), Close()))


def test_during_a_restart_connections_are_refused() -> None:
    async def conversation(desk: Desk) -> None:
        from ib_insync import IB

        port = desk.gateway.port
        desk.strike(Restart(FOR_EVER))
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        with pytest.raises(ConnectionRefusedError):
            await IB().connectAsync(desk.gateway.host, port, clientId=1, timeout=2)

    meet(conversation)


def test_the_gateway_moves_to_another_port_and_tells_it() -> None:
    async def conversation(desk: Desk) -> None:
        before = desk.gateway.port
        desk.strike(PortReset())
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        after = desk.gateway.port
        assert after != before
        assert [(code, text.rpartition(" ")[2]) for _, code, text in desk.errors] == [(1300, str(after))]
        await comes_back(desk.gateway)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(desk.gateway.host, before)

    meet(conversation)


def test_where_the_new_port_is_taken_the_clients_are_ended_and_the_old_one_stays() -> None:
    async def conversation(desk: Desk) -> None:
        before = desk.gateway.port
        desk.strike(PortReset(before))
        await asyncio.wait_for(desk.disconnected.wait(), LATE_S)
        assert desk.codes == [1300]
        assert desk.gateway.port == before
        await comes_back(desk.gateway)

    meet(conversation)


@pytest.mark.parametrize(("action", "error"), [(Close(), None), (Reset(), ConnectionResetError)])
def test_a_close_and_a_reset_differ_on_the_wire(action: Action, error: type[OSError] | None) -> None:
    fault = Fault(When("reqCurrentTime"), action)
    with (
        running(tape(), GatewayClock(MORNING), faults=[fault]) as gateway,
        socket.create_connection((gateway.host, gateway.port), timeout=LATE_S) as stranger,
    ):
        stranger.sendall(GREETING + frame(b"v157..176") + encode(71, 2, 1, None) + encode(49, 1))
        with pytest.raises(error) if error else nullcontext():
            while stranger.recv(4096):
                pass


SERVED = "from workbench.cli import main; main()"


def test_a_script_is_taken_from_a_file_on_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(format_faults([Fault(When("historicalData", symbol="AAPL"), Drop())]))
    arguments = ["gateway", "--embedded", "--port", "0", "--start", "2026-11-20T10:00", "--faults", str(script)]

    async def converse(port: int) -> None:
        async with client(SimpleNamespace(host="127.0.0.1", port=port)) as desk:
            assert len(await desk.history("MSFT")) == 7
            assert await hangs(desk.history("AAPL"))
            assert len(await desk.history("AAPL")) == 7

    with subprocess.Popen(
        [sys.executable, "-c", SERVED, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        asyncio.run(converse(int(process.stdout.readline().split()[2])))
        process.stdin.close()
        assert process.wait(LATE_S) == 0


def test_an_outage_is_told_to_every_client_or_to_the_one_it_names() -> None:
    async def conversation(desk: Desk) -> None:
        async with client(desk.gateway, 2) as other:
            desk.strike(ConnectivityRestored(), client=2)
            desk.strike(FarmInactive())
            await desk.until(lambda: bool(desk.errors) and len(other.errors) == 2)
            assert (desk.codes, other.codes) == ([2107], [1102, 2107])

    meet(conversation)
