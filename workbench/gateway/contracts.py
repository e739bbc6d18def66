"""Which contract a client means, and what the gateway tells of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from workbench.gateway.answers import ContractDetails
from workbench.gateway.hours import Hours, hours
from workbench.gateway.refusals import UNKNOWN_CONTRACT, Notice, Refused, invalid
from workbench.gateway.requests import ContractQuery, HeadTimestampRequest, HistoricalRequest, RealTimeBarsRequest
from workbench.gateway.tape import DAY, Instrument

STOCK = "STK"
STOCK_EXCHANGES = (
    "SMART", "AMEX", "NYSE", "CBOE", "PHLX", "ISE", "CHX", "ARCA", "NASDAQ", "DRCTEDGE", "BEX", "BATS", "EDGEA",
    "BYX", "IEX", "EDGX", "FOXRIVER", "PEARL", "NYSENAT", "LTSE", "MEMX", "IBEOS", "OVERNIGHT", "TPLUS0", "PSX",
)  # fmt: skip
ALIASES = {"ISLAND": "NASDAQ"}  # TWS knew Nasdaq by this name until 2023, and old clients still use it
ORDER_TYPES = "ACTIVETIM,ADJUST,ALERT,ALGO,AVGCOST,BASKET,COND,DAY,GTC,LMT,MIT,MKT,MOC,STP,STPLMT,TRAIL,WHATIF"
MARKET_NAMES = {"NASDAQ": "NMS"}
MARKET_RULE = "26"
DETAILS_DAYS = 6
MOST_MATCHES = 16  # symbols that IB tells at most when some are searched for


R = TypeVar("R", HistoricalRequest, HeadTimestampRequest, RealTimeBarsRequest)


class Catalogue:
    """The tape's instruments, found by what a client knows of them."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_id: dict[int, Instrument] = {}
        self._by_symbol: dict[str, list[Instrument]] = {}
        for instrument in instruments:
            self._by_id[instrument.con_id] = instrument
            self._by_symbol.setdefault(instrument.symbol, []).append(instrument)

    def find(self, query: ContractQuery) -> list[Instrument]:
        """Return all instruments that meet a description; a contract id decides alone."""
        found = [it for it in self._candidates(query) if _meets(it, query)]
        return _listed_at(query.primary_exchange, found)

    def by_isin(self, isin: str) -> list[Instrument]:
        """Return the listings of a security, by its ISIN."""
        return [it for it in self._by_id.values() if isin and it.isin == isin]

    def matching(self, pattern: str) -> list[Instrument]:
        """Return the instruments whose symbol begins with a text, then those whose name has it, at most 16."""
        wanted = pattern.strip().upper()
        if not wanted:
            return []
        ranks = {it: rank for it in self._by_id.values() if (rank := _rank(it, wanted)) is not None}
        return sorted(ranks, key=lambda it: (ranks[it], it.symbol))[:MOST_MATCHES]

    def _candidates(self, query: ContractQuery) -> Sequence[Instrument]:
        if query.con_id:
            return [self._by_id[query.con_id]] if query.con_id in self._by_id else []
        return self._by_symbol.get(query.symbol or query.local_symbol, ())

    def one(self, query: ContractQuery) -> Instrument:
        """Return the instrument that data are asked of, or refuse as IB does."""
        found = self.find(query)
        if not query.exchange:
            raise Refused(invalid("Please enter exchange"))
        if not found:
            raise Refused(UNKNOWN_CONTRACT)
        if len(found) > 1:
            raise Refused(Notice(200, f"The contract description specified for {query.symbol} is ambiguous."))
        return found[0]


def _rank(instrument: Instrument, wanted: str) -> int | None:
    """Return how well an instrument fits a search, 0 best; None when it does not."""
    if instrument.symbol.startswith(wanted):
        return int(instrument.symbol != wanted)
    words = instrument.long_name.upper()
    return 2 if words.startswith(wanted) or f" {wanted}" in words else None


def _meets(instrument: Instrument, query: ContractQuery) -> bool:
    exchange = ALIASES.get(query.exchange, query.exchange)
    return (
        query.sec_type in ("", instrument.sec_type)
        and query.currency in ("", instrument.currency)
        and (not exchange or exchange in exchanges(instrument))
    )


def _listed_at(exchange: str, found: list[Instrument]) -> list[Instrument]:
    """Narrow several instruments to those listed at `exchange`."""
    wanted = ALIASES.get(exchange, exchange)
    return [it for it in found if it.primary_exchange == wanted] if wanted and len(found) > 1 else found


def in_its_hours(request: R, instrument: Instrument) -> R:
    """Return a request as one for regular hours where the instrument has no others: an index is computed in these."""
    return request if instrument.sec_type == STOCK else replace(request, use_rth=True)


def exchanges(instrument: Instrument) -> Sequence[str]:
    """Return where the instrument trades; an index is computed by one exchange only."""
    if instrument.sec_type != STOCK:
        return (instrument.primary_exchange,)
    return STOCK_EXCHANGES if instrument.currency == "USD" else ("SMART", instrument.primary_exchange)


def details(instrument: Instrument, exchange: str, now: float) -> ContractDetails:
    """Return what IB tells of a contract; hours are of the six calendar days that begin at `now`."""
    valid = exchanges(instrument)
    is_stock = instrument.sec_type == STOCK
    return ContractDetails(
        symbol=instrument.symbol,
        sec_type=instrument.sec_type,
        exchange=exchange or valid[0],
        currency=instrument.currency,
        con_id=instrument.con_id,
        min_tick=instrument.min_tick,
        order_types=ORDER_TYPES if is_stock else "",
        valid_exchanges=",".join(valid),
        market_name=MARKET_NAMES.get(instrument.primary_exchange, instrument.symbol),
        long_name=instrument.long_name,
        primary_exchange=instrument.primary_exchange if is_stock else "",
        industry=instrument.industry,
        category=instrument.category,
        subcategory=instrument.subcategory,
        time_zone=instrument.time_zone,
        trading_hours=hours_text(now, instrument.time_zone, use_rth=not is_stock),
        liquid_hours=hours_text(now, instrument.time_zone, use_rth=True),
        sec_ids=(("ISIN", instrument.isin),) if instrument.isin else (),
        market_rules=",".join([MARKET_RULE] * len(valid)),
        stock_type=instrument.stock_type,
        size_increment=0.0001 if is_stock else 1.0,
    )


def hours_text(now: float, time_zone: str, *, use_rth: bool) -> str:
    """Return the hours of six days in IB's form `20260405:CLOSED;20260406:0930-20260406:1600;…`."""
    zone = ZoneInfo(time_zone)
    today = datetime.fromtimestamp(now, zone).date()
    days = [today + timedelta(days=ahead) for ahead in range(DETAILS_DAYS)]
    labels = [int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) for day in days]
    return ";".join([_hours_of_day(hours(), label, zone, use_rth=use_rth) for label in labels])


def _hours_of_day(calendar: Hours, label: int, zone: ZoneInfo, *, use_rth: bool) -> str:
    sessions = calendar.labelled(label, label + DAY)
    if not sessions:
        return f"{datetime.fromtimestamp(label, UTC):%Y%m%d}:CLOSED"
    session = calendar[sessions[0]]
    edges = (session.begin(use_rth=use_rth), session.end(use_rth=use_rth))
    return "-".join([f"{datetime.fromtimestamp(edge, zone):%Y%m%d:%H%M}" for edge in edges])
