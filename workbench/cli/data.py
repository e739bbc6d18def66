"""Commands that fetch bars and show what is stored."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, INTERRUPTED, GatewayOption, app

if TYPE_CHECKING:
    from workbench.store.seriesinfo import SeriesInfo


@app.command(epilog="Example: `workbench backfill AAPL MSFT -t 15min -t 1day --since 2024-01-01`")
def backfill(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means the whole universe.")] = None,
    *,
    timeframe: Annotated[
        list[str] | None,
        typer.Option("--timeframe", "-t", help="5sec 1min 5min 15min 1hour 4hour 1day; may be repeated."),
    ] = None,
    since: Annotated[str | None, typer.Option(help="First date; else as far as is usual for the timeframe.")] = None,
    until: Annotated[str | None, typer.Option(help="Date before which to end; else now.")] = None,
    what_to_show: Annotated[str, typer.Option(help="TRADES, MIDPOINT, BID or ASK.")] = "TRADES",
    extended_hours: Annotated[bool, typer.Option("--extended-hours", help="Before and after hours too.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Fetch what is missing in the store and save it. Ctrl-C ends it cleanly; call it again to go on."""
    from workbench.app import open_workbench
    from workbench.ib.backfill import DEFAULT_TIMEFRAMES

    with open_workbench(gateway) as desk:
        report = desk.backfill(
            symbols or (),
            timeframe or DEFAULT_TIMEFRAMES,
            since=since,
            until=until,
            what_to_show=what_to_show,
            use_rth=not extended_hours,
            progress=sys.stderr.isatty(),
        )
    typer.echo(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: `workbench status`")
def status() -> None:
    """Show the settings in force and what is stored."""
    from workbench.app import open_workbench

    with open_workbench() as desk:
        settings = desk.settings
        ib = settings.ib
        where = "built-in gateway" if settings.uses_built_in_gateway else f"{ib.host or '127.0.0.1'}:{ib.port or 7497}"
        typer.echo(
            f"gateway   {where}\ndata      {settings.market_dir}\ndatabase  {desk.db}\nsource    {desk.store.source}"
        )
        print_series(desk.store.series())


def print_series(series: list[SeriesInfo]) -> None:
    """Print what is stored as a table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    if not series:
        typer.echo("Nothing is stored yet. Begin with `workbench backfill AAPL` or `workbench demo`.")
        return
    table = Table("symbol", "timeframe", "first", "last", box=SIMPLE_HEAD)
    for name in ("bars", "KiB"):
        table.add_column(name, justify="right")
    for one in series:
        first, last = (f"{moment:%Y-%m-%d %H:%M}" if moment else "" for moment in (one.first, one.last))
        timeframe = one.timeframe if one.what_to_show == "TRADES" else f"{one.timeframe} {one.what_to_show}"
        table.add_row(one.symbol, timeframe, first, last, f"{one.bars:,}", f"{one.bytes / 1024:,.0f}")
    Console().print(table)
    for one in series:
        if one.problem:
            typer.secho(f"{one.symbol} {one.timeframe}: {one.problem}", fg="red", err=True)
