"""Hold conversations with a gateway through ib_insync or ib_async, whichever is named.

    python speak_ib_insync.py LIBRARY HOST PORT < steps.json > answers.json

A step is `{"name": …, "ask": VERB, …arguments}`; its answer is `{"answer": …, "errors": [[code, text], …]}`.
`test_clients.py` has the table of steps, and knows what the answers must be.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from datetime import datetime
from typing import Any

ENOUGH_S = 5.0  # real seconds that anything may take


class Speaker:
    """One connection, and a method for each verb."""

    def __init__(self, library: Any, host: str, port: int) -> None:
        self.library, self.host, self.port = library, host, port
        self.ib = library.IB()
        self.ib.RequestTimeout = ENOUGH_S
        self.errors: list[list[Any]] = []
        self._news = asyncio.Event()
        self.ib.errorEvent += self._note

    async def connect(self) -> None:
        await self.ib.connectAsync(self.host, self.port, clientId=11, timeout=ENOUGH_S)

    def contract(self, known: dict[str, Any]) -> Any:
        return self.library.Contract(**known)

    async def handshake(self) -> Any:
        client = self.ib.client
        return {"version": client.serverVersion(), "accounts": client.getAccounts(), "next_id": client._reqIdSeq >= 1}

    async def details(self, contract: dict[str, Any]) -> Any:
        found = await self.ib.reqContractDetailsAsync(self.contract(contract))
        return [_details(it) for it in found]

    async def matching(self, pattern: str) -> Any:
        found = await self.ib.reqMatchingSymbolsAsync(pattern)
        return [_sample(it) for it in found]

    async def history(self, contract: dict[str, Any], **asked: Any) -> Any:
        return [_bar(it) for it in await self._bars(contract, **asked)]

    async def _bars(self, contract: dict[str, Any], *, keep: bool = False, **asked: Any) -> Any:
        return await self.ib.reqHistoricalDataAsync(
            self.contract(contract), asked["end"], asked["duration"], asked["size"], asked["what"], asked["rth"],
            formatDate=asked["format"], keepUpToDate=keep, timeout=1.0,
        )  # fmt: skip

    async def kept_up(self, contract: dict[str, Any], count: int, **asked: Any) -> Any:
        bars = await self._bars(contract, keep=True, **asked)
        initial, updates, enough = [_bar(it) for it in bars], [], asyncio.Event()

        def updated(*_: Any) -> None:
            updates.append(_bar(bars[-1]))
            if len(updates) >= count:
                enough.set()

        bars.updateEvent += updated
        await asyncio.wait_for(enough.wait(), ENOUGH_S)
        self.ib.cancelHistoricalData(bars)
        await self._told(162)
        return {"initial": initial, "updates": updates}

    async def schedule(self, contract: dict[str, Any], days: int, end: str) -> Any:
        found = await self.ib.reqHistoricalScheduleAsync(self.contract(contract), days, end, True)
        return {
            "zone": found.timeZone,
            "sessions": [[it.startDateTime, it.endDateTime, it.refDate] for it in found.sessions],
        }

    async def head(self, contract: dict[str, Any]) -> Any:
        return _stamp(await self.ib.reqHeadTimeStampAsync(self.contract(contract), "TRADES", True, 2))

    async def live_bars(self, contract: dict[str, Any], count: int) -> Any:
        bars = self.ib.reqRealTimeBars(self.contract(contract), 5, "TRADES", True)
        enough = asyncio.Event()
        bars.updateEvent += lambda found, _: enough.set() if len(found) >= count else None
        await asyncio.wait_for(enough.wait(), ENOUGH_S)
        self.ib.cancelRealTimeBars(bars)
        return [
            [str(int(it.time.timestamp())), it.open_, it.high, it.low, it.close, it.volume, it.wap, it.count]
            for it in bars
        ]

    async def ticks(self, contract: dict[str, Any], count: int, kind: int = 1) -> Any:
        self.ib.reqMarketDataType(kind)
        ticker = self.ib.reqMktData(self.contract(contract), "", False, False)
        trades: list[list[float]] = []
        enough = asyncio.Event()

        def updated(_: Any) -> None:
            trades.extend([it.price, it.size] for it in ticker.ticks if it.tickType in (4, 68))
            if len(trades) > count:
                enough.set()

        ticker.updateEvent += updated
        await asyncio.wait_for(enough.wait(), ENOUGH_S)
        ticker.updateEvent -= updated  # the next request of this contract brings the same object
        self.ib.cancelMktData(ticker.contract)
        return {"trades": trades, **_quote(ticker)}

    async def snapshot(self, contract: dict[str, Any]) -> Any:
        (ticker,) = await self.ib.reqTickersAsync(self.contract(contract))
        return _quote(ticker)

    async def current_time(self) -> Any:
        return (await self.ib.reqCurrentTimeAsync()).timestamp()

    async def account(self) -> Any:
        return {
            "positions": len(await self.ib.reqPositionsAsync()),
            "orders": len(await self.ib.reqAllOpenOrdersAsync()) + len(await self.ib.reqCompletedOrdersAsync(False)),
            "fills": len(await self.ib.reqExecutionsAsync()),
            "values": len(self.ib.accountValues()) + len(await self.ib.accountSummaryAsync()),
        }

    async def order(self, contract: dict[str, Any]) -> Any:
        self.ib.placeOrder(self.contract(contract), self.library.MarketOrder("BUY", 1))
        await self._told(321)
        return None

    async def same_id(self) -> Any:
        other = self.library.IB()
        codes: list[int] = []
        other.errorEvent += lambda req_id, code, text, contract: codes.append(code)
        try:
            await other.connectAsync(self.host, self.port, clientId=11, timeout=0.3)
        except (TimeoutError, ConnectionError):
            return codes
        return "connected"

    def _note(self, req_id: int, code: int, text: str, contract: Any) -> None:
        self.errors.append([code, text])
        self._news.set()

    async def _told(self, code: int) -> None:
        while code not in [told for told, _ in self.errors]:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), ENOUGH_S)


def _details(it: Any) -> dict[str, Any]:
    known = it.contract
    return {
        "con_id": known.conId, "symbol": known.symbol, "exchange": known.exchange, "currency": known.currency,
        "primary_exchange": known.primaryExchange, "long_name": it.longName, "min_tick": it.minTick,
        "zone": it.timeZoneId, "trading_hours": it.tradingHours, "liquid_hours": it.liquidHours,
        "isin": [pair.value for pair in it.secIdList or []],
    }  # fmt: skip


def _sample(it: Any) -> list[Any]:
    return [it.contract.conId, it.contract.symbol, it.contract.primaryExchange, it.contract.currency]


def _quote(ticker: Any) -> dict[str, Any]:
    names = ("bid", "ask", "last", "open", "high", "low", "close", "volume")
    return {
        "kind": ticker.marketDataType,
        "min_tick": ticker.minTick,
        **{name: getattr(ticker, name) for name in names},
    }


def _bar(it: Any) -> list[Any]:
    return [_stamp(it.date), it.open, it.high, it.low, it.close, it.volume, it.average, it.barCount]


def _stamp(moment: Any) -> str:
    return str(int(moment.timestamp())) if isinstance(moment, datetime) else f"{moment:%Y%m%d}"


async def main(library: str, host: str, port: str) -> None:
    speaker = Speaker(importlib.import_module(library), host, int(port))
    answers = {}
    await speaker.connect()
    for step in json.load(sys.stdin):
        name, verb = step.pop("name"), step.pop("ask")
        speaker.errors.clear()
        try:
            answer = await getattr(speaker, verb)(**step)
        except Exception as error:  # noqa: BLE001  whatever the library raises is the answer
            answer = f"raised {error!r}"
        answers[name] = {"answer": answer, "errors": list(speaker.errors)}
    speaker.ib.disconnect()
    await asyncio.sleep(0.01)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
