"""Market data without a subscription, as the real ib_insync sees them from `workbench gateway --delayed`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from workbench.gateway.process import GatewayProcess


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    process = GatewayProcess(["--start", "2026-11-20T12:00", "--speed", "50", "--delayed"])
    try:
        yield process
    finally:
        process.close()


def test_live_bars_and_live_ticks_are_refused_and_delayed_ticks_come(gateway: GatewayProcess) -> None:
    async def conversation() -> None:
        from ib_insync import IB, Stock  # where a loop runs: it looks for one when it is imported

        ib, told, apple = IB(), asyncio.Queue[int](), Stock("AAPL", "SMART", "USD")
        await ib.connectAsync(gateway.host, gateway.port, clientId=1, timeout=5)
        ib.errorEvent += lambda _, code, *__: told.put_nowait(code)

        ib.reqRealTimeBars(apple, 5, "TRADES", True)
        assert await asyncio.wait_for(told.get(), 5) == 10089
        ib.reqMktData(apple)
        assert await asyncio.wait_for(told.get(), 5) == 10089

        ib.cancelMktData(apple)
        assert await asyncio.wait_for(told.get(), 5) == 300  # there is nothing to cancel
        ib.reqMarketDataType(3)
        ticker = ib.reqMktData(apple)
        assert await asyncio.wait_for(told.get(), 5) == 10167
        traded = asyncio.Event()
        ticker.updateEvent += lambda it: traded.set() if it.lastSize > 0 else None
        await asyncio.wait_for(traded.wait(), 5)
        assert (ticker.marketDataType, ticker.minTick) == (3, 0.01)
        assert ticker.bid < ticker.ask
        assert ticker.low <= ticker.last <= ticker.high
        ib.disconnect()
        await asyncio.sleep(0.01)  # its transport closes in the next turn of the loop

    asyncio.run(conversation())
