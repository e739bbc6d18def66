"""Engines of the databases known here: SQLite and PostgreSQL, made so that several processes may use one at once.

Nothing here repeats a password: of a malformed URL nothing is repeated, for any part of it may be one.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from workbench.errors import InvalidSettings, StoreError

_BUSY_MS = 10_000
"""How long a SQLite writer waits for another process to finish."""
_CONNECT_S = 10
"""How long a PostgreSQL server may take to answer a new connection."""
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
"""The driver of a URL that names none."""
_HIDDEN = ("pass", "secret", "token")
"""Options of a URL whose names hold one of these are secrets."""
_PASSING_STATES = ("08", "40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03")
"""What PostgreSQL says of failures that pass: lost connections, deadlocks, too many clients, a restart."""
_PASSING_CODES = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def parse_url(url: str) -> URL:
    """Return the URL of a database that is known here. Raises `InvalidSettings`."""
    example = "write sqlite:///data/trading.db or postgresql+psycopg://user:password@host/name"
    scheme, colon, rest = url.partition(":")
    try:
        parsed = make_url(_DRIVERS.get(scheme, scheme) + colon + rest)
    except (SQLAlchemyError, ValueError):
        raise InvalidSettings(
            f"DATABASE_URL is no URL of a database; {example}, with special characters of the password %-encoded"
        ) from None
    if parsed.get_backend_name() not in _DRIVERS:
        raise InvalidSettings(f"a database is one of sqlite, postgresql, not {parsed.get_backend_name()}; {example}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise InvalidSettings("DATABASE_URL names no file; a database that no other process sees is of no use here")
    return parsed


def secrets_of(url: URL) -> list[str]:
    """Return the texts in a URL that nobody may see."""
    options = [(name, value) for name, values in url.normalized_query.items() for value in values]
    hidden = [value for name, value in options if any(word in name.lower() for word in _HIDDEN)]
    return [secret for secret in (str(url.password or ""), *hidden) if secret]


def make_engine(url: URL, *, create: bool) -> Engine:
    """Return an engine with a pool of connections; `create` makes a SQLite file where none is. Raises `StoreError`."""
    is_sqlite = url.get_backend_name() == "sqlite"
    known = {} if is_sqlite or "connect_timeout" in url.query else {"connect_timeout": _CONNECT_S}
    try:
        # A connection that died in the pool, as all do when the server restarts, is found before it is used.
        engine = create_engine(url, hide_parameters=True, pool_pre_ping=not is_sqlite, connect_args=known)
    except (ImportError, SQLAlchemyError) as error:
        raise StoreError(
            f"the driver {url.drivername} cannot be used ({error}); write {_DRIVERS[url.get_backend_name()]}://…"
        ) from error
    if is_sqlite:
        path = Path(str(url.database))
        if not create and not path.exists():
            raise StoreError(f"there is no database {path} yet; workbench db upgrade makes it")
        path.parent.mkdir(parents=True, exist_ok=True)
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


def lock_writers(connection: Connection, number: int) -> None:
    """Let one transaction at a time go on that asks for this number; on SQLite there is one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(number)))


def is_transient(error: BaseException) -> bool:
    """Return whether the same transaction may succeed a moment later, without anybody doing anything."""
    if not isinstance(error, DBAPIError):
        return False
    state, code = getattr(error.orig, "sqlstate", None), getattr(error.orig, "sqlite_errorcode", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    return error.connection_invalidated or (code is not None and (code & 0xFF) in _PASSING_CODES)
