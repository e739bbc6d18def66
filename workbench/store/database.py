"""The database: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.exc import SQLAlchemyError

from workbench.errors import InvalidSettings, StoreError
from workbench.store.tables import historical_data_metadata

_BUSY_MS = 10_000
"""How long a SQLite writer waits for another process to finish."""
_BACKENDS = ("sqlite", "postgresql")
_UPGRADE_LOCK = 7_311_986
"""A number that only processes upgrading this schema ask PostgreSQL to lock."""


class DatabaseManager:
    """The tables of a workbench, brought up to date when first opened.

    `url` is a SQLAlchemy URL such as `sqlite:///data/trading.db` or `postgresql+psycopg://…`. Its password never
    appears in an error or a repr. Timestamps go in and come out with their zone, UTC. Raises `InvalidSettings` for a
    URL that is none, `StoreError` when the database does not answer.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse_url(url)
        self._shown = parsed.set(query={}).render_as_string(hide_password=True)
        with self._translated("could not be opened"):
            self._engine = _create_engine(parsed)
            _upgrade(self._engine)

    def __repr__(self) -> str:
        return f"DatabaseManager({self._shown})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def load_series_metadata(self) -> pd.DataFrame:
        """Return what is stored, a row a series, as recorded by the last save of each."""
        table = historical_data_metadata
        with self.reading() as connection:
            rows = connection.execute(select(table).order_by(table.c.symbol, table.c.timeframe)).mappings().all()
        return pd.DataFrame([dict(row) for row in rows], columns=[column.name for column in table.columns])

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run what the block does as one transaction; on SQLite it waits for other writers first. For this package."""
        with self._translated("failed"), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read what the block reads as of one moment, without waiting for writers. For this package."""
        with self._translated("failed"), self._engine.execution_options(reading=True).begin() as connection:
            yield connection

    @contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise StoreError(f"the database {self._shown} {what}: {reason}") from error


def _parse_url(url: str) -> URL:
    """Return the URL of a database that is known here. A malformed one is not repeated: it may hold a password."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError):
        raise InvalidSettings(
            "DATABASE_URL is no URL of a database; write sqlite:///data/trading.db or "
            "postgresql+psycopg://user:password@host/name, with special characters of the password %-encoded"
        ) from None
    if parsed.get_backend_name() not in _BACKENDS:
        raise InvalidSettings(f"a database is one of {', '.join(_BACKENDS)}, not {parsed.get_backend_name()}")
    return parsed


def _create_engine(url: URL) -> Engine:
    try:
        engine = create_engine(url)
    except ImportError as error:
        raise StoreError(f"the driver of {url.drivername} is not installed ({error}); install it with pip") from error
    if url.get_backend_name() == "sqlite":
        if url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Let readers and one writer work at once, writers wait for each other, and us begin transactions."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    _enter_wal(connection, time.monotonic() + _BUSY_MS / 1000)
    connection.execute("PRAGMA synchronous = NORMAL")


def _enter_wal(connection: sqlite3.Connection, give_up_s: float) -> None:
    """Switch to a write-ahead log. SQLite's own wait does not cover two processes that switch a new file at once."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    """Begin; a writer takes the one writer's place at once, for SQLite lets nobody wait who first reads."""
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def insert_into(table: Table, connection: Connection) -> Any:
    """Return the INSERT that can also replace (`ON CONFLICT`), which both databases have, each in its own dialect."""
    from sqlalchemy.dialects import postgresql, sqlite

    dialects = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    return dialects[connection.dialect.name](table)


def _upgrade(engine: Engine) -> None:
    """Bring the schema to the newest migration; of several processes at once, one does."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "workbench.store:migrations")
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
