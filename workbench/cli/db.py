"""The commands of the database."""

from __future__ import annotations

import typer

from workbench.cli.base import FAILED, app

db = typer.Typer(no_args_is_help=True, help="The database: SQLite under the data folder, or DATABASE_URL.")
app.add_typer(db, name="db", epilog="Example: `workbench db status`")


@db.command(epilog="Example: `workbench db upgrade`")
def upgrade() -> None:
    """Bring the database to the schema of this program. Every command does so by itself; this one only that."""
    from workbench.settings import load_settings
    from workbench.store.database import DatabaseManager

    with DatabaseManager(load_settings().database.get_secret_value()) as database:
        applied = ", ".join(database.applied)
        typer.echo(f"{database.url}: {f'applied {applied}' if applied else 'nothing to do'}")


@db.command(epilog="Example: `workbench db status`, `DATABASE_URL=postgresql://me@desk/trading workbench db status`")
def status() -> None:
    """Show where the database is, its revision, and the rows of each table. Nothing is changed.

    Ends with 1 when migrations are pending, or when a table is missing.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from workbench.settings import load_settings
    from workbench.store.database import DatabaseManager

    with DatabaseManager(load_settings().database.get_secret_value(), upgrade=False) as database:
        told = database.schema_status()
        pending = ", ".join(told.pending)
        typer.echo(f"database  {database.url}\nrevision  {told.revision or 'none'}\npending   {pending or 'nothing'}")
    table = Table("table", box=SIMPLE_HEAD)
    table.add_column("rows", justify="right")
    for name, rows in told.tables.items():
        table.add_row(name, "missing" if rows is None else f"{rows:,}")
    Console().print(table)
    missing = [name for name, rows in told.tables.items() if rows is None]
    if told.pending:
        typer.secho("Run `workbench db upgrade`.", fg="yellow", err=True)
    elif missing:
        typer.secho(f"Missing: {', '.join(missing)}. Somebody has dropped them; restore a copy.", fg="red", err=True)
    if told.pending or missing:
        raise typer.Exit(FAILED)
