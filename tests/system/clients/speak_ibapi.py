"""Hold conversations with a gateway through IB's own Python client, of any age.

    python speak_ibapi.py ibapi HOST PORT < steps.json > answers.json

Steps and answers are those of `speak_ib_insync.py`.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any

from ibapi.client import EClient
from ibapi.contract import Contract
from ibapi.execution import ExecutionFilter
from ibapi.order import Order
from ibapi.wrapper import EWrapper

ENOUGH_S = 5.0  # real seconds that anything may take
PRICES = {1: "bid", 2: "ask", 4: "last", 6: "high", 7: "low", 9: "close", 14: "open"}
LIVE_OF_DELAYED = {66: 1, 67: 2, 68: 4, 72: 6, 73: 7, 75: 9, 76: 14, 71: 5, 74: 8}


class Timeout(Exception):
    """Nothing came."""


class Speaker(EWrapper, EClient):
    """One connection, a method for each verb, and a queue of what was told."""

    def __init__(self, host: str, port: int, client_id: int) -> None:
        EWrapper.__init__(self)
        EClient.__init__(self, wrapper=self)
        self.told: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.errors: list[list[Any]] = []
        self.req_id = 100
        self.host_, self.port_ = host, port
        self.connect(host, port, client_id)
        threading.Thread(target=self.run, daemon=True).start()

    # What is told

    def error(self, reqId: int, *rest: Any) -> None:  # noqa: N803  three forms in three ages
        code, text = (rest[0], rest[1]) if isinstance(rest[1], str) else (rest[1], rest[2])
        self.errors.append([code, text])
        self.told.put(("error", code))

    def nextValidId(self, orderId: int) -> None:  # noqa: N802, N803
        self.told.put(("nextValidId", orderId))

    def managedAccounts(self, accountsList: str) -> None:  # noqa: N802, N803
        self.told.put(("managedAccounts", accountsList.split(",")))

    # The verbs

    def handshake(self) -> Any:
        told = self._until("nextValidId")
        accounts = next(value for name, value in told if name == "managedAccounts")
        return {"version": self.serverVersion(), "accounts": accounts, "next_id": told[-1][1] >= 1}

    def details(self, contract: dict[str, Any]) -> Any:
        self.reqContractDetails(self._id(), _contract(contract))
        return [_details(it[1]) for it in self._values("contractDetails", "contractDetailsEnd")]

    def matching(self, pattern: str) -> Any:
        self.reqMatchingSymbols(self._id(), pattern)
        *_, found = self._values("symbolSamples", "symbolSamples")
        return [_sample(it) for it in found[1]]

    def history(self, contract: dict[str, Any], **asked: Any) -> Any:
        self._ask_bars(contract, **asked)
        return [_bar(it[1]) for it in self._values("historicalData", "historicalDataEnd")]

    def _ask_bars(self, contract: dict[str, Any], *, keep: bool = False, **asked: Any) -> None:
        self.reqHistoricalData(
            self._id(), _contract(contract), asked["end"], asked["duration"], asked["size"], asked["what"],
            int(asked["rth"]), asked["format"], keep, [],
        )  # fmt: skip

    def kept_up(self, contract: dict[str, Any], count: int, **asked: Any) -> Any:
        self._ask_bars(contract, keep=True, **asked)
        initial = [_bar(it[1]) for it in self._values("historicalData", "historicalDataEnd")]
        updates = [_bar(self._next("historicalDataUpdate")[1]) for _ in range(count)]
        self.cancelHistoricalData(self.req_id)
        self._until_error(162)
        return {"initial": initial, "updates": updates}

    def schedule(self, contract: dict[str, Any], days: int, end: str) -> Any:
        self.reqHistoricalData(self._id(), _contract(contract), end, f"{days} D", "1 day", "SCHEDULE", 1, 1, False, [])
        *_, found = self._values("historicalSchedule", "historicalSchedule")
        _, _, _, zone, sessions = found
        return {"zone": zone, "sessions": [[it.startDateTime, it.endDateTime, it.refDate] for it in sessions]}

    def head(self, contract: dict[str, Any]) -> Any:
        self.reqHeadTimeStamp(self._id(), _contract(contract), "TRADES", 1, 2)
        *_, found = self._values("headTimestamp", "headTimestamp")
        self.cancelHeadTimeStamp(self.req_id)
        return found[1]

    def live_bars(self, contract: dict[str, Any], count: int) -> Any:
        self.reqRealTimeBars(self._id(), _contract(contract), 5, "TRADES", True, [])
        found = [self._next("realtimeBar")[1:] for _ in range(count)]
        self.cancelRealTimeBars(self.req_id)
        return [[str(it[0]), *[float(value) for value in it[1:]]] for it in found]

    def ticks(self, contract: dict[str, Any], count: int, kind: int = 1) -> Any:
        self.reqMarketDataType(kind)
        self.reqMktData(self._id(), _contract(contract), "", False, False, [])
        quote = _Quote()
        while len(quote.trades) <= count:
            quote.take(*self._any())
        self.cancelMktData(self.req_id)
        return {"trades": quote.trades, **quote.values}

    def snapshot(self, contract: dict[str, Any]) -> Any:
        self.reqMktData(self._id(), _contract(contract), "", True, False, [])
        quote = _Quote()
        while (told := self._any())[0] != "tickSnapshotEnd":
            quote.take(*told)
        return quote.values

    def current_time(self) -> Any:
        self.reqCurrentTime()
        return self._next("currentTime")[0]

    def account(self) -> Any:
        counts = {}
        self.reqPositions()
        counts["positions"] = len(self._values("position", "positionEnd"))
        self.reqAllOpenOrders()
        counts["orders"] = len(self._values("openOrder", "openOrderEnd"))
        self.reqCompletedOrders(False)
        counts["orders"] += len(self._values("completedOrder", "completedOrdersEnd"))
        self.reqExecutions(self._id(), ExecutionFilter())
        counts["fills"] = len(self._values("execDetails", "execDetailsEnd"))
        self.reqAccountSummary(self._id(), "All", "NetLiquidation")
        counts["values"] = len(self._values("accountSummary", "accountSummaryEnd"))
        return counts

    def order(self, contract: dict[str, Any]) -> Any:
        order = Order()
        order.action, order.orderType, order.totalQuantity = "BUY", "MKT", 1
        order.eTradeOnly = order.firmQuoteOnly = False  # an old client sends what a new server refuses
        self.placeOrder(self._id(), _contract(contract), order)
        self._until_error(321)

    def same_id(self) -> Any:
        other = Speaker(self.host_, self.port_, 11)
        try:
            other._until_error(326)
        except Timeout:
            return "connected"
        finally:
            other.disconnect()
        return [code for code, _ in other.errors if code == 326]

    # The queue

    def _id(self) -> int:
        self.req_id += 1
        return self.req_id

    def _any(self) -> tuple[str, Any]:
        try:
            return self.told.get(timeout=ENOUGH_S)
        except queue.Empty:
            raise Timeout(f"errors so far: {self.errors}") from None

    def _until(self, *names: str) -> list[tuple[str, Any]]:
        told = [self._any()]
        while told[-1][0] not in names:
            told.append(self._any())
        return told

    def _values(self, name: str, end: str) -> list[Any]:
        """Return what was told under a name until the end, or until an error that ends it."""
        return [value for told, value in self._until(end, "error") if told == name]

    def _next(self, name: str) -> Any:
        return self._until(name)[-1][1]

    def _until_error(self, code: int) -> None:
        while self._any() != ("error", code):
            pass


class _Quote:
    """The values of a contract, made of its ticks."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.trades: list[list[float]] = []
        self._price = 0.0

    def take(self, name: str, told: Any) -> None:
        if name == "tickPrice":
            kind = LIVE_OF_DELAYED.get(told[1], told[1])
            self.values[PRICES[kind]] = told[2]
        elif name == "tickSize":
            kind = LIVE_OF_DELAYED.get(told[1], told[1])
            if kind == 8:
                self.values["volume"] = float(told[2])
            elif kind == 5:
                self.trades.append([self.values["last"], float(told[2])])
        elif name == "marketDataType":
            self.values["kind"] = told[1]
        elif name == "tickReqParams":
            self.values["min_tick"] = told[1]


