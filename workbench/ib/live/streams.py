"""Live five-second bars as they go over the wire: the requests, and message 50, read strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf, nan

from workbench.errors import UnknownContract, UnreadableAnswer
from workbench.ib.mailbox import Mailbox, OnError, OnFields
from workbench.ib.translate import to_ib_contract
from workbench.market.aggregate.levels import STEP_S
from workbench.market.contracts import Contract
from workbench.store.journal import LiveBar

_FIELDS = 11
"""Message id, version, request id, start, open, high, low, close, volume, average, count."""
_UNKNOWN = -1.0


@dataclass(frozen=True, slots=True)
class Annulled:
    """IB took back a trade of `symbol`; it was told `at` this time, in epoch seconds."""

    symbol: str
    at: float


@dataclass(frozen=True, slots=True)
class Unknown:
    """IB knows no contract of `symbol`, and that is its last word."""

    symbol: str
    error: UnknownContract


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes. `error` says why, where it was not asked for."""

    error: BaseException | None = None


Arrival = LiveBar | Annulled | Unknown | Ended


def open_stream(
    mailbox: Mailbox, contract: Contract, what_to_show: str, *, on_fields: OnFields, on_error: OnError
) -> int:
    """Request live bars of regular trading hours; return the id under which they come."""
    number = mailbox.open(on_fields, on_error)
    use_rth = True
    mailbox.ib.client.reqRealTimeBars(number, to_ib_contract(contract), STEP_S, what_to_show, use_rth, [])
    return number


def close_stream(mailbox: Mailbox, number: int) -> None:
    """End a stream, where the connection still stands; what is under way of it is not heard any more."""
    if mailbox.close(number):
        mailbox.ib.client.cancelRealTimeBars(number)


def read_live_bar(symbol: str, fields: Sequence[str]) -> LiveBar:
    """Return the bar of a message. Raises `UnreadableAnswer` when it breaks a rule of the protocol or of bars.

    What IB does not know it marks by -1 (volume, count) or 0 (the average of an index): as in history, volume becomes
    0, the others NaN.

    >>> read_live_bar("AAPL", "50 3 7 1795184700 10 11 9 10.5 300 10.2 4".split())
    LiveBar(symbol='AAPL', timestamp=1795184700, open=10.0, high=11.0, low=9.0, close=10.5, volume=300.0, ...)
    """
    try:
        if len(fields) != _FIELDS:
            raise ValueError(f"{len(fields)} fields, not {_FIELDS}")
        start = int(fields[3])
        first, high, low, close, volume, average, count = map(float, fields[4:])
        if start % STEP_S or not (0 < low <= first <= high < inf and low <= close <= high):
            raise ValueError("such a bar cannot be")
        if not ((0 <= volume < inf or volume == _UNKNOWN) and abs(average) < inf and _UNKNOWN <= count < inf):
            raise ValueError("such a volume, average or count cannot be")
        datetime.fromtimestamp(start, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise UnreadableAnswer(
            f"a live bar of {symbol} is broken ({error}) and was not used: {list(fields)}"
        ) from error
    return LiveBar(
        symbol,
        start,
        first,
        high,
        low,
        close,
        0.0 if volume == _UNKNOWN else volume,
        average if average > 0 else nan,
        count if count >= 0 else nan,
    )
