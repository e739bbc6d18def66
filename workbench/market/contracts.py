"""Contracts: what IB trades, and where a symbol's bars live."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from workbench.errors import InvalidInput, InvalidSymbol

WHAT_TO_SHOW = ("TRADES", "MIDPOINT", "BID", "ASK")
"""The prices of which bars are kept."""

Kind = Literal["stock", "etf", "index"]
Folder = Literal["stocks", "indices"]

_SYMBOL = re.compile(r"[A-Z0-9]([A-Z0-9 .\-]{0,8}[A-Z0-9])?")
_DEVICE = re.compile(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?")


@dataclass(frozen=True, slots=True)
class Contract:
    """One line of the universe. `folder` is where its bars are kept: SPY is an ETF among the indices."""

    symbol: str
    kind: Kind = "stock"
    exchange: str = "SMART"
    primary_exchange: str = ""
    currency: str = "USD"
    folder: Folder = "stocks"

    def __post_init__(self) -> None:
        check_symbol(self.symbol)


def check_symbol(symbol: str) -> str:
    """Return the symbol, or raise `InvalidSymbol` when IB could have none such.

    Ten characters are what the column `symbol` of the database has room for. What passes holds no path separator
    and is no `.` or `..`, so it is safe to build a path from.

    >>> check_symbol("BRK B")
    'BRK B'
    >>> check_symbol("../evil")
    Traceback (most recent call last):
    workbench.errors.InvalidSymbol: '../evil' is no symbol. A symbol has capital letters and digits, ...
    """
    if not isinstance(symbol, str) or not _SYMBOL.fullmatch(symbol):
        other = str(symbol).strip().upper()
        hint = f" (did you mean {other!r}?)" if _SYMBOL.fullmatch(other) else ""
        raise InvalidSymbol(
            f"{symbol!r} is no symbol{hint}. A symbol has capital letters and digits, inside also space . and -, "
            "10 characters at most"
        )
    return symbol


def check_what_to_show(what_to_show: str) -> str:
    """Return what_to_show, or raise `InvalidInput` when it is none that is kept."""
    if what_to_show not in WHAT_TO_SHOW:
        raise InvalidInput(f"{what_to_show!r} is no what_to_show; there are {', '.join(WHAT_TO_SHOW)}")
    return what_to_show


def folder_name(symbol: str) -> str:
    """Return the symbol as the name of a folder on any system.

    Windows keeps names like CON for devices: they get an underscore, which no symbol has.
    """
    check_symbol(symbol)
    return f"{symbol}_" if _DEVICE.fullmatch(symbol) else symbol