def _noted(name: str) -> Any:
    return lambda self, *values: self.told.put((name, values))


for _name in (
    "contractDetails", "contractDetailsEnd", "symbolSamples", "historicalData", "historicalDataEnd",
    "historicalDataUpdate", "historicalSchedule", "headTimestamp", "realtimeBar", "tickPrice", "tickSize",
    "tickReqParams", "marketDataType", "tickSnapshotEnd", "currentTime", "position", "positionEnd", "openOrder",
    "openOrderEnd", "completedOrder", "completedOrdersEnd", "execDetails", "execDetailsEnd", "accountSummary",
    "accountSummaryEnd",
):  # fmt: skip
    setattr(Speaker, _name, _noted(_name))


def _contract(known: dict[str, Any]) -> Contract:
    contract = Contract()
    for name, value in known.items():
        setattr(contract, name, value)
    return contract


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


def _bar(it: Any) -> list[Any]:
    average = it.wap if hasattr(it, "wap") else it.average
    return [it.date, it.open, it.high, it.low, it.close, float(it.volume), float(average), it.barCount]


def main(_: str, host: str, port: str) -> None:
    speaker = Speaker(host, int(port), 11)
    answers = {}
    for step in json.load(sys.stdin):
        name, verb = step.pop("name"), step.pop("ask")
        if name != "handshake":
            speaker.errors.clear()
            while not speaker.told.empty():
                speaker.told.get()
        try:
            answer = getattr(speaker, verb)(**step)
        except Exception as error:  # noqa: BLE001  whatever happens is the answer
            answer = f"raised {error!r}"
        answers[name] = {"answer": answer, "errors": list(speaker.errors)}
    json.dump(answers, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # the readers of ibapi are threads that keep a process alive


if __name__ == "__main__":
    main(*sys.argv[1:])
