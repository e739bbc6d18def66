"""The universe in the database, with what IB has said of each contract. Every change of it is one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import pandas as pd
from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from workbench.errors import InvalidInput
from workbench.market.contracts import Contract
from workbench.market.qualification import Qualification
from workbench.market.universe import (
    COLUMNS,
    Universe,
    UniverseChanges,
    compare,
    complete,
    is_same_contract,
    parse_universe,
)
from workbench.store.database import DatabaseManager
from workbench.store.engine import lock_writers
from workbench.store.rows import to_frame
from workbench.store.tables import universe as table

_CHANGE_LOCK = 7_311_989
"""A number that only writers of the universe ask PostgreSQL to lock."""
_ASKED = ("con_id", "long_name", "state", "note", "source", "qualified_at")
_UNASKED = {"con_id": None, "long_name": "", "state": "", "note": "", "source": "", "qualified_at": None}


def read_universe(path: Path) -> Universe:
    """Return the universe that a CSV file lists. Raises `InvalidInput`, naming the file and each unusable line."""
    try:
        return parse_universe(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, InvalidInput) as error:
        raise InvalidInput(f"{path}: {error}; save it as CSV in UTF-8") from error


def load_universe(database: DatabaseManager) -> Universe:
    """Return the universe, empty where none was ever saved."""
    return database.run(lambda connection: Universe(map(_contract, _rows(connection))), reading=True)


def load_universe_table(database: DatabaseManager) -> pd.DataFrame:
    """Return the universe with what IB has said of each contract, as a frame."""
    columns = [column for column in table.columns if column.name != "position"]
    query = select(*columns).order_by(table.c.position)
    return database.run(lambda connection: to_frame(connection.execute(query).mappings(), columns), reading=True)


def change_universe(database: DatabaseManager, change: Callable[[Universe], Universe]) -> UniverseChanges:
    """Let the universe be what `change` makes of it; nobody else can change it meanwhile.

    What IB has said of a contract is kept as long as the contract is the same. A primary exchange that is left out is
    the one that is known. Raises `InvalidInput` rather than leave the universe empty, which would be taken for none.
    """

    def work(connection: Connection) -> UniverseChanges:
        lock_writers(connection, _CHANGE_LOCK)
        rows = {row["symbol"]: row for row in _rows(connection)}
        before = Universe(map(_contract, rows.values()))
        after = complete(change(before), before)
        if before and not after:
            raise InvalidInput("the universe would be empty; add other symbols first")
        if (changes := compare(before, after)) or list(before) != list(after):
            connection.execute(delete(table))
            connection.execute(insert(table), [_row(one, rows, at) for at, one in enumerate(after.values())])
        return changes

    return database.run(work)


def current_universe(database: DatabaseManager, first: Callable[[], Universe]) -> Universe:
    """Return the universe; where none was ever saved, save the one that `first` gives."""
    if not (universe := load_universe(database)):
        change_universe(database, lambda saved: saved or first())
        universe = load_universe(database)
    return universe


def load_qualifications(database: DatabaseManager, source: str) -> dict[str, Qualification]:
    """Return what is thought of each contract after this source of bars was asked; no other's numbers are its."""

    def of(row: RowMapping) -> Qualification:
        if row["source"] != source:
            return Qualification()
        return Qualification(row["state"], row["con_id"], row["primary_exchange"], row["long_name"], row["note"])

    return database.run(lambda connection: {row["symbol"]: of(row) for row in _rows(connection)}, reading=True)


def save_qualifications(
    database: DatabaseManager, found: Mapping[Contract, Qualification], source: str, at: datetime
) -> None:
    """Save what is thought of contracts, unless they were changed meanwhile."""

    def work(connection: Connection) -> None:
        lock_writers(connection, _CHANGE_LOCK)
        for contract, one in found.items():
            mine = [table.c[name] == getattr(contract, name) for name in COLUMNS]
            told: dict[str, object] = {
                "con_id": one.con_id,
                "long_name": one.long_name[:255],
                "state": one.state,
                "note": one.note,
            }
            told |= {"primary_exchange": one.primary_exchange, "source": source, "qualified_at": at}
            connection.execute(update(table).where(*mine).values(told))

    database.run(work)


def _rows(connection: Connection) -> Iterable[RowMapping]:
    return connection.execute(select(table).order_by(table.c.position)).mappings().all()


def _contract(row: RowMapping) -> Contract:
    return Contract(**{name: row[name] for name in COLUMNS})


def _row(contract: Contract, before: Mapping[str, RowMapping], position: int) -> dict[str, object]:
    row = before.get(contract.symbol)
    is_same = row is not None and is_same_contract(contract, _contract(row))
    asked = {name: row[name] for name in _ASKED} if row is not None and is_same else _UNASKED
    return {name: getattr(contract, name) for name in COLUMNS} | asked | {"position": position}
