"""The universe: the contracts that a backfill or a screen may choose from."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import cast, get_args

from workbench import html
from workbench.errors import InvalidInput
from workbench.market.contracts import Contract, Folder, Kind

COLUMNS = tuple(field.name for field in fields(Contract))
"""The columns of a universe as CSV."""

_EXCHANGE, _CURRENCY = re.compile(r"[A-Z0-9.]{1,32}"), re.compile(r"[A-Z]{3}")
_MOST_PROBLEMS = 10


class Universe(Mapping[str, Contract]):
    """Contracts by symbol, in the order in which they were listed."""

    def __init__(self, contracts: Iterable[Contract]) -> None:
        self._contracts: dict[str, Contract] = {}
        for contract in contracts:
            if contract.symbol in self._contracts:
                raise InvalidInput(f"{contract.symbol} is in the universe twice")
            self._contracts[contract.symbol] = contract

    def __repr__(self) -> str:
        return f"Universe({len(self)} contracts: {', '.join(list(self)[:5])}{', …' if len(self) > 5 else ''})"

    def _repr_html_(self) -> str:
        lines = [[getattr(one, name) for name in COLUMNS] for one in self._contracts.values()]
        return html.card(f"{len(self):,} contracts", html.rows(COLUMNS, lines))

    def __getitem__(self, symbol: str) -> Contract:
        return self._contracts[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._contracts)

    def __len__(self) -> int:
        return len(self._contracts)

    def contract(self, symbol: str) -> Contract:
        """Return the contract of a symbol; one that is not listed is taken for a US stock."""
        return self._contracts.get(symbol) or Contract(symbol)


@dataclass(frozen=True, slots=True)
class UniverseChanges:
    """Which symbols a change has added, removed, or described otherwise."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        told = {"added": self.added, "removed": self.removed, "changed": self.changed}
        parts = [f"{len(symbols)} {word} ({_shortened(symbols)})" for word, symbols in told.items() if symbols]
        return ", ".join(parts) or "nothing changed"


def compare(before: Universe, after: Universe) -> UniverseChanges:
    """Return what has changed from one universe to another."""
    return UniverseChanges(
        tuple(symbol for symbol in after if symbol not in before),
        tuple(symbol for symbol in before if symbol not in after),
        tuple(symbol for symbol in after if symbol in before and before[symbol] != after[symbol]),
    )


def complete(listed: Universe, known: Universe) -> Universe:
    """Return what is listed, with the primary exchanges that are left out there and known of the same contracts."""

    def completed(one: Contract) -> Contract:
        other = known.get(one.symbol)
        if other is None or one.primary_exchange:
            return one
        named = replace(one, primary_exchange=other.primary_exchange)
        return named if is_same_contract(named, other) else one

    return Universe(map(completed, listed.values()))


def is_same_contract(one: Contract, other: Contract) -> bool:
    """Whether two lines mean the same of IB's contracts: where its bars are kept is not IB's business."""
    return replace(one, folder=other.folder) == other


def parse_universe(text: str) -> Universe:
    """Return the universe that a CSV text lists.

    The header is `symbol,kind,exchange,primary_exchange,currency,folder`; all but `symbol` may be left out or
    empty, and so may lines. Raises `InvalidInput` naming each line that cannot be used.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    header = [name.strip() for name in next(reader, [])]
    if not {"symbol"} <= set(header) <= set(COLUMNS) or len(set(header)) < len(header):
        raise InvalidInput(f"the universe's columns are {','.join(COLUMNS)}, not {','.join(header)}")
    contracts: dict[str, Contract] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    for row in reader:
        cells, line = [cell.strip() for cell in row], reader.line_num
        if not any(cells):
            continue
        try:
            contract = _parse_contract(header, cells)
            if contract.symbol in contracts:
                raise InvalidInput(
                    f"{contract.symbol} is in the universe twice, first in line {lines[contract.symbol]}"
                )
        except InvalidInput as error:
            problems.append(f"line {line} of the universe: {error}")
        else:
            contracts[contract.symbol], lines[contract.symbol] = contract, line
    if problems:
        more = [f"and {len(problems) - _MOST_PROBLEMS} lines more"] if len(problems) > _MOST_PROBLEMS else []
        raise InvalidInput("; ".join([*problems[:_MOST_PROBLEMS], *more]))
    return Universe(contracts.values())


def format_universe(universe: Universe) -> str:
    """Return a universe as the CSV that `parse_universe` reads.

    >>> parse_universe(format_universe(default_universe())) == default_universe()
    True
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(contract, name) for name in COLUMNS] for contract in universe.values())
    return text.getvalue()


def make_contract(
    symbol: str,
    *,
    kind: str = "stock",
    exchange: str = "SMART",
    primary_exchange: str = "",
    currency: str = "USD",
    folder: str = "stocks",
) -> Contract:
    """Return a line of the universe. Raises `InvalidInput`, saying what cannot be used."""
    for name, value, allowed in (("kind", kind, get_args(Kind)), ("folder", folder, get_args(Folder))):
        if value not in allowed:
            raise InvalidInput(f"{name} is one of {', '.join(allowed)}, not {value}")
    for name, value in (("exchange", exchange), ("primary_exchange", primary_exchange or "SMART")):
        if not _EXCHANGE.fullmatch(value):
            raise InvalidInput(f"{name} is a name of IB's in capital letters, such as SMART or NASDAQ, not {value!r}")
    if not _CURRENCY.fullmatch(currency):
        raise InvalidInput(f"currency is three capital letters, such as USD, not {currency!r}")
    return Contract(symbol, cast("Kind", kind), exchange, primary_exchange, currency, cast("Folder", folder))


def _parse_contract(header: list[str], cells: list[str]) -> Contract:
    if len(cells) > len(header):
        raise InvalidInput(f"it has {len(cells)} cells, but there are {len(header)} columns")
    values = {name: cell for name, cell in zip(header, cells, strict=False) if cell}
    return make_contract(values.pop("symbol", ""), **values)


def _shortened(symbols: tuple[str, ...], most: int = 10) -> str:
    return ", ".join([*symbols[:most], "…"] if len(symbols) > most else symbols)


def default_universe() -> Universe:
    """Return the list of liquid US names that comes with the package."""
    from importlib.resources import files

    return parse_universe((files("workbench.market") / "universe.csv").read_text(encoding="utf-8"))
