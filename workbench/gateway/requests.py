"""What clients ask: the requests as values.

A request's dataclass lists its wire fields in their order, so the class is the layout by which `layouts.py` reads it.
"""

from __future__ import annotations

from dataclasses import dataclass


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
