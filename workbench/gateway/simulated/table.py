"""The instruments of the simulated market, read from `listings.csv`.

Prices are those of about 2025-01-02, volatility is the standard deviation of daily returns in percent, volume is
shares a day (updates a day for an index), trade size is shares a trade. ISIN and conId are real where they are given.
A missing conId is 1 000 000 000 + crc32(symbol) mod 1 000 000 000: the same for ever, above the real ones given.
A symbol's second listing (RY in New York and in Toronto, to have an ambiguous one) is on the tape as `RY.TSE`.
"""

from __future__ import annotations

import csv
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from workbench.gateway.tape import Instrument

DERIVED_CON_ID = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Listing:
    """An instrument and how its market behaves."""

    instrument: Instrument
    price: float
    volatility: float  # of daily returns, as a fraction
    beta: float  # return for each return of the market
    volume: int  # shares a day; updates a day for an index
    trade_size: int  # shares a trade

    @property
    def symbol(self) -> str:
        """The text it is asked for by."""
        return self.instrument.key

    @property
    def is_index(self) -> bool:
        """Whether it is computed instead of traded: regular hours only, no volume."""
        return self.instrument.sec_type == "IND"

    @property
    def is_volatility(self) -> bool:
        """Whether it follows the volatility of the market instead of its level."""
        return self.symbol == "VIX"


@cache
def listings() -> dict[str, Listing]:
    """Return all listings by symbol, in the order of the table."""
    table = files("workbench.gateway.simulated").joinpath("listings.csv").read_text(encoding="utf-8")
    found: dict[str, Listing] = {}
    for row in csv.DictReader(table.splitlines()):
        symbol = row["symbol"]
        line = f"{symbol}.{row['primary_exchange']}" if symbol in found else ""
        found[line or symbol] = _parsed(row, line)
    return found


def _parsed(row: dict[str, str], line: str) -> Listing:
    derived = DERIVED_CON_ID + zlib.crc32((line or row["symbol"]).encode()) % DERIVED_CON_ID
    return Listing(
        instrument=Instrument(
            con_id=int(row["con_id"] or derived),
            symbol=row["symbol"],
            sec_type=row["sec_type"],
            primary_exchange=row["primary_exchange"],
            long_name=row["long_name"],
            stock_type=row["stock_type"],
            industry=row["industry"],
            category=row["category"],
            subcategory=row["subcategory"],
            isin=row["isin"],
            currency=row["currency"] or "USD",
            time_zone=row["time_zone"] or "US/Eastern",
            line=line,
        ),
        price=float(row["price"]),
        volatility=float(row["volatility"]) / 100,
        beta=float(row["beta"]),
        volume=int(row["volume"]),
        trade_size=int(row["trade_size"]),
    )
