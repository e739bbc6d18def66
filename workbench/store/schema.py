"""The schema of a database: which revision it has, and how it is brought to the newest one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, func, inspect, select, text

from workbench.errors import StoreError
from workbench.store.engine import lock_writers
from workbench.store.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

_UPGRADE_LOCK = 7_311_986
"""A number that only processes upgrading this schema ask PostgreSQL to lock."""
_VERSIONS = Path(__file__).parent / "migrations" / "versions"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What a database holds. `tables` has the rows of each table, None where it is missing."""

    revision: str
    pending: tuple[str, ...]
    tables: dict[str, int | None]


def revisions() -> list[str]:
    """Return the revisions this program knows, oldest first: the numbers by which the files of migrations begin.

    Read from their names, for opening a database that is up to date need not load Alembic.
    """
    return sorted(path.stem[:4] for path in _VERSIONS.glob("[0-9]*.py"))


def upgrade(engine: Engine, shown: str, to: str = "") -> list[str]:
    """Bring the schema to a revision, else to the newest, and return what was applied.

    Of several processes at once, one does. Raises `StoreError` for a database that a newer program has made.
    """
    known = revisions()
    target = to or known[-1]
    with engine.execution_options(reading=True).begin() as connection:
        if _checked_revision(connection, known, shown) == target:
            return []
    with engine.begin() as connection:
        lock_writers(connection, _UPGRADE_LOCK)
        before = _checked_revision(connection, known, shown)
        _run_migrations(connection, target)
        return [number for number in known if before < number <= target]


def read_status(connection: Connection, shown: str) -> SchemaStatus:
    """Return what a database holds."""
    known = revisions()
    revision = _checked_revision(connection, known, shown)
    existing = set(inspect(connection).get_table_names())
    tables = {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        if table.name in existing
        else None
        for table in metadata.sorted_tables
    }
    return SchemaStatus(revision, tuple(number for number in known if number > revision), tables)


def _checked_revision(connection: Connection, known: list[str], shown: str) -> str:
    """Return the revision of a database, empty where it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    revision = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")
    if revision and revision not in known:
        raise StoreError(
            f"the database {shown} was made by a newer workbench: its schema is {revision}, this program knows "
            f"{known[-1]}. Nothing was changed. Update workbench, or choose another database with DATABASE_URL"
        )
    return revision


def _run_migrations(connection: Connection, target: str) -> None:
    from alembic import command
    from alembic.config import Config

    config: Config = Config()
    config.set_main_option("script_location", "workbench.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, target)
