"""What the gateway answers: encoders, and the tables of what each protocol version gets.

`version` is the negotiated server version. The layouts of 157 to 178 are covered, the gates are those of
ibapi's decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa

from workbench.gateway import texts
from workbench.gateway.refusals import Notice
from workbench.gateway.tape import BarColumns, Floats, Instrument
from workbench.gateway.wire import Value, ascii7, encode, frame, join

FRACTIONAL_VOLUMES = 163
MARKET_RULES = 164
REJECT_JSON = 166
SCHEDULES = 165
VOLUMES_IN_SHARES = 175
ISSUERS = 176
ROUND_LOT = 100


@dataclass(frozen=True, slots=True)
class ContractDetails:
    """The contents of message 10."""

    symbol: str
    sec_type: str
    exchange: str
    currency: str
    con_id: int
    min_tick: float
    order_types: str
    valid_exchanges: str
    market_name: str
    long_name: str
    primary_exchange: str
    industry: str
    category: str
    subcategory: str
    time_zone: str
    trading_hours: str
    liquid_hours: str
    sec_ids: tuple[tuple[str, str], ...]
    market_rules: str
    stock_type: str
    size_increment: float


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A field of a message: how it is taken from the value, and the versions that have it."""

    take: Callable[[T], Value]
    since: int = 0
    until: int = 10_000  # exclusive


_EMPTY: Column[ContractDetails] = Column(lambda _: None)

CONTRACT_DETAILS: tuple[Column[ContractDetails], ...] = (
    Column(lambda it: it.symbol),
    Column(lambda it: it.sec_type),
    _EMPTY,  # last trade date
    Column(lambda _: 0),  # strike
    _EMPTY,  # right
    Column(lambda it: it.exchange),
    Column(lambda it: it.currency),
    Column(lambda it: it.symbol),  # local symbol
    Column(lambda it: it.market_name),
    Column(lambda it: it.market_name),  # trading class
    Column(lambda it: it.con_id),
    Column(lambda it: it.min_tick),
    Column(lambda _: ROUND_LOT, until=MARKET_RULES),  # multiplier of market data sizes
    _EMPTY,  # multiplier
    Column(lambda it: it.order_types),
    Column(lambda it: it.valid_exchanges),
    Column(lambda _: 1),  # price magnifier
    Column(lambda _: 0),  # id of the underlying
    Column(lambda it: ascii7(it.long_name)),
    Column(lambda it: it.primary_exchange),
    _EMPTY,  # contract month
    Column(lambda it: it.industry),
    Column(lambda it: it.category),
    Column(lambda it: it.subcategory),
    Column(lambda it: it.time_zone),
    Column(lambda it: it.trading_hours),
    Column(lambda it: it.liquid_hours),
    _EMPTY,  # rule and
    _EMPTY,  # multiplier of the economic value
    Column(lambda it: len(it.sec_ids)),
)
CONTRACT_DETAILS_TAIL: tuple[Column[ContractDetails], ...] = (
    Column(lambda _: 1),  # aggregation group
    _EMPTY,  # symbol and
    _EMPTY,  # type of the underlying
    Column(lambda it: it.market_rules),
    _EMPTY,  # real expiration date
    Column(lambda it: it.stock_type),
    Column(lambda it: it.size_increment, since=FRACTIONAL_VOLUMES, until=MARKET_RULES),  # at exactly 163
    Column(lambda it: it.size_increment, since=MARKET_RULES),  # least size
    Column(lambda it: it.size_increment, since=MARKET_RULES),  # size increment
    Column(lambda _: ROUND_LOT, since=MARKET_RULES),  # suggested increment
)


SYMBOL_SAMPLE: tuple[Column[Instrument], ...] = (
    Column(lambda it: it.con_id),
    Column(lambda it: it.symbol),
    Column(lambda it: it.sec_type),
    Column(lambda it: it.primary_exchange),
    Column(lambda it: it.currency),
    Column(lambda _: 0),  # how many types of derivatives there are
    Column(lambda it: ascii7(it.long_name), since=ISSUERS),
    Column(lambda _: None, since=ISSUERS),  # id of the issuer; bonds have one
)

SessionTexts = tuple[str, str, str]
"""Begin, end and date of a session."""


def contract_details(req_id: int, details: ContractDetails, version: int) -> bytes:
    """Encode message 10."""
    head: tuple[Value, ...] = (10, 8, req_id) if version < MARKET_RULES else (10, req_id)
    return encode(
        *head,
        *_taken(CONTRACT_DETAILS, details, version),
        *chain.from_iterable(details.sec_ids),
        *_taken(CONTRACT_DETAILS_TAIL, details, version),
    )


def _taken(columns: Sequence[Column[T]], value: T, version: int) -> Iterator[Value]:
    return (column.take(value) for column in columns if column.since <= version < column.until)


def contract_details_end(req_id: int) -> bytes:
    """Encode message 52."""
    return encode(52, 1, req_id)


def symbol_samples(req_id: int, found: Sequence[Instrument], version: int) -> bytes:
    """Encode message 79; no contract here has derivatives."""
    rows = [_taken(SYMBOL_SAMPLE, instrument, version) for instrument in found]
    return encode(79, req_id, len(found), *chain.from_iterable(rows))


def error(req_id: int, notice: Notice, version: int) -> bytes:
    """Encode message 4: an error, a warning or the state of a data farm."""
    tail = (None,) if version >= REJECT_JSON else ()
    return encode(4, 2, req_id, notice.code, ascii7(notice.text), *tail)


