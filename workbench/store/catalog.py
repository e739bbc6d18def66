"""The catalogue of the store in SQL. The files are the truth; what stands here is rebuilt from them at any time."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select

from workbench.store.database import DatabaseManager, insert_into
from workbench.store.seriesinfo import SeriesInfo
from workbench.store.tables import coverage, historical_data_metadata

Key = tuple[str, str, str]
"""Symbol, timeframe, what_to_show."""

_MAIN = "TRADES"
"""`historical_data_metadata` knows one series of a symbol and timeframe: these."""


def record(database: DatabaseManager, info: SeriesInfo) -> None:
    """Record what a series holds, in the place of what was recorded of it. Raises `StoreError`."""

    def work(connection: Connection) -> None:
        _forget(connection, info)
        _add(connection, info)

    database.run(work)


def recorded_keys(database: DatabaseManager) -> set[Key]:
    """Return the series of which something is recorded. Raises `StoreError`."""
    table = historical_data_metadata
    with database.reading() as connection:
        main = connection.execute(select(table.c.symbol, table.c.timeframe))
        keys = {(symbol, timeframe, _MAIN) for symbol, timeframe in main}
        covered = connection.execute(
            select(coverage.c.symbol, coverage.c.timeframe, coverage.c.what_to_show).distinct()
        )
        return keys | {(symbol, timeframe, what_to_show) for symbol, timeframe, what_to_show in covered}


def forget(database: DatabaseManager, keys: Iterable[Key]) -> None:
    """Record that these series hold nothing. Raises `StoreError`."""
    with database.transaction() as connection:
        for key in keys:
            _forget(connection, SeriesInfo(*key))


def load_coverage(database: DatabaseManager) -> pd.DataFrame:
    """Return the recorded coverage, a row an interval. Raises `StoreError`."""
    with database.reading() as connection:
        rows = connection.execute(select(coverage).order_by(*coverage.primary_key)).mappings().all()
    return pd.DataFrame([dict(row) for row in rows], columns=[column.name for column in coverage.columns])


def _forget(connection: Connection, info: SeriesInfo) -> None:
    table = historical_data_metadata
    if info.what_to_show == _MAIN and info.first is None:
        connection.execute(delete(table).where(*_key(table, info)))
    connection.execute(delete(coverage).where(*_key(coverage, info), coverage.c.what_to_show == info.what_to_show))


def _key(table: Table, info: SeriesInfo) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return table.c.symbol == info.symbol, table.c.timeframe == info.timeframe


def _add(connection: Connection, info: SeriesInfo) -> None:
    key = {"symbol": info.symbol, "timeframe": info.timeframe}
    if info.what_to_show == _MAIN and info.first is not None:
        told = {
            "start_date": info.first,
            "end_date": info.last,
            "bar_count": info.bars,
            "last_updated": info.fetched_at,
        }
        statement = insert_into(historical_data_metadata, connection).values(key | told)
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=told))
    spans = [
        {**key, "what_to_show": info.what_to_show, "begins_at": span.begin, "ends_at": span.end}
        for span in info.coverage
    ]
    if spans:
        connection.execute(insert(coverage), spans)
