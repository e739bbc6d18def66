"""What is streamed, what is kept up to date and what history tells later are the same, to the real ib_insync."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from tests.system.test_gateway_ib_insync import against, client
from workbench.gateway.replay import ReplayTape
from workbench.gateway.revise import RevisedTape
from workbench.gateway.server import GatewayServer
from workbench.gateway.simulated import SimulatedTape
from workbench.gateway.tape import Tape

if TYPE_CHECKING:
    from ib_insync import BarData, Contract, RealTimeBar

NEW_YORK = ZoneInfo("America/New_York")
Row = tuple[float, ...]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


@cache
def simulated() -> SimulatedTape:
    return SimulatedTape(seed=1)


@cache
def replayed(folder: Path) -> ReplayTape:
    return ReplayTape(folder / "lean")


def contract(symbol: str) -> Contract:
    from ib_insync import Index, Stock

    return Index(symbol, "CBOE") if symbol == "VIX" else Stock(symbol, "SMART", "USD")


def streamed_rows(bars: Sequence[RealTimeBar]) -> list[Row]:
    return [
        (it.time.timestamp(), it.open_, it.high, it.low, it.close, it.volume, it.wap, it.count) for it in bars
    ]  # fmt: skip


def history_rows(bars: Sequence[BarData]) -> list[Row]:
    return [
        (it.date.timestamp(), it.open, it.high, it.low, it.close, it.volume, it.average, it.barCount)  # type: ignore[union-attr]
        for it in bars
    ]


def streamed_and_told(
    symbol: str, *, tape: Tape, start: str, count: int, use_rth: bool = True
) -> tuple[list[Row], list[Row]]:
    """Stream some five-second bars at high speed, then ask for the history of the same interval, twice."""
    live: list[Row] = []
    told: list[Row] = []

    async def conversation(gateway: GatewayServer) -> None:
        enough = asyncio.Event()
        async with client(gateway) as ib:
            bars = ib.reqRealTimeBars(contract(symbol), 5, "TRADES", use_rth)
            bars.updateEvent += lambda found, _: enough.set() if len(found) >= count else None
            await asyncio.wait_for(enough.wait(), 20)
            ib.cancelRealTimeBars(bars)
            await ib.reqCurrentTimeAsync()  # the answer comes after all that was sent before the cancel
            live.extend(streamed_rows(bars))
            first, again = [
                await ib.reqHistoricalDataAsync(
                    contract(symbol), "", "1 D", "5 secs", "TRADES", use_rth, formatDate=2, timeout=20
                )
                for _ in range(2)
            ]
            told.extend(row for row in history_rows(first) if live[0][0] <= row[0] <= live[-1][0])
            assert [row for row in history_rows(again) if live[0][0] <= row[0] <= live[-1][0]] == told

    against(conversation, tape=tape, start=at(start), speed=400)
    return live, told


@pytest.mark.parametrize(
    ("symbol", "start"),
    [
        ("SPY", "2026-11-20 11:00:02"),
        ("SEB", "2026-11-20 11:00:02"),  # hardly traded
        ("VIX", "2026-11-20 11:00:02"),
        ("SPY", "2026-11-27 12:52:02"),  # a half day, up to its close
        ("SEB", "2026-11-02 09:27:02"),  # the first session of winter time, from before its open
        ("VIX", "2026-03-09 09:27:02"),  # the first session of summer time
    ],
)
def test_streamed_bars_and_later_history_agree_exactly(symbol: str, start: str) -> None:
    live, told = streamed_and_told(symbol, tape=simulated(), start=start, count=90)

    assert live == told
    assert [row[0] for row in live] == [live[0][0] + 5 * i for i in range(len(live))]


@pytest.mark.parametrize("symbol", ["BAC", "SPY"])
def test_a_replay_streams_what_its_history_tells(real_bars: Path, symbol: str) -> None:
    live, told = streamed_and_told(symbol, tape=replayed(real_bars), start="2013-10-09 11:00:02", count=90)

    assert live == told
    assert [row[0] for row in live] == [live[0][0] + 5 * i for i in range(len(live))]
    assert any(row[5] == 0 for row in live) == (symbol == "BAC")


@pytest.mark.parametrize("market", ["simulated", "replayed"])
def test_before_the_open_a_stream_has_what_history_has(market: str, request: pytest.FixtureRequest) -> None:
    tape, start = simulated(), "2026-11-20 08:00:02"
    if market == "replayed":
        tape, start = replayed(request.getfixturevalue("real_bars")), "2013-10-09 09:10:02"

    live, told = streamed_and_told("SPY", tape=tape, start=start, count=40, use_rth=False)

    assert live == told


def test_revised_history_differs_from_the_stream_by_less_than_its_rate() -> None:
    tape = RevisedTape(simulated(), 0.02)

    live, told = streamed_and_told("SPY", tape=tape, start="2026-11-20 11:00:02", count=90)

    assert [row[0] for row in live] == [row[0] for row in told]
    assert live != told
    for sent, later in zip(live, told, strict=True):
        assert later[5] == pytest.approx(sent[5], rel=0.02)
        assert later[1:5] == pytest.approx(sent[1:5], abs=0.0101)
        assert later[6:] == sent[6:]


@pytest.mark.parametrize("size", ["5 secs", "30 secs", "1 min"])
@pytest.mark.parametrize("symbol", ["SPY", "SEB", "VIX", "BAC"])
def test_bars_kept_up_to_date_and_later_history_agree_exactly(
    symbol: str, size: str, request: pytest.FixtureRequest
) -> None:
    tape, start = simulated(), "2026-11-20 11:00:02"
    if symbol == "BAC":
        tape, start = replayed(request.getfixturevalue("real_bars")), "2013-10-09 11:00:02"

    async def conversation(gateway: GatewayServer) -> None:
        enough = asyncio.Event()
        async with client(gateway) as ib:
            bars = await ib.reqHistoricalDataAsync(
                contract(symbol), "", "1800 S", size, "TRADES", True, formatDate=2, keepUpToDate=True
            )
            begun = len(bars)
            bars.updateEvent += lambda found, _: enough.set() if len(found) >= begun + 4 else None
            await asyncio.wait_for(enough.wait(), 20)
            ib.cancelHistoricalData(bars)
            await ib.reqCurrentTimeAsync()
            kept = history_rows(bars)[:-1]  # the last one was unfinished
            asked = await ib.reqHistoricalDataAsync(
                contract(symbol), "", "7200 S", size, "TRADES", True, formatDate=2, timeout=20
            )
        told = {row[0]: row for row in history_rows(asked)}
        assert kept == [told[row[0]] for row in kept]
        assert len(kept) >= begun + 3

    against(conversation, tape=tape, start=at(start), speed=200)