def server_version(version: int, connection_time: str) -> bytes:
    """Encode the answer to the greeting, the only message without an id."""
    return encode(version, connection_time)


def managed_accounts(account: str) -> bytes:
    """Encode message 15."""
    return encode(15, 1, account)


def next_valid_id(order_id: int) -> bytes:
    """Encode message 9."""
    return encode(9, 1, order_id)


def current_time(epoch: int) -> bytes:
    """Encode message 49."""
    return encode(49, 1, epoch)


def head_timestamp(req_id: int, value: str) -> bytes:
    """Encode message 88."""
    return encode(88, req_id, value)


def historical_schedule(req_id: int, period: tuple[str, str], zone: str, sessions: Sequence[SessionTexts]) -> bytes:
    """Encode message 106."""
    return encode(106, req_id, *period, zone, len(sessions), *chain.from_iterable(sessions))


def tick_price(req_id: int, kind: int, price: float, size: Value) -> bytes:
    """Encode message 1; the last field, of attributes, says that the quote can be traded at once."""
    return encode(1, 6, req_id, kind, price, size, 1)


def tick_size(req_id: int, kind: int, size: Value) -> bytes:
    """Encode message 2."""
    return encode(2, 6, req_id, kind, size)


def tick_text(req_id: int, kind: int, text: str) -> bytes:
    """Encode message 46."""
    return encode(46, 6, req_id, kind, text)


def tick_parameters(req_id: int, min_tick: float, venue: str, permissions: int) -> bytes:
    """Encode message 81."""
    return encode(81, req_id, min_tick, venue, permissions)


def market_data_type(req_id: int, kind: int) -> bytes:
    """Encode message 58."""
    return encode(58, 1, req_id, kind)


def tick_snapshot_end(req_id: int) -> bytes:
    """Encode message 57."""
    return encode(57, 1, req_id)


def positions_end() -> bytes:
    """Encode message 62."""
    return encode(62, 1)


def open_orders_end() -> bytes:
    """Encode message 53."""
    return encode(53, 1)


def completed_orders_end() -> bytes:
    """Encode message 102."""
    return encode(102)


def account_download_end(account: str, wall_time: str) -> bytes:
    """Encode messages 8 and 54: the account's time `hh:mm`, and that all was told."""
    return encode(8, 1, wall_time) + encode(54, 1, account)


def account_multi_end(req_id: int) -> bytes:
    """Encode message 74."""
    return encode(74, 1, req_id)


def account_summary_end(req_id: int) -> bytes:
    """Encode message 64."""
    return encode(64, 1, req_id)


def executions_end(req_id: int) -> bytes:
    """Encode message 55."""
    return encode(55, 1, req_id)


def historical_bars(
    req_id: int, period: tuple[str, str], stamps: Sequence[str], bars: BarColumns, *, lots: bool, version: int
) -> bytes:
    """Encode message 17, all bars in one; `period` is the text of begin and end, `stamps` of each bar's start."""
    rows = texts.rows([stamps, *_prices(bars), *_volumes(bars, lots=lots, version=version)])
    return frame(join(("17", str(req_id), *period, str(len(bars)))) + texts.joined(rows))


def update_bodies(stamps: Sequence[str], bars: BarColumns, *, lots: bool, version: int) -> list[bytes]:
    """Encode all of messages 90 but what differs from subscriber to subscriber (see `historical_update`).

    The order is its own: the count first, close before high and low.
    """
    open_, high, low, close = _prices(bars)
    volume, average, count = _volumes(bars, lots=lots, version=version)
    return texts.separate(texts.rows([count, stamps, open_, close, high, low, average, volume]))


def historical_update(req_id: int, body: bytes) -> bytes:
    """Encode message 90."""
    return frame(b"90\x00%d\x00%b" % (req_id, body))


def realtime_bodies(bars: BarColumns, *, lots: bool, version: int) -> list[bytes]:
    """Encode all of messages 50 but what differs from subscriber to subscriber (see `realtime_bars`)."""
    start = texts.integers(bars.start)
    return texts.separate(texts.rows([start, *_prices(bars), *_volumes(bars, lots=lots, version=version)]))


def realtime_bars(req_id: int, bodies: Iterable[bytes]) -> bytes:
    """Encode messages 50."""
    head = b"50\x003\x00%d\x00" % req_id
    return b"".join([frame(head + body) for body in bodies])


def _prices(bars: BarColumns) -> list[pa.StringArray]:
    """Return the texts of the prices, each the shortest decimal that reads back as exactly that float."""
    return texts.decimals(bars.open, bars.high, bars.low, bars.close)


def _volumes(bars: BarColumns, *, lots: bool, version: int) -> tuple[pa.StringArray, pa.StringArray, pa.StringArray]:
    volume = texts.shortest(quantities(bars.volume, lots=lots, version=version))
    return volume, texts.different_decimals(bars.average), texts.integers(bars.count)


def quantities(shares: Floats, *, lots: bool, version: int) -> Floats:
    """Return volumes and sizes as a version shows them: of stocks in lots before 175; -1 is none and stays."""
    values = np.where(shares > 0, shares / ROUND_LOT, shares) if lots and version < VOLUMES_IN_SHARES else shares
    return np.rint(values) if version < FRACTIONAL_VOLUMES else values  # ibapi 9.81 reads an integer
