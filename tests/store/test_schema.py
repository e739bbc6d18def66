"""Migrations: wherever a database begins, it ends at the schema that the tables say."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, inspect, text

from workbench.errors import StoreError
from workbench.store.database import DatabaseManager
from workbench.store.engine import make_engine, parse_url
from workbench.store.schema import revisions, upgrade
from workbench.store.tables import historical_data_metadata, metadata

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)


def schema_of(url: str) -> dict[str, Any]:
    """Return what a database tells of its tables, but for Alembic's own."""
    engine = create_engine(parse_url(url))
    seen = inspect(engine)
    told = {
        table: {
            "columns": [
                (one["name"], str(one["type"]), one["nullable"], str(one["default"])) for one in seen.get_columns(table)
            ],
            "key": seen.get_pk_constraint(table)["constrained_columns"],
            "unique": sorted(one["column_names"] for one in seen.get_unique_constraints(table)),
            "indexes": sorted(
                (one["name"], one["column_names"], one["unique"]) for one in seen.get_indexes(table)
                if "duplicates_constraint" not in one
            ),
        }
        for table in seen.get_table_names() if table != "alembic_version"
    }  # fmt: skip
    engine.dispose()
    return told


def at_revision(url: str, revision: str) -> None:
    engine = make_engine(parse_url(url), create=True)
    upgrade(engine, url, revision)
    with engine.begin() as connection:
        told = {"symbol": "SPY", "timeframe": "1day", "start_date": NOW, "end_date": NOW, "bar_count": 7}
        connection.execute(insert(historical_data_metadata).values(told | {"last_updated": NOW}))
    engine.dispose()


def test_from_nothing_and_from_the_first_migration_on_the_schema_is_what_the_tables_say(
    database_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    made = another(database_url)
    engine = make_engine(parse_url(made), create=True)
    metadata.create_all(engine)
    engine.dispose()
    first = another(database_url)
    at_revision(first, "0001")

    with DatabaseManager(database_url) as database:
        assert database.applied == revisions()
    with DatabaseManager(first) as database:
        assert database.applied == revisions()[1:]
        assert database.load_series_metadata()["bar_count"].tolist() == [7]
    with DatabaseManager(first) as database:
        assert database.applied == []

    assert set(schema_of(made)) == set(metadata.tables)
    assert schema_of(database_url) == schema_of(made)
    assert schema_of(first) == schema_of(made)


def another(url: str) -> str:
    """Return the URL of another empty database of the same kind."""
    if url.startswith("sqlite"):
        return url.replace(".db", f"-{os.urandom(4).hex()}.db")
    name = f"t_{os.urandom(8).hex()}"
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{url.rpartition('/')[0]}/{name}"


def test_a_database_of_a_newer_program_is_told_and_left_alone(database_url: str) -> None:
    with DatabaseManager(database_url) as database, database.transaction() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9001'"))

    with pytest.raises(StoreError, match=r"made by a newer workbench: its schema is 9001.*Update workbench"):
        DatabaseManager(database_url)
    with DatabaseManager(database_url, upgrade=False) as database:
        with pytest.raises(StoreError, match="made by a newer workbench"):
            database.schema_status()
        with database.reading() as connection:
            assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9001"


def test_the_status_names_what_is_pending_and_counts_rows(database_url: str) -> None:
    at_revision(database_url, "0003")

    with DatabaseManager(database_url, upgrade=False) as database:
        before = database.schema_status()
    with DatabaseManager(database_url) as database:
        after = database.schema_status()

    assert (before.revision, before.pending) == ("0003", tuple(revisions()[3:]))
    assert (before.tables["historical_data_metadata"], before.tables["alerts"]) == (1, None)
    assert (after.revision, after.pending) == (revisions()[-1], ())
    assert after.tables == dict.fromkeys(metadata.tables, 0) | {"historical_data_metadata": 1}


def test_asking_for_the_status_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="workbench db upgrade makes it"):
        DatabaseManager(f"sqlite:///{tmp_path / 'data' / 'trading.db'}", upgrade=False)

    assert list(tmp_path.iterdir()) == []


def test_a_database_that_is_up_to_date_is_opened_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'trading.db'}"
    DatabaseManager(url).close()
    code = (
        "import sys; from workbench.store.database import DatabaseManager as D; D(sys.argv[1]); print([*sys.modules])"
    )

    told = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True).stdout

    assert "'sqlalchemy'" in told
    assert "'alembic" not in told
