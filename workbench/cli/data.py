"""Commands that fetch bars and show what is stored."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli.base import FAILED, INTERRUPTED, GatewayOption, app

if TYPE_CHECKING:
    from rich.table import Table

    from workbench.ib.backfill.forecast import Forecast
    from workbench.ib.backfill.report import BackfillReport
    from workbench.store.seriesinfo import SeriesInfo

_MOST_ROWS = 60
"""A longer report names only the series that need a look."""


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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be fetched, and fetch nothing.")] = False,
    gateway: GatewayOption = "",
) -> None:
    """Fetch what is missing in the store and save it. Ctrl-C ends it cleanly; call it again to go on."""
    from workbench.app import open_workbench
    from workbench.ib.backfill import DEFAULT_TIMEFRAMES

    with open_workbench(gateway) as desk:
        planned = desk.plan_backfill(
            symbols or (),
            timeframe or DEFAULT_TIMEFRAMES,
            since=since,
            until=until,
            what_to_show=what_to_show,
            use_rth=not extended_hours,
        )
        print_forecast(planned.forecast)
        if dry_run:
            return
        report = planned.run(progress=sys.stderr.isatty())
    print_report(report)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if report.failed:
        raise typer.Exit(FAILED)


def print_forecast(forecast: Forecast) -> None:
    """Print what is going to be fetched, where progress is shown."""
    from rich.console import Console

    typer.echo(forecast, err=True)
    if len(forecast.rows) > 1:
        frame = forecast.to_frame().map(lambda value: f"{value:,}" if isinstance(value, int) else value)
        Console(stderr=True).print(_table(frame.columns, frame.itertuples(index=False), text=1))


def print_report(report: BackfillReport) -> None:
    """Print what came of each series, and what to do about it; of very many, only of those that need a look."""
    from rich.console import Console

    frame = report.to_frame()
    if len(frame) > _MOST_ROWS:
        frame = frame[(frame["next_step"] != "")]
    empty = [name for name in ("empty", "removed", "held_back") if not frame[name].any()]
    shown = frame.drop(columns=[*empty, "error"])  # the errors follow below, whole
    if len(shown) and sys.stdout.isatty():
        Console().print(_table(shown.columns, shown.itertuples(index=False), text=3))
    typer.echo(report)


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]], *, text: int) -> Table:
    """Return a table whose first columns and last ones are text, and whose numbers stand to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for number, name in enumerate(columns):
        is_text = number < text or name == "next_step"
        table.add_column(name.replace("_", " "), justify="left" if is_text else "right")
    for row in rows:
        table.add_row(*[f"{value:,}" if isinstance(value, int) else str(value) for value in row])
    return table


@app.command(epilog="Example: `workbench status`, `workbench status --check`")
def status(
    *,
    check: Annotated[
        bool, typer.Option("--check", help="For monitoring: only say what is wrong with the scheduler; 1 if anything.")
    ] = False,
    gateway: GatewayOption = "",
) -> None:
    """Show the settings in force and what is stored."""
    from workbench.app import open_workbench
    from workbench.settings import load_settings

    if check:
        _check_scheduler(load_settings().market_dir)
        return
    with open_workbench(gateway) as desk:
        settings = desk.settings
        ib = settings.ib
        where = "built-in gateway" if settings.uses_built_in_gateway else f"{ib.host or '127.0.0.1'}:{ib.port or 7497}"
        typer.echo(
            f"gateway   {where}\ndata      {settings.market_dir}\ndatabase  {desk.db}\nsource    {desk.store.source}"
        )
        print_series(desk.store.series())


def _check_scheduler(market_dir: Path) -> None:
    from workbench.pipeline.health import HEALTH_FILE, read_troubles

    troubles = read_troubles(market_dir / HEALTH_FILE, datetime.now(UTC))
    typer.echo("\n".join(troubles) or "the scheduler is at work, and no job's last run failed")
    if troubles:
        raise typer.Exit(FAILED)


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
