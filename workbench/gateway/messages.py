"""The names of messages, and where in each its request's id and its symbol are.

Names are those of IB's API. A request and an answer may share an id on the wire; what a client sends and what it is
sent are told apart by their direction. `Position` counts fields, the message's id being field 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workbench.gateway.answers import MARKET_RULES

SENT, RECEIVED = "sent", "received"
"""Names that stand for any message the gateway sends, or receives."""

HANDSHAKE = "handshake"
"""The gateway's answer to the greeting, the only message without an id."""


class Position(NamedTuple):
    """Where a message has its request's id and its contract's symbol; None when it has no such field."""

    req_id: int | None = None
    symbol: int | None = None


REQUESTS: dict[int, tuple[str, Position]] = {
    1: ("reqMktData", Position(2, 4)),
    2: ("cancelMktData", Position(2)),
    3: ("placeOrder", Position(1, 3)),
    4: ("cancelOrder", Position(2)),
    5: ("reqOpenOrders", Position()),
    6: ("reqAccountUpdates", Position()),
    7: ("reqExecutions", Position(2)),
    8: ("reqIds", Position()),
    9: ("reqContractDetails", Position(2, 4)),
    15: ("reqAutoOpenOrders", Position()),
    16: ("reqAllOpenOrders", Position()),
    17: ("reqManagedAccts", Position()),
    20: ("reqHistoricalData", Position(1, 3)),
    25: ("cancelHistoricalData", Position(2)),
    49: ("reqCurrentTime", Position()),
    50: ("reqRealTimeBars", Position(2, 4)),
    51: ("cancelRealTimeBars", Position(2)),
    59: ("reqMarketDataType", Position()),
    61: ("reqPositions", Position()),
    62: ("reqAccountSummary", Position(2)),
    71: ("startApi", Position()),
    76: ("reqAccountUpdatesMulti", Position(2)),
    81: ("reqMatchingSymbols", Position(1)),
    87: ("reqHeadTimeStamp", Position(1, 3)),
    90: ("cancelHeadTimeStamp", Position(1)),
    99: ("reqCompletedOrders", Position()),
}
ANSWERS: dict[int, tuple[str, Position]] = {
    1: ("tickPrice", Position(2)),
    2: ("tickSize", Position(2)),
    4: ("error", Position(2)),
    8: ("updateAccountTime", Position()),
    9: ("nextValidId", Position()),
    10: ("contractDetails", Position(1)),
    15: ("managedAccounts", Position()),
    17: ("historicalData", Position(1)),
    45: ("tickGeneric", Position(2)),
    46: ("tickString", Position(2)),
    49: ("currentTime", Position()),
    50: ("realtimeBar", Position(2)),
    52: ("contractDetailsEnd", Position(2)),
    53: ("openOrderEnd", Position()),
    54: ("accountDownloadEnd", Position()),
    55: ("execDetailsEnd", Position(2)),
    57: ("tickSnapshotEnd", Position(2)),
    58: ("marketDataType", Position(2)),
    62: ("positionEnd", Position()),
    64: ("accountSummaryEnd", Position(2)),
    74: ("accountUpdateMultiEnd", Position(2)),
    79: ("symbolSamples", Position(1)),
    81: ("tickReqParams", Position(1)),
    88: ("headTimestamp", Position(1)),
    90: ("historicalDataUpdate", Position(1)),
    102: ("completedOrdersEnd", Position()),
    106: ("historicalSchedule", Position(1)),
}

REQUEST_NAMES = frozenset(name for name, _ in REQUESTS.values()) | {RECEIVED}
ANSWER_NAMES = frozenset(name for name, _ in ANSWERS.values()) | {SENT, HANDSHAKE}

STREAMS: dict[str, str] = {
    "reqRealTimeBars": "realtimeBar",
    "reqHistoricalData": "historicalDataUpdate",
    "reqMktData": "tickPrice",
}
"""What keeps coming after a request, by its name: the message that stands for the stream."""

CANCELS: dict[str, str] = {
    "reqRealTimeBars": "cancelRealTimeBars",
    "reqHistoricalData": "cancelHistoricalData",
    "reqMktData": "cancelMktData",
}
LIVE: dict[str, str] = {
    "realtimeBar": "realtimeBar",
    "historicalDataUpdate": "historicalDataUpdate",
    "tickPrice": "tickPrice",
    "tickSize": "tickPrice",
    "tickGeneric": "tickPrice",
    "tickString": "tickPrice",
}
"""Messages of streams, and the stream each belongs to."""

ANSWERED: dict[str, str] = {
    "contractDetails": "reqContractDetails",
    "contractDetailsEnd": "reqContractDetails",
    "symbolSamples": "reqMatchingSymbols",
    "headTimestamp": "reqHeadTimeStamp",
    "historicalData": "reqHistoricalData",
    "historicalSchedule": "reqHistoricalData",
}
"""Messages that IB's servers have a hand in, and the request each answers."""

KEEP_UP_TO_DATE = 21
"""The field of reqHistoricalData that asks for updates."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the faults see it. `symbol` is its contract's, found by its request where it has none itself."""

    name: str
    texts: Sequence[str]
    is_request: bool
    req_id: int | None = None
    symbol: str = ""


def request(texts: Sequence[str], symbol_of: Callable[[str], str]) -> Message:
    """Name what a client sends; `symbol_of` tells the symbol of a contract that is given by its id alone.

    >>> request(["51", "1", "7"], str)
    Message(name='cancelRealTimeBars', texts=['51', '1', '7'], is_request=True, req_id=7, symbol='')
    """
    name, position = REQUESTS.get(integer(texts, 0) or 0, ("", Position()))
    symbol = _text(texts, position.symbol)
    if position.symbol and not symbol and (con_id := _text(texts, position.symbol - 1)) not in ("", "0"):
        symbol = symbol_of(con_id)
    return Message(name, texts, is_request=True, req_id=integer(texts, position.req_id), symbol=symbol)


def answer(texts: Sequence[str], version: int, symbols: Mapping[int, str]) -> Message:
    """Name what a client is sent, by the layout of its version; `symbols` are those of its requests."""
    name, position = ANSWERS.get(integer(texts, 0) or 0, ("", Position()))
    shifted = name == "contractDetails" and version < MARKET_RULES
    req_id = integer(texts, 2 if shifted else position.req_id)
    return Message(
        name, texts, is_request=False, req_id=req_id, symbol=symbols.get(-1 if req_id is None else req_id, "")
    )


def streams(message: Message) -> bool:
    """Return whether something keeps coming after this request."""
    if message.name == "reqHistoricalData":
        return _text(message.texts, KEEP_UP_TO_DATE) == "1"
    return message.name in STREAMS


def integer(texts: Sequence[str], place: int | None) -> int | None:
    """Return the number in a field, or None where there is none."""
    text = _text(texts, place)
    return int(text) if text.removeprefix("-").isdecimal() and len(text) < 19 else None


def _text(texts: Sequence[str], place: int | None) -> str:
    return texts[place] if place is not None and place < len(texts) else ""
