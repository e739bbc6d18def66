"""The commands of the universe: which contracts there are to choose from."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.base import FAILED, GatewayOption, app

universe = typer.Typer(no_args_is_help=True, help="The contracts that a backfill or a screen may choose from.")
app.add_typer(universe, name="universe", epilog="Example: `workbench universe add PLTR`, `workbench universe list`")

_FLAGGED = "yellow"


@universe.command("list", epilog="Example: `workbench universe list`, `workbench universe list --flagged`")
def list_contracts(
    *,
    flagged: Annotated[
        bool, typer.Option("--flagged", help="Only what IB has renamed, delisted or not known.")
    ] = False,
) -> None:
    """Show the universe, and what IB said of each contract when it was asked last."""
    import pandas as pd
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from workbench.app import open_workbench
    from workbench.store.universes import load_universe_table

    with open_workbench() as desk:
        _ = desk.universe  # makes the first one
        rows = load_universe_table(desk.db)
    is_flagged = ~rows["state"].isin(["", "qualified"])
    shown = rows[is_flagged] if flagged else rows
    table = Table("symbol", "kind", "exchange", "currency", "folder", "IB's number", "name", "state", box=SIMPLE_HEAD)
    for row in shown.to_dict("records"):
        exchange = f"{row['exchange']} {row['primary_exchange']}".strip()
        number = "" if pd.isna(row["con_id"]) else str(row["con_id"])
        first, rest = (row["symbol"], row["kind"], exchange), (row["currency"], row["folder"], number, row["long_name"])
        table.add_row(*first, *rest, row["state"] or "not asked")
    if len(shown):
        Console().print(table)
    typer.echo(f"{len(rows)} contracts, {(rows['state'] == 'qualified').sum()} qualified, {is_flagged.sum()} flagged")
    for row in rows[rows["note"] != ""].to_dict("records"):
        typer.secho(f"{row['symbol']}: {row['state']}: {row['note']}", fg=_FLAGGED, err=True)


@universe.command(epilog="Example: `workbench universe add PLTR RIVN`, `workbench universe add VIX --kind index "
    "--exchange CBOE --folder indices`")  # fmt: skip
def add(
    symbols: Annotated[list[str], typer.Argument(help="Symbols as IB writes them: `AAPL`, `BRK B`.")],
    *,
    kind: Annotated[str, typer.Option(help="stock, etf or index.")] = "stock",
    exchange: Annotated[str, typer.Option(help="Where IB trades it; CBOE for VIX.")] = "SMART",
    primary_exchange: Annotated[str, typer.Option(help="Where it is listed; needed where IB has several.")] = "",
    currency: Annotated[str, typer.Option(help="Three letters.")] = "USD",
    folder: Annotated[str, typer.Option(help="Where its bars are kept: stocks or indices.")] = "stocks",
) -> None:
    """Add contracts. Those that are there are described anew: so a line is corrected."""
    from workbench.app import open_workbench
    from workbench.market.universe import Universe, make_contract
    from workbench.store.universes import change_universe

    given = {
        symbol: make_contract(
            symbol, kind=kind, exchange=exchange, primary_exchange=primary_exchange, currency=currency, folder=folder
        )
        for symbol in symbols
    }
    with open_workbench() as desk:
        _ = desk.universe
        typer.echo(change_universe(desk.db, lambda before: Universe((dict(before) | given).values())))


@universe.command(epilog="Example: `workbench universe remove FB`")
def remove(symbols: Annotated[list[str], typer.Argument(help="Symbols.")]) -> None:
    """Remove contracts from the universe. Their bars stay where they are."""
    from workbench.app import open_workbench
    from workbench.errors import InvalidInput
    from workbench.market.universe import Universe
    from workbench.store.universes import change_universe

    def without(before: Universe) -> Universe:
        if absent := [symbol for symbol in symbols if symbol not in before]:
            raise InvalidInput(
                f"not in the universe: {', '.join(absent)}; nothing was removed. workbench universe list"
            )
        return Universe(one for one in before.values() if one.symbol not in symbols)

    with open_workbench() as desk:
        _ = desk.universe
        typer.echo(change_universe(desk.db, without))


@universe.command(epilog="Example: `workbench universe qualify`, `workbench universe qualify META --gateway "
    "127.0.0.1:7497`")  # fmt: skip
def qualify(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means all.")] = None,
    *,
    gateway: GatewayOption = "",
) -> None:
    """Ask IB for each contract: its number, its name, where it is listed. Nothing is removed or renamed thereby.

    Tells which were renamed or delisted, which symbol is another company's now, which are unknown or ambiguous. Ends
    with 1 when there is one of these, or when IB could not say.
    """
    from workbench.app import open_workbench
    from workbench.errors import IBError

    with open_workbench(gateway) as desk:
        told = desk.qualify(symbols or (), progress=sys.stderr.isatty())
    failed = {symbol: what for symbol, what in told.items() if isinstance(what, IBError)}
    notes = {symbol: what for symbol, what in told.items() if not isinstance(what, IBError) and what.note}
    flagged = [symbol for symbol, what in notes.items() if what.is_flagged]
    for symbol, what in notes.items():
        typer.secho(f"{symbol}: {what.state}: {what.note}", fg=_FLAGGED, err=True)
    for symbol, error in failed.items():
        typer.secho(f"{symbol}: not asked: {error}", fg="red", err=True)
    qualified = len(told) - len(flagged) - len(failed)
    typer.echo(f"{qualified} contracts qualified, {len(flagged)} flagged, {len(failed)} without an answer")
    if flagged or failed:
        raise typer.Exit(FAILED)


@universe.command("import", epilog="Example: `workbench universe import data/universe.csv`")
def import_csv(
    file: Annotated[Path, typer.Argument(help="CSV: symbol,kind,exchange,primary_exchange,currency,folder.")],
    *,
    merge: Annotated[bool, typer.Option("--merge", help="Add to the universe; else the file takes its place.")] = False,
) -> None:
    """Let the universe be what a CSV file lists. Only `symbol` is needed; a file with an unusable line is not taken."""
    from workbench.app import open_workbench
    from workbench.market.universe import Universe
    from workbench.store.universes import change_universe, read_universe

    listed = read_universe(file)
    with open_workbench() as desk:
        changes = change_universe(
            desk.db, lambda before: Universe((dict(before) | dict(listed)).values()) if merge else listed
        )
    typer.echo(f"{len(listed)} contracts read: {changes}")


@universe.command("export", epilog="Example: `workbench universe export universe.csv`, `workbench universe export -`")
def export_csv(file: Annotated[Path, typer.Argument(help="The CSV file to write; - prints it.")]) -> None:
    """Write the universe as CSV, which `workbench universe import` reads."""
    from uuid import uuid4

    from workbench.app import open_workbench
    from workbench.market.universe import format_universe
    from workbench.store.files import replacing
    from workbench.store.universes import load_universe

    with open_workbench() as desk:
        _ = desk.universe
        text = format_universe(load_universe(desk.db))
    if str(file) == "-":
        typer.echo(text, nl=False)
        return
    with replacing(file, file.with_name(f".{file.name}-{uuid4().hex}.tmp")) as written:
        written.write(text.encode())
    typer.echo(f"{text.count(chr(10)) - 1} contracts written to {file}")
