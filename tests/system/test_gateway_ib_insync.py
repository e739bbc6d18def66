"""The real ib_insync over TCP against the built-in gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest

from workbench.gateway.clock import GatewayClock
from workbench.gateway.replay import ReplayTape
from workbench.gateway.server import GatewayServer
from workbench.gateway.serving import running
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Tape

if TYPE_CHECKING:
    from ib_insync import IB

NEW_YORK = ZoneInfo("America/New_York")
FRIDAY_NOON = datetime(2026, 11, 20, 12, 0, 2, tzinfo=NEW_YORK).timestamp()
WEDNESDAY_2013 = datetime(2013, 10, 9, 11, 2, 3, tzinfo=NEW_YORK).timestamp()


@cache
def simulated() -> SimulatedTape:
    return SimulatedTape(seed=1)


@asynccontextmanager
async def client(gateway: GatewayServer, client_id: int = 1, *, readonly: bool = False) -> AsyncIterator[IB]:
    from ib_insync import IB  # where a loop runs: it looks for one when it is imported

    ib = IB()
    ib.RequestTimeout = 10
    await ib.connectAsync(gateway.host, gateway.port, clientId=client_id, timeout=5, readonly=readonly)
    try:
        yield ib
    finally:
        ib.disconnect()
        await asyncio.sleep(0.01)  # its transport closes in the next turn of the loop


def against(
    conversation: Callable[[GatewayServer], Awaitable[None]],
    *,
    tape: Tape | None = None,
    start: float = FRIDAY_NOON,
    speed: float = 1,
) -> None:
    """Run a conversation against a gateway on another thread."""
    with running(tape or simulated(), GatewayClock(start, speed)) as gateway:
        asyncio.run(conversation(gateway))


@pytest.mark.parametrize("readonly", [False, True])
def test_connecting_is_complete_and_nothing_times_out(readonly: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def conversation(gateway: GatewayServer) -> None:
        async with client(gateway, readonly=readonly) as ib:
            assert ib.managedAccounts() == ["SIMULATED-1-R1"]
            assert ib.client.serverVersion() == 176
            assert ib.positions() == ib.openTrades() == ib.fills() == []

    against(conversation)

    assert "timed out" not in caplog.text


def test_contract_details_qualify_a_stock_an_etf_and_an_index() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Index, Stock

        async with client(gateway) as ib:
            contracts = [Stock("AAPL", "SMART", "USD"), Stock("SPY", "SMART", "USD"), Index("VIX", "CBOE")]
            assert await ib.qualifyContractsAsync(*contracts) == contracts
            assert all(contract.conId for contract in contracts)
            (details,) = await ib.reqContractDetailsAsync(contracts[0])
            assert (details.contract.primaryExchange, details.timeZoneId) == ("NASDAQ", "US/Eastern")
            assert details.liquidHours.split(";")[0] == "20261120:0930-20261120:1600"
            assert details.minTick == 0.01

    against(conversation)


SIZES = {
    "5 secs": ("1 D", 5),
    "1 min": ("5 D", 60),
    "5 mins": ("1 W", 300),
    "15 mins": ("1 M", 900),
    "1 hour": ("1 M", 3600),
    "4 hours": ("1 M", 14_400),
    "1 day": ("1 Y", 86_400),
}


@pytest.mark.parametrize("use_rth", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_every_timeframe_arrives_as_it_is_on_the_tape(size: str, use_rth: bool) -> None:
    duration, step = SIZES[size]

    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        async with client(gateway) as ib:
            bars = await ib.reqHistoricalDataAsync(
                Stock("AAPL", "SMART", "USD"), "20261114-02:00:00", duration, size, "TRADES", use_rth, formatDate=2
            )
        starts = [_epoch(bar.date) for bar in bars]
        expected = simulated().bars("AAPL", step, starts[0], starts[-1] + 1, use_rth=use_rth)
        assert starts == expected.start.tolist()
        for name, column in (("open", expected.open), ("high", expected.high), ("low", expected.low)):
            assert [getattr(bar, name) for bar in bars] == column.tolist()
        assert [bar.close for bar in bars] == expected.close.tolist()
        assert [bar.volume for bar in bars] == expected.volume.tolist()
        assert [bar.average for bar in bars] == expected.average.tolist()
        assert [bar.barCount for bar in bars] == expected.count.tolist()

    against(conversation)


def _epoch(stamp: date | datetime) -> int:
    if isinstance(stamp, datetime):
        return int(stamp.timestamp())
    return int(datetime(stamp.year, stamp.month, stamp.day, tzinfo=UTC).timestamp())


def test_both_date_formats_are_the_same_instants() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        async with client(gateway) as ib:
            texts, epochs = [
                await ib.reqHistoricalDataAsync(
                    Stock("AAPL", "SMART", "USD"),
                    "20261103 21:00:00 UTC",
                    "3 D",
                    "1 hour",
                    "TRADES",
                    True,
                    formatDate=it,
                )
                for it in (1, 2)
            ]
        assert [bar.date for bar in texts] == [bar.date for bar in epochs]
        assert len(texts) == 21
        assert texts[0].date.tzinfo == ZoneInfo("US/Eastern")

    against(conversation)


def test_an_end_given_as_a_datetime_is_understood() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        end = datetime(2026, 11, 18, 11, 0, tzinfo=NEW_YORK)
        async with client(gateway) as ib:
            bars = await ib.reqHistoricalDataAsync(
                Stock("AAPL", "SMART", "USD"), end, "1 D", "1 hour", "TRADES", True, formatDate=2
            )
        assert [bar.date.astimezone(NEW_YORK).hour for bar in bars] == [9, 10]

    against(conversation)


def test_head_timestamp_and_current_time_are_told() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        stock = Stock("AAPL", "SMART", "USD")
        head = datetime.fromtimestamp(simulated().head("AAPL", use_rth=True) or 0, UTC)
        async with client(gateway) as ib:
            assert await ib.reqHeadTimeStampAsync(stock, "TRADES", True, 2) == head
            assert await ib.reqHeadTimeStampAsync(stock, "TRADES", True, 1) == head.replace(tzinfo=None)
            now = await ib.reqCurrentTimeAsync()
        assert 0 <= now.timestamp() - int(FRIDAY_NOON) < 30

    against(conversation)


def test_five_second_bars_stream_until_they_are_cancelled() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        arrived = asyncio.Event()
        async with client(gateway) as ib:
            bars = ib.reqRealTimeBars(Stock("AAPL", "SMART", "USD"), 5, "TRADES", True)
            bars.updateEvent += lambda found, _: arrived.set() if len(found) >= 100 else None
            await asyncio.wait_for(arrived.wait(), 20)
            ib.cancelRealTimeBars(bars)
            await ib.reqCurrentTimeAsync()  # the answer comes after all that was sent before the cancel
            count = len(bars)
            await asyncio.sleep(0.05)
        assert len(bars) == count
        starts = [int(bar.time.timestamp()) for bar in bars]
        assert set(np.diff(starts)) == {5}
        expected = simulated().bars("AAPL", 5, starts[0], starts[-1] + 1, use_rth=True)
        assert [bar.close for bar in bars] == expected.close.tolist()
        assert [bar.volume for bar in bars] == expected.volume.tolist()
        assert [bar.open_ for bar in bars] == expected.open.tolist()

    against(conversation, speed=1000)


def test_errors_reach_the_request_they_belong_to() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        errors: list[tuple[int, str]] = []
        apple = Stock("AAPL", "SMART", "USD")
        async with client(gateway) as ib:
            ib.errorEvent += lambda _, code, text, contract: errors.append((code, text))
            assert await ib.reqContractDetailsAsync(Stock("NOPE", "SMART", "USD")) == []
            assert not await ib.reqHistoricalDataAsync(apple, "19900101-00:00:00", "1 D", "1 day", "TRADES", True)
            assert not await ib.reqHistoricalDataAsync(apple, "", "1 D", "1 mins", "TRADES", True)
            assert not await ib.reqHistoricalDataAsync(apple, "20261120 12:00:00 GMT", "1 D", "1 min", "TRADES", True)
            assert await ib.reqHistoricalDataAsync(apple, "20261119 16:00:00", "1 D", "1 hour", "TRADES", True)
        assert [code for code, _ in errors] == [200, 162, 321, 10314, 2174]
        assert errors[1][1].endswith("HMDS query returned no data: AAPL@SMART Trades")

    against(conversation)


def test_an_order_is_refused() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import MarketOrder, Stock

        refused = asyncio.Event()
        async with client(gateway) as ib:
            ib.errorEvent += lambda _, code, text, __: refused.set() if code == 321 and "Read-Only" in text else None
            ib.placeOrder(Stock("AAPL", "SMART", "USD"), MarketOrder("BUY", 100))
            await asyncio.wait_for(refused.wait(), 5)

    against(conversation)


def test_two_clients_work_at_once_and_a_third_may_not_take_an_id_in_use() -> None:
    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import IB, Stock

        codes: list[int] = []
        stock = Stock("AAPL", "SMART", "USD")
        async with client(gateway, 1) as first, client(gateway, 2) as second:
            both = [it.reqHistoricalDataAsync(stock, "", "2 D", "1 min", "TRADES", True) for it in (first, second)]
            here, there = await asyncio.gather(*both)
            assert list(here) == list(there)

            third = IB()
            third.errorEvent += lambda _, code, *__: codes.append(code)
            with pytest.raises(TimeoutError):
                await third.connectAsync(gateway.host, gateway.port, clientId=2, timeout=0.3)
            assert codes == [326]
            assert await second.reqCurrentTimeAsync()
        async with client(gateway, 2) as again:
            assert again.isConnected()

    against(conversation)


@pytest.mark.parametrize(("symbol", "file", "size"), [("BAC", "1min", "1 min"), ("SPY", "1min", "1 min")])
def test_real_bars_of_a_replayed_week_arrive_row_by_row(
    real_bars: Path, tmp_path: Path, symbol: str, file: str, size: str
) -> None:
    (tmp_path / symbol).mkdir()
    alone = tmp_path / symbol / f"{file}.parquet"  # beside five-second bars it would be made of these
    alone.symlink_to(real_bars / "lean" / symbol / f"{file}.parquet")
    table = pq.read_table(alone).to_pandas()
    source = table[(table.timestamp >= "2013-10-07") & (table.timestamp < "2013-10-12")]

    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        async with client(gateway) as ib:
            bars = await ib.reqHistoricalDataAsync(
                Stock(symbol, "SMART", "USD"), "20131012-00:00:00", "5 D", size, "TRADES", False, formatDate=2
            )
        assert [bar.date for bar in bars] == list(source.timestamp)
        for name in ("open", "high", "low", "close", "volume"):
            assert [getattr(bar, name) for bar in bars] == source[name].tolist()

    against(conversation, tape=ReplayTape(tmp_path), start=1.4e9)


def test_a_replayed_session_streams_its_real_five_second_bars(real_bars: Path) -> None:
    dense = pq.read_table(real_bars / "lean" / "BAC" / "5sec_rth_dense.parquet").to_pandas().set_index("timestamp")

    async def conversation(gateway: GatewayServer) -> None:
        from ib_insync import Stock

        arrived = asyncio.Event()
        async with client(gateway) as ib:
            bars = ib.reqRealTimeBars(Stock("BAC", "SMART", "USD"), 5, "TRADES", True)
            bars.updateEvent += lambda found, _: arrived.set() if len(found) >= 300 else None
            await asyncio.wait_for(arrived.wait(), 20)
        expected = dense.loc[[bar.time for bar in bars]]
        assert (expected.volume == 0).any()
        for name, ours in (
            ("open", "open_"),
            ("high", "high"),
            ("low", "low"),
            ("close", "close"),
            ("volume", "volume"),
        ):
            assert [getattr(bar, ours) for bar in bars] == expected[name].tolist()

    against(conversation, tape=ReplayTape(real_bars / "lean"), start=WEDNESDAY_2013, speed=1000)
