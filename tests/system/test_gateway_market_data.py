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


def test_history_ends_a_quarter_of_an_hour_ago_and_is_not_kept_up_to_date(gateway: GatewayProcess) -> None:
    async def conversation() -> None:
        from ib_insync import IB, Stock

        ib, told, apple = IB(), asyncio.Queue[int](), Stock("AAPL", "SMART", "USD")
        await ib.connectAsync(gateway.host, gateway.port, clientId=2, timeout=5)
        ib.errorEvent += lambda _, code, *__: told.put_nowait(code)

        before = (await ib.reqCurrentTimeAsync()).timestamp()
        bars = await ib.reqHistoricalDataAsync(apple, "", "1 D", "5 secs", "TRADES", True, 2, timeout=5)
        assert await asyncio.wait_for(told.get(), 5) == 2188
        behind = bars[-1].date.timestamp() - before  # type: ignore[union-attr]
        assert -910 <= behind <= -900 + 60 * 50  # a minute at most passed here, 50 times as much in the gateway

        kept = await ib.reqHistoricalDataAsync(
            apple, "", "1 D", "1 min", "TRADES", True, 2, keepUpToDate=True, timeout=5
        )
        assert [await asyncio.wait_for(told.get(), 5) for _ in range(2)] == [2188, 162]
        assert not kept
        ib.disconnect()
        await asyncio.sleep(0.01)  # its transport closes in the next turn of the loop

    asyncio.run(conversation())
