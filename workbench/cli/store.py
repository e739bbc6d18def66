"""Commands that keep the store in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from workbench.cli.base import FAILED, GatewayOption, app


@app.command(epilog="Example: `workbench compact`, `workbench compact SPY -t 1min`")
def compact(
    symbols: Annotated[list[str] | None, typer.Argument(help="Symbols; none means all that is stored.")] = None,
    *,
    timeframe: Annotated[
        list[str] | None, typer.Option("--timeframe", "-t", help="Only these; may be repeated.")
    ] = None,
    gateway: GatewayOption = "",
) -> None:
    """Fold months of fine bars into their year, which long reads open faster, and clear what dead writers left.

    Saving does so by itself, a year at a time; only one process writes a series at a time, so this may run at any.
    """
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk:
        report = desk.store.compact(symbols or (), timeframe or ())
    typer.echo(f"{report.series} series looked at, {report.folded} parts fewer")
    _fail_with(report.problems)


@app.command(epilog="Example: `workbench reindex`")
def reindex(*, gateway: GatewayOption = "") -> None:
    """Rebuild what the database tells of the store (series and coverage) from the files themselves."""
    from workbench.app import open_workbench

    with open_workbench(gateway) as desk:
        report = desk.store.reindex()
    typer.echo(f"{report.series} series recorded")
    _fail_with(report.problems)


def _fail_with(problems: Sequence[str]) -> None:
    for problem in problems:
        typer.secho(problem, fg="red", err=True)
    if problems:
        raise typer.Exit(FAILED)
