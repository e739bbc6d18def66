"""What screens have found: the coarse screen's results by run, and alerts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import pandas as pd
from sqlalchemy import Connection, delete, insert, select

from workbench.store.engine import insert_into
from workbench.store.rows import Rows, to_frame
from workbench.store.tables import alerts, coarse_screening_results


def replace_results(connection: Connection, rows: Rows) -> None:
    """Let each run have these rows and no others."""
    table = coarse_screening_results
    for run_id in {row["run_id"] for row in rows}:
        connection.execute(delete(table).where(table.c.run_id == run_id))
    if rows:
        connection.execute(insert(table), rows)


def load_results(
    connection: Connection,
    run_id: str | None,
    *,
    since: datetime | None,
    until: datetime | None,
    symbols: Collection[str],
) -> pd.DataFrame:
    """Return results, of each run the best first."""
    table = coarse_screening_results
    columns = [column for column in table.columns if column.name != "id"]
    query = select(*columns).order_by(table.c.created_at, table.c.run_id, table.c.score.desc(), table.c.symbol)
    if run_id is None and since is None and until is None:
        newest = select(table.c.run_id).order_by(table.c.created_at.desc(), table.c.id.desc()).limit(1)
        query = query.where(table.c.run_id == newest.scalar_subquery())
    if run_id is not None:
        query = query.where(table.c.run_id == run_id)
    if since is not None:
        query = query.where(table.c.as_of >= since)
    if until is not None:
        query = query.where(table.c.as_of < until)
    if symbols:
        query = query.where(table.c.symbol.in_(symbols))
    return to_frame(connection.execute(query).mappings(), columns)


def add_alert(connection: Connection, row: dict[str, object]) -> int:
    """Add an alert unless it is there, and return its id."""
    table = alerts
    key = [column.name for column in (table.c.at, table.c.symbol, table.c.side, table.c.kind, table.c.timeframe)]
    connection.execute(insert_into(table, connection).values(row).on_conflict_do_nothing(index_elements=key))
    return int(connection.execute(select(table.c.id).where(*(table.c[name] == row[name] for name in key))).scalar_one())


def load_alerts(
    connection: Connection, *, since: datetime | None, after_id: int, symbols: Collection[str]
) -> pd.DataFrame:
    """Return alerts in the order in which they were saved."""
    table = alerts
    query = select(table).where(table.c.id > after_id).order_by(table.c.id)
    if since is not None:
        query = query.where(table.c.at >= since)
    if symbols:
        query = query.where(table.c.symbol.in_(symbols))
    return to_frame(connection.execute(query).mappings(), table.columns)
