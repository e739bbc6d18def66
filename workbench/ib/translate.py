"""The border with ib_insync: our contracts, timeframes and times in its terms, and its errors in ours."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from workbench.errors import IBError, InvalidInput, RequestRefused
from workbench.ib.codes import Reaction, describe, explain
from workbench.market.contracts import Contract
from workbench.market.timeframes import TIMEFRAMES, Timeframe, parse_timeframe

if TYPE_CHECKING:
    import ib_insync

BAR_SIZES = {
    "5sec": "5 secs",
    "1min": "1 min",
    "5min": "5 mins",
    "15min": "15 mins",
    "1hour": "1 hour",
    "4hour": "4 hours",
    "1day": "1 day",
}
"""IB's bar size of each timeframe."""

_TIMEFRAME_OF = {bar_size: TIMEFRAMES[name] for name, bar_size in BAR_SIZES.items()}
_DURATION = re.compile(r"[1-9]\d* [SDWMY]")


def parse_bar_size(text: str) -> Timeframe:
    """Return the timeframe of IB's bar size, or of our own name of it.

    >>> parse_bar_size("15 mins") is parse_bar_size("15min")
    True
    """
    return _TIMEFRAME_OF.get(text) or parse_timeframe(text)


def check_duration(text: str) -> str:
    """Return IB's duration string, or raise `InvalidInput`."""
    if not _DURATION.fullmatch(text):
        raise InvalidInput(f"{text!r} is no duration; IB has S, D, W, M, Y after a number: '5 D', '6 M', '2 Y'")
    return text


def format_end(moment: datetime | None) -> str:
    """Return the end of a request in the form that does not depend on the time zone of TWS; None is now."""
    return "" if moment is None else f"{moment.astimezone(UTC):%Y%m%d-%H:%M:%S}"


def to_ib_contract(contract: Contract) -> ib_insync.Contract:
    """Return IB's contract of a line of the universe: an index is no stock, an ETF is."""
    from ib_insync import Index, Stock

    if contract.kind == "index":
        return Index(contract.symbol, contract.exchange, contract.currency)
    return Stock(contract.symbol, contract.exchange, contract.currency, primaryExchange=contract.primary_exchange)


def to_error(code: int, text: str, *, request: str) -> IBError:
    """Name the error that IB reported for `request`, with its cause and the next step.

    >>> print(to_error(200, "No security definition has been found", request="bars of XYZ"))
    bars of XYZ: No security definition has been found. The symbol, its kind or its exchange is not as ... (IB code 200)
    """
    row = explain(code, text)
    kind = row.error if row and row.error else RequestRefused
    return kind(f"{request}: {describe(code, text)}", code=code)


def is_confirmed_empty(code: int, text: str) -> bool:
    """Return whether IB says that it has no bars in what was asked for: an answer, not a failure."""
    row = explain(code, text)
    return row is not None and row.reaction is Reaction.EMPTY
