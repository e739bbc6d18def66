"""What clients ask: the requests as values, and the table that reads them from the wire.

A request's dataclass lists its wire fields in their order, so the class is the layout. Reading is tolerant: a
missing or an empty field is its type's default, because clients of different age send different tails. A field
that should be a number and is not raises `MalformedField`; TWS hangs up on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, TypeVar, get_type_hints

T = TypeVar("T")
Reader = Callable[[Iterator[str]], Any]


class MalformedField(Exception):
    """A field that cannot be read; the message is the field's text."""


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """A contract as a client describes it, completely or not."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    last_trade_date: str = ""
    strike: float = 0.0
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


@dataclass(frozen=True, slots=True)
class StartApi:
    """The client tells its id."""

    client_id: int


@dataclass(frozen=True, slots=True)
class ContractDetailsRequest:
    """All contracts that meet a description; `sec_id` of type ISIN describes a security too."""

    req_id: int
    contract: ContractQuery
    include_expired: bool = False
    sec_id_type: str = ""
    sec_id: str = ""


@dataclass(frozen=True, slots=True)
class MatchingSymbolsRequest:
    """Contracts whose symbol or name begins with a text."""

    req_id: int
    pattern: str


@dataclass(frozen=True, slots=True)
class HistoricalRequest:
    """Bars of a duration before an end."""

    req_id: int
    contract: ContractQuery
    include_expired: bool
    end: str
    bar_size: str
    duration: str
    use_rth: bool
    what_to_show: str
    format_date: int
    keep_up_to_date: bool = False


@dataclass(frozen=True, slots=True)
class HeadTimestampRequest:
    """The earliest instant of a series."""

    req_id: int
    contract: ContractQuery
    include_expired: bool
    use_rth: bool
    what_to_show: str
    format_date: int


@dataclass(frozen=True, slots=True)
class RealTimeBarsRequest:
    """Live five-second bars from now on."""

    req_id: int
    contract: ContractQuery
    bar_size: int
    what_to_show: str
    use_rth: bool


@dataclass(frozen=True, slots=True)
class CancelHistorical:
    """End a historical request."""

    req_id: int


@dataclass(frozen=True, slots=True)
class CancelHeadTimestamp:
    """Free the slot of a head timestamp request."""

    req_id: int


@dataclass(frozen=True, slots=True)
class CancelRealTimeBars:
    """End live five-second bars."""

    req_id: int


@dataclass(frozen=True, slots=True)
class DeltaNeutral:
    """The other leg of a hedged combination: nothing but a `0`, or a `1` and three fields. No data depend on it."""

    con_id: int = 0
    delta: float = 0.0
    price: float = 0.0


@dataclass(frozen=True, slots=True)
class MarketDataRequest:
    """Live ticks, or a snapshot of them."""

    req_id: int
    contract: ContractQuery
    delta_neutral: DeltaNeutral
    generic_ticks: str
    snapshot: bool
    regulatory_snapshot: bool


@dataclass(frozen=True, slots=True)
class CancelMarketData:
    """End live ticks."""

    req_id: int


@dataclass(frozen=True, slots=True)
class MarketDataTypeRequest:
    """Which ticks the next requests want: 1 live, 2 frozen, 3 delayed, 4 delayed and frozen."""

    kind: int


@dataclass(frozen=True, slots=True)
class CurrentTimeRequest:
    """The gateway's time."""


@dataclass(frozen=True, slots=True)
class IdsRequest:
    """The next order id."""


@dataclass(frozen=True, slots=True)
class ManagedAccountsRequest:
    """The names of the accounts."""


@dataclass(frozen=True, slots=True)
class PositionsRequest:
    """All positions."""


@dataclass(frozen=True, slots=True)
class OpenOrdersRequest:
    """Open orders, of this client or of all."""


@dataclass(frozen=True, slots=True)
class CompletedOrdersRequest:
    """Completed orders."""


@dataclass(frozen=True, slots=True)
class AccountUpdatesRequest:
    """Values and portfolio of one account."""

    subscribe: bool
    account: str


@dataclass(frozen=True, slots=True)
class AccountUpdatesMultiRequest:
    """Values of one account or model."""

    req_id: int
    account: str


@dataclass(frozen=True, slots=True)
class AccountSummaryRequest:
    """Chosen values of all accounts."""

    req_id: int


@dataclass(frozen=True, slots=True)
class ExecutionsRequest:
    """Executions of the day."""

    req_id: int


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """Anything that places, changes or cancels an order."""

    order_id: int


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request that is accepted and needs no answer."""


Request = (
    StartApi
    | ContractDetailsRequest
    | HistoricalRequest
    | HeadTimestampRequest
    | RealTimeBarsRequest
    | CancelHistorical
    | CancelHeadTimestamp
    | CancelRealTimeBars
    | MatchingSymbolsRequest
    | MarketDataRequest
    | CancelMarketData
    | MarketDataTypeRequest
    | CurrentTimeRequest
    | IdsRequest
    | ManagedAccountsRequest
    | PositionsRequest
    | OpenOrdersRequest
    | CompletedOrdersRequest
    | AccountUpdatesRequest
    | AccountUpdatesMultiRequest
    | AccountSummaryRequest
    | ExecutionsRequest
    | OrderRequest
    | NoAnswer
)

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
