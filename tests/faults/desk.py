"""A real ib_insync at a gateway that misbehaves: what the tests of all faults share.

What ib_insync does under each is what it was seen to do; it is the reason why our own client does not rely on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from workbench.gateway.clock import GatewayClock
from workbench.gateway.faults import (
    Action,
    Fault,
    When,
)
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape

if TYPE_CHECKING:
    from ib_insync import IB

NEW_YORK = ZoneInfo("America/New_York")
MORNING = datetime(2026, 11, 20, 9, 45, 2, tzinfo=NEW_YORK).timestamp()
FRIDAY_NIGHT = datetime(2026, 11, 20, 22, 59, 0, tzinfo=NEW_YORK).timestamp()
NIGHT = datetime(2026, 11, 20, 0, 14, 55, tzinfo=NEW_YORK).timestamp()
SPEED = 200  # a live bar each 25 ms
SOON_S = 0.25  # how long something must not happen
LATE_S = 20  # how long something may take that must happen
FOR_EVER = float("inf")

LINK = "Connectivity between IBKR and Trader Workstation has been "
HMDS = "Historical Market Data Service error message:"
WORDS = {
    200: "No security definition has been found for the request",
    326: "Unable to connect as the client id is already in use. Retry with a unique client id.",
    1100: f"{LINK}lost.",
    1101: f"{LINK}restored - data lost.",
    1102: f"{LINK}restored - data maintained. All data farms are connected: usfarm; ushmds; secdefnj.",
    1300: "TWS socket port has been reset and this connection is being dropped. Please reconnect on the new port - ",
    2103: "Market data farm connection is broken:usfarm",
    2104: "Market data farm connection is OK:usfarm",
    2105: "HMDS data farm connection is broken:ushmds",
    2106: "HMDS data farm connection is OK:ushmds",
    2107: "HMDS data farm connection is inactive but should be available upon demand.ushmds",
    2108: "Market data farm connection is inactive but should be available upon demand.usfarm",
    2110: "Connectivity between Trader Workstation and server is broken. It will be restored automatically.",
    2157: "Sec-def data farm connection is broken:secdefnj",
    2158: "Sec-def data farm connection is OK:secdefnj",
    10182: "Failed to request live updates (disconnected).",
    10197: "No market data during competing live session",
    10225: "Bust event occurred, current subscription is deactivated. Please resubscribe real-time bars immediately.",
}
"""What is told by each code, as real gateways were seen to tell it; of 1101, 1300, 2105, 2157 and 10182 by analogy."""
FIRST_ANSWER = When("historicalData")
FIRST_REQUEST = When("reqHistoricalData", symbol="AAPL")


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


async def same_bars(desk: Desk) -> None:
    """Ask twice; the first answer, under a fault, is the second."""
    under, after = await desk.history(), await desk.history()
    assert len(under) == 7
    assert list(under) == list(after)


async def one_hangs(desk: Desk) -> None:
    """Ask twice; the first request hangs, the second is answered."""
    assert await hangs(desk.history())
    assert desk.ib.isConnected()
    assert len(await desk.history()) == 7
