"""What IB says of the contracts of the universe, and what is to be thought of it.

A contract is known by IB's number of it, `con_id`, which stays when its symbol changes. So one that IB has told once is
found again by its number: if it has another symbol now it was renamed, and if the symbol leads to another number it is
another company's. Neither is changed here: it is told, and a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from workbench.market.contracts import Contract

State = Literal["", "qualified", "renamed", "replaced", "delisted", "ambiguous", "unknown"]
"""Nothing where IB has not been asked."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A contract as IB tells of it."""

    con_id: int
    symbol: str
    primary_exchange: str = ""
    long_name: str = ""


@dataclass(frozen=True, slots=True)
class Qualification:
    """What is thought of a contract of the universe. `note` says what is wrong with it and what to do."""

    state: State = ""
    con_id: int | None = None
    primary_exchange: str = ""
    long_name: str = ""
    note: str = ""

    @property
    def is_flagged(self) -> bool:
        """Whether somebody should look at it."""
        return self.state not in ("", "qualified")


def judge(
    contract: Contract, before: Qualification, by_id: Listing | None, by_symbol: Sequence[Listing]
) -> Qualification:
    """Return what to think of a contract after IB was asked for it.

    `before` is what was known; `by_id` what IB has under its `con_id`, `by_symbol` what it has under its symbol, which
    need not be asked when `by_id` has the symbol still. Of a flagged contract the old number and name are kept.
    """
    if by_id is not None and by_id.symbol == contract.symbol:
        return _qualified(contract, by_id)
    if by_id is not None:
        return _flagged(before, contract, "renamed", _renamed(contract.symbol, by_id.symbol, by_symbol))
    if len(by_symbol) > 1:
        where = ", ".join(sorted(one.primary_exchange or str(one.con_id) for one in by_symbol))
        note = f"IB has several ({where}): give its line a primary_exchange, or another exchange or currency"
        return _flagged(before, contract, "ambiguous", note)
    if before.con_id is None:
        if by_symbol:
            return _qualified(contract, by_symbol[0])
        note = "IB has no such contract: check its symbol, kind, exchange and currency"
        return _flagged(before, contract, "unknown", note)
    if by_symbol:
        return _flagged(before, contract, "replaced", _replaced(contract.symbol, before, by_symbol[0]))
    note = f"IB has it no more, neither {before.con_id} nor the symbol: it was delisted, or renamed where IB is mute"
    return _flagged(before, contract, "delisted", note)


def _qualified(contract: Contract, listing: Listing) -> Qualification:
    old, new = contract.primary_exchange, listing.primary_exchange
    note = f"it is listed at {new} now, not at {old}" if old and new and old != new else ""
    return Qualification("qualified", listing.con_id, new or old, listing.long_name, note)


def _flagged(before: Qualification, contract: Contract, state: State, note: str) -> Qualification:
    return Qualification(state, before.con_id, contract.primary_exchange, before.long_name, note)


def _renamed(old: str, new: str, by_symbol: Sequence[Listing]) -> str:
    taken = f"; {old} is {by_symbol[0].long_name or by_symbol[0].con_id} now" if by_symbol else ""
    return f"IB calls it {new} now{taken}: workbench universe add {new}, then workbench universe remove {old}"


def _replaced(symbol: str, before: Qualification, listing: Listing) -> str:
    return (
        f"the symbol is another contract now, {listing.long_name} ({listing.con_id}); it was {before.long_name} "
        f"({before.con_id}). What is stored may be the other's: workbench check {symbol}. To take the new one, remove "
        f"{symbol} and add it again"
    )
