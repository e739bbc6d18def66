"""The universe: the contracts that a backfill or a screen may choose from."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import cast, get_args

from workbench.errors import InvalidInput
from workbench.market.contracts import Contract, Folder, Kind

_COLUMNS = [field.name for field in fields(Contract)]


class Universe(Mapping[str, Contract]):
    """Contracts by symbol, in the order in which they were listed."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._contracts: dict[str, Contract] = {}
        for contract in contracts:
            if contract.symbol in self._contracts:
                raise InvalidInput(f"{contract.symbol} is in the universe twice")
            self._contracts[contract.symbol] = contract

    def __getitem__(self, symbol: str) -> Contract:
        return self._contracts[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._contracts)

    def __len__(self) -> int:
        return len(self._contracts)

    def contract(self, symbol: str) -> Contract:
        """Return the contract of a symbol; one that is not listed is taken for a US stock."""
        return self._contracts.get(symbol) or Contract(symbol)


def parse_universe(text: str) -> Universe:
    """Return the universe that a CSV text lists.

    The header is `symbol,kind,exchange,primary_exchange,currency,folder`; all but `symbol` may be left out or
    empty, and so may lines. Raises `InvalidInput` naming the line.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    header = [name.strip() for name in next(reader, [])]
    if not {"symbol"} <= set(header) <= set(_COLUMNS) or len(set(header)) < len(header):
        raise InvalidInput(f"the universe's columns are {','.join(_COLUMNS)}, not {','.join(header)}")
    rows = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    return Universe(_contract(header, row, line) for line, row in rows if any(row))


def _contract(header: list[str], row: list[str], line: int) -> Contract:
    if len(row) > len(header):
        raise InvalidInput(f"line {line} of the universe has {len(row)} cells, but there are {len(header)} columns")
    values = {name: cell for name, cell in zip(header, row, strict=False) if cell}
    for name, allowed in (("kind", get_args(Kind)), ("folder", get_args(Folder))):
        if name in values and values[name] not in allowed:
            raise InvalidInput(
                f"line {line} of the universe: {name} is one of {', '.join(allowed)}, not {values[name]}"
            )
    try:
        return Contract(
            symbol=values.get("symbol", ""),
            kind=cast("Kind", values.get("kind", "stock")),
            exchange=values.get("exchange", "SMART"),
            primary_exchange=values.get("primary_exchange", ""),
            currency=values.get("currency", "USD"),
            folder=cast("Folder", values.get("folder", "stocks")),
        )
    except InvalidInput as error:
        raise InvalidInput(f"line {line} of the universe: {error}") from error


def default_universe() -> Universe:
    """Return the list of liquid US names that comes with the package."""
    from importlib.resources import files

    return parse_universe((files("workbench.market") / "universe.csv").read_text(encoding="utf-8"))
