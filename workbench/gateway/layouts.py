"""From the fields of a message to the request in it: a table of layouts, and how they are read.

Reading is tolerant: a missing or an empty field is its type's default, because clients of different age send different
tails. A field that should be a number and is not raises `MalformedField`; TWS hangs up on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, TypeVar, get_type_hints

from workbench.gateway.requests import (
    AccountSummaryRequest,
    AccountUpdatesMultiRequest,
    AccountUpdatesRequest,
    CancelHeadTimestamp,
    CancelHistorical,
    CancelMarketData,
    CancelRealTimeBars,
    CompletedOrdersRequest,
    ContractDetailsRequest,
    ContractQuery,
    CurrentTimeRequest,
    DeltaNeutral,
    ExecutionsRequest,
    HeadTimestampRequest,
    HistoricalRequest,
    IdsRequest,
    ManagedAccountsRequest,
    MarketDataRequest,
    MarketDataTypeRequest,
    MatchingSymbolsRequest,
    NoAnswer,
    OpenOrdersRequest,
    OrderRequest,
    PositionsRequest,
    RealTimeBarsRequest,
    Request,
    StartApi,
)

T = TypeVar("T")
Reader = Callable[[Iterator[str]], Any]


class MalformedField(Exception):
    """A field that cannot be read; the message is the field's text."""


VERSIONED: dict[int, type[Request]] = {
    1: MarketDataRequest,
    2: CancelMarketData,
    4: OrderRequest,  # cancelOrder
    5: OpenOrdersRequest,
    6: AccountUpdatesRequest,
    7: ExecutionsRequest,
    8: IdsRequest,
    9: ContractDetailsRequest,
    14: NoAnswer,  # setServerLogLevel
    15: NoAnswer,  # reqAutoOpenOrders
    16: OpenOrdersRequest,  # reqAllOpenOrders
    17: ManagedAccountsRequest,
    21: OrderRequest,  # exerciseOptions
    25: CancelHistorical,
    49: CurrentTimeRequest,
    50: RealTimeBarsRequest,
    51: CancelRealTimeBars,
    58: OrderRequest,  # reqGlobalCancel
    59: MarketDataTypeRequest,
    61: PositionsRequest,
    62: AccountSummaryRequest,
    63: NoAnswer,  # cancelAccountSummary
    64: NoAnswer,  # cancelPositions
    71: StartApi,
    76: AccountUpdatesMultiRequest,
    77: NoAnswer,  # cancelAccountUpdatesMulti
}
"""Requests by message id whose second field is the message's own version; it says nothing today."""

UNVERSIONED: dict[int, type[Request]] = {
    3: OrderRequest,
    20: HistoricalRequest,
    81: MatchingSymbolsRequest,
    87: HeadTimestampRequest,
    90: CancelHeadTimestamp,
    99: CompletedOrdersRequest,
    105: NoAnswer,  # reqCurrentTimeInMillis came with version 197
}
"""Requests by message id that go without a version of their own."""


def parse(texts: Sequence[str]) -> Request | None:
    """Return the request in a message's fields, or None when its id is unknown.

    Raises MalformedField.

    >>> parse(["25", "1", "7"])
    CancelHistorical(req_id=7)
    """
    message_id, rest = _integer(texts[0] if texts else ""), iter(texts[1:])
    if message_id in VERSIONED:
        next(rest, None)
    layout = VERSIONED.get(message_id) or UNVERSIONED.get(message_id)
    return _read(layout, rest) if layout else None


def _read(layout: type[T], texts: Iterator[str]) -> T:
    return layout(*[reader(texts) for reader in _all_readers()[layout]])


def _integer(text: str) -> int:
    try:
        return int(text or 0)
    except ValueError:
        raise MalformedField(text) from None


def _number(text: str) -> float:
    try:
        value = float(text or 0.0)
    except ValueError:
        raise MalformedField(text) from None
    return value if math.isfinite(value) else 0.0


def _flag(text: str) -> bool:
    return text not in ("", "0", "false", "False")


_CONVERTERS: dict[type, Callable[[str], Any]] = {int: _integer, float: _number, bool: _flag, str: str}


@cache
def _all_readers() -> dict[type[object], tuple[Reader, ...]]:
    """Return a reader for each wire field of each request."""
    layouts: set[type[object]] = {ContractQuery, DeltaNeutral, *VERSIONED.values(), *UNVERSIONED.values()}
    return {layout: _readers(layout) for layout in layouts}


def _readers(layout: type[Any]) -> tuple[Reader, ...]:
    hints = get_type_hints(layout)
    return tuple(_reader(hints[field.name]) for field in fields(layout))


def _reader(kind: type) -> Reader:
    if kind is ContractQuery:
        return lambda texts: _read(ContractQuery, texts)
    if kind is DeltaNeutral:
        return lambda texts: _read(DeltaNeutral, texts) if _flag(next(texts, "")) else DeltaNeutral()
    convert = _CONVERTERS[kind]
    return lambda texts: convert(next(texts, ""))
