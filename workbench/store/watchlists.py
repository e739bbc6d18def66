"""The watchlist: replaced in one transaction, so that a reader sees the one or the other; each one is kept."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import pandas as pd
from sqlalchemy import Connection, delete, insert, select, update

from workbench.store.engine import lock_writers
from workbench.store.rows import Rows, to_frame
from workbench.store.tables import watchlist_history, watchlist_realtime

_REPLACE_LOCK = 7_311_988
"""A number that only writers of the watchlist ask PostgreSQL to lock: else two at once would leave a mixture."""


def replace_watchlist(connection: Connection, rows: Rows, at: datetime) -> None:
    """Let the watchlist be these rows, and keep them in its history as the list of `at`."""
    lock_writers(connection, _REPLACE_LOCK)
    connection.execute(delete(watchlist_realtime))
    connection.execute(delete(watchlist_history).where(watchlist_history.c.timestamp == at))
    if rows:
        connection.execute(insert(watchlist_realtime), rows)
        names = watchlist_history.columns.keys()
        connection.execute(insert(watchlist_history), [{name: row[name] for name in names} for row in rows])


def update_scores(connection: Connection, rows: Rows) -> int:
    """Give rows that are on the watchlist, on the same side, a new score and reasons; return how many those were."""
    table = watchlist_realtime
    lock_writers(connection, _REPLACE_LOCK)
    updated = 0
    for row in rows:
        change = {name: row[name] for name in ("score", "reasons", "updated_at") if row[name] is not None}
        mine = (table.c.symbol == row["symbol"]) & (table.c.side == row["side"])
        updated += connection.execute(update(table).where(mine).values(change)).rowcount
    return updated


def load_watchlist(connection: Connection) -> pd.DataFrame:
    """Return the watchlist, the first rank first."""
    query = select(watchlist_realtime).order_by(watchlist_realtime.c.rank)
    return to_frame(connection.execute(query).mappings(), watchlist_realtime.columns)


def load_watchlist_symbols(connection: Connection) -> list[str]:
    """Return the symbols of the watchlist, the first rank first."""
    return list(connection.execute(select(watchlist_realtime.c.symbol).order_by(watchlist_realtime.c.rank)).scalars())


def load_watchlist_history(
    connection: Connection, *, since: datetime | None, until: datetime | None, symbols: Collection[str]
) -> pd.DataFrame:
    """Return the watchlists that were saved, oldest first."""
    table = watchlist_history
    query = select(table).order_by(table.c.timestamp, table.c.rank)
    if since is not None:
        query = query.where(table.c.timestamp >= since)
    if until is not None:
        query = query.where(table.c.timestamp < until)
    if symbols:
        query = query.where(table.c.symbol.in_(symbols))
    return to_frame(connection.execute(query).mappings(), table.columns)
